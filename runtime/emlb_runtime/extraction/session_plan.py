"""How a bundle is going to run here: provider, precision, workers, windows per run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emlb_runtime.bundle.config import BundleConfig
from emlb_runtime.errors import BackendError
from emlb_runtime.inference.arithmetic import Products, choose_products, self_test
from emlb_runtime.inference.providers import (
    PROVIDERS,
    choose_provider,
    import_onnxruntime,
    runtime_builds,
    short_name,
    what_is_missing,
)
from emlb_runtime.machine.info import available_cores, requested_threads

GPU_BATCH = 32
FLOATS = ("fp16", "fp32")
"""What runs on an accelerator, the faster first; int8 products would go to the CPU."""

_ON_CORES = (PROVIDERS["cpu"], PROVIDERS["openvino"])
_BATCHED = (PROVIDERS["cuda"], PROVIDERS["tensorrt"])


@dataclass(frozen=True)
class Plan:
    """What runs, and what a user should know about it.

    Attributes:
        asked: the provider that was asked for; ``auto`` leaves the choice to EMLB.
        provider: ONNX Runtime's name of the one that runs the encoder.
        relations_provider: of the one that runs the relation heads.
        precision: of the encoder.
        workers: windows, or batches of them, encoded at a time.
        batch: windows per run of the network.
        notes: sentences about the choice and its limits.
        products: the kind of int8's products; None for other precisions.
    """

    asked: str
    provider: str
    relations_provider: str
    precision: str
    workers: int
    batch: int
    notes: tuple[str, ...] = ()
    products: Products | None = None


def make_plan(
    config: BundleConfig,
    *,
    provider: str = "auto",
    precision: str | None = None,
    workers: int | None = None,
    batch: int | None = None,
) -> Plan:
    """Decide how to run a bundle.

    Args:
        config: the bundle's.
        provider: ``auto`` (CUDA where it can run this bundle, else the CPU), or the one.
        precision: of the encoder; None is the bundle's own choice on processors, and the
            fastest of its floating ones on an accelerator.
        workers: None is one per core on processors, or ``OMP_NUM_THREADS`` if that is less, and
            one elsewhere.
        batch: None is 1, where padding only costs, and more on an NVIDIA GPU.

    Raises:
        BackendError: if the provider asked for is not available, saying what is missing; or if
            int8 is asked for and is not exact here.
        ConfigError: if the bundle has no encoder of the precision asked for.
    """
    if precision is not None:
        config.check_precision(precision)
    notes: list[str] = []
    if provider == "auto":
        chosen, why = _choose(config, precision)
        notes += why
    else:
        chosen = _take(provider)
    if precision is None:
        precision, why = _best_precision(config, chosen)
        notes += why
    products = products_for(config, precision)
    on_cores = chosen in _ON_CORES
    relations = chosen
    if chosen == PROVIDERS["openvino"]:
        relations = PROVIDERS["cpu"]
        notes.append(f"the relation heads run on {relations}: OpenVINO cannot compile them")
    if chosen == PROVIDERS["tensorrt"]:
        notes.append("TensorRT builds engines as new lengths come: the first notes take long")
    if workers is None:
        workers, said = _default_workers() if on_cores else (1, [])
        notes += said
    return Plan(
        asked=provider,
        provider=chosen,
        relations_provider=relations,
        precision=precision,
        workers=workers,
        batch=batch or (GPU_BATCH if chosen in _BATCHED else 1),
        notes=tuple(notes),
        products=products,
    )


def products_for(config: BundleConfig, precision: str) -> Products | None:
    """The kind of products that a bundle's int8 graphs take on this machine; None without int8.

    Raises:
        BackendError: if int8 is asked for, and no kind that the bundle allows is exact here.
    """
    if precision != "int8":
        return None
    only = config.int8_products or (None if config.weights is not None else "u8s8")
    if only is None:
        return choose_products()
    if self_test(only):
        return only
    instead = "choose --precision fp32, or " if "fp32" in config.encoders else ""
    again = "with --quantizer emlb" if config.weights is not None else "as a bundle of format 4"
    raise BackendError(
        f"int8 of this bundle is not exact on this processor, whose {only} products overflow: "
        f"{instead}export the model again, {again}"
    )


def _default_workers() -> tuple[int, list[str]]:
    """One worker per core; and why there are fewer."""
    cores, requested = available_cores(), requested_threads()
    if requested is None or requested >= cores:
        return cores, []
    return requested, [f"workers: {requested} of {cores}, as OMP_NUM_THREADS says"]


def _choose(config: BundleConfig, precision: str | None) -> tuple[str, list[str]]:
    """What ``auto`` takes; and why not CUDA, where the installed build has it."""
    runtime = import_onnxruntime()
    cuda, cpu = PROVIDERS["cuda"], PROVIDERS["cpu"]
    if cuda not in runtime.get_available_providers():
        return cpu, []
    if not _floats(config, precision):
        has = precision or ", ".join(config.encoders)
        return cpu, [f"auto took the CPU: CUDA wants an fp16 or fp32 encoder, and this is {has}"]
    if missing := what_is_missing(cuda, runtime):
        return cpu, [f"auto took the CPU: for CUDA this machine lacks {'; '.join(missing)}"]
    return cuda, []


def _take(asked: str) -> str:
    """The provider asked for, all that it needs being there."""
    runtime = import_onnxruntime()
    available = runtime.get_available_providers()
    chosen = choose_provider(asked, available, builds=runtime_builds())
    if missing := what_is_missing(chosen, runtime):
        others = [short_name(name) for name in _usable(available, runtime)]
        raise BackendError(
            f"provider {asked} was asked for, but this machine lacks {'; '.join(missing)}. "
            f"Available: {', '.join(others)}"
        )
    return chosen


def _usable(available: Sequence[str], runtime: Any) -> list[str]:
    known = [name for name in available if name in PROVIDERS.values()]
    return [name for name in known if not what_is_missing(name, runtime)]


def _floats(config: BundleConfig, precision: str | None) -> list[str]:
    asked = FLOATS if precision is None else (precision,)
    return [name for name in asked if name in FLOATS and name in config.encoders]


def _best_precision(config: BundleConfig, provider: str) -> tuple[str, list[str]]:
    """The precision to run unless asked otherwise, and why it is not the bundle's own."""
    default = config.default_precision
    if provider not in _ON_CORES:
        return next(iter(_floats(config, None)), default), []
    if default != "int8" or "fp32" not in config.encoders:
        return default, []
    try:
        products_for(config, default)
    except BackendError:
        return "fp32", ["fp32 in place of int8, whose products are not exact on this processor"]
    return default, []
