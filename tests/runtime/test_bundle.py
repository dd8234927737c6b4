"""Bundles: whole ones load, all others are refused by name before a session is made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emlb_runtime.bundle import Bundle, BundleConfig
from emlb_runtime.errors import BundleError
from emlb_runtime.extract import Extractor, load_pipeline

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle that a test may spoil."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def rewrite(folder: Path, change: Change) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


def test_config_round_trip(tiny_bundle: Path) -> None:
    config = Bundle.load(tiny_bundle).config
    assert BundleConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no such bundle folder"):
        Bundle.load(tmp_path / "nowhere")


def test_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"config\.json is missing"):
        Bundle.load(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "null", "[" * 100_000, '{"format": 1}'])
def test_a_broken_configuration(copy: Path, text: str) -> None:
    (copy / "config.json").write_text(text)
    with pytest.raises(BundleError, match=r"config\.json"):
        Bundle.load(copy)


@pytest.mark.parametrize("version", [0, 2, "1", None, [1]])
def test_an_unknown_version(copy: Path, version: object) -> None:
    rewrite(copy, lambda values: values.update(format=version))
    with pytest.raises(BundleError, match="format version"):
        Bundle.load(copy)


@pytest.mark.parametrize("name", ["config.json", "crf.safetensors", "tokenizer.json"])
def test_a_missing_file(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        Bundle.load(copy)


def test_a_file_of_another_size(copy: Path) -> None:
    with (copy / "tokenizer.json").open("ab") as file:
        file.write(b" ")
    with pytest.raises(BundleError, match=r"tokenizer\.json is not of the size"):
        Bundle.load(copy)


@pytest.mark.parametrize(
    "name", ["crf.safetensors", "tokenizer.json", "encoder_int8.onnx", "relations_notes.onnx"]
)
def test_an_altered_file(copy: Path, name: str) -> None:
    path = next(copy.glob(name.replace("notes", "*")))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    bundle = Bundle.load(copy)
    with pytest.raises(BundleError, match="SHA-256 differs"):
        load_pipeline(bundle)
    with pytest.raises(BundleError, match="SHA-256 differs"):
        Extractor.load(copy, provider="cpu")


@pytest.mark.parametrize(
    "name",
    ["../crf.safetensors", "/etc/passwd", "sub/crf", "..", "", ".hidden", "a\\b", "config.json"],
)
def test_a_path_outside_the_folder(copy: Path, name: str) -> None:
    def change(values: dict[str, Any]) -> None:
        values["files"][name] = values["files"][values["crf"]]
        values["crf"] = name

    rewrite(copy, change)
    with pytest.raises(BundleError, match="not a plain file name"):
        Bundle.load(copy)


def test_a_symbolic_link(copy: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (copy / "crf.safetensors").rename(outside)
    (copy / "crf.safetensors").symlink_to(outside)
    with pytest.raises(BundleError, match="is a symbolic link"):
        Bundle.load(copy)


CHANGES: dict[str, Change] = {
    "uses a file without size and hash": lambda v: v["files"].pop(v["crf"]),
    "no task": lambda v: v.update(tasks=[]),
    "no encoder of precision": lambda v: v.update(default_precision="fp16"),
    "unknown precisions": lambda v: v["encoders"].update(int3=v["encoders"]["fp32"]),
    "no relation head": lambda v: v.update(relations={}),
    "impossible size": lambda v: v["files"][v["crf"]].update(bytes=-1),
    "impossible size or hash": lambda v: v["files"][v["crf"]].update(sha256="00"),
    "impossible width": lambda v: v.update(width=0),
    "incomplete or malformed": lambda v: v.pop("special"),
    "windows.max_pieces": lambda v: v["windows"].update(max_pieces=3),
    "names an unknown type": lambda v: v["tasks"][0]["signatures"].append(["x", "y", "z"]),
    "no such threshold": lambda v: v["tasks"][0].update(thresholds={"nothing": 2.0}),
    "task name": lambda v: v["tasks"][0].update(name="../task"),
}


@pytest.mark.parametrize("message", CHANGES)
def test_a_configuration_that_does_not_fit(copy: Path, message: str) -> None:
    pattern = message.replace("uses a file without", "states no")
    rewrite(copy, CHANGES[message])
    with pytest.raises(BundleError, match=pattern):
        Bundle.load(copy)


def test_crf_scores_of_other_labels(copy: Path) -> None:
    rewrite(copy, lambda values: values["tasks"][0]["entity_types"].append("Surplus"))
    with pytest.raises(BundleError, match="does not fit the tasks"):
        load_pipeline(Bundle.load(copy))
