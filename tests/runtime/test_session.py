"""The provider asked for is the provider used, or there is an error that says what to do."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from emlb_runtime import session
from emlb_runtime.errors import BackendError, BundleError
from emlb_runtime.session import (
    choose_provider,
    import_onnxruntime,
    installed_builds,
    open_session,
)

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def test_choice() -> None:
    assert choose_provider("auto", [CPU]) == CPU
    assert choose_provider("auto", [CUDA, CPU]) == CUDA
    assert choose_provider("cpu", [CUDA, CPU]) == CPU
    assert choose_provider("cuda", [CUDA, CPU]) == CUDA


def test_a_provider_that_is_not_there() -> None:
    with pytest.raises(BackendError, match=r"only CPUExecutionProvider: install emlb\[gpu\]"):
        choose_provider("cuda", [CPU])


def test_an_unknown_provider() -> None:
    with pytest.raises(BackendError, match="'tpu' is unknown; choose auto, cpu, cuda"):
        choose_provider("tpu", [CPU])


def test_no_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"pip install 'emlb\[cpu\]'"):
        import_onnxruntime()


def test_two_builds_of_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnxruntime-1.30.0", "onnxruntime_gpu-1.30.0", "onnxruntime_extensions-1.0"):
        (tmp_path / f"{name}.dist-info").mkdir()
    assert installed_builds(tmp_path) == {"onnxruntime", "onnxruntime_gpu"}
    monkeypatch.setattr(session, "installed_builds", lambda folder: installed_builds(tmp_path))
    with pytest.raises(BackendError, match="overwrite each other"):
        import_onnxruntime()


def test_one_build_is_found() -> None:
    import onnxruntime

    assert len(installed_builds(Path(onnxruntime.__file__).parent.parent)) == 1


def test_a_model_that_is_none() -> None:
    with pytest.raises(BundleError, match=r"encoder\.onnx: ONNX Runtime cannot load it"):
        open_session(b"no model", CPU, threads=1, name="encoder.onnx")


def test_a_silent_fallback_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fallen:
        def get_providers(self) -> list[str]:
            return [CPU]

    class Runtime:
        class SessionOptions:
            pass

        class GraphOptimizationLevel:
            ORT_DISABLE_ALL = 0

        @staticmethod
        def InferenceSession(*args: object, **kwargs: object) -> Fallen:
            return Fallen()

    monkeypatch.setattr(session, "import_onnxruntime", lambda: Runtime)
    with pytest.raises(BackendError, match="CUDAExecutionProvider was asked for"):
        open_session(b"", CUDA, threads=1, name="encoder.onnx")
