"""`emlb-run` from the outside, with a made-up model that finds every "rash" and "drug"."""

from __future__ import annotations

import gzip
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

from emlb_cli import run
from emlb_cli.shared.enums import Format
from emlb_runtime import __version__
from emlb_runtime.errors import BundleError
from emlb_runtime.extraction.recipe import Recipe
from emlb_runtime.formats.brat import read_brat
from emlb_runtime.formats.writers import FORMATS
from emlb_runtime.records import Document, Entity, ErrorRecord, Note, Relation, Status
from tests.cli.invoking import DEFAULT_RECIPE, Result, invoke

MARKER = "Zebrafish"


@dataclass
class FakeInfo:
    provider: str = "CPUExecutionProvider"
    precision: str = "int8"
    batch: int = 1


@dataclass
class FakeExtractor:
    """Finds words by a regular expression; a note that says "crash" fails."""

    info: FakeInfo = field(default_factory=FakeInfo)
    options: dict[str, Any] = field(default_factory=dict)
    vanishing: Path | None = None
    interrupt_at: str = ""
    recipe: Recipe = DEFAULT_RECIPE

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
    result = invoke(arguments, input)
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
    assert (result.exit_code, result.stdout) == (1, "")


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
    assert tuple(Format) == FORMATS


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
    assert result.stderr.startswith("usage: emlb-run [OPTIONS] INPUT ...")


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


TABLE = """ROW_ID,SUBJECT_ID,CATEGORY,ISERROR,TEXT
1,7,Nursing,,"rash after ""drug""
"
2,7,Physician ,,no finding
3,8,Nursing,1,rash drug
4,8,Nursing,,"drug, rash"
"""


def write_table(content: str = TABLE, name: str = "NOTEEVENTS.csv.gz") -> str:
    """A table of notes in the working folder; returns its name."""
    data = content.encode()
    Path(name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return name


def test_rows_of_noteevents_are_notes(notes: Path) -> None:
    for name in ("NOTEEVENTS.csv.gz", "some.csv"):
        result = emlb_run(write_table(name=name), "--format", "documents")
        assert result.exit_code == 0
        written = lines(result.stdout)
        assert [line["note"] for line in written] == ["1", "2", "4"]
        assert [entity["start"] for entity in written[0]["entities"]] == [0, 12]
        assert "emlb-run: 1 row marked as errors (ISERROR) left out\n3 notes · " in result.stderr


def test_tables_mix_with_other_inputs(notes: Path) -> None:
    write_table()
    Path("other.csv").write_text("rash,drug", encoding="utf-8")
    mixed = ["notes/c.txt", "*.csv.gz", "other.csv", "NOTEEVENTS.csv.gz", "-"]
    result = emlb_run(*mixed, "--format", "documents", "--out", "out.jsonl", input=b"drug")
    assert result.exit_code == 1  # a table with other columns is no note
    written = lines(Path("out.jsonl").read_text(encoding="utf-8"))
    names = ["notes/c.txt", "1", "2", "4", "other.csv", "-"]
    assert [line["note"] for line in written] == names


def test_rows_are_chosen(notes: Path) -> None:
    def chosen(*options: str) -> list[str]:
        result = emlb_run(write_table(), "notes/a.txt", *options, "--format", "documents")
        assert result.exit_code == 0
        assert "of other categories or subjects left out\n" in result.stderr
        return [line["note"] for line in lines(result.stdout)]

    assert chosen("--category", "physician") == ["2", "notes/a.txt"]
    assert chosen("--category", "Physician", "--category", "Nursing", "--subject", "7") == [
        *("1", "2", "notes/a.txt")
    ]
    assert chosen("--subject", "8") == ["4", "notes/a.txt"]


def test_a_choice_of_nothing_is_an_error_record(notes: Path) -> None:
    result = emlb_run(write_table(), "--category", "Nurse", "--format", "documents")
    assert result.exit_code == 1
    (line,) = lines(result.stdout)
    assert line == {
        "note": "--category",
        "error": "no usable row of the tables is what was asked for",
    }
    assert "4 rows of other categories or subjects left out" in result.stderr
    assert emlb_run(write_table(), "--subject", "9", "--subject", "8").exit_code == 0


def test_a_choice_needs_a_table(notes: Path) -> None:
    for option in ("--category", "--subject"):
        result = emlb_run("notes", option, "7", "--out", "out.jsonl")
        assert result.exit_code == 2
        assert "--category and --subject choose rows of a NOTEEVENTS table" in result.stderr
        assert not Path("out.jsonl").exists()


def test_broken_rows_cost_their_own_record_only(notes: Path) -> None:
    broken = f'5,8,Nursing,,"{MARKER}\nnever closed\n6,8,,,\n{MARKER},7,,,{MARKER}\n'
    write_table(TABLE + broken + '7,8,ECG,,"crash\n"\n8,8,ECG,,drug\n')
    result = emlb_run("NOTEEVENTS.csv.gz", "--format", "documents")
    assert result.exit_code == 1
    written = lines(result.stdout)
    failed = {line["note"]: line["error"] for line in written if "error" in line}
    assert failed == {
        "NOTEEVENTS.csv.gz:7": "lines 7-8: row whose quotes are not paired, or not doubled inside"
        " a field",
        "6": "NOTEEVENTS.csv.gz, line 9: row has no text",
        "NOTEEVENTS.csv.gz:10": "line 10: row has no usable id",
        "7": "extraction failed (RuntimeError)",
    }
    assert [line["note"] for line in written][-1] == "8"
    assert MARKER not in result.stdout
    assert "emlb-run: NOTEEVENTS.csv.gz:7: lines 7-8: row whose quotes" in result.stderr


def test_a_table_without_rows_and_a_damaged_one(notes: Path) -> None:
    result = emlb_run(write_table(TABLE.splitlines()[0]), "--format", "documents")
    assert (result.exit_code, len(lines(result.stdout))) == (1, 1)
    path = Path(write_table())
    path.write_bytes(path.read_bytes()[:-8])
    result = emlb_run(str(path), "--format", "documents")
    assert result.exit_code == 1
    assert [line["note"] for line in lines(result.stdout)] == ["1", "2", "4", f"{path}:7"]


def test_a_table_makes_brat_files(notes: Path) -> None:
    assert emlb_run(write_table(), "--format", "brat", "--out", "brat").exit_code == 0
    document, report = read_brat(Path("brat/1.txt"))
    assert document.note.text == 'rash after "drug"\n'
    assert not report.problems


def test_a_table_is_not_overwritten(notes: Path) -> None:
    name = write_table()
    result = emlb_run(name, "--out", name)
    assert (result.exit_code, "is one of the notes" in result.stderr) == (2, True)


def test_encoding_and_errors_reach_tables(notes: Path) -> None:
    Path("N.csv").write_bytes(TABLE.replace("no finding", "37 °C rash").encode("latin-1"))
    assert emlb_run("N.csv", "--category", "Physician").exit_code == 1
    for option, value in (("--encoding", "latin-1"), ("--errors", "replace")):
        chosen = ("--category", "Physician", "--format", "documents")
        result = emlb_run("N.csv", option, value, *chosen)
        assert result.exit_code == 0
        assert lines(result.stdout)[0]["entities"][0]["start"] == 6


def test_an_interrupted_table_has_no_total(notes: Path, extractor: FakeExtractor) -> None:
    extractor.interrupt_at = "4"
    result = emlb_run(write_table(), "--out", "out.jsonl")
    assert result.exit_code == 130
    assert "interrupted after 2 notes; what was written is in" in result.stderr


PATCHED = """
import signal, sys, time
# A shell starts what it runs in the background with Ctrl-C ignored; here it must be heard.
signal.signal(signal.SIGINT, signal.default_int_handler)
from emlb_cli import run
from emlb_runtime.records import Document, Relation, Entity
from tests.cli.invoking import DEFAULT_RECIPE

class Slow:
    recipe = DEFAULT_RECIPE
    class info:
        provider, precision, batch = "CPUExecutionProvider", "int8", 1
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
    with start("notes", pause=120) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=100)
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


@pytest.mark.skipif(os.name == "nt", reason="a terminal of POSIX")
def test_the_bar_of_a_table_has_no_total(notes: Path) -> None:
    pty = pytest.importorskip("pty")
    reader, writer = pty.openpty()
    with start(write_table(), "--out", "out.jsonl", pause=0.2, stderr=writer) as process:
        os.close(writer)
        shown = b""
        while chunk := _read(reader):
            shown += chunk
    os.close(reader)
    assert process.returncode == 0
    assert b"3/?" in shown


def _read(descriptor: int) -> bytes:
    """The next bytes; none when the other end of the terminal or pipe has closed."""
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""
