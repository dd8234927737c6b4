"""`emlb explain`: arguments, output, and errors of one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from emlb_cli.app import app
from emlb_runtime.errors import ConfigError
from tests.cli.test_light_imports import heavy_modules

MODEL = "runtime/emlb_runtime/models/emlb-clinical-small"
TEXT = "A rash appeared two days after amoxicillin \N{GRINNING FACE} was started.\n"


def emlb(*arguments: str, stdin: bytes | None = None) -> Result:
    result = CliRunner().invoke(app, ["explain", *arguments], input=stdin, prog_name="emlb")
    assert "Traceback" not in result.stderr
    return result


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """What the function that does the work was called with; it answers or raises."""
    made: list[tuple[Any, Any]] = []

    def explain_file(*positional: Any, **options: Any) -> str:
        made.append((positional, options))
        if options["top"] == 99:
            raise ConfigError("one sentence")
        if options["top"] == 98:
            raise ModuleNotFoundError("no", name="onnx")
        return "note: 1 triple \N{GRINNING FACE}"

    module = ModuleType("emlb_export.explain_bundle")
    module.explain_file = explain_file  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "emlb_export.explain_bundle", module)
    return made


def test_arguments_are_handed_on(calls: list[tuple[Any, Any]]) -> None:
    options = "--triple 2 --top 3 --html p.html --json v.json --precision fp32 --encoding cp1252"
    result = emlb("model", "note.txt", *options.split())
    assert (result.exit_code, result.stdout) == (0, "note: 1 triple \N{GRINNING FACE}\n")
    assert calls == [
        (
            (Path("model"), "note.txt"),
            {
                "number": 2,
                "top": 3,
                "html_path": Path("p.html"),
                "json_path": Path("v.json"),
                "precision": "fp32",
                "encoding": "cp1252",
            },
        )
    ]


def test_errors_are_one_sentence(calls: list[tuple[Any, Any]]) -> None:
    result = emlb("model", "note.txt", "--top", "99")
    assert (result.exit_code, result.stderr) == (2, "emlb explain: one sentence\n")
    result = emlb("model", "note.txt", "--top", "98")
    assert result.stderr == "emlb explain: onnx is not installed: pip install 'emlb[export]'\n"
    assert emlb("model", "note.txt", "--triple", "0").exit_code == 2
    assert emlb("model", "note.txt", "--top", "0").exit_code == 2


def test_the_help_says_where_the_text_goes() -> None:
    shown = " ".join(emlb("--help").stdout.split())
    assert "hold text of the note" in shown
    assert emlb().exit_code == 2


def test_a_note_from_standard_input(repo: Path, tmp_path: Path) -> None:
    values = tmp_path / "values.json"
    result = emlb(str(repo / MODEL), "-", "--json", str(values), stdin=TEXT.encode("utf-8"))
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("-: ") and "ADE-Drug" in result.stdout
    assert "No attention of the encoder: a bundle's encoder does not give it" in result.stdout
    written = json.loads(values.read_text(encoding="utf-8"))
    drug = written["triples"][0]["tail"]
    assert TEXT[drug["start"] : drug["end"]] == drug["text"]
    assert "amoxicillin" in drug["text"]


def test_a_bundle_is_explained_without_torch(repo: Path, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text(TEXT, encoding="utf-8")
    code = "from emlb_cli.app import app\nimport sys\napp(standalone_mode=False)\n"
    held = heavy_modules(code, "explain", str(repo / MODEL), str(note)).split()
    assert held == ["onnx"]
