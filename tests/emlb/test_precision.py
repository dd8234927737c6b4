"""Training computes in what the machine has, and refuses what it would only emulate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from emlb import threads
from emlb.pretraining.options import PretrainingOptions
from emlb.pretraining.pretrain import pretrain
from emlb.threads import limit_threads
from emlb.training import precision
from emlb.training.config import load_config
from emlb.training.precision import Arithmetic, choose_precision, read_arithmetic
from emlb.training.train import train
from emlb_runtime.errors import ConfigError
from emlb_runtime.machine.info import Machine
from tests.tiny import TinyRun

HASWELL = Machine("Linux", "x86_64", "Haswell", 2, 1 << 33, ("fma", "avx2"))
PROCESSOR = Arithmetic("this processor (Haswell)", is_gpu=False, bf16=False, fp16=False)
TESLA = Arithmetic("this GPU (Tesla T4)", is_gpu=True, bf16=False, fp16=True)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes this machine one that has the arithmetic given."""

    def become(found: Arithmetic) -> None:
        monkeypatch.setattr(precision, "read_arithmetic", lambda: found)

    return become


@pytest.mark.parametrize(
    ("found", "chosen", "line"),
    [
        (PROCESSOR, "fp32", "fp32; this processor (Haswell) computes no bf16 natively"),
        (replace(PROCESSOR, bf16=True), "bf16", "bf16; this processor (Haswell) computes it nat"),
        (TESLA, "fp16", "fp16; this GPU (Tesla T4) has no native bf16"),
        (replace(TESLA, bf16=True), "bf16", "bf16; this GPU (Tesla T4) computes it natively"),
        (replace(TESLA, fp16=False), "fp32", "fp32; this GPU (Tesla T4) computes neither"),
    ],
)
def test_auto_takes_what_is_native(found: Arithmetic, chosen: str, line: str, machine: Any) -> None:
    machine(found)
    said: list[str] = []
    assert choose_precision("auto", setting="precision", say=said.append) == chosen
    (told,) = said
    assert told.startswith(f"precision: {line}")


@pytest.mark.parametrize(
    ("found", "asked", "sentence"),
    [
        (
            PROCESSOR,
            "bf16",
            "precision is bf16, but this processor (Haswell) only emulates it, which is slower "
            "than fp32: set auto or fp32",
        ),
        (
            PROCESSOR,
            "fp16",
            "precision is fp16, but fp16 training needs a GPU and torch sees none: set auto or "
            "fp32",
        ),
        (replace(PROCESSOR, bf16=True), "fp16", "torch sees none: set auto, bf16 or fp32"),
        (TESLA, "bf16", "this GPU (Tesla T4) only emulates it, which is slower than fp32: set "
         "auto, fp16 or fp32"),
    ],
)  # fmt: skip
def test_what_is_emulated_is_refused(
    found: Arithmetic, asked: Any, sentence: str, machine: Any
) -> None:
    machine(found)
    with pytest.raises(ConfigError) as caught:
        choose_precision(asked, setting="precision", say=print)
    assert str(caught.value).endswith(sentence)


@pytest.mark.parametrize(
    ("found", "asked"), [(TESLA, "fp16"), (TESLA, "fp32"), (PROCESSOR, "fp32")]
)
def test_what_is_native_may_be_chosen(found: Arithmetic, asked: Any, machine: Any) -> None:
    machine(found)
    said: list[str] = []
    assert choose_precision(asked, setting="precision", say=said.append) == asked
    assert said == [f"precision: {asked}, as set"]


@pytest.mark.parametrize(
    ("instructions", "native"),
    [
        (("fma", "avx2"), False),
        (("avx2", "avx512f", "avx512_vnni"), False),
        (("avx2", "avx512f", "avx512_bf16"), True),
        (("avx512f", "amx_bf16"), True),
        (("asimd", "asimddp"), False),
        (("asimd", "asimddp", "bf16"), True),
    ],
)
def test_processors(
    instructions: tuple[str, ...], native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their instructions, as far as torch has kernels that use them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(precision, "_has_bf16_kernels", lambda: True)
    monkeypatch.setattr(
        precision, "read_machine", lambda: replace(HASWELL, instructions=instructions)
    )
    assert read_arithmetic() == replace(PROCESSOR, bf16=native)
    monkeypatch.setattr(precision, "_has_bf16_kernels", lambda: False)
    assert read_arithmetic() == PROCESSOR


@pytest.mark.parametrize("native", [True, False])
def test_a_processor_that_only_torch_knows(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(precision, "_has_bf16_kernels", lambda: True)
    monkeypatch.setattr(
        precision, "read_machine", lambda: replace(HASWELL, processor="", instructions=None)
    )
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native, raising=False)
    assert read_arithmetic() == replace(PROCESSOR, device="this processor", bf16=native)


@pytest.mark.parametrize(
    ("gpus", "bf16", "fp16"),
    [
        ({"NVIDIA H200": (9, 0)}, True, True),
        ({"Tesla T4": (7, 5)}, False, True),
        ({"GeForce GTX 1080": (6, 1)}, False, False),
        ({"NVIDIA A100": (8, 0), "Tesla V100": (7, 0)}, False, True),
    ],
)
def test_gpus(
    gpus: dict[str, tuple[int, int]], bf16: bool, fp16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several have what all have; that a GPU emulates bf16 does not count."""
    names = list(gpus)
    current = [0]

    def select(number: int) -> Any:
        current[0] = number
        return nullcontext()

    def supports(including_emulation: bool = True) -> bool:
        return including_emulation or gpus[names[current[0]]] >= (8, 0)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: names[number])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: gpus[names[number]])
    monkeypatch.setattr(torch.cuda, "device", select)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supports)
    found = read_arithmetic()
    assert (found.is_gpu, found.bf16, found.fp16) == (True, bf16, fp16)
    assert found.device == f"this GPU ({', '.join(sorted(names))})"


def test_kernels_that_the_environment_bars() -> None:
    """oneDNN held to AVX2 has no bf16 kernels, whatever this processor has."""
    code = "from emlb.training.precision import read_arithmetic as read; print(read().bf16)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


def test_training_without_bf16(tiny_run: TinyRun, tmp_path: Path, machine: Any) -> None:
    machine(PROCESSOR)
    overrides = [
        f"output={json.dumps(str(tmp_path))}",
        f"data={json.dumps(str(tiny_run.data.parent))}",
        "training.epochs=1",
    ]
    said: list[str] = []
    folder = train(
        tiny_run.config, overrides=[*overrides, "training.precision=auto"], say=said.append
    )
    assert said[0] == "precision: fp32; this processor (Haswell) computes no bf16 natively"
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert (run["precision"], run["config"]["training"]["precision"]) == ("fp32", "auto")
    plain = train(tiny_run.config, overrides=[*overrides, "name=plain"], say=said.append)
    assert json.loads((plain / "run.json").read_text("utf-8"))["development"] == run["development"]
    with pytest.raises(ConfigError, match=r"training\.precision is bf16, but this processor"):
        train(tiny_run.config, overrides=[*overrides, "name=no", "training.precision=bf16"])
    assert not (tmp_path / "no").exists()


def test_a_run_begun_in_the_precision_that_auto_takes_goes_on(
    tiny_run: TinyRun, tmp_path: Path, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions recorded bf16 where nothing was set."""
    machine(PROCESSOR)

    class Killed(BaseException):
        pass

    def die(*args: Any, **kwargs: Any) -> None:
        raise Killed

    overrides = [
        f"output={json.dumps(str(tmp_path))}",
        f"data={json.dumps(str(tiny_run.data.parent))}",
        "training.epochs=1",
    ]
    with monkeypatch.context() as patch:
        patch.setattr("emlb.training.train.JointTrainer", die)
        with pytest.raises(Killed):
            train(tiny_run.config, overrides=overrides)  # it says fp32
    machine(replace(PROCESSOR, bf16=True))
    with pytest.raises(ConfigError, match="holds a run with other settings"):
        train(tiny_run.config, overrides=[*overrides, "training.precision=auto"])
    machine(PROCESSOR)
    folder = train(tiny_run.config, overrides=[*overrides, "training.precision=auto"])
    assert (folder / "run.json").is_file()


def test_pretraining_without_bf16(tiny_encoder: Path, tmp_path: Path, machine: Any) -> None:
    machine(PROCESSOR)
    notes = tmp_path / "notes.jsonl"
    lines = [json.dumps({"text": f"Fever and rash on day {n}. " * 9}) for n in range(6)]
    notes.write_text("\n".join(lines) + "\n", encoding="utf-8")
    said: list[str] = []
    options = PretrainingOptions(steps=1, batch_size=2, max_pieces=64)
    out = pretrain(
        [str(notes)], str(tiny_encoder), out=tmp_path / "out", options=options, say=said.append
    )
    assert said[0].startswith("precision: fp32; this processor")
    record = json.loads((out / "pretraining.json").read_text(encoding="utf-8"))
    assert (record["precision"], record["settings"]["precision"]) == ("fp32", "auto")
    options = replace(options, precision="bf16")
    with pytest.raises(ConfigError, match="precision is bf16, but this processor"):
        pretrain([str(notes)], str(tiny_encoder), out=tmp_path / "no", options=options)
    assert not (tmp_path / "no").exists()


def test_no_recipe_presumes_a_processor(repo: Path) -> None:
    for recipe in sorted((repo / "emlb" / "recipes").glob("*.toml")):
        assert load_config(recipe).training.precision == "auto"


@pytest.mark.parametrize(
    ("cores", "there", "environment", "threads_left"),
    [
        (2, 64, {}, 2),
        (64, 8, {}, 8),  # physical cores, of which torch takes one thread each
        (2, 64, {"OMP_NUM_THREADS": "16"}, 64),
        (2, 64, {"MKL_NUM_THREADS": "16"}, 64),
    ],
)
def test_threads_under_a_quota(
    cores: int,
    there: int,
    environment: dict[str, str],
    threads_left: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = SimpleNamespace(threads=there)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(threads, "available_cores", lambda: cores)
    monkeypatch.setattr(torch, "get_num_threads", lambda: kept.threads)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: setattr(kept, "threads", n))
    limit_threads()
    assert kept.threads == threads_left
