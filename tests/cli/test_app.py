"""`emlb` hands its arguments to the functions that do the work, and tells errors plainly."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from emlb.evaluation.protocol_scores import Judging
from emlb.pretraining.options import PretrainingOptions
from emlb_cli.app import app
from emlb_runtime import __version__
from emlb_runtime.errors import ConfigError


def emlb(*arguments: str) -> Result:
    """Run the command."""
    result = CliRunner().invoke(app, arguments, prog_name="emlb")
    assert "Traceback" not in result.stderr
    return result


@dataclass
class Call:
    """What a function in place of the real one was called with."""

    positional: tuple[Any, ...] = ()
    options: dict[str, Any] | None = None


Stand = Callable[[str, str, Any], Call]


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    """Puts a module with one function in place of a real module: (module, function, answer)."""

    def put(module: str, function: str, answer: Any) -> Call:
        call = Call()

        def record(*positional: Any, **options: Any) -> Any:
            call.positional, call.options = positional, options
            if isinstance(answer, BaseException):
                raise answer
            return answer

        made = ModuleType(module)
        setattr(made, function, record)
        monkeypatch.setitem(sys.modules, module, made)
        return call

    return put


@dataclass
class FakeReport:
    def table(self) -> str:
        return "Entities  71.9"


def test_no_command_shows_the_help() -> None:
    result = emlb()
    assert result.exit_code == 2
    for name in ("pretrain", "train", "evaluate", "stability", "export", "info", "bench"):
        assert name in result.stderr
        assert emlb(name, "--help").exit_code == 0


def test_version() -> None:
    assert emlb("--version").stdout == f"emlb {__version__}\n"


def test_train(stand: Stand) -> None:
    call = stand("emlb.training.train", "train", Path("runs/one"))
    result = emlb("train", "ade.toml", "--set", "a.b=1", "--set", "c=x=y", "--fresh")
    assert (result.exit_code, result.stdout) == (0, f"{Path('runs/one')}\n")
    assert call == Call(
        (Path("ade.toml"),),
        {"overrides": ["a.b=1", "c=x=y"], "fresh": True, "say": typer.echo},
    )


def test_distill(stand: Stand) -> None:
    call = stand("emlb.training.train", "train", Path("runs/student"))
    arguments = "ade.toml runs/a runs/b --notes raw --notes more.jsonl --windows 9"
    result = emlb("distill", *arguments.split(), "--set", "name=student")
    assert (result.exit_code, result.stdout) == (0, "runs/student\n")
    assert call == Call(
        (Path("ade.toml"),),
        {
            "overrides": [
                "name=student",
                'distillation.teachers=["runs/a", "runs/b"]',
                'distillation.notes=["raw", "more.jsonl"]',
                "distillation.windows=9",
            ],
            "fresh": False,
            "say": typer.echo,
        },
    )


def test_interrupted_training_says_how_to_go_on(stand: Stand) -> None:
    stand("emlb.training.train", "train", KeyboardInterrupt())
    result = emlb("train", "ade.toml")
    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr


def test_pretrain(stand: Stand) -> None:
    call = stand("emlb.pretraining.pretrain", "pretrain", Path("encoder"))
    arguments = "--epochs 2.5 --steps 9 --minutes 60 --batch-size 8 --accumulate 4 --rate 2e-4"
    more = "--max-pieces 128 --held-out 0.1 --precision fp32 --seed 5 --fresh"
    result = emlb(
        *("pretrain", "notes", "n.jsonl", "--base", "b", "--out", "encoder"),
        *arguments.split(),
        *more.split(),
    )
    assert (result.exit_code, result.stdout) == (0, "encoder\n")
    options = PretrainingOptions(
        epochs=2.5,
        steps=9,
        minutes=60.0,
        batch_size=8,
        gradient_accumulation=4,
        rate=2e-4,
        max_pieces=128,
        held_out=0.1,
        precision="fp32",
        seed=5,
    )
    expected = {
        "out": Path("encoder"),
        "options": options,
        "columns": None,
        "fresh": True,
        "say": typer.echo,
    }
    assert call == Call((["notes", "n.jsonl"], "b"), expected)


def test_pretrain_has_the_defaults_of_its_options(stand: Stand) -> None:
    call = stand("emlb.pretraining.pretrain", "pretrain", Path("encoder"))
    assert emlb("pretrain", "notes", "--base", "b", "--out", "encoder").exit_code == 0
    assert call.options is not None and call.options["options"] == PretrainingOptions()


def test_pretrain_tells_a_bad_setting(stand: Stand) -> None:
    stand("emlb.pretraining.pretrain", "pretrain", Path("encoder"))
    result = emlb("pretrain", "notes", "--base", "b", "--out", "encoder", "--held-out", "1")
    assert result.exit_code == 2
    assert result.stderr == ("emlb pretrain: held_out is 1.0; it must be from 0 to below 1\n")


def test_evaluate(stand: Stand) -> None:
    call = stand("emlb.evaluation.evaluate", "evaluate", FakeReport())
    arguments = "--corpus ade --corpus chia --limit 5 --gold-mentions --json s.json"
    more = (
        "--precision fp32 --task clinical --split splits.json --part dev --format brat "
        "--texts texts --protocol n2c2 --bootstrap 100 --compare other"
    )
    result = emlb(
        "evaluate", "model", "dev.jsonl", "--calibration", *arguments.split(), *more.split()
    )
    assert (result.exit_code, result.stdout) == (0, "Entities  71.9\n")
    assert call == Call(
        (Path("model"), Path("dev.jsonl")),
        {
            "corpora": ["ade", "chia"],
            "split": Path("splits.json"),
            "part": "dev",
            "limit": 5,
            "gold_mentions": True,
            "json_path": Path("s.json"),
            "precision": "fp32",
            "task": "clinical",
            "format": "brat",
            "texts": Path("texts"),
            "judging": Judging("n2c2", 100, Path("other")),
            "calibrated": True,
        },
    )


def test_stability(stand: Stand) -> None:
    call = stand("emlb.evaluation.comparison.stability_report", "compare_models", FakeReport())
    arguments = "--corpus ade --corpus chia --limit 5 --json s.json --bootstrap 0 --task clinical"
    more = "--split splits.json --part dev --format brat --texts texts"
    result = emlb("stability", "a", "b", "c", "dev", *arguments.split(), *more.split())
    assert (result.exit_code, result.stdout) == (0, "Entities  71.9\n")
    assert call == Call(
        ([Path("a"), Path("b"), Path("c")], Path("dev")),
        {
            "corpora": ["ade", "chia"],
            "split": Path("splits.json"),
            "part": "dev",
            "limit": 5,
            "task": "clinical",
            "format": "brat",
            "texts": Path("texts"),
            "samples": 0,
            "json_path": Path("s.json"),
        },
    )


def test_stability_of_one_model_is_refused(tiny_data: Path) -> None:
    result = emlb("stability", str(tiny_data), str(tiny_data))
    assert result.exit_code == 2
    assert result.stderr.startswith("emlb stability: 1 model given")
    shown = emlb("stability", str(tiny_data), str(tiny_data), str(tiny_data))
    assert (shown.exit_code, "any two" in shown.stdout) == (0, True)


def test_export(stand: Stand) -> None:
    call = stand("emlb_export.export", "export", Path("bundle"))
    arguments = "--out bundle --quantize --name tiny --notes notes --eval-data d --overwrite"
    more = "--precision fp16 --precision fp32 --data c --no-tune --max-loss 1 --force"
    options = [*arguments.split(), *more.split(), "--threshold", "ADE-Drug=0.2"]
    result = emlb("export", "model", *options)
    assert (result.exit_code, result.stdout) == (0, "bundle\n")
    assert call == Call(
        (Path("model"),),
        {
            "out": Path("bundle"),
            "quantize": True,
            "quantizer": None,
            "int8_only": False,
            "precisions": ["fp16", "fp32"],
            "name": "tiny",
            "version": None,
            "notes": Path("notes"),
            "overwrite": True,
            "eval_data": Path("d"),
            "data": Path("c"),
            "tuned": False,
            "max_loss": 1.0,
            "thresholds": {"ADE-Drug": 0.2},
            "force": True,
            "say": typer.echo,
        },
    )


def test_export_without_arguments(stand: Stand) -> None:
    call = stand("emlb_export.export", "export", Path("bundle"))
    assert emlb("export").exit_code == 0
    assert call.positional == (None,)


def test_info(tiny_bundle: Path) -> None:
    result = emlb("info", str(tiny_bundle), "--json")
    assert result.exit_code == 0
    shown = json.loads(result.stdout)["bundle"]
    assert shown["default_precision"] == "int8"
    assert [task["name"] for task in shown["tasks"]]


def test_info_of_an_altered_bundle(tiny_bundle: Path, tmp_path: Path) -> None:
    spoiled = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    card = spoiled / "README.md"
    card.write_text(card.read_text(encoding="utf-8").replace("Not", "No!"), encoding="utf-8")
    result = emlb("info", str(spoiled))
    assert result.exit_code == 2
    assert "README.md is not the file" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "module", "function", "missing", "extra"),
    [
        (["train", "c.toml"], "emlb.training.train", "train", "torch", "train"),
        (
            ["pretrain", "n", "--base", "b", "--out", "o"],
            *("emlb.pretraining.pretrain", "pretrain", "transformers", "train"),
        ),
        (["evaluate", "m", "d"], "emlb.evaluation.evaluate", "evaluate", "transformers", "train"),
        (
            ["stability", "m", "n", "d"],
            *("emlb.evaluation.comparison.stability_report", "compare_models", "torch", "train"),
        ),
        (["export"], "emlb_export.export", "export", "torch", "export"),
        (["export"], "emlb_export.export", "export", "onnxruntime", "cpu"),
    ],
)
def test_a_light_install_names_the_extra(
    stand: Stand, arguments: Sequence[str], module: str, function: str, missing: str, extra: str
) -> None:
    stand(module, function, ModuleNotFoundError("no", name=f"{missing}.sub"))
    result = emlb(*arguments)
    assert result.exit_code == 2
    expected = f"emlb {arguments[0]}: {missing} is not installed: pip install 'emlb[{extra}]'"
    assert result.stderr.startswith(expected)


def test_a_module_of_ours_that_is_missing_is_a_bug(stand: Stand) -> None:
    stand("emlb.training.train", "train", ModuleNotFoundError("no", name="emlb.tranning"))
    assert isinstance(emlb("train", "c.toml").exception, ModuleNotFoundError)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ConfigError("unknown key 'epoch': did you mean 'epochs'?"), "unknown key 'epoch'"),
        (FileNotFoundError(2, "No such file", "c.toml"), "emlb train: c.toml: No such file\n"),
    ],
)
def test_errors_are_one_sentence(stand: Stand, error: Exception, sentence: str) -> None:
    stand("emlb.training.train", "train", error)
    result = emlb("train", "c.toml")
    assert result.exit_code == 2
    assert result.stderr.startswith("emlb train: ")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
