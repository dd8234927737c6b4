"""Errors of the system are told by file and reason, without Python's numbers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from emlb_cli.shared.console import explain_os_error, one_sentence_errors


def raised(*arguments: str | int | None) -> OSError:
    return OSError(*arguments)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (raised(28, "No space left on device", "a b.jsonl"), "a b.jsonl: No space left on device"),
        (raised(28, "No space left on device"), "No space left on device"),
        (raised(21, "Is a directory", "o.part", None, "o"), "o.part to o: Is a directory"),
        (raised("no config.json there"), "no config.json there"),
        (raised(), "OSError"),
    ],
)
def test_a_number_is_never_shown(
    error: OSError, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain_os_error(error) == told
    with pytest.raises(SystemExit) as stop, one_sentence_errors("emlb"):
        raise error
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"emlb: {told}\n"


def test_what_the_system_raises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(SystemExit), one_sentence_errors("emlb"):
        os.replace(missing, tmp_path / "x")
    with pytest.raises(SystemExit), one_sentence_errors("emlb"):
        missing.read_bytes()
    where = f"{missing} to {tmp_path / 'x'}", f"{missing}"
    said = "".join(f"emlb: {one}: No such file or directory\n" for one in where)
    assert capsys.readouterr().err == said
