"""Whether int8 has the same sums, and so the same triples, on every kind of processor.

    python benchmarks/exactness.py NOTES … [--model BUNDLE] [--limit 200]

The notes are extracted four ways with the same weights: by ONNX Runtime's products of unsigned
activations and signed weights (`u8s8`) and of unsigned weights (`u8u8`), by an emulation in
double precision, whose sums of whole numbers are exact on any machine, and by `fp32` for
comparison. Beside each 8-bit product its 32-bit sums are compared with the emulated ones.
Without VNNI or its like, `u8s8` is expected to differ: that is why it is not used there.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.extract import load_pipeline
from emlb_runtime.formats.notes import find_notes, read_notes
from emlb_runtime.inference.arithmetic import PRODUCTS, Products, self_test
from emlb_runtime.inference.onnx_backend import OnnxBackend, open_session
from emlb_runtime.inference.providers import PROVIDERS
from emlb_runtime.machine.info import available_cores, read_machine
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.records import Document, Note

PRODUCT = "MatMulIntegerToFloat"
EQUAL, SIZE = "_sums_equal", "_sums_size"


@dataclass
class Sums:
    """The 32-bit sums of products that were compared with emulated ones.

    Attributes:
        products: how many were compared.
        unequal: those of which any sum differs.
        largest: the largest size of a sum.
    """

    products: int = 0
    unequal: int = 0
    largest: int = 0
    lock: Any = field(default_factory=threading.Lock, repr=False)

    def add(self, equal: Sequence[bool], sizes: Sequence[float]) -> None:
        """Count one run's products."""
        with self.lock:
            self.products += len(equal)
            self.unequal += sum(not each for each in equal)
            self.largest = max(self.largest, int(max(sizes, default=0)))


class Watched:
    """A session whose graph compares its sums, for ``OnnxBackend``.

    Args:
        session: of ``watch``'s graph.
        sums: that are added to.
    """

    def __init__(self, session: Any, sums: Sums) -> None:
        self._session, self._sums = session, sums
        names = [output.name for output in session.get_outputs()]
        self._extra = [name for name in names if name.endswith((EQUAL, SIZE))]

    def get_outputs(self) -> list[Any]:
        """The outputs of the graph as it was."""
        return [each for each in self._session.get_outputs() if each.name not in self._extra]

    def get_providers(self) -> list[str]:
        """See ``InferenceSession``."""
        found: list[str] = self._session.get_providers()
        return found

    def run(self, names: Sequence[str], inputs: Mapping[str, Any]) -> list[Any]:
        """The named outputs."""
        values = self._session.run([*names, *self._extra], inputs)
        extra = dict(zip(self._extra, values[len(names) :], strict=True))
        self._sums.add(
            [bool(value) for name, value in extra.items() if name.endswith(EQUAL)],
            [float(value) for name, value in extra.items() if name.endswith(SIZE)],
        )
        found: list[Any] = values[: len(names)]
        return found


def emulate(graph: bytes) -> bytes:
    """A copy of an int8 graph whose products are sums of whole numbers in double precision."""
    return _rewrite(graph, lambda node: [*_emulated(node), *_scaled(node)], [])


def watch(graph: bytes) -> bytes:
    """A copy of an int8 graph that also compares each product's 32-bit sums with emulated ones."""
    return _rewrite(graph, lambda node: [node, *_emulated(node), *_compared(node)], [EQUAL, SIZE])


def _rewrite(graph: bytes, write: Any, outputs: Sequence[str]) -> bytes:
    model = onnx.load_from_string(graph)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        is_product = node.op_type == PRODUCT
        model.graph.node.extend(write(node) if is_product else [node])
        if is_product:
            named = [f"{node.output[0]}{ending}" for ending in outputs]
            model.graph.output.extend(ValueInfoProto(name=name) for name in named)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((), np.float64), "nothing"))
    return model.SerializeToString()


def _emulated(node: NodeProto) -> list[NodeProto]:
    """Sums in double precision, exact below 2^53: ``OUT_emulated``."""
    out = node.output[0]
    sides = []
    for name, zero, side in (
        (node.input[0], node.input[4], "left"),
        (node.input[1], node.input[5], "right"),
    ):
        wide = f"{out}_{side}"
        sides.append(helper.make_node("Cast", [name], [f"{wide}_levels"], to=TensorProto.DOUBLE))
        off = "nothing"
        if zero:
            off = f"{wide}_zero"
            sides.append(helper.make_node("Cast", [zero], [off], to=TensorProto.DOUBLE))
        sides.append(helper.make_node("Sub", [f"{wide}_levels", off], [wide]))
    product = helper.make_node("MatMul", [f"{out}_left", f"{out}_right"], [f"{out}_emulated"])
    return [*sides, product]


def _scaled(node: NodeProto) -> list[NodeProto]:
    """What the product gives, of emulated sums; the scale of activations is one."""
    out = node.output[0]
    return [
        helper.make_node("Cast", [f"{out}_emulated"], [f"{out}_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{out}_float", node.input[3]], [out]),
    ]


def _compared(node: NodeProto) -> list[NodeProto]:
    """Whether the sums of ``MatMulInteger``, of the same kernels, are the emulated ones."""
    out = node.output[0]
    sides = [node.input[0], node.input[1], node.input[4], node.input[5]]
    return [
        helper.make_node("MatMulInteger", sides, [f"{out}_sums"]),
        helper.make_node("Cast", [f"{out}_sums"], [f"{out}_wide"], to=TensorProto.DOUBLE),
        helper.make_node("Sub", [f"{out}_wide", f"{out}_emulated"], [f"{out}_off"]),
        helper.make_node("Abs", [f"{out}_off"], [f"{out}_off_size"]),
        helper.make_node("ReduceSum", [f"{out}_off_size"], [f"{out}_off_sum"], keepdims=0),
        helper.make_node("Equal", [f"{out}_off_sum", "nothing"], [f"{out}{EQUAL}"]),
        helper.make_node("Abs", [f"{out}_emulated"], [f"{out}_sizes"]),
        # An empty product has a size too.
        helper.make_node("ReduceSum", [f"{out}_sizes"], [f"{out}_size_sum"], keepdims=0),
        helper.make_node("ReduceMax", [f"{out}_sizes"], [f"{out}{SIZE}"], keepdims=0),
    ]


def open_way(bundle: Bundle, way: str) -> tuple[Pipeline, Sums]:
    """A pipeline of one way to compute int8, and the sums that it compares as it runs.

    Args:
        bundle: of format 4, with int8.
        way: ``u8s8``, ``u8u8`` or ``emulated``.
    """
    pipeline = load_pipeline(bundle, precision="int8", products="u8s8")
    products: Products = "u8u8" if way == "u8u8" else "u8s8"
    contents, config, sums = bundle.contents("int8"), bundle.config, Sums()
    change = emulate if way == "emulated" else watch

    def opened(name: str, graph: bytes) -> Watched:
        whole = change(contents.given[name].whole(graph, products))
        return Watched(open_session(whole, PROVIDERS["cpu"], threads=1, name=name), sums)

    pipeline.backend = OnnxBackend(
        opened(config.encoders["int8"], contents.encoder),
        {
            task: opened(name, contents.relations[task])
            for task, name in config.relations_of("int8").items()
        },
        provider=PROVIDERS["cpu"],
        precision="int8",
    )
    return pipeline, sums


Found = dict[tuple[Any, ...], float]


def found_in(documents: Sequence[Document]) -> Found:
    """All entities and triples of some documents, and their scores."""
    found: Found = {}
    for document in documents:
        where = {entity.id: (entity.type, entity.start, entity.end) for entity in document.entities}
        name = document.note.name
        for entity in document.entities:
            found[name, entity.task, *where[entity.id]] = entity.score or 0.0
        for each in document.relations:
            key = (name, each.task, each.type, where[each.head], where[each.tail])
            found[key] = each.score or 0.0
    return found


def differences(one: Found, other: Found) -> tuple[int, float]:
    """How many entities and triples only one has, and the largest difference of scores."""
    shared = one.keys() & other.keys()
    return len(one.keys() ^ other.keys()), max((abs(one[k] - other[k]) for k in shared), default=0)


def extract(pipeline: Pipeline, notes: Sequence[Note]) -> Found:
    """What a pipeline finds, notes spread over the cores."""
    with ThreadPoolExecutor(available_cores()) as pool:
        return found_in(
            [document for note in notes for document in pipeline.run([note], executor=pool)]
        )


def compare(bundle: Bundle, notes: Sequence[Note]) -> dict[str, Any]:
    """Every way beside the emulation: sums and triples that differ; JSON-ready."""
    ways: dict[str, Any] = {}
    emulated = extract(open_way(bundle, "emulated")[0], notes)
    for kind in PRODUCTS:
        pipeline, sums = open_way(bundle, kind)
        differing, off = differences(extract(pipeline, notes), emulated)
        ways[kind] = {
            "self_test": "passes" if self_test(kind) else "fails",
            "products": sums.products,
            "products_unequal": sums.unequal,
            "largest_sum": sums.largest,
            "differing": differing,
            "largest_score_difference": off,
        }
    fp32 = extract(load_pipeline(bundle, precision="fp32"), notes)
    differing, off = differences(fp32, emulated)
    ways["fp32"] = {"differing": differing, "largest_score_difference": off}
    return {"notes": len(notes), "found": len(emulated), "ways": ways}


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notes", nargs="+")
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--limit", type=int, default=200)
    options = parser.parse_args()
    read = (item for item in read_notes(find_notes(options.notes)) if isinstance(item, Note))
    notes = list(islice(read, options.limit))
    compared = compare(Bundle.load(options.model), notes)
    compared["machine"] = asdict(read_machine())
    json.dump(compared, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
