"""The arithmetic of a training run: what the machine computes natively, and what was asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from emlb_runtime.errors import ConfigError
from emlb_runtime.machine.info import BF16_INSTRUCTIONS, read_machine

Precision = Literal["auto", "bf16", "fp16", "fp32"]
"""``auto`` is the fastest arithmetic that the machine computes natively."""

AUTOCAST: dict[str, torch.dtype | None] = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp32": None,
}
"""What the encoder computes in; None leaves it in single precision."""

_FP16_GPU = (7, 0)
"""CUDA's compute capability from which tensor cores multiply fp16."""


@dataclass(frozen=True)
class Arithmetic:
    """What the device that trains computes natively, fp32 apart.

    Attributes:
        device: in words, for messages.
        is_gpu: whether it is a GPU.
        bf16: whether it multiplies bf16.
        fp16: whether it multiplies fp16; processors do not train in it.
    """

    device: str
    is_gpu: bool
    bf16: bool
    fp16: bool


def read_arithmetic() -> Arithmetic:
    """That of the device which ``Trainer`` takes: the GPUs if torch sees any, else the processor.

    Several GPUs have what all of them have.
    """
    if torch.cuda.is_available():
        return _of_gpus(range(torch.cuda.device_count()))
    machine = read_machine()
    if machine.instructions is None:  # torch knows processors that no file describes
        native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    else:
        native = bool({*BF16_INSTRUCTIONS} & {*machine.instructions})
    name = f" ({machine.processor})" if machine.processor else ""
    return Arithmetic(
        f"this processor{name}", is_gpu=False, bf16=native and _has_bf16_kernels(), fp16=False
    )


def choose_precision(
    asked: Precision, *, setting: str, say: Callable[[str], None]
) -> Literal["bf16", "fp16", "fp32"]:
    """The precision to train in.

    Args:
        asked: ``auto``, or a choice that the machine has to compute natively.
        setting: what the user calls it, for messages.
        say: receives a line for the user.

    Raises:
        ConfigError: if the machine only emulates the choice.
    """
    found = read_arithmetic()
    if asked == "auto":
        chosen, why = _choose(found)
        say(f"precision: {chosen}; {why}")
        return chosen
    if asked != "fp32" and not (found.bf16 if asked == "bf16" else found.fp16):
        raise ConfigError(f"{setting} is {asked}, but {_refuse(asked, found)}")
    say(f"precision: {asked}, as set")
    return asked


def check_precision(asked: str, *, setting: str) -> None:
    """Refuse what is no precision.

    Raises:
        ConfigError: naming those that are.
    """
    if asked not in get_args(Precision):
        allowed = ", ".join(get_args(Precision))
        raise ConfigError(f"{setting} is {asked}; it must be one of {allowed}")


def forget_precision() -> None:
    """Undo what an earlier run of this process, or a launcher, left in the environment.

    ``TrainingArguments`` writes its precision to ACCELERATE_MIXED_PRECISION and reads it from
    there when it is not told another one, so that a run in fp32 after one in bf16 would
    train in bf16. The configuration alone decides.
    """
    os.environ.pop("ACCELERATE_MIXED_PRECISION", None)


def _choose(found: Arithmetic) -> tuple[Literal["bf16", "fp16", "fp32"], str]:
    if found.bf16:
        return "bf16", f"{found.device} computes it natively"
    if found.fp16:
        return "fp16", f"{found.device} has no native bf16"
    missing = "neither bf16 nor fp16" if found.is_gpu else "no bf16"
    return "fp32", f"{found.device} computes {missing} natively"


def _refuse(asked: str, found: Arithmetic) -> str:
    if asked == "fp16" and not found.is_gpu:
        others = "auto, bf16 or fp32" if found.bf16 else "auto or fp32"
        return f"fp16 training needs a GPU and torch sees none: set {others}"
    others = "auto, fp16 or fp32" if found.fp16 else "auto or fp32"
    return f"{found.device} only emulates it, which is slower than fp32: set {others}"


def _of_gpus(numbers: range) -> Arithmetic:
    names = sorted({torch.cuda.get_device_name(number) for number in numbers})
    bf16, fp16 = [], []
    for number in numbers:
        with torch.cuda.device(number):
            bf16.append(torch.cuda.is_bf16_supported(including_emulation=False))
        is_new = torch.cuda.get_device_capability(number) >= _FP16_GPU
        fp16.append(is_new or torch.version.hip is not None)
    return Arithmetic(f"this GPU ({', '.join(names)})", is_gpu=True, bf16=all(bf16), fp16=all(fp16))


def _has_bf16_kernels() -> bool:
    """Whether torch has, and may use, oneDNN's bf16 kernels here.

    Without them the processor's instructions do not help. ``ONEDNN_MAX_CPU_ISA`` bars them.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    ask = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return ask is not None and bool(ask())
