"""Weights that are kept once: what graphs make of them, and files that are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.bundle.state import read_state
from emlb_runtime.errors import BundleError
from emlb_runtime.extract import Extractor, load_pipeline
from emlb_runtime.inference.weights import ZERO, Weights
from tests.runtime.hostile import seal

Arrays = dict[str, np.ndarray]


@pytest.fixture
def arrays() -> Arrays:
    """A matrix and a table as levels, a matrix and a bias as floats."""
    rng = np.random.default_rng(3)
    return {
        "m.T.levels": rng.integers(-127, 128, (6, 4), dtype=np.int8),
        "m.T.scales": rng.random(4, dtype=np.float32) + 0.01,
        "table.levels": rng.integers(-127, 128, (9, 5), dtype=np.int8),
        "table.scales": rng.random((9, 1), dtype=np.float32) + 0.01,
        "f.T": rng.random((3, 2), dtype=np.float32),
        "bias": rng.random(4).astype(np.float16),
    }


def test_each_graph_gets_what_it_reads(arrays: Arrays) -> None:
    weights = Weights(save(arrays))
    for name in ("m.T", "table"):
        levels, scales = arrays[f"{name}.levels"], arrays[f"{name}.scales"]
        np.testing.assert_array_equal(weights.value(f"{name}.levels"), levels)
        product = levels.astype(np.float32) * scales
        np.testing.assert_array_equal(weights.value(name), product)
        assert weights.value(name).dtype == np.float32
        half = weights.value(f"{name}.half")
        np.testing.assert_array_equal(half, product.astype(np.float16))
        assert half.dtype == np.float16
        assert weights.shapes[name] == weights.shapes[f"{name}.half"] == levels.shape
    assert weights.value("bias").dtype == np.float32
    assert weights.value("bias.half").dtype == np.float16
    np.testing.assert_array_equal(weights.value("f.T"), arrays["f.T"])
    assert "f.T.scales" not in weights.shapes


def test_what_is_stored_as_it_is_needed_is_not_copied(arrays: Arrays) -> None:
    data = save(arrays)
    weights, memory = Weights(data), np.frombuffer(data, np.uint8)
    for name in ("m.T.levels", "m.T.scales", "table.levels", "f.T"):
        assert np.shares_memory(weights.value(name), memory), name


def test_matrices_of_products_become_unsigned_and_tables_do_not(arrays: Arrays) -> None:
    weights = Weights(save(arrays))
    raised = weights.value("m.T.levels", "u8u8")
    assert raised.dtype == np.uint8
    np.testing.assert_array_equal(raised.astype(int) - 128, arrays["m.T.levels"])
    np.testing.assert_array_equal(weights.value("table.levels", "u8u8"), arrays["table.levels"])
    assert weights.value(ZERO, "u8u8") == 128 and weights.value(ZERO) == 0


Spoil = Callable[[Arrays], object]
SPOILT: dict[str, tuple[Spoil, str]] = {
    "NaN": (lambda a: a["f.T"].__setitem__((0, 0), np.nan), "NaN"),
    "infinite scale": (lambda a: a["m.T.scales"].__setitem__(0, np.inf), "infinity"),
    "scale of nothing": (lambda a: a["table.scales"].__setitem__(0, 0.0), "no scale"),
    "negative scale": (lambda a: a["m.T.scales"].__setitem__(1, -1.0), "no scale"),
    "no scales": (lambda a: a.pop("m.T.scales"), "not int8 with fitting scales"),
    "no levels": (lambda a: a.pop("m.T.levels"), "have no levels"),
    "too few scales": (lambda a: a.update({"m.T.scales": np.ones(3, np.float32)}), "fitting"),
    "levels of floats": (lambda a: a.update({"m.T.levels": np.ones((6, 4), np.float32)}), "int8"),
    "a matrix twice": (lambda a: a.update({"m.T": np.ones((6, 4), np.float32)}), "twice"),
    "int8 without a name for it": (lambda a: a.update(x=np.ones(3, np.int8)), "has no scales"),
    "the zero itself": (lambda a: a.update({ZERO: np.ones(1, np.float32)}), "cannot be used"),
    "whole numbers": (lambda a: a.update(x=np.ones(3, np.int64)), "not one of F32, F16, I8"),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_spoilt_weights_are_refused(arrays: Arrays, fault: str) -> None:
    change, message = SPOILT[fault]
    change(arrays)
    with pytest.raises(BundleError, match=message):
        Weights(save(arrays))


@pytest.mark.parametrize("length", [0, 7, 8, 40, 200, -1])
def test_weights_cut_short_or_with_a_tail_are_refused(arrays: Arrays, length: int) -> None:
    data = save(arrays)
    for spoilt in (data[:length], data + b"tail"):
        with pytest.raises(BundleError):
            Weights(spoilt)


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle that a test may spoil."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def rewrite(folder: Path, change: Spoil) -> None:
    """Change a bundle's weights, sizes and hashes along."""
    values = {name: array.copy() for name, array in load((folder / WEIGHTS).read_bytes()).items()}
    change(values)
    (folder / WEIGHTS).write_bytes(save(values))
    seal(folder)


WEIGHTS = "weights.safetensors"


def test_a_graph_that_reads_what_is_not_there(copy: Path) -> None:
    rewrite(copy, lambda arrays: arrays.pop("encoder.embeddings.LayerNorm.bias"))
    with pytest.raises(
        BundleError, match=r"onnx: it reads '.*LayerNorm\.bias', .* nor weights\.safetensors"
    ):
        load_pipeline(Bundle.load(copy))


def test_weights_that_a_graph_holds_too(copy: Path) -> None:
    rewrite(copy, lambda arrays: arrays.update(hidden=np.ones(5, np.float32)))
    with pytest.raises(BundleError, match="holds or computes a value that the weights give"):
        load_pipeline(Bundle.load(copy))


def test_weights_of_another_shape(copy: Path) -> None:
    name = "heads.notes.emission.bias"
    rewrite(copy, lambda arrays: arrays.update({name: np.zeros(77, np.float32)}))
    note = "Amoxicillin caused a rash."
    with pytest.raises(Exception, match=r"(?i)shape|broadcast|dimension|cannot load"):
        Extractor.load(copy, provider="cpu").extract(note)


def test_altered_weights_are_refused(copy: Path) -> None:
    data = bytearray((copy / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (copy / WEIGHTS).write_bytes(bytes(data))
    with pytest.raises(BundleError, match=r"weights\.safetensors is not the file"):
        load_pipeline(Bundle.load(copy))


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_whole_graph_needs_no_weights(tiny_bundle: Path, precision: str) -> None:
    import onnxruntime

    bundle = Bundle.load(tiny_bundle)
    whole = bundle.whole(bundle.config.encoders[precision])
    session = onnxruntime.InferenceSession(whole, providers=["CPUExecutionProvider"])
    ids = np.array([[2, 7, 9, 3]])
    hidden = session.run(["hidden"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]
    ours = load_pipeline(bundle, precision=precision).backend.encode(ids, np.ones_like(ids))
    np.testing.assert_allclose(hidden, ours.hidden, atol=1e-4)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_signed_and_unsigned_weights_find_the_same(tiny_bundle: Path, precision: str) -> None:
    """To the last bit: on a processor where one of them overflows only the other runs."""
    from emlb_runtime.inference.arithmetic import PRODUCTS, self_test

    bundle = Bundle.load(tiny_bundle)
    ids = np.random.default_rng(0).integers(5, 60, (2, 33))
    found = [
        load_pipeline(bundle, precision=precision, products=kind)
        .backend.encode(ids, np.ones_like(ids))
        .hidden
        for kind in PRODUCTS
        if self_test(kind)
    ]
    for hidden in found[1:]:
        np.testing.assert_array_equal(hidden, found[0])


def test_the_default_bundle_gives_a_trainable_state() -> None:
    bundle = Bundle.load()
    state = read_state(bundle)
    assert bundle.config.architecture is not None
    encoder = bundle.config.architecture["encoder"]
    width = encoder["hidden_size"]
    assert state["encoder.embeddings.word_embeddings.weight"].shape == (
        encoder["vocab_size"],
        width,
    )
    query = state["encoder.encoder.layer.0.attention.self.query.weight"]
    assert query.shape == (width, width) and query.flags.writeable and query.flags.owndata
    assert state["encoder.encoder.layer.0.intermediate.dense.weight"].shape[1] == width
    assert "heads.clinical.crf.transitions" in state
    assert all(value.dtype == np.float32 for value in state.values())


def test_bundles_without_weights_or_architecture_start_no_training(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    config["architecture"] = None
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(BundleError, match="training cannot start from this bundle"):
        read_state(Bundle.load(copy))


def test_bundles_whose_graphs_hold_their_weights_are_read(copy: Path) -> None:
    """Format 3: int8 relation heads in place of those of floats, and no file of weights."""
    from emlb_runtime.inference.arithmetic import self_test

    onnx = pytest.importorskip("onnx")
    if not self_test("u8s8"):
        pytest.skip("signed products overflow here, and such bundles have no others")
    bundle = Bundle.load(copy)
    ids = np.array([[2, 7, 9, 3]])
    mask = np.ones_like(ids)
    wanted = load_pipeline(bundle, precision="int8").backend.encode(ids, mask).hidden
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    config["format"], config["encoders"] = 3, {"int8": "encoder_int8.onnx"}
    config["relations"] = config.pop("relations_int8")
    for name in (config["encoders"]["int8"], *config["relations"].values()):
        graph = onnx.load_from_string(bundle.whole(name))  # which states its graph in two parts
        (copy / name).write_bytes(graph.SerializeToString())
    for name in ("weights", "architecture"):
        del config[name]
    for name in (WEIGHTS, "encoder.onnx", "relations_notes.onnx"):
        (copy / name).unlink()
        del config["files"][name]
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    seal(copy)
    old = Bundle.load(copy)
    old.verify()
    assert old.config.weights is None and old.config.relations_of("int8") == old.config.relations
    found = load_pipeline(old).backend.encode(ids, mask).hidden
    np.testing.assert_array_equal(found, wanted)
    document = Extractor.load(copy, provider="cpu").extract("Amoxicillin caused a rash.")
    assert document.status is not None and document.status.precision == "int8"
    with pytest.raises(BundleError, match="training cannot start from this bundle"):
        read_state(old)
