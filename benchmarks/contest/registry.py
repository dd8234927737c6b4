"""The contestants: what each is, and which function makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .records import ContestantError


@dataclass(frozen=True)
class Entry:
    """A contestant before it is loaded.

    Attributes:
        module: of this package, that makes it; imported in the contestant's own process.
        maker: a function there.
        what: what it does, for the table.
        options: for the maker.
        packages: whose versions are told, the first being the one that makes it a contestant.
        is_ours: whether it needs EMLB, and so runs with the Python of the benchmark.
    """

    module: str
    maker: str
    what: str
    options: Mapping[str, Any] = field(default_factory=dict)
    packages: tuple[str, ...] = ("onnxruntime",)
    is_ours: bool = False


_PIPELINE = "files to JSON lines"
_RANDOM = "same encoder, random head"
_HF = ("transformers", "torch", "tokenizers")
_ORT = ("optimum-onnx", "optimum", "onnxruntime", "transformers", "torch")

CONTESTANTS: dict[str, Entry] = {
    "emlb-int8": Entry(
        "ours",
        "make_pipeline",
        f"EMLB int8, {_PIPELINE}: entities and relations",
        {"precision": "int8"},
        is_ours=True,
    ),
    "emlb-int8-entities": Entry(
        "ours",
        "make_pipeline",
        f"EMLB int8, {_PIPELINE}: entities alone",
        {"precision": "int8", "relations": False},
        is_ours=True,
    ),
    "emlb-fp32": Entry(
        "ours",
        "make_pipeline",
        f"EMLB fp32, {_PIPELINE}: entities and relations",
        {"precision": "fp32"},
        is_ours=True,
    ),
    "emlb-fp32-entities": Entry(
        "ours",
        "make_pipeline",
        f"EMLB fp32, {_PIPELINE}: entities alone",
        {"precision": "fp32", "relations": False},
        is_ours=True,
    ),
    "emlb-openvino": Entry(
        "ours",
        "make_pipeline",
        f"EMLB on OpenVINO, {_PIPELINE}: entities and relations",
        {"provider": "openvino"},
        ("onnxruntime-openvino",),
        is_ours=True,
    ),
    "bare-networks": Entry(
        "ours",
        "make_networks",
        "EMLB's networks alone, int8, on the pipeline's own windows",
        {"precision": "int8"},
        is_ours=True,
    ),
    "bare-session": Entry(
        "ours",
        "make_session",
        "EMLB's encoder alone, int8, windows of the best shape",
        {"precision": "int8"},
        is_ours=True,
    ),
    "transformers": Entry(
        "hugging_face",
        "make_transformers",
        f"transformers pipeline in torch, {_RANDOM}",
        packages=_HF,
    ),
    "optimum-fp32": Entry(
        "hugging_face",
        "make_optimum",
        f"optimum's ORT pipeline, {_RANDOM}",
        {"quantized": False},
        _ORT,
    ),
    "optimum-int8": Entry(
        "hugging_face",
        "make_optimum",
        f"optimum's ORT pipeline, dynamic int8, {_RANDOM}",
        {"quantized": True},
        _ORT,
    ),
    "spacy": Entry(
        "spacy_cnn",
        "make_spacy",
        "spaCy's default CNN for entities, briefly trained",
        packages=("spacy", "thinc", "numpy"),
    ),
    "gliner": Entry(
        "gliner_onnx",
        "make_gliner",
        "GLiNER small (v2.1's sizes), ONNX, random weights",
        packages=("gliner", "onnxruntime", "transformers", "torch"),
    ),
}

PEERS = "peers"
"""In ``NAME=PYTHON``, all contestants that are not EMLB's."""


def choose(only: str, without: str) -> list[str]:
    """The contestants asked for, in the table's order.

    Args:
        only: names separated by commas; empty for all.
        without: names to leave out, likewise.

    Raises:
        ContestantError: if a name is unknown, or none is left.
    """
    wanted = _names(only) or list(CONTESTANTS)
    unwanted = _names(without)
    chosen = [name for name in CONTESTANTS if name in wanted and name not in unwanted]
    if not chosen:
        raise ContestantError("no contestant is left; leave out --only or --without")
    return chosen


def pythons(given: Sequence[str], *, default: str) -> dict[str, str]:
    """Which Python runs which contestant.

    Args:
        given: of the form ``NAME=PYTHON``; a contestant's own entry goes before ``peers``.
        default: for whom none is given.

    Raises:
        ContestantError: if a name is unknown or an entry has another form.
    """
    named: dict[str, str] = {}
    for entry in given:
        name, equals, python = entry.partition("=")
        if not equals or not python:
            raise ContestantError(f"--python {entry}: give NAME=PYTHON")
        if name != PEERS:
            _names(name)
        named[name] = python
    return {
        name: named.get(name, default if entry.is_ours else named.get(PEERS, default))
        for name, entry in CONTESTANTS.items()
    }


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in CONTESTANTS:
            known = ", ".join(CONTESTANTS)
            raise ContestantError(f"there is no contestant {name}; there are {known}")
    return names
