"""Which ONNX Runtime is installed, what it can run on, and what is missing for the rest."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
import re
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from emlb_runtime.errors import BackendError

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
"""What a user asks for, and ONNX Runtime's name of it."""

BUILDS = (
    *("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
    *("onnxruntime-azure", "onnxruntime-cann", "onnxruntime-coreml", "onnxruntime-migraphx"),
    *("onnxruntime-qnn", "onnxruntime-rocm", "onnxruntime-silicon", "onnxruntime-training"),
)
"""Wheels that write the folder ``onnxruntime``: there is room for one."""

_WHEELS = {"cuda": "onnxruntime-gpu", "tensorrt": "onnxruntime-gpu"}
_WHEELS["openvino"] = "onnxruntime-openvino"
_EXTRAS = {"onnxruntime": "'emlb[cpu]'", "onnxruntime-gpu": "'emlb[gpu]'"}

_PRINTING = threading.Lock()
_WINDOWS = sys.platform == "win32"
_DRIVER = "nvcuda.dll" if _WINDOWS else "libcuda.so.1"
_TENSORRT = (
    ("nvinfer_10.dll", "nvonnxparser_10.dll")
    if _WINDOWS
    else ("libnvinfer.so.10", "libnvonnxparser.so.10")
)


def short_name(provider: str) -> str:
    """What a user calls a provider: ``cuda`` for ``CUDAExecutionProvider``."""
    return {full: short for short, full in PROVIDERS.items()}.get(provider, provider)


def import_onnxruntime() -> Any:
    """The ``onnxruntime`` module.

    Raises:
        BackendError: if no build of it is installed, or two.
    """
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        raise BackendError(
            "ONNX Runtime is not installed: pip install 'emlb[cpu]' (or 'emlb[gpu]' for CUDA)"
        )
    builds = installed_builds(Path(spec.origin).parent.parent)
    if len(builds) > 1:
        raise BackendError(_collision(sorted(builds)))
    import onnxruntime

    # For Windows builds, and where it was imported before this package and its environment.
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def installed_builds(folder: Path) -> dict[str, str]:
    """The builds of ONNX Runtime whose metadata lie in a folder of packages, with versions.

    Read off the folder's names: ``importlib.metadata`` alone takes a tenth of the start-up.
    """
    found: dict[str, str] = {}
    for path in folder.glob("onnxruntime*.dist-info"):
        name, _, version = path.name.removesuffix(".dist-info").partition("-")
        if (build := name.replace("_", "-").lower()) in BUILDS:
            found[build] = version
    return found


def choose_provider(
    asked: str, available: Sequence[str], *, builds: Collection[str] = ("onnxruntime",)
) -> str:
    """ONNX Runtime's name of the provider that was asked for.

    Args:
        asked: a key of ``PROVIDERS``.
        available: what the installed build has.
        builds: the installed wheel, to be replaced in the command that is told.

    Raises:
        BackendError: if the one asked for is unknown, or the installed build does without.
    """
    if asked not in PROVIDERS:
        raise BackendError(f"provider {asked!r} is unknown; choose auto, {', '.join(PROVIDERS)}")
    if PROVIDERS[asked] not in available:
        raise BackendError(
            f"provider {asked} ({PROVIDERS[asked]}) was asked for, but the installed "
            f"{' and '.join(sorted(builds))} has only {', '.join(available)}: "
            f"{install_command(asked, builds)}"
        )
    return PROVIDERS[asked]


def install_command(asked: str, builds: Collection[str]) -> str:
    """How to get the build that has a provider, in place of the installed ones."""
    if asked == "coreml":
        return "CoreML is there on macOS only, in the wheel onnxruntime"
    wheel = _WHEELS.get(asked, "onnxruntime")
    remove = f"pip uninstall -y {' '.join(sorted(builds))} && " if builds else ""
    return f"{remove}pip install {_EXTRAS.get(wheel, wheel)}"


def what_is_missing(provider: str, runtime: Any) -> list[str]:
    """What a provider of the installed build lacks on this machine, and how to get it.

    Loads NVIDIA's libraries from their pip packages, as ONNX Runtime does not by itself.

    Args:
        provider: ONNX Runtime's name of it.
        runtime: the ``onnxruntime`` module.

    Returns:
        Phrases for a sentence; none if nothing is known to be missing.
    """
    if provider not in (PROVIDERS["cuda"], PROVIDERS["tensorrt"]):
        return []
    missing = []
    if libraries := _load_cuda(runtime):
        missing.append(f"{', '.join(libraries)} (pip install 'onnxruntime-gpu[cuda,cudnn]')")
    if provider == PROVIDERS["tensorrt"] and (libraries := _load_tensorrt()):
        major = str(getattr(runtime, "cuda_version", "")).partition(".")[0]
        missing.append(f"{', '.join(libraries)} (pip install tensorrt-cu{major})")
    if driver := _ask_driver():
        missing.append(driver)
    return missing


def _collision(builds: Sequence[str]) -> str:
    """What to remove: all, since removing one takes files of the others along."""
    kept = next((build for build in builds if build != "onnxruntime"), builds[0])
    others = " ".join(build for build in builds if build != kept)
    return (
        f"{' and '.join(builds)} are both installed and overwrite each other's files: to keep "
        f"{kept}, remove {others}: pip uninstall -y {' '.join(builds)} && "
        f"pip install {_EXTRAS.get(kept, kept)}"
    )


def _load_cuda(runtime: Any) -> list[str]:
    """Load CUDA and cuDNN; the names of what cannot be."""
    if not hasattr(runtime, "preload_dlls"):  # before 1.21: the system's loader finds them or not
        return []
    # What is missing is printed, not raised; and standard output belongs to the triples.
    with _PRINTING, contextlib.redirect_stdout(io.StringIO()) as printed:
        runtime.preload_dlls()
    return parse_preload(printed.getvalue())


def parse_preload(printed: str) -> list[str]:
    """The libraries that ``onnxruntime.preload_dlls`` says it could not load."""
    named = re.findall(r"^Failed to load (.+?): ", printed, flags=re.MULTILINE)
    return list(dict.fromkeys(re.split(r"[/\\]", name)[-1] for name in named))


def _load_tensorrt() -> list[str]:
    """Load TensorRT, from its pip package where the system has none; what cannot be."""
    spec = importlib.util.find_spec("tensorrt_libs")
    folders = list(spec.submodule_search_locations or []) if spec else []
    return [
        name
        for name in _TENSORRT
        if not any(_loads(path) for path in (name, *(str(Path(f) / name) for f in folders)))
    ]


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _ask_driver() -> str:
    """What keeps the NVIDIA driver from being used; empty if nothing does."""
    advice = "install NVIDIA's driver, or give the container its GPUs"
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return f"the NVIDIA driver, {_DRIVER} ({advice})"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or not count:
        return f"a GPU that the NVIDIA driver can use ({advice}; nvidia-smi lists them)"
    return ""


def describe_builds(builds: Mapping[str, str]) -> str:
    """The installed wheels in words: ``onnxruntime 1.30.0``."""
    return " and ".join(f"{name} {version}" for name, version in sorted(builds.items())) or "none"


def runtime_builds() -> dict[str, str]:
    """The installed builds of ONNX Runtime and their versions, without importing any."""
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        return {}
    return installed_builds(Path(spec.origin).parent.parent)
