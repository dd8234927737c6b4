"""`emlb-run` from the outside, with a made-up model that finds every "rash" and "drug"."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from typer.testing import CliRunner, Result

from emlb_cli import run
from emlb_runtime import __version__
from emlb_runtime.errors import BundleError
from emlb_runtime.formats.brat import read_brat
from emlb_runtime.formats.writers import FORMATS
from emlb_runtime.records import Document, Entity, ErrorRecord, Note, Relation, Status

MARKER = "Zebrafish"


@dataclass
class FakeInfo:
    provider: str = "CPUExecutionProvider"
    precision: str = "int8"


@dataclass
class FakeExtractor:
    """Finds words by a regular expression; a note that says "crash" fails."""

    info: FakeInfo = field(default_factory=FakeInfo)
    options: dict[str, Any] = field(default_factory=dict)
    vanishing: Path | None = None
    interrupt_at: str = ""

    def extract_each(self, notes: Iterable[Note | ErrorRecord]) -> Iterator[Document | ErrorRecord]:
        for note in notes:
            if self.vanishing is not None:
                self.vanishing.unlink(missing_ok=True)
            if isinstance(note, ErrorRecord):
                yield note
            elif note.name == self.interrupt_at:
                raise KeyboardInterrupt
            elif "crash" in note.text:
                yield ErrorRecord(note.name, "extraction failed (RuntimeError)")
            else:
                yield extract(note)


def extract(note: Note) -> Document:
    """The entities of a note, and a relation from each rash to each drug."""
    found = [
        Entity.annotate(note, f"T{number}", match[0].title(), (match.span(),), score=0.9)
        for number, match in enumerate(re.finditer("rash|drug", note.text), start=1)
    ]
    relations = tuple(
        Relation("ADE-Drug", head.id, tail.id, 0.8)
        for head in found
        for tail in found
        if (head.type, tail.type) == ("Rash", "Drug")
    )
    warnings = ("odd characters",) if "\0" in note.text else ()
    status = Status(len(note.text), 1, "CPUExecutionProvider", "int8", warnings)
    return Document(note, tuple(found), relations, status)


@pytest.fixture
def extractor(monkeypatch: pytest.MonkeyPatch) -> FakeExtractor:
    """The model in place of the real one; it keeps the options it was loaded with."""
    fake = FakeExtractor()

    def load(model: Path | None, **options: Any) -> FakeExtractor:
        fake.options = {"model": model, **options}
        return fake

    monkeypatch.setattr(run, "load_extractor", load)
    return fake


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extractor: FakeExtractor) -> Path:
    """A working folder with three notes in ``notes``; the model is made up."""
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.txt").write_text(f"{MARKER}: rash after drug", encoding="utf-8")
    (folder / "b.txt").write_text("no finding", encoding="utf-8")
    (folder / "c.txt").write_text("drug, rash\r\n", encoding="utf-8", newline="")
    monkeypatch.chdir(tmp_path)
    return folder


def emlb_run(*arguments: str, input: bytes | None = None) -> Result:
    """Run the command; no output may show a note's text on standard error."""
    result = CliRunner().invoke(run.app, arguments, input=input, prog_name="emlb-run")
    assert MARKER not in result.stderr
    assert "Traceback" not in result.stderr
    return result


def lines(text: str) -> list[dict[str, Any]]:
    """The JSON lines of an output."""
    return [json.loads(line) for line in text.splitlines()]


def test_triples_are_the_default(notes: Path) -> None:
    result = emlb_run("notes/a.txt", "notes/b.txt", "notes/c.txt")
    assert result.exit_code == 0
    first, second = lines(result.stdout)
    assert [first["note"], second["note"]] == ["notes/a.txt", "notes/c.txt"]
    assert first["relation"] == "ADE-Drug"
    assert (first["head"]["start"], first["head"]["end"]) == (11, 15)


def test_summary_counts_what_was_done(notes: Path) -> None:
    result = emlb_run("notes", "--out", "out.jsonl")
    assert result.stdout == ""
    assert re.fullmatch(
        r"3 notes · 4 entities · 2 relations · [\d.,]+ notes/s · CPUExecutionProvider · int8\n",
        result.stderr,
    )


def test_quiet_says_nothing(notes: Path) -> None:
    result = emlb_run("notes", "missing.txt", "--quiet", "--out", "out.jsonl")
    assert (result.exit_code, result.output) == (1, "")


def test_documents_come_in_input_order(notes: Path) -> None:
    order = ["notes/c.txt", "notes/a.txt", "notes/b.txt"]
    result = emlb_run(*order, "--format", "documents")
    assert [line["note"] for line in lines(result.stdout)] == order


def test_a_folder_a_pattern_and_files_give_the_same(notes: Path) -> None:
    listed = emlb_run("notes/a.txt", "notes/b.txt", "notes/c.txt").stdout
    assert emlb_run("notes").stdout == listed
    assert emlb_run("notes/*.txt").stdout == listed


def test_brat_output_reads_back(notes: Path) -> None:
    assert emlb_run("notes", "--format", "brat", "--out", "brat").exit_code == 0
    pairs = sorted(Path("brat").glob("*.txt"))
    assert len(pairs) == 3
    document, report = read_brat(pairs[2])
    assert document.note.text == "drug, rash\r\n"
    assert [entity.type for entity in document.entities] == ["Drug", "Rash"]
    assert not report.problems


def test_standard_input_is_a_note(notes: Path) -> None:
    result = emlb_run("-", "--format", "documents", input=b"\xef\xbb\xbfrash\r\n")
    (line,) = lines(result.stdout)
    assert line["note"] == "-"
    assert (line["entities"][0]["start"], line["entities"][0]["end"]) == (1, 5)


def test_empty_and_odd_notes_are_notes(notes: Path) -> None:
    for name, content in {"d.txt": b"", "e.txt": b" \n", "f.txt": b"rash\0"}.items():
        (notes / name).write_bytes(content)
    result = emlb_run("notes", "--format", "documents")
    assert result.exit_code == 0
    assert [len(line["entities"]) for line in lines(result.stdout)] == [2, 0, 2, 0, 0, 1]
    assert "1 with warnings" in result.stderr


def test_bad_notes_cost_their_own_record_only(notes: Path) -> None:
    (notes / "b.txt").write_bytes(MARKER.encode() + b"\xff")
    (notes / "bb.txt").mkdir()
    (notes / "bc.txt").write_text(f"{MARKER} crash", encoding="utf-8")
    result = emlb_run("notes", "missing.txt", "--format", "documents")
    assert result.exit_code == 1
    written = lines(result.stdout)
    assert [line["note"] for line in written] == [
        *("notes/a.txt", "notes/b.txt", "notes/bb.txt", "notes/bc.txt", "notes/c.txt"),
        "missing.txt",
    ]
    assert [line.get("error", "")[:14] for line in written] == [
        *("", "it is not vali", "it is a folder", "extraction fai", "", "there is no su")
    ]
    assert MARKER not in result.stdout.replace(json.dumps(written[0]), "")
    assert "emlb-run: notes/bb.txt: it is a folder, not a note\n" in result.stderr
    assert result.stderr.endswith(" · 4 failed\n")


def test_a_note_that_vanishes_is_a_record(notes: Path, extractor: FakeExtractor) -> None:
    extractor.vanishing = notes / "c.txt"
    result = emlb_run("notes", "--format", "documents")
    assert result.exit_code == 1
    assert [line["note"] for line in lines(result.stdout) if "error" in line] == ["notes/c.txt"]


def test_many_failures_are_counted_not_listed(notes: Path) -> None:
    result = emlb_run("notes", *(f"missing-{number}.txt" for number in range(1007)))
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 7
    assert "and 1,002 more failures" in result.stderr


def test_encoding_and_errors_are_obeyed(notes: Path) -> None:
    (notes / "a.txt").write_bytes(b"\xb0 rash")
    for option, value in (("--encoding", "latin-1"), ("--errors", "replace")):
        result = emlb_run("notes/a.txt", "--format", "documents", option, value)
        assert result.exit_code == 0
        assert lines(result.stdout)[0]["entities"][0]["start"] == 2


def test_options_reach_the_model(notes: Path, extractor: FakeExtractor) -> None:
    arguments = "--model m --provider cuda --workers 3 --min-score 0.5 --precision fp32"
    emlb_run("notes", *arguments.split())
    assert extractor.options == {
        "model": Path("m"),
        "provider": "cuda",
        "workers": 3,
        "min_score": 0.5,
        "precision": "fp32",
    }


def test_formats_are_those_of_the_writers() -> None:
    assert tuple(run.Format) == FORMATS


def test_thousands_of_tiny_notes(notes: Path) -> None:
    for number in range(3000):
        (notes / f"{number:04}.txt").write_text("rash drug", encoding="utf-8")
    result = emlb_run("notes", "--out", "out.jsonl")
    assert result.exit_code == 0
    assert result.stderr.startswith("3,003 notes · 6,004 entities · 3,002 relations")
    names = [line["note"] for line in lines(Path("out.jsonl").read_text(encoding="utf-8"))]
    assert names == sorted(names)


def test_nothing_to_extract_is_an_error(notes: Path) -> None:
    Path("empty").mkdir()
    for given in ("missing.txt", "empty", "*.md"):
        result = emlb_run(given, "--out", "out.jsonl")
        assert result.exit_code == 2
        assert result.stderr.startswith(f"emlb-run: no note found: {given}: ")
        assert not Path("out.jsonl").exists()


def test_no_input_shows_the_help(notes: Path) -> None:
    result = emlb_run()
    assert result.exit_code == 2
    assert "Usage: emlb-run" in result.stderr


def test_help_and_version(notes: Path) -> None:
    result = emlb_run("--help")
    assert result.exit_code == 0
    assert "takes its name when complete" in " ".join(result.stdout.split())
    assert emlb_run("--version").stdout == f"emlb-run {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--format", "brat"], "writes a folder: name it with --out"),
        (["--format", "brat", "--out", "notes"], "holds some of the notes"),
        (["--format", "brat", "--out", "notes/a.txt"], "is a file"),
        (["--out", "notes"], "is a folder"),
        (["--out", "nowhere/out.jsonl"], "create it first"),
        (["--out", "notes/../notes/a.txt"], "is one of the notes"),
        (["--encoding", "utf-9"], "unknown text encoding 'utf-9'"),
        (["--errors", "panic"], "unknown handling of decoding errors 'panic'"),
        (["--min-score", "1.5"], "--min-score"),
        (["--workers", "0"], "--workers"),
        (["--min-score", "nan"], "--min-score"),
        (["--provider", "tpu"], "tpu"),
        (["--shout"], "--shout"),
    ],
)
def test_wrong_options_change_nothing(notes: Path, arguments: list[str], sentence: str) -> None:
    before = {path: path.read_bytes() for path in notes.iterdir()}
    result = emlb_run("notes", *arguments)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert {path: path.read_bytes() for path in notes.iterdir()} == before


def test_a_bundle_that_cannot_be_used(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(model: Path | None, **options: Any) -> FakeExtractor:
        raise BundleError("crf.safetensors: wrong hash")

    monkeypatch.setattr(run, "load_extractor", load)
    result = emlb_run("notes", "--out", "out.jsonl")
    assert (result.exit_code, result.stderr) == (2, "emlb-run: crf.safetensors: wrong hash\n")
    assert not list(Path().glob("out.jsonl*"))


def test_missing_onnxruntime_names_its_extra(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(model: Path | None, **options: Any) -> FakeExtractor:
        raise ModuleNotFoundError("no", name="onnxruntime.capi")

    monkeypatch.setattr(run, "load_extractor", load)
    result = emlb_run("notes")
    assert result.exit_code == 2
    assert "pip install 'emlb[cpu]' (or 'emlb[gpu]' for CUDA)" in result.stderr


def test_output_appears_when_complete(notes: Path, extractor: FakeExtractor) -> None:
    out = Path("out.jsonl")
    out.write_text("earlier\n", encoding="utf-8")
    extractor.interrupt_at = "notes/b.txt"
    result = emlb_run("notes", "--out", "out.jsonl")
    assert result.exit_code == 130
    assert "interrupted after 1 of 3 notes; what was written is in" in result.stderr
    assert out.read_text(encoding="utf-8") == "earlier\n"
    assert len(lines(Path("out.jsonl.part").read_text(encoding="utf-8"))) == 1
    extractor.interrupt_at = ""
    assert emlb_run("notes", "--out", "out.jsonl").exit_code == 0
    assert len(lines(out.read_text(encoding="utf-8"))) == 2
    assert not Path("out.jsonl.part").exists()


def test_interrupt_before_the_first_result_leaves_nothing(
    notes: Path, extractor: FakeExtractor
) -> None:
    extractor.interrupt_at = "notes/a.txt"
    result = emlb_run("notes", "--out", "out.jsonl")
    assert (result.exit_code, result.stderr) == (130, "emlb-run: interrupted after 0 of 3 notes\n")
    assert not list(Path().glob("out.jsonl*"))


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights on Windows")
def test_output_through_a_link_stays_a_link(notes: Path) -> None:
    Path("link.jsonl").symlink_to("real.jsonl")
    emlb_run("notes", "--out", "link.jsonl")
    assert Path("link.jsonl").is_symlink()
    assert Path("real.jsonl").is_file()


@pytest.mark.skipif(os.name == "nt", reason="no /dev/null")
def test_output_to_a_device(notes: Path) -> None:
    assert emlb_run("notes", "--out", os.devnull).exit_code == 0
    assert Path(os.devnull).is_char_device()


def test_names_that_are_not_unicode(notes: Path) -> None:
    name = os.fsdecode(b"notes/\xff.txt")
    try:
        Path(name).write_text("rash drug", encoding="utf-8")
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    result = emlb_run("notes", "missing-\udcff.txt", "--out", "out.jsonl")
    assert result.exit_code == 1
    assert lines(Path("out.jsonl").read_text(encoding="utf-8"))[-2]["note"] == name


PATCHED = """
import signal, sys, time
# A shell starts what it runs in the background with Ctrl-C ignored; here it must be heard.
signal.signal(signal.SIGINT, signal.default_int_handler)
from emlb_cli import run
from emlb_runtime.records import Document, Relation, Entity

class Slow:
    class info:
        provider, precision = "CPUExecutionProvider", "int8"
    def extract_each(self, notes):
        for note in notes:
            mention = Entity.annotate(note, "T1", "Drug", ((0, 4),))
            yield Document(note, (mention,), (Relation("R", "T1", "T1"),) * 2000)
            time.sleep({pause})

run.load_extractor = lambda model, **options: Slow()
sys.argv = ["emlb-run", *sys.argv[1:]]
run.main()
"""


def start(
    *arguments: str, pause: float, stderr: int | None = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    """The command as a process of its own."""
    code = PATCHED.replace("{pause}", str(pause))
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_ends_with_one_line(notes: Path) -> None:
    with start("notes", pause=30) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert re.fullmatch(rb"emlb-run: interrupted after [01] of 3 notes\n", stderr)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_closed_pipe_ends_in_silence(notes: Path) -> None:
    with start("notes", pause=0) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize("on", ["terminal", "pipe"])
def test_a_bar_is_for_terminals(notes: Path, on: Literal["terminal", "pipe"]) -> None:
    pty = pytest.importorskip("pty")
    reader, writer = pty.openpty() if on == "terminal" else os.pipe()
    with start("notes", "--out", "out.jsonl", pause=0.2, stderr=writer) as process:
        os.close(writer)
        shown = b""
        while chunk := _read(reader):
            shown += chunk
    os.close(reader)
    assert process.returncode == 0
    assert (b"3/3" in shown) == (on == "terminal")
    assert b"3 notes" in shown


def _read(descriptor: int) -> bytes:
    """The next bytes; none when the other end of the terminal or pipe has closed."""
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""
