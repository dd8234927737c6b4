"""No command asks for anybody else: not through Python, nor through the libraries below it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from emlb_runtime.bundle.loader import DEFAULT_MODEL
from tests import tiny

from .offline import NAMESPACE, STRACE, Watched, run_code, run_commands, works

# Looks whether this machine speaks IPv6 as urllib3 is imported: binds, and reaches for nobody.
LOCAL = "socket.__new__ by urllib3.util.connection._has_ipv6"

# What the audit of Python does not see: libc's own socket.
NATIVE = "import ctypes; ctypes.CDLL(None).socket(2, 1, 0)"


def isolate(*further: str) -> tuple[str, ...]:
    """The wrapper for a network namespace; skips the test where this system has none."""
    if not works(*NAMESPACE):
        pytest.skip("no network namespace for us here: unshare is missing or refused")
    return (*NAMESPACE, *further)


def trace() -> tuple[str, ...]:
    """The wrapper that traces too; skips the test where this system cannot."""
    wrapper = isolate(*STRACE)
    if not works(*wrapper):
        pytest.skip("native calls are not looked at: strace is missing or refused")
    return wrapper


def anything() -> tuple[str, ...]:
    """The wrapper that this system allows, if any: Python's sockets are refused all the same."""
    wrapper = (*NAMESPACE, *STRACE)
    return wrapper if works(*wrapper) else ()


def extract(folder: Path) -> list[list[object]]:
    """Commands that extract the notes of the folder in all formats, and say with what."""
    folder.mkdir()
    for number in range(3):
        note = folder / f"{number}.txt"
        note.write_text("A rash appeared after amoxicillin 500 mg.\n", encoding="utf-8")
    commands: list[list[object]] = [["app", "info"]]
    for format in ("triples", "documents", "brat"):
        commands.append(["run", folder, "--format", format, "--out", folder.parent / format])
    return commands


def assert_alone(watched: Watched, *, commands: int) -> None:
    """That all went well without a word to anybody, and nothing is kept for later."""
    assert watched.codes == [0] * commands, watched.output
    assert [attempt for attempt in watched.attempts if attempt != LOCAL] == []
    assert watched.calls == []
    assert watched.left == []


def test_extraction_asks_python_for_no_socket(tmp_path: Path) -> None:
    watched = run_commands(extract(tmp_path / "notes"), tmp_path / "run", block=True)
    assert_alone(watched, commands=4)
    assert watched.attempts == []
    assert "amoxicillin" in (tmp_path / "triples").read_text(encoding="utf-8")


def test_extraction_works_without_a_network(tmp_path: Path) -> None:
    commands = extract(tmp_path / "notes")
    assert_alone(run_commands(commands, tmp_path / "run", wrapper=isolate()), commands=4)
    written = [tmp_path / "triples", tmp_path / "documents", *(tmp_path / "brat").glob("*.ann")]
    assert len(written) == 5
    for path in written:
        assert "amoxicillin" in path.read_text(encoding="utf-8")


def test_no_library_of_extraction_makes_a_call(tmp_path: Path) -> None:
    watched = run_commands(extract(tmp_path / "notes"), tmp_path / "run", wrapper=trace())
    assert_alone(watched, commands=4)


@pytest.mark.slow
def test_nor_does_any_as_time_goes_by(tmp_path: Path) -> None:
    """ONNX Runtime's telemetry, where it is on, begins to send after nine seconds."""
    commands = extract(tmp_path / "notes")
    watched = run_commands(commands, tmp_path / "run", wrapper=trace(), linger=30)
    assert_alone(watched, commands=4)


def test_a_bundle_is_scored_and_explained_alone(tiny_data: Path, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("A rash appeared after amoxicillin.\n", encoding="utf-8")
    commands = [
        ["app", "evaluate", DEFAULT_MODEL, tiny_data],
        ["app", "explain", DEFAULT_MODEL, note],
    ]
    watched = run_commands(commands, tmp_path / "run", wrapper=anything(), block=True)
    assert_alone(watched, commands=2)


def test_training_asks_no_hub(tiny_data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """An encoder in a folder, then in a package; the model trained, exported and scored."""
    config = tiny.write_config(
        tmp_path / "tiny.toml", encoder=tiny_encoder, data=tiny_data, output=tmp_path / "runs"
    )
    shutil.copytree(tiny_encoder, tmp_path / "run" / "site" / "somewhere" / "model")
    package = ["--set", "base=package:somewhere/model", "--set", "training.epochs=1"]
    pretrain = [
        "--out",
        tmp_path / "encoder",
        "--steps",
        1,
        "--max-pieces",
        64,
        "--precision",
        "fp32",
    ]
    model = tmp_path / "runs" / "tiny"
    commands = [
        ["app", "pretrain", tiny_data, "--base", tiny_encoder, *pretrain],
        ["app", "train", config, *package],
        ["app", "export", model],
        ["app", "evaluate", model, tiny_data],
    ]
    watched = run_commands(commands, tmp_path / "run", wrapper=anything(), block=True)
    assert_alone(watched, commands=4)


def test_an_attempt_is_seen(tmp_path: Path) -> None:
    """Else the tests above would say nothing."""
    ask = "import socket; socket.getaddrinfo('localhost', 80)"
    watched = run_code(ask, folder=tmp_path, block=True)
    assert watched.codes == [1]
    assert watched.attempts == ["socket.getaddrinfo by __main__.<module>"]


def test_a_native_attempt_is_seen(tmp_path: Path) -> None:
    assert run_code(NATIVE, folder=tmp_path, wrapper=trace()).calls


def test_onnx_runtime_left_to_itself_is_seen(tmp_path: Path) -> None:
    """From 1.29 on it makes an identifier of the machine and a queue of what it will send."""
    watched = run_code("import onnxruntime", folder=tmp_path, wrapper=isolate())
    if not watched.left:
        pytest.skip("this build of ONNX Runtime keeps to itself")
    assert any("deviceid" in path for path in watched.left)
