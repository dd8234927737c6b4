"""Which build of ONNX Runtime there is, and what to do about the one that is missing."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

import pytest

from emlb_runtime.errors import BackendError
from emlb_runtime.inference import providers
from emlb_runtime.inference.providers import (
    PROVIDERS,
    choose_provider,
    import_onnxruntime,
    installed_builds,
    parse_preload,
    runtime_builds,
    short_name,
    what_is_missing,
)

CPU, CUDA, TENSORRT = PROVIDERS["cpu"], PROVIDERS["cuda"], PROVIDERS["tensorrt"]

PRINTED = """Failed to load libcublasLt.so.13: libcublasLt.so.13: cannot open shared object file
Failed to load /site-packages/nvidia/curand/lib/libcurand.so.10: wrong ELF class
Failed to load C:\\nvidia\\bin\\cudart64_13.dll: Could not find module
Failed to load libcublasLt.so.13: again
Please follow https://onnxruntime.ai/docs/install/#cuda-and-cudnn to install CUDA.
"""


class Runtime:
    """An ``onnxruntime`` whose libraries are missing."""

    cuda_version = "13.0"

    def preload_dlls(self) -> None:
        print(PRINTED, end="")  # noqa: T201


def test_choice() -> None:
    assert choose_provider("cpu", [CUDA, CPU]) == CPU
    assert choose_provider("cuda", [CUDA, CPU]) == CUDA
    assert [short_name(PROVIDERS[name]) for name in PROVIDERS] == list(PROVIDERS)


@pytest.mark.parametrize(
    ("asked", "builds", "command"),
    [
        ("cuda", ["onnxruntime"], "pip uninstall -y onnxruntime && pip install 'emlb[gpu]'"),
        ("tensorrt", ["onnxruntime"], "pip uninstall -y onnxruntime && pip install 'emlb[gpu]'"),
        (
            *("openvino", ["onnxruntime-gpu"]),
            "pip uninstall -y onnxruntime-gpu && pip install onnxruntime-openvino",
        ),
        ("coreml", ["onnxruntime"], "CoreML is there on macOS only"),
    ],
)
def test_a_provider_that_the_build_lacks(asked: str, builds: list[str], command: str) -> None:
    with pytest.raises(BackendError) as error:
        choose_provider(asked, ["AzureExecutionProvider", CPU], builds=builds)
    assert f"provider {asked} ({PROVIDERS[asked]}) was asked for" in str(error.value)
    assert f"{builds[0]} has only AzureExecutionProvider, {CPU}: {command}" in str(error.value)


def test_an_unknown_provider() -> None:
    with pytest.raises(BackendError, match="'tpu' is unknown; choose auto, cpu, cuda, tensorrt"):
        choose_provider("tpu", [CPU])


def test_no_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert runtime_builds() == {}
    with pytest.raises(BackendError, match=r"pip install 'emlb\[cpu\]'"):
        import_onnxruntime()


@pytest.mark.parametrize(
    ("wheels", "kept", "install"),
    [
        (["onnxruntime-1.30.0", "onnxruntime_gpu-1.31.1"], "onnxruntime-gpu", "'emlb[gpu]'"),
        (
            *(["onnxruntime-1.30.0", "onnxruntime_openvino-1.24.1"], "onnxruntime-openvino"),
            "onnxruntime-openvino",
        ),
    ],
)
def test_two_builds_of_onnxruntime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wheels: list[str], kept: str, install: str
) -> None:
    for name in (*wheels, "onnxruntime_extensions-1.0", "onnxruntime_ep_openvino-1.8.1"):
        (tmp_path / f"{name}.dist-info").mkdir()
    found = installed_builds(tmp_path)
    assert found == {"onnxruntime": "1.30.0", kept: wheels[1].split("-")[1]}
    monkeypatch.setattr(providers, "installed_builds", lambda folder: found)
    with pytest.raises(BackendError) as error:
        import_onnxruntime()
    assert f"onnxruntime and {kept} are both installed" in str(error.value)
    assert f"to keep {kept}, remove onnxruntime: " in str(error.value)
    assert f"pip uninstall -y onnxruntime {kept} && pip install {install}" in str(error.value)


def test_one_build_is_found() -> None:
    ((name, version),) = runtime_builds().items()
    assert name in providers.BUILDS
    assert version == import_onnxruntime().__version__


def test_what_preloading_could_not_load() -> None:
    assert parse_preload(PRINTED) == ["libcublasLt.so.13", "libcurand.so.10", "cudart64_13.dll"]
    assert parse_preload("") == []


def test_cuda_without_its_libraries(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(providers, "_DRIVER", "libno-such-driver.so.1")
    libraries, driver = what_is_missing(CUDA, Runtime())
    assert libraries.startswith("libcublasLt.so.13, libcurand.so.10, ")
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]'" in libraries
    assert driver.startswith("the NVIDIA driver, libno-such-driver.so.1 (")
    assert capsys.readouterr().out == ""


def test_tensorrt_without_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "_TENSORRT", ("libno-such-infer.so.10",))
    monkeypatch.setattr(providers, "_ask_driver", lambda: "")
    _, tensorrt = what_is_missing(TENSORRT, Runtime())
    assert tensorrt == "libno-such-infer.so.10 (pip install tensorrt-cu13)"


@pytest.mark.parametrize(
    ("status", "devices", "usable"), [(0, 1, True), (0, 0, False), (100, 1, False)]
)
def test_a_driver_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch, status: int, devices: int, usable: bool
) -> None:
    class Driver:
        def cuInit(self, flags: int) -> int:
            return status

        def cuDeviceGetCount(self, count: object) -> int:
            count._obj.value = devices  # type: ignore[attr-defined]
            return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
    missing = what_is_missing(CUDA, object())
    assert missing == [] if usable else "a GPU that the NVIDIA driver can use" in missing[0]


@pytest.mark.parametrize("provider", [CPU, PROVIDERS["openvino"], PROVIDERS["coreml"]])
def test_others_need_nothing_that_is_known(provider: str) -> None:
    assert what_is_missing(provider, Runtime()) == []
