"""`emlb bench`: tables, JSON and figure of what was measured, and nothing of the notes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from emlb_cli import app
from emlb_cli.commands.bench import parse_workers
from emlb_runtime.errors import BackendError, ConfigError
from emlb_runtime.profiling import benchmark as bench
from emlb_runtime.profiling.benchmark import Measured, Setting

MARKER = "zebrafish"


def emlb(*arguments: str) -> Result:
    return CliRunner().invoke(app.app, arguments)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Setting]:
    """What was to be measured; made-up figures come back."""
    settings: list[Setting] = []

    def measure(setting: Setting) -> Measured:
        settings.append(setting)
        workers = setting.workers or 4
        return Measured(
            bundle="small 1.0",
            provider="CPUExecutionProvider",
            precision="int8",
            workers=workers,
            batch=1,
            notes=1200,
            failed=1,
            characters=10**6,
            windows=2400,
            tokens=240_000,
            cells=250_000,
            entities=9000,
            relations=3000,
            load=0.2,
            passes=[4.0 / workers, 4.4 / workers, 4.0 / workers],
            stages={"read": [0.4] * 3, "encode": [3.0] * 3, "write": [0.1] * 3},
            stage_passes=[4.0] * 3,
            memory_loaded=100 << 20,
            memory=200 << 20,
            remarks=["a remark"],
        )

    monkeypatch.setattr(bench, "measure_apart", measure)
    return settings


def test_tables(asked: list[Setting]) -> None:
    result = emlb("bench", "notes", "--workers", "1,2", "--repeat", "3", "--provider", "cpu")
    assert result.exit_code == 0, result.stderr
    assert [setting.workers for setting in asked] == [1, 2]
    assert asked[0] == Setting(("notes",), provider="cpu", workers=1, repeat=3)
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in result.stdout.splitlines()
        if line.startswith("|")
    ]
    assert rows[0][:6] == [
        *("workers", "windows per run", "notes/s", "windows/s", "tokens/s", "spread")
    ]
    assert rows[2] == [
        *("1", "1", "300.0", "600.0", "60,000", "10%", "4.0%", "200 MiB", "100 MiB", "0.20 s")
    ]
    assert rows[3][2] == "600.0"
    assert rows[6:] == [
        ["read", "0.4000", "10.0%"],
        ["encode", "3.0000", "75.0%"],
        ["write", "0.1000", "2.5%"],
        ["between", "0.5000", "12.5%"],
    ]
    assert "1,200 notes (1 failed)" in result.stdout
    assert result.stdout.count("a remark") == 1
    assert "more notes give steadier figures" not in result.stdout


def test_options_reach_the_measuring_process(asked: list[Setting]) -> None:
    arguments = "bench a b --model m --provider openvino --precision fp32 --repeat 5"
    assert emlb(*arguments.split()).exit_code == 0
    assert asked == [
        Setting(
            ("a", "b"), model="m", provider="openvino", precision="fp32", workers=None, repeat=5
        )
    ]


def test_json_and_figure(asked: list[Setting], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    json_path, plot = tmp_path / "b.json", tmp_path / "b.svg"
    result = emlb("bench", "n", "--workers", "1,2", "--json", str(json_path), "--plot", str(plot))
    assert result.exit_code == 0, result.stderr
    written = json.loads(json_path.read_text(encoding="utf-8"))
    assert [setting["passes"] for setting in written["settings"]] == [[4, 4.4, 4], [2, 2.2, 2]]
    assert written["settings"][0]["padding"] == pytest.approx(0.04)
    assert written["machine"]["cores"] >= 1 and written["onnxruntime"]
    drawn = plot.read_text(encoding="utf-8")
    assert "word pieces per second" in drawn and "75.0 %" in drawn


@pytest.mark.parametrize("name", ["b.xls", "b"])
def test_a_figure_of_unknown_kind(asked: list[Setting], name: str) -> None:
    result = emlb("bench", "n", "--plot", name)
    assert result.exit_code == 2
    assert "must end in .svg, .png, .pdf" in result.stderr
    assert not asked


def test_without_matplotlib(asked: list[Setting], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None)
    result = emlb("bench", "n", "--plot", "b.svg")
    assert result.exit_code == 2
    assert result.stderr == (
        "emlb bench: --plot: matplotlib is not installed: pip install 'emlb[figures]'\n"
    )
    assert not asked


def test_errors_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(setting: Setting) -> Measured:
        raise BackendError("no such provider")

    monkeypatch.setattr(bench, "measure_apart", fail)
    result = emlb("bench", "n")
    assert (result.exit_code, result.stderr) == (2, "emlb bench: no such provider\n")


@pytest.mark.parametrize("text", ["0", "1,,2", "two", "-1", "1.5", ","])
def test_workers_that_are_no_numbers(text: str) -> None:
    with pytest.raises(ConfigError, match="give numbers from 1"):
        parse_workers(text)


def test_workers() -> None:
    assert parse_workers("") == [None]
    assert parse_workers("1, 2,16") == [1, 2, 16]


def test_for_real(tmp_path: Path) -> None:
    note = tmp_path / f"{MARKER}.txt"
    note.write_text(f"Rash after {MARKER} amoxicillin.\n", encoding="utf-8")
    out = tmp_path / "b.json"
    result = emlb("bench", str(note), "--repeat", "1", "--json", str(out))
    assert result.exit_code == 0, result.stderr
    assert "| encode" in result.stdout and "1 note (0 failed)" in result.stdout
    assert "more notes give steadier figures" in result.stdout
    assert MARKER not in result.stdout + result.stderr + out.read_text(encoding="utf-8")
