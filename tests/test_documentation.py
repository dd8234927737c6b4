"""README and docs: their Python runs, their commands exist, and outputs satisfy the schemas."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer.main

from emlb_cli.app import app
from tests.cli.invoking import invoke

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))
    if "results" not in path.parts
)


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(rf"^([ ]*)```{language}\n(.*?)^\1```", text, flags=re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_python_runs_as_it_stands(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}  # a page's blocks build on each other
    for number, block in enumerate(blocks(page, "python"), start=1):
        exec(compile(block, f"{page}, block {number}", "exec"), names)
    if any(re.search(r"^ *print\(", block, flags=re.MULTILINE) for block in blocks(page, "python")):
        assert capsys.readouterr().out


def test_readme_fits_on_a_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 170


@pytest.mark.parametrize("page", ["README.md", "SECURITY.md", "CONTRIBUTING.md", "MODELS.md"])
def test_links_of_pages_outside_the_site_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if not t.startswith("https:")]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_readme_shows_what_its_python_prints(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(
        r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", text, re.DOTALL | re.MULTILINE
    )
    assert found
    for block, shown in found:
        exec(compile(block, "README.md", "exec"), {})
        assert capsys.readouterr().out == shown


def test_readme_shows_what_its_shell_prints(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(
        r"^The second line prints:\n\n```text\n(.*?)^```", readme, re.DOTALL | re.MULTILINE
    )
    note = re.search(r"^echo '(.*)' > note.txt$", readme, re.MULTILINE)
    assert shown and note
    (tmp_path / "note.txt").write_text(note[1] + "\n", encoding="utf-8")
    result = invoke([str(tmp_path / "note.txt"), "--quiet"])
    triples = [json.loads(line) for line in result.stdout.splitlines()]
    lines = [" → ".join((t["head"]["text"], t["relation"], t["tail"]["text"])) for t in triples]
    assert "\n".join(lines) + "\n" == shown[1]


@pytest.mark.parametrize("page", PAGES)
def test_recipes_are_toml_and_lines_are_json(page: str) -> None:
    for block in blocks(page, "toml"):
        tomllib.loads(block)
    for block in blocks(page, "json"):
        json.loads(block)


def commands(page: str) -> list[list[str]]:
    """The command lines of a page that call EMLB, without comments and continued lines joined."""
    text = "\n".join(blocks(page, "bash")).replace("\\\n", " ")
    lines = (re.sub(r"\s#.*", "", line).strip() for line in text.splitlines())
    return [line.split() for line in lines if re.match(r"emlb(-run)? ", line)]


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_their_options_exist(page: str) -> None:
    group: Any = typer.main.get_command(app)
    help_of_run = invoke(["--help"]).stdout
    for program, *words in commands(page):
        if program == "emlb-run":
            known = set(re.findall(r"--[a-z-]+", help_of_run))
        else:
            command: Any = group
            while words and words[0] in getattr(command, "commands", {}):
                command = command.commands[words.pop(0)]
            assert command is not group, (page, words)
            known = {option for each in command.params for option in each.opts} | {"--help"}
        asked = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert asked <= known, (page, program, asked - known)


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {
        target
        for page in (*PAGES, "CONTRIBUTING.md")
        for target in re.findall(r"\bmake ([a-z][a-z-]*)", "\n".join(blocks(page, "bash")))
    }
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize("format", ["triples", "documents"])
@pytest.mark.parametrize("options", [[], ["--redact-text"], ["--keep-text"]])
def test_outputs_satisfy_their_schemas(format: str, options: list[str], tmp_path: Path) -> None:
    if format == "triples" and options == ["--keep-text"]:
        pytest.skip("triples never hold the text of notes")
    path = ROOT / "docs" / "schemas" / f"{format}.schema.json"
    validator = jsonschema.Draft202012Validator(json.loads(path.read_text(encoding="utf-8")))
    out = tmp_path / "out.jsonl"
    notes = [str(ROOT / "examples" / "notes"), str(tmp_path / "missing.txt")]
    assert invoke([*notes, "--format", format, "--out", str(out), *options]).exit_code == 1
    lines = out.read_text(encoding="utf-8").splitlines()
    assert len(lines) > 5
    for line in lines:
        validator.validate(json.loads(line))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**json.loads(lines[0]), "surprise": 1})
