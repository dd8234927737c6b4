"""A bundle that lies is refused by name, before any library sees it, and touches nothing else."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emlb_runtime.bundle.loader import Bundle, Contents
from emlb_runtime.errors import BundleError
from emlb_runtime.extract import load_pipeline
from tests.runtime.disturb import disturb
from tests.runtime.hostile import FILES, FILES_READ, floating, seal
from tests.runtime.hostile_onnx import NETWORKS

KINDS = FILES | NETWORKS
Reports = Mapping[str, Mapping[str, Any]]


def run_program(repo: Path, *arguments: str) -> str:
    """What a program of the tests prints; its failure is the test's."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        cwd=repo,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def reports(repo: Path, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """What each kind of bundle did when it was opened, and a good one beside them."""
    root = tmp_path_factory.mktemp("hostile")
    shutil.copytree(tiny_bundle, root / "good")
    folders = {"good": "good"}
    for number, (name, kind) in enumerate(KINDS.items()):
        folders[f"{number:03}"] = name
        kind.spoil(Path(shutil.copytree(tiny_bundle, root / f"{number:03}")))
    lines = run_program(
        repo, "-m", "tests.runtime.open_bundles", str(tiny_bundle), str(root)
    ).splitlines()
    found = dict(map(json.loads, lines))
    return {name: found[folder] for folder, name in folders.items()}


@pytest.mark.parametrize("name", KINDS)
def test_a_bundle_that_lies(reports: Reports, name: str) -> None:
    kind, report = KINDS[name], reports[name]
    assert report["error"] == "BundleError", report
    assert kind.file in report["message"]
    assert re.search(kind.reason, report["message"]), report["message"]
    assert report["given"] == []
    assert report["outside"] == []
    assert report["seconds"] < 60


def test_kinds() -> None:
    assert len(KINDS) == len(FILES) + len(NETWORKS) >= 40
    assert {kind.file for kind in KINDS.values()} == set(FILES_READ)


def test_a_good_bundle_is_given_to_the_libraries(reports: Reports) -> None:
    """The watch sees the libraries that it is meant to see, and only its own folder is read.

    Which builds of ONNX Runtime are installed is looked up by the names of packages.
    """
    assert {"InferenceSession", "Tokenizer"} <= set(reports["good"]["given"])
    looked = {re.sub("'.*[/\\\\]", "'", touched) for touched in reports["good"]["outside"]}
    assert looked <= {"os.scandir 'site-packages'"}


def test_the_watch_sees_files_outside(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "file").touch()
    code = """
import sys
from pathlib import Path
from tests.runtime.open_bundles import Watch
watch, here = Watch(), Path(sys.argv[1])
watch.folder = str(here / "inside")
(here / "inside" / "file").read_bytes()
assert watch.outside == [], watch.outside
(here / "inside" / "file").write_bytes(b"")
assert len(watch.outside) == 1, watch.outside
(here / "other").write_bytes(b"")
list(here.iterdir())
(here / "other").unlink()
assert len(watch.outside) == 4, watch.outside
"""
    run_program(repo, "-c", code, str(tmp_path))


@pytest.mark.parametrize("name", FILES_READ)
def test_disturbed_files(tiny_bundle: Path, tmp_path: Path, name: str) -> None:
    """Every file, disturbed and sealed again, is taken whole or refused."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    whole = {file: (folder / file).read_bytes() for file in (name, "config.json")}
    outcomes = set()

    @settings(max_examples=60, suppress_health_check=list(HealthCheck), database=None)
    @given(st.integers(0, 2**32))
    def check(seed: int) -> None:
        (folder / name).write_bytes(disturb(name, whole[name], random.Random(seed)))
        try:
            if name != "config.json":
                seal(folder)
            bundle = Bundle.load(folder)
            assert isinstance(bundle.contents(floating(bundle)), Contents)
            outcomes.add("taken")
        except BundleError as error:
            assert name in str(error)
            outcomes.add("refused")
        finally:
            for file, data in whole.items():
                (folder / file).write_bytes(data)

    check()
    assert "refused" in outcomes


def test_sessions_are_given_bytes_and_no_libraries(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No operators from a library, and no weights but those that were checked."""
    import onnxruntime

    called: list[str] = []
    models: list[bytes] = []
    from_memory: list[str] = []

    class Options(onnxruntime.SessionOptions):  # type: ignore[misc]
        def register_custom_ops_library(self, *arguments: Any) -> None:
            called.append("register_custom_ops_library")

        def add_external_initializers(self, names: list[str], values: list[Any]) -> None:
            from_memory.extend(names)
            super().add_external_initializers(names, values)

        def add_session_config_entry(self, key: str, value: str) -> None:
            called.append(key)
            super().add_session_config_entry(key, value)

    class Session(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, model: bytes, *arguments: Any, **options: Any) -> None:
            models.append(model)
            super().__init__(model, *arguments, **options)

    monkeypatch.setattr(onnxruntime, "SessionOptions", Options)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    bundle = Bundle.load(tiny_bundle)
    load_pipeline(bundle, precision="fp32")
    contents = bundle.contents("fp32")
    assert not [name for name in called if "custom" in name or "external" in name]
    checked = [contents.encoder, *contents.relations.values()]
    for model, graph in zip(sorted(models, key=len), sorted(checked, key=len), strict=True):
        assert model.startswith(graph)
    read = {name for given in contents.given.values() for name in given.names}
    assert len(from_memory) == len(set(from_memory)) and set(from_memory) <= read
    # Whatever the models say to lie elsewhere was given from memory.
    assert sum(model.count(b"given in memory") for model in models) == len(from_memory)


def test_a_tokenizer_that_panics(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Rust raises when it gives up is no Exception."""
    import tokenizers

    class PanicException(BaseException):
        pass

    class Panicking:
        @staticmethod
        def from_buffer(data: bytes) -> None:
            raise PanicException("index out of bounds")

    monkeypatch.setattr(tokenizers, "Tokenizer", Panicking)
    with pytest.raises(BundleError, match=r"tokenizer\.json is not a tokenizer"):
        load_pipeline(Bundle.load(tiny_bundle))


def fuzz(repo: Path, good: Path, scratch: Path, *, seed: int, count: int) -> dict[str, int]:
    """How often a disturbed bundle loaded, and was refused."""
    arguments = map(str, (good, scratch, seed, count))
    found: dict[str, int] = json.loads(
        run_program(repo, "-m", "tests.runtime.fuzz_bundles", *arguments)
    )
    return found


needs_limits = pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")


@needs_limits
def test_loading_disturbed_bundles(repo: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    """Libraries included: no crash, no hang, no huge allocation, no other exception."""
    found = fuzz(repo, tiny_bundle, tmp_path / "bundle", seed=1, count=40)
    assert found["loaded"] and found["refused"]


@needs_limits
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_loading_many_disturbed_bundles(
    repo: Path, tiny_bundle: Path, tmp_path: Path, seed: int
) -> None:
    found = fuzz(repo, tiny_bundle, tmp_path / "bundle", seed=seed, count=600)
    assert found["loaded"] and found["refused"]
