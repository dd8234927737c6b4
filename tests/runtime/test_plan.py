"""How a bundle will run: nothing is chosen in silence, and what cannot be had is an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from emlb_runtime.bundle.loader import Bundle, BundleConfig
from emlb_runtime.errors import BackendError
from emlb_runtime.extraction import session_plan as plan
from emlb_runtime.extraction.session_plan import GPU_BATCH, make_plan
from emlb_runtime.inference import arithmetic
from emlb_runtime.inference.providers import PROVIDERS

CPU, CUDA, OPENVINO = PROVIDERS["cpu"], PROVIDERS["cuda"], PROVIDERS["openvino"]

Offer = Callable[..., None]


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Pretend that an installed build has these providers, and what they lack."""

    def pretend(*available: str, missing: Mapping[str, list[str]] | None = None) -> None:
        class Runtime:
            @staticmethod
            def get_available_providers() -> list[str]:
                return [*available, CPU]

        lacks = missing or {}
        monkeypatch.setattr(plan, "import_onnxruntime", lambda: Runtime)
        monkeypatch.setattr(plan, "what_is_missing", lambda name, runtime: lacks.get(name, []))
        monkeypatch.setattr(plan, "self_test", lambda kind: True)
        monkeypatch.setattr(arithmetic, "self_test", lambda kind: True)
        monkeypatch.setattr(plan, "available_cores", lambda: 6)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    pretend()
    return pretend


@pytest.fixture(scope="module")
def config() -> BundleConfig:
    """A bundle with encoders of three precisions, int8 the default."""
    names = {"int8": "i.onnx", "fp16": "h.onnx", "fp32": "f.onnx"}
    return replace(Bundle.load().config, encoders=names, default_precision="int8")


@pytest.fixture(scope="module")
def small(config: BundleConfig) -> BundleConfig:
    """The same with int8 alone."""
    return replace(config, encoders={"int8": "i.onnx"})


def test_omp_num_threads_bounds_the_default_alone(
    offer: Offer, config: BundleConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    made = make_plan(config, provider="cpu")
    assert (made.workers, made.notes) == (2, ("workers: 2 of 6, as OMP_NUM_THREADS says",))
    made = make_plan(config, provider="cpu", workers=5)
    assert (made.workers, made.notes) == (5, ())
    monkeypatch.setenv("OMP_NUM_THREADS", "48")
    made = make_plan(config, provider="cpu")
    assert (made.workers, made.notes) == (6, ())


def test_on_a_cpu(offer: Offer, config: BundleConfig) -> None:
    for asked in ("auto", "cpu"):
        made = make_plan(config, provider=asked)
        assert (made.asked, made.provider, made.relations_provider) == (asked, CPU, CPU)
        assert (made.precision, made.workers, made.batch, made.notes) == ("int8", 6, 1, ())


def test_options_are_obeyed(offer: Offer, config: BundleConfig) -> None:
    made = make_plan(config, provider="cpu", precision="fp32", workers=3, batch=5)
    assert (made.precision, made.workers, made.batch) == ("fp32", 3, 5)


@pytest.mark.parametrize("asked", ["auto", "cuda"])
def test_on_a_gpu(offer: Offer, config: BundleConfig, asked: str) -> None:
    offer(CUDA)
    made = make_plan(config, provider=asked)
    assert (made.asked, made.provider, made.relations_provider) == (asked, CUDA, CUDA)
    assert (made.precision, made.workers, made.batch) == ("fp16", 1, GPU_BATCH)
    without = {"int8": "i.onnx", "fp32": "f.onnx"}
    assert make_plan(replace(config, encoders=without), provider=asked).precision == "fp32"


def test_auto_says_why_it_leaves_a_gpu_alone(
    offer: Offer, config: BundleConfig, small: BundleConfig
) -> None:
    offer(CUDA, missing={CUDA: ["libcublas.so.13 (pip install it)", "a driver"]})
    made = make_plan(config)
    assert made.provider == CPU
    (note,) = made.notes
    assert note == (
        "auto took the CPU: for CUDA this machine lacks libcublas.so.13 (pip install it); a driver"
    )
    offer(CUDA)
    assert "wants an fp16 or fp32 encoder, and this is int8" in make_plan(small).notes[0]
    assert "and this is int8" in make_plan(config, precision="int8").notes[0]
    assert make_plan(config, precision="fp32").provider == CUDA


def test_what_was_asked_for_and_cannot_run_is_an_error(offer: Offer, config: BundleConfig) -> None:
    offer(CUDA, OPENVINO, missing={CUDA: ["the NVIDIA driver, libcuda.so.1"]})
    with pytest.raises(BackendError) as error:
        make_plan(config, provider="cuda")
    assert "provider cuda was asked for, but this machine lacks the NVIDIA driver" in str(
        error.value
    )
    assert str(error.value).endswith("Available: openvino, cpu")
    with pytest.raises(BackendError, match="'tpu' is unknown"):
        make_plan(config, provider="tpu")


def test_openvino_says_where_the_relation_heads_run(offer: Offer, config: BundleConfig) -> None:
    offer(OPENVINO)
    made = make_plan(config, provider="openvino")
    assert (made.provider, made.relations_provider, made.workers) == (OPENVINO, CPU, 6)
    assert made.notes == (f"the relation heads run on {CPU}: OpenVINO cannot compile them",)
    assert make_plan(config).provider == CPU  # nothing but CUDA is taken unasked


def fail_self_tests(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> None:
    """Pretend that these kinds of 8-bit products overflow here."""
    for module in (plan, arithmetic):
        monkeypatch.setattr(module, "self_test", lambda kind: kind not in kinds)


def test_weights_are_unsigned_where_signed_ones_overflow(
    offer: Offer, config: BundleConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make_plan(config).products == "u8s8"
    assert make_plan(config, precision="fp32").products is None
    fail_self_tests(monkeypatch, "u8s8")
    made = make_plan(config)
    assert (made.precision, made.products, made.notes) == ("int8", "u8u8", ())


def test_fp32_is_taken_and_said_where_no_int8_is_exact(
    offer: Offer, config: BundleConfig, small: BundleConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_self_tests(monkeypatch, "u8s8", "u8u8")
    made = make_plan(config)
    assert (made.precision, made.products) == ("fp32", None)
    assert made.notes == ("fp32 in place of int8, whose products are not exact on this processor",)
    for asked in ((config, "int8"), (small, None)):
        with pytest.raises(BackendError, match="self-test .* fails .*: use --precision fp32"):
            make_plan(asked[0], precision=asked[1])


def test_bundles_whose_graphs_hold_their_weights_need_exact_signed_products(
    offer: Offer, config: BundleConfig, small: BundleConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, old_small = replace(config, weights=None), replace(small, weights=None)
    assert make_plan(old_small).products == "u8s8"
    fail_self_tests(monkeypatch, "u8s8")
    assert make_plan(old).precision == "fp32" and make_plan(old).notes
    with pytest.raises(BackendError, match="choose --precision fp32, or export the model again"):
        make_plan(old, precision="int8")
    with pytest.raises(BackendError, match="overflow: export the model again, as a bundle of"):
        make_plan(old_small)
