"""Bundles that lie: one wholesome bundle, spoiled in one way each, its hashes made to fit.

onnx is imported inside the functions: collecting the tests needs none of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emlb_runtime.bundle.loader import Bundle

Spoil = Callable[[Path], object]
ENCODER, RELATIONS, CRF, TOKENIZER, WEIGHTS = (
    "encoder.onnx",
    "relations_notes.onnx",
    "crf.safetensors",
    "tokenizer.json",
    "weights.safetensors",
)
FILES_READ = ("config.json", CRF, TOKENIZER, RELATIONS, ENCODER, WEIGHTS)


@dataclass(frozen=True)
class Kind:
    """One way to lie.

    Attributes:
        spoil: changes a copy of a good bundle.
        file: that the error must name.
        reason: regular expression that it must match.
    """

    spoil: Spoil
    file: str
    reason: str


def floating(bundle: Bundle) -> str:
    """The precision whose file is ``ENCODER``; another one where the bundle lacks it."""
    config = bundle.config
    return "fp32" if "fp32" in config.encoders else config.default_precision


def seal(folder: Path) -> None:
    """Write the sizes and hashes of the files as they now are into the configuration."""
    path = folder / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    for name in values["files"]:
        data = (folder / name).read_bytes()
        values["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    path.write_text(json.dumps(values), encoding="utf-8")


def config(change: Callable[[dict[str, Any]], object]) -> Spoil:
    """Change the configuration's values."""

    def spoil(folder: Path) -> None:
        path = folder / "config.json"
        values = json.loads(path.read_text(encoding="utf-8"))
        change(values)
        path.write_text(json.dumps(values), encoding="utf-8")

    return spoil


def content(name: str, change: Callable[[bytes], bytes]) -> Spoil:
    """Change a file's bytes, and its hash with them."""

    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))
        seal(folder)

    return spoil


def model(name: str, change: Callable[[Any], object]) -> Spoil:
    """Change an ONNX file as its library's object."""

    def edit(data: bytes) -> bytes:
        import onnx

        found = onnx.load_from_string(data)
        change(found)
        return bytes(found.SerializeToString())

    return content(name, edit)


def tokenizer(change: Callable[[dict[str, Any]], object]) -> Spoil:
    """Change the tokenizer's values."""

    def edit(data: bytes) -> bytes:
        values = json.loads(data)
        change(values)
        return json.dumps(values).encode()

    return content(TOKENIZER, edit)


def scores(change: Callable[[dict[str, Any], bytearray], object]) -> Spoil:
    """Change the header and the values of the CRF's file."""

    def edit(data: bytes) -> bytes:
        size = int.from_bytes(data[:8], "little")
        header, values = json.loads(data[8 : 8 + size]), bytearray(data[8 + size :])
        change(header, values)
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + bytes(values)

    return content(CRF, edit)


# --- the disk


def _replace(name: str, make: Callable[[Path], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return spoil


def _link_inside(folder: Path) -> None:
    (folder / CRF).rename(folder / "other")
    (folder / CRF).symlink_to("other")


def _link_outside(folder: Path) -> None:
    outside = folder.parent / f"{folder.name}.outside"
    (folder / CRF).rename(outside)
    (folder / CRF).symlink_to(outside)


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _other_content(folder: Path) -> None:
    """A hard link is a file like another (package managers make them): its bytes decide."""
    outside = folder.parent / f"{folder.name}.outside"
    outside.write_bytes(bytes(len((folder / CRF).read_bytes())))
    (folder / CRF).unlink()
    os.link(outside, folder / CRF)


def _sparse(folder: Path) -> None:
    with (folder / TOKENIZER).open("r+b") as file:
        file.truncate(1 << 40)
    config(lambda v: v["files"][TOKENIZER].update(bytes=1 << 40))(folder)


def _shouted(folder: Path) -> None:
    def change(values: dict[str, Any]) -> None:
        values["files"][CRF.upper()] = values["files"][CRF]

    (folder / CRF.upper()).write_bytes((folder / CRF).read_bytes())
    config(change)(folder)


DISK = {
    "link inside": Kind(_link_inside, CRF, "symbolic link"),
    "link outside": Kind(_link_outside, CRF, "symbolic link"),
    "dangling link": Kind(_replace(CRF, lambda p: p.symlink_to("nowhere")), CRF, "symbolic link"),
    "link to a device": Kind(
        _replace(ENCODER, lambda p: p.symlink_to("/dev/zero")), ENCODER, "symbolic link"
    ),
    "linked configuration": Kind(
        _replace("config.json", lambda p: p.symlink_to("/etc/passwd")),
        "config.json",
        "symbolic link",
    ),
    "hard link": Kind(_other_content, CRF, "SHA-256 differs"),
    "pipe": Kind(_replace(ENCODER, os.mkfifo), ENCODER, "not a plain file"),
    "pipe as configuration": Kind(
        _replace("config.json", os.mkfifo), "config.json", "not a plain file"
    ),
    "socket": Kind(_replace(TOKENIZER, _socket), TOKENIZER, "not a plain file"),
    "folder": Kind(_replace(RELATIONS, Path.mkdir), RELATIONS, "not a plain file"),
    "missing": Kind(lambda f: (f / ENCODER).unlink(), ENCODER, "is missing"),
    "truncated": Kind(lambda f: os.truncate(f / ENCODER, 1000), ENCODER, "not of the size"),
    "a terabyte": Kind(_sparse, TOKENIZER, "impossible size"),
    "huge configuration": Kind(
        lambda f: os.truncate(f / "config.json", 1 << 40), "config.json", "larger than"
    ),
    "names that differ in case": Kind(_shouted, "config.json", "differ in case"),
}


# --- config.json


def _raw_config(change: Callable[[str], str]) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    return spoil


def _named(name: str) -> Spoil:
    def change(values: dict[str, Any]) -> None:
        values["files"][name] = values["files"][values["crf"]]
        values["crf"] = name

    return config(change)


def _set(*path: Any, to: Any) -> Spoil:
    def change(values: Any) -> None:
        for step in path[:-1]:
            values = values[step]
        values[path[-1]] = to

    return config(change)


def _config_kinds() -> dict[str, Kind]:
    task, deep = ("tasks", 0), "[" * 40 + "]" * 40
    changes: dict[str, tuple[Spoil, str]] = {
        "traversal": (_named("../crf.safetensors"), "not a plain file name"),
        "absolute path": (_named("/etc/passwd"), "not a plain file name"),
        "device name": (_named("nul.safetensors"), "not a plain file name"),
        "backslashes": (_named("..\\crf"), "not a plain file name"),
        "no file": (_named("crf\0"), "control characters"),
        "configuration as file": (_named("Config.JSON"), "not a plain file name"),
        "trailing dot": (_named("crf."), "not a plain file name"),
        "a file for two things": (_set("crf", to=TOKENIZER), "one file for two things"),
        "future format": (_set("format", to=99), "format version"),
        "format true": (_set("format", to=True), "format version"),
        "huge window": (_set("windows", "max_pieces", to=1 << 40), "max_pieces"),
        "window as text": (_set("windows", "max_pieces", to="64"), "max_pieces"),
        "overlap beyond a window": (_set("windows", "overlap", to=60), "overlap"),
        "negative overlap": (_set("windows", "overlap", to=-1), "overlap"),
        "third window number": (_set("windows", "stride", to=1), "unknown members"),
        "threshold above one": (_set(*task, "thresholds", "Treats", to=1.5), "threshold"),
        "threshold as text": (_set(*task, "thresholds", "Treats", to="0.5"), "threshold"),
        "infinite number": (
            _raw_config(lambda t: t.replace('"scores": {', '"scores": {"x": 1e999, ', 1)),
            "infinite",
        ),
        "not a number": (_set("scores", to={"f1": float("nan")}), "NaN"),
        "special token of no piece": (_set("special", "pad", to=-1), "special.pad"),
        "width of zero": (_set("width", to=0), "impossible width"),
        "no tasks": (_set("tasks", to=[]), "no task"),
        "too many types": (
            _set(*task, "entity_types", to=[f"t{n}" for n in range(5000)]),
            "list of up to",
        ),
        "path as task": (_set(*task, "name", to="../../task"), "task name"),
        "line breaks in a type": (_set(*task, "entity_types", 0, to="a\nb"), "printable"),
        "terminal escapes": (_set("description", to="\x1b[2Jgone"), "control characters"),
        "turned text": (_set("name", to="a\u202egpj.exe"), "control characters"),
        "lone surrogate": (_set("provenance", to={"base": "\ud800"}), "surrogates"),
        "nested": (_raw_config(lambda t: t.replace("{", f'{{"x": {deep}, ', 1)), "nested"),
        "nested beyond the stack": (_raw_config(lambda t: "[" * 400_000), "nested|values"),
        "repeated member": (
            _raw_config(lambda t: t.replace("{", '{"crf": "other", ', 1)),
            "names a member twice",
        ),
        "unknown member": (_set("on_load", to="curl"), "unknown members"),
        "unknown member of a task": (_set(*task, "script", to="x"), "unknown members"),
        "empty": (_raw_config(lambda t: ""), "valid JSON"),
        "another encoding": (
            lambda f: (f / "config.json").write_bytes(b"\xff\xfe{}"),
            "valid JSON",
        ),
        "hash of another shape": (_set("files", CRF, "sha256", to="00"), "size or hash"),
        "size as text": (_set("files", CRF, "bytes", to="356"), "size or hash"),
    }
    return {name: Kind(spoil, "config.json", reason) for name, (spoil, reason) in changes.items()}


# --- safetensors and the tokenizer


def _number(place: int, value: float) -> Spoil:
    return scores(lambda header, values: struct.pack_into("<f", values, 4 * place, value))


def _not_a_number(data: bytes) -> bytes:
    """A safetensors file whose first number is none; floats lie first."""
    start = 8 + int.from_bytes(data[:8], "little")
    return data[:start] + struct.pack("<f", float("nan")) + data[start + 4 :]


def _first(header: dict[str, Any], **changes: Any) -> None:
    next(iter(header.values())).update(changes)


def _file_kinds() -> dict[str, Kind]:
    crf: dict[str, tuple[Spoil, str]] = {
        "header beyond the file": (
            content(CRF, lambda d: b"\xff" * 7 + b"\x7f" + d[8:]),
            "impossible length",
        ),
        "header of a gigabyte": (
            content(CRF, lambda d: (1 << 30).to_bytes(8, "little") + d[8:]),
            "impossible length",
        ),
        "scores cut short": (content(CRF, lambda d: d[:-4]), "cut short|missing"),
        "scores with a tail": (content(CRF, lambda d: d + b"MZ" * 8), "holds more"),
        "pickle for safetensors": (
            content(CRF, lambda d: b"\x80\x04cos\nsystem\n" + d),
            "impossible length",
        ),
        "scores NaN": (_number(0, float("nan")), "no number of sensible size"),
        "scores infinite": (_number(3, float("-inf")), "no number of sensible size"),
        "scores huge": (_number(7, 3e38), "no number of sensible size"),
        "scores overlap": (scores(lambda h, v: _first(h, data_offsets=[4, 24])), "overlap"),
        "scores in half": (scores(lambda h, v: _first(h, dtype="F16")), "described as F32"),
        "scores of another shape": (scores(lambda h, v: _first(h, shape=[1 << 40])), "the tasks"),
        "scores of negative extent": (scores(lambda h, v: _first(h, data_offsets=[20, 0])), "fit"),
        "scores of another task": (scores(lambda h, v: h.update(x=h.popitem()[1])), "of others"),
    }
    pieces: dict[str, tuple[Spoil, str]] = {
        "no tokenizer": (content(TOKENIZER, lambda d: b"[1, 2]"), "not a JSON object"),
        "tokenizer cut short": (content(TOKENIZER, lambda d: d[:-9]), "valid JSON"),
        "nested tokenizer": (content(TOKENIZER, lambda d: b"[" * 500_000), "nested"),
        "tokenizer of brackets": (
            content(TOKENIZER, lambda d: b"[" + b"[]," * 13_000_000 + b"[]]"),
            "more than",
        ),
        "piece beyond the table": (
            tokenizer(lambda v: v["model"]["vocab"].update(fever=10_000_000)),
            "has piece 10000000",
        ),
        "added token beyond the table": (
            tokenizer(lambda v: v["added_tokens"][0].update(id=1 << 62)),
            "table has",
        ),
        "negative piece": (tokenizer(lambda v: v["model"]["vocab"].update(fever=-1)), "no whole"),
        "piece as text": (tokenizer(lambda v: v["model"]["vocab"].update(fever="7")), "no whole"),
        "no vocabulary": (tokenizer(lambda v: v["model"].update(vocab={})), "vocabulary"),
        "no unknown token": (tokenizer(lambda v: v["model"].update(unk_token="?")), "unknown"),
        "pieces dropped at random": (tokenizer(lambda v: v["model"].update(dropout=0.5)), "random"),
        "special token not there": (_set("special", "cls", to=100_000), "special tokens"),
    }
    weights: dict[str, tuple[Spoil, str]] = {
        "weights cut short": (content(WEIGHTS, lambda d: d[:-4]), "cut short"),
        "weights with a tail": (content(WEIGHTS, lambda d: d + b"MZ"), "holds more"),
        "pickle for weights": (
            content(WEIGHTS, lambda d: b"\x80\x04cos\nsystem\n" + d),
            "impossible length",
        ),
        "weights that overlap": (
            content(WEIGHTS, lambda d: d.replace(b"[0,", b"[4,", 1)),
            "do not fit|overlap",
        ),
        "weights of texts": (content(WEIGHTS, lambda d: d.replace(b'"F32"', b'"STR"', 1)), "F32"),
        "weights NaN": (content(WEIGHTS, _not_a_number), "NaN"),
    }
    return {
        name: Kind(spoil, file, reason)
        for file, kinds in ((CRF, crf), (TOKENIZER, pieces), (WEIGHTS, weights))
        for name, (spoil, reason) in kinds.items()
    }


FILES = DISK | _config_kinds() | _file_kinds()
