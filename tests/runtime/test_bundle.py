"""Bundles: whole ones load, all others are refused by name before a session is made."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from emlb_runtime.bundle.checks.graph import Network, read_network
from emlb_runtime.bundle.loader import FORMAT, Bundle, BundleConfig
from emlb_runtime.errors import BundleError
from emlb_runtime.extract import Extractor, load_pipeline
from tests.runtime.hostile import seal
from tests.tiny import RELATIONS

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


@pytest.mark.parametrize("version", [0, FORMAT + 1, "1", None, [1], True, 1.0])
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
    "name",
    [
        *("crf.safetensors", "tokenizer.json", "weights.safetensors"),
        *("encoder_int8.onnx", "relations_notes_int8.onnx"),
    ],
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
    "incomplete": lambda v: v.pop("special"),
    "windows.max_pieces": lambda v: v["windows"].update(max_pieces=3),
    "names an unknown type": lambda v: v["tasks"][0]["signatures"].append(["x", "y", "z"]),
    "no such threshold": lambda v: v["tasks"][0].update(thresholds={"nothing": 2.0}),
    "no such reach": lambda v: v["tasks"][0].update(reach={"nothing": 2}),
    "a reach": lambda v: v["tasks"][0].update(reach={RELATIONS[0]: -1}),
    "a reach is": lambda v: v["tasks"][0].update(reach={RELATIONS[0]: 2.5}),
    "task name": lambda v: v["tasks"][0].update(name="../task"),
}


@pytest.mark.parametrize("message", CHANGES)
def test_a_configuration_that_does_not_fit(copy: Path, message: str) -> None:
    pattern = message.replace("uses a file without", "states no")
    rewrite(copy, CHANGES[message])
    with pytest.raises(BundleError, match=pattern):
        Bundle.load(copy)


def test_labels_of_other_networks(copy: Path) -> None:
    def change(values: dict[str, Any]) -> None:
        for tasks in (values["tasks"], *values["tuned"].values()):
            tasks[0]["entity_types"].append("Surplus")
            tasks[0]["calibration"] = None

    rewrite(copy, change)
    with pytest.raises(BundleError, match=r"onnx: its output emissions_\w+ is not float"):
        load_pipeline(Bundle.load(copy))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_contents_are_the_files(tiny_bundle: Path, precision: str) -> None:
    bundle = Bundle.load(tiny_bundle)
    config, contents = bundle.config, bundle.contents(precision)
    assert contents.encoder == bundle.read(config.encoders[precision])
    assert contents.crf == (tiny_bundle / config.crf).read_bytes()
    assert contents.tokenizer == (tiny_bundle / config.tokenizer).read_bytes()
    heads = config.relations_of(precision)
    assert contents.relations == {
        task: (tiny_bundle / name).read_bytes() for task, name in heads.items()
    }
    assert set(contents.given) == {config.encoders[precision], *heads.values()}


def test_the_default_model_is_sound() -> None:
    Bundle.load().verify()


def test_each_file_is_opened_once(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle.load(tiny_bundle)
    opened: list[str] = []
    plain = os.open

    def note(path: Any, *arguments: Any, **options: Any) -> int:
        opened.append(Path(path).name)
        return plain(path, *arguments, **options)

    monkeypatch.setattr(os, "open", note)
    bundle.contents("fp32")
    config = bundle.config
    used = {config.encoders["fp32"], *config.relations.values(), config.crf, config.tokenizer}
    used.add("weights.safetensors")
    assert sorted(opened) == sorted(used)


def test_a_file_changed_while_it_is_checked(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs is what was hashed, not what lies there afterwards."""
    whole = {path.name: path.read_bytes() for path in copy.iterdir()}

    def read_and_change(data: bytes, weights: Mapping[str, tuple[int, ...]], **o: str) -> Network:
        for name in ("encoder.onnx", "crf.safetensors", "tokenizer.json"):
            (copy / name).write_bytes(b"changed")
        return read_network(data, weights, **o)

    bundle = Bundle.load(copy)
    monkeypatch.setattr("emlb_runtime.bundle.loader.read_network", read_and_change)
    with pytest.raises(BundleError, match=r"crf\.safetensors is not of the size"):
        bundle.contents("fp32")  # the CRF was not read yet
    for name in ("crf.safetensors", "tokenizer.json"):
        (copy / name).write_bytes(whole[name])
    (copy / "encoder.onnx").write_bytes(whole["encoder.onnx"])

    def change_encoder(data: bytes, weights: Mapping[str, tuple[int, ...]], **o: str) -> Network:
        (copy / "encoder.onnx").write_bytes(b"changed")
        return read_network(data, weights, **o)

    monkeypatch.setattr("emlb_runtime.bundle.loader.read_network", change_encoder)
    assert bundle.contents("fp32").encoder == whole["encoder.onnx"]


def test_a_link_that_takes_a_files_place(copy: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(copy)
    (copy / "crf.safetensors").rename(tmp_path / "outside")
    (copy / "crf.safetensors").symlink_to(tmp_path / "outside")
    with pytest.raises(BundleError, match=r"crf\.safetensors is a symbolic link"):
        bundle.contents("fp32")


def test_a_link_is_not_followed_even_between_two_looks(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.load(copy)
    (copy / "crf.safetensors").rename(tmp_path / "outside")
    (copy / "crf.safetensors").symlink_to(tmp_path / "outside")
    monkeypatch.setattr("emlb_runtime.bundle.loader._check_plain", lambda path, size: None)
    with pytest.raises(BundleError, match=r"crf\.safetensors cannot be read"):
        bundle.read("crf.safetensors")


def test_hard_links_are_files(tiny_bundle: Path, tmp_path: Path) -> None:
    """Package managers install by hard links from their caches."""
    for path in tiny_bundle.iterdir():
        os.link(path, tmp_path / path.name)
    Bundle.load(tmp_path).verify()


def test_an_altered_file_is_reported_as_altered(copy: Path) -> None:
    """Bytes that are neither sound nor those that were hashed: the hash is the reason."""
    path = copy / "encoder.onnx"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(BundleError, match=r"encoder\.onnx .*SHA-256 differs"):
        load_pipeline(Bundle.load(copy), precision="fp32")


def test_verify_checks_every_precision(copy: Path) -> None:
    config = Bundle.load(copy).config
    (copy / "encoder_int8.onnx").write_bytes(b"no network")
    seal(copy)
    with pytest.raises(BundleError, match=r"encoder_int8\.onnx: it is "):
        Bundle.load(copy).verify()
    assert config.default_precision == "int8"
    load_pipeline(Bundle.load(copy), precision="fp32")
