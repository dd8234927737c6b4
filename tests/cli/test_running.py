"""Runs that are broken off, changed, doubled or stopped, with a made-up model."""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emlb_cli import run
from emlb_runtime.batch import compression, fingerprint, hardware, output
from emlb_runtime.batch.fingerprint import Fingerprint, identify_inputs
from emlb_runtime.batch.journal import Checkpoint, Journal
from emlb_runtime.errors import ArtefactError, ConfigError
from emlb_runtime.formats.files import atomic as disk
from emlb_runtime.formats.jsonl import read_documents
from emlb_runtime.formats.notes import NoteFile
from emlb_runtime.formats.writers import brat_stem
from emlb_runtime.machine.info import Machine
from emlb_runtime.records import Document, Entity, ErrorRecord, Note, Relation
from tests.cli.invoking import DEFAULT_RECIPE, Result, invoke

MARKER = "Zebrafish"


class Model:
    """Finds every "rash" and "drug"; fails or stops where it is told to."""

    class info:
        provider, precision, batch = "CPUExecutionProvider", "int8", 1

    recipe = DEFAULT_RECIPE

    def __init__(self) -> None:
        self.read: list[str] = []
        self.stop_at = ""
        self.error: BaseException = KeyboardInterrupt()

    def extract_each(self, notes: Iterable[Note | ErrorRecord]) -> Iterator[Document | ErrorRecord]:
        for note in notes:
            self.read.append(note.note if isinstance(note, ErrorRecord) else note.name)
            if self.read[-1] == self.stop_at:
                raise self.error
            if isinstance(note, ErrorRecord):
                yield note
            elif "crash" in note.text:
                yield ErrorRecord(note.name, "extraction failed: RuntimeError")
            else:
                found = tuple(
                    Entity.annotate(note, f"T{number}", match[0].title(), (match.span(),))
                    for number, match in enumerate(re.finditer("rash|drug", note.text), start=1)
                )
                links = (Relation("R", "T1", "T2"),) if len(found) > 1 else ()
                yield Document(note, found, links)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    made = Model()

    def load(folder: Path | None, **options: Any) -> Model:
        bundle = None if folder is None else str(folder)
        made.recipe = replace(DEFAULT_RECIPE, bundle=bundle, min_score=options["min_score"])
        return made

    monkeypatch.setattr(run, "load_extractor", load)
    return made


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model) -> Path:
    """A working folder with six notes."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for number, text in enumerate(("rash drug", "crash", "drug, rash", "", "rash drug", "rash")):
        (folder / f"{number}.txt").write_text(f"{MARKER} {text}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return folder


def emlb_run(*arguments: str, input: bytes | None = None) -> Result:
    result = invoke(arguments, input)
    assert MARKER not in result.stderr
    assert "Traceback" not in result.stderr
    assert "[Errno" not in result.stderr
    for path in Path().rglob("*.state"):
        assert MARKER.encode() not in path.read_bytes()
        assert b"notes" not in path.read_bytes().replace(b'"notes":', b"").replace(b"-notes", b"")
    return result


def break_off(model: Model, *arguments: str, at: str = "notes/4.txt") -> Result:
    """Run until a note, and stop there."""
    model.stop_at = at
    result = emlb_run(*arguments)
    assert result.exit_code == 130
    model.stop_at, model.read = "", []
    return result


@pytest.mark.parametrize("name", ["o.jsonl", "o.jsonl.gz"])
def test_what_is_done_is_neither_read_nor_extracted_again(
    notes: Path, model: Model, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(compression, "MEMBER_NOTES", 2)
    assert emlb_run("notes", "--out", f"whole-{name}").exit_code == 1
    result = break_off(model, "notes", "--out", name)
    assert result.stderr == (
        f"emlb-run: interrupted after 4 of 6 notes; what was written is in {Path(name).resolve()}"
        ".part, and the same command goes on from there\n"
    )
    opened: list[str] = []
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
    result = emlb_run("notes", "--out", name)
    assert result.exit_code == 1  # a note failed, if before the break
    assert model.read == ["notes/4.txt", "notes/5.txt"]
    assert not any(path.endswith("notes/3.txt") for path in opened)
    assert Path(name).read_bytes() == Path(f"whole-{name}").read_bytes()
    assert "emlb-run: going on after 4 of 6 notes\n" in result.stderr
    assert "emlb-run: 1 failure before the run was continued\n5 notes · 7 ent" in result.stderr
    assert sorted(path.name for path in Path().iterdir()) == ["notes", name, f"whole-{name}"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--min-score", "0.5"], "--min-score (0.0 then, 0.5 now)"),
        (["--format", "documents"], "--format (triples then, documents now)"),
        (["--redact-text"], "--redact-text (False then, True now)"),
        (["--encoding", "latin-1"], "--encoding (utf-8 then, iso8859-1 now)"),
        (["--errors", "replace"], "--errors (strict then, replace now)"),
        (["--compress", "gz"], "--compress (none then, gz now)"),
        (["missing.txt"], "the list of inputs, from missing.txt on (6 then, 7 now)"),
    ],
)
def test_another_option_is_refused_by_name(
    notes: Path, model: Model, change: list[str], named: str
) -> None:
    break_off(model, "notes", "--out", "o.jsonl")
    before = Path("o.jsonl.part").read_bytes(), Path("o.jsonl.state").read_bytes()
    result = emlb_run("notes", "--out", "o.jsonl", *change)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert f"unfinished run that differs in {named}: give the command as it was" in result.stderr
    assert (Path("o.jsonl.part").read_bytes(), Path("o.jsonl.state").read_bytes()) == before
    assert model.read == []
    assert emlb_run("notes", "--out", "o.jsonl", *change, "--restart").exit_code == 1
    assert model.read[0] == "notes/0.txt"
    assert not Path("o.jsonl.state").exists()


def test_other_notes_are_refused_by_name(notes: Path, model: Model) -> None:
    break_off(model, "notes", "--out", "o.jsonl")
    status = (notes / "2.txt").stat()
    (notes / "2.txt").write_text(f"{MARKER} no rash here", encoding="utf-8")
    result = emlb_run("notes", "--out", "o.jsonl")
    assert result.exit_code == 2
    assert "differs in the note notes/2.txt (size or time of change)" in result.stderr
    (notes / "2.txt").write_text(f"{MARKER} drug, rash", encoding="utf-8")
    os.utime(notes / "2.txt", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert emlb_run("notes", "--out", "o.jsonl").exit_code == 1
    break_off(model, "notes", "--out", "o.jsonl")
    (notes / "1.txt").unlink()
    result = emlb_run("notes", "--out", "o.jsonl")
    assert "the list of inputs, from notes/2.txt on (6 then, 5 now)" in result.stderr


def test_another_model_or_library_is_refused(
    notes: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = notes.parent / "bundle"
    bundle.mkdir()
    (bundle / "config.json").write_text('{"name": "one", "version": "1.0"}', encoding="utf-8")
    command = ("notes", "--model", "bundle", "--out", "o.jsonl")
    break_off(model, *command)
    (bundle / "config.json").write_text('{"name": "one", "version": "1.1"}', encoding="utf-8")
    monkeypatch.setattr(fingerprint, "__version__", "9.9")
    result = emlb_run(*command)
    assert result.exit_code == 2
    assert re.search(r"the model \(one 1\.0 \w{16} then, one 1\.1 \w{16} now\)", result.stderr)
    assert re.search(r"EMLB \(\S+ then, 9\.9 now\)", result.stderr)


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("precision", "fp32", "the precision (int8 then, fp32 now)"),
        ("provider", "CUDAExecutionProvider", "the provider (CPUExecutionProvider then, CUDAEx"),
        ("batch", 32, "the windows per run (1 then, 32 now)"),
    ],
)
def test_what_really_runs_must_be_the_same(
    notes: Path, model: Model, monkeypatch: pytest.MonkeyPatch, name: str, value: Any, named: str
) -> None:
    break_off(model, "notes", "--out", "o.jsonl")
    monkeypatch.setattr(model.info, name, value)
    result = emlb_run("notes", "--out", "o.jsonl")
    assert result.exit_code == 2
    assert f"differs in {named}" in result.stderr
    assert model.read == []
    assert emlb_run("notes", "--out", "o.jsonl", "--restart").exit_code == 1
    assert model.read[0] == "notes/0.txt"


def test_another_machine_is_refused(
    notes: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stand_on(*instructions: str) -> None:
        machine = Machine("Linux", "x86_64", "Zeon", 2, 2**30, instructions)
        monkeypatch.setattr(hardware, "read_machine", lambda: machine)

    stand_on("fma", "avx2", "avx512_vnni")
    break_off(model, "notes", "--out", "o.jsonl")
    stand_on("fma", "avx2")
    before = Path("o.jsonl.part").read_bytes()
    result = emlb_run("notes", "--out", "o.jsonl")
    assert result.exit_code == 2
    named = "the machine (Linux x86_64, fma avx2 avx512_vnni then, Linux x86_64, fma avx2 now)"
    assert f"differs in {named}: give the command" in result.stderr
    assert (model.read, Path("o.jsonl.part").read_bytes()) == ([], before)
    stand_on("fma", "avx2", "avx512_vnni")
    assert emlb_run("notes", "--out", "o.jsonl").exit_code == 1


def test_an_encoding_by_another_name_is_the_same(notes: Path, model: Model) -> None:
    (notes / "0.txt").write_bytes(b"\xff\xfe\xfd")
    options = ("--format", "documents", "--out")
    assert emlb_run("notes", *options, "whole.jsonl", "--encoding", "UTF8").exit_code == 1
    break_off(model, "notes", *options, "o.jsonl", "--encoding", "utf8")
    assert emlb_run("notes", *options, "o.jsonl").exit_code == 1
    assert model.read[0] == "notes/4.txt"
    assert Path("o.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()
    assert "it is not valid utf-8 at byte 0" in Path("o.jsonl").read_text(encoding="utf-8")


def test_chosen_patients_are_hashed(notes: Path, model: Model) -> None:
    Path("t.csv").write_text("ROW_ID,SUBJECT_ID,TEXT\n1,70707,rash\n2,70707,drug\n")
    command = ("t.csv", "--out", "o.jsonl", "--subject")
    model.stop_at = "2"
    assert emlb_run(*command, "70707").exit_code == 130
    assert b"70707" not in Path("o.jsonl.state").read_bytes()
    result = emlb_run(*command, "70708")
    assert result.exit_code == 2
    assert "differs in --subject: give" in result.stderr
    model.stop_at, model.read = "", []
    assert emlb_run(*command, "70707").exit_code == 0
    assert model.read == ["2"]


def test_a_second_run_on_the_same_output_is_refused(notes: Path, model: Model) -> None:
    state = Journal.open(Path("o.jsonl.state"))
    for extra in ([], ["--restart"]):
        result = emlb_run("notes", "--out", "o.jsonl", *extra)
        assert result.exit_code == 2
        assert "another run is writing this output" in result.stderr
    state.close()  # as when the process dies
    assert emlb_run("notes", "--out", "o.jsonl").exit_code == 1


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_torn_last_line_counts_for_nothing(
    notes: Path, model: Model, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    monkeypatch.setattr(output, "CHECKPOINT_SECONDS", 0.0)
    emlb_run("notes", "--out", "whole.jsonl")
    break_off(model, "notes", "--out", "o.jsonl")
    state = Path("o.jsonl.state")
    state.write_bytes(state.read_bytes()[:-cut])
    with Path("o.jsonl.part").open("ab") as part:
        part.write(b'{"note": "torn')
    assert emlb_run("notes", "--out", "o.jsonl").exit_code == 1
    assert model.read[0] == "notes/3.txt"
    assert Path("o.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda part, state: part.unlink(), "is gone, or shorter than"),
        (lambda part, state: part.write_bytes(part.read_bytes()[:-1]), "is gone, or shorter"),
        (
            lambda part, state: part.write_bytes(part.read_bytes().replace(b"Rash", b"Bash")),
            "is not what the unfinished run wrote",
        ),
        (
            lambda part, state: state.write_bytes(state.read_bytes().replace(b"utf-8", b"utf-9")),
            "is damaged, or of another version",
        ),
    ],
)
def test_what_was_tampered_with_is_refused(
    notes: Path, model: Model, spoil: Any, sentence: str
) -> None:
    break_off(model, "notes", "--out", "o.jsonl")
    spoil(Path("o.jsonl.part"), Path("o.jsonl.state"))
    result = emlb_run("notes", "--out", "o.jsonl")
    assert result.exit_code == 2
    assert sentence in result.stderr and "--restart" in result.stderr
    assert emlb_run("notes", "--out", "o.jsonl", "--restart").exit_code == 1
    assert model.read[0] == "notes/0.txt"


@pytest.mark.parametrize(
    "options",
    [
        ["--out", "o.jsonl"],
        ["--out", "o.jsonl.gz"],
        ["--out", "o", "--shard-notes", "2"],
        ["--out", "o", "--format", "brat"],
    ],
)
def test_files_are_for_their_owner_only(
    notes: Path, model: Model, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.setattr(compression, "MEMBER_NOTES", 2)
    before = os.umask(0)
    try:
        break_off(model, "notes", *options)
        unfinished = [path for path in Path().rglob("*") if "notes" not in path.parts]
        assert any(path.suffix == ".state" for path in unfinished)
        assert emlb_run("notes", *options).exit_code == 1
    finally:
        os.umask(before)
    for path in [*Path().rglob("o*/*"), *Path().glob("o*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("format", ["triples", "documents"])
def test_redacted_output_holds_no_text(notes: Path, model: Model, format: str) -> None:
    (notes / "0.txt").write_text("rash after drug", encoding="utf-8")
    for out in ("-", "o.jsonl"):
        result = emlb_run("notes", "--format", format, "--redact-text", "--out", out)
        written = result.stdout or Path("o.jsonl").read_text(encoding="utf-8")
        lines = [json.loads(line) for line in written.splitlines()]
        assert len(lines) > 2
        assert '"text"' not in written and "after" not in written
        mention = lines[0]["head"] if format == "triples" else lines[0]["entities"][0]
        assert (mention["type"], mention["start"], mention["end"]) == ("Rash", 0, 4)


@pytest.mark.parametrize("has_text", [True, False])
def test_redacted_documents_read_back(notes: Path, has_text: bool) -> None:
    text = (notes / "0.txt").read_text(encoding="utf-8")
    options = ("--format", "documents", "--redact-text", "--out", "o.jsonl")
    assert emlb_run("notes/0.txt", *options).exit_code == 0
    texts = {"notes/0.txt": text} if has_text else {}
    ((document, report),) = read_documents(Path("o.jsonl"), texts=texts)
    assert report.problems == ()
    assert [entity.text for entity in document.entities] == (
        ["rash", "drug"] if has_text else ["", ""]
    )
    assert len(document.relations) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--format", "brat", "--redact-text", "--out", "o"], "choose --format triples or doc"),
        (["--format", "brat", "--shard-notes", "2", "--out", "o"], "not for brat's files"),
        (["--format", "brat", "--compress", "gz", "--out", "o"], "not for brat's files"),
        (["--compress", "gz"], "--compress is for files"),
        (["--shard-notes", "2"], "--shard-notes writes a folder: name it"),
        (["--shard-notes", "2", "--out", "file"], "is a file, but --shard-notes writes"),
        (["--shard-notes", "0", "--out", "o"], "--shard-notes"),
        (["--shard-notes", "2", "--out", "full"], "already holds shards"),
        (["--format", "brat", "--out", "full"], "already holds .txt or .ann files"),
        (["--format", "brat", "--out", "full", "--restart"], "already holds .txt or .ann"),
        (["--format", "brat", "--out", "errors"], "files, or errors.jsonl: choose an empty"),
    ],
)
def test_what_does_not_go_together(notes: Path, arguments: list[str], sentence: str) -> None:
    Path("file").touch()
    Path("full").mkdir()
    Path("errors").mkdir()
    Path("errors", "errors.jsonl").write_text("mine", encoding="utf-8")
    for name in ("part-00001.jsonl", "x.txt"):
        (Path("full") / name).touch()
    result = emlb_run("notes", *arguments)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert sorted(path.name for path in Path("full").iterdir()) == ["part-00001.jsonl", "x.txt"]
    assert Path("errors", "errors.jsonl").read_text(encoding="utf-8") == "mine"
    assert not list(Path().rglob("emlb-run.state"))


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="it has Zstandard")
def test_zstandard_needs_a_later_python(notes: Path) -> None:
    for options in (["--out", "o.jsonl.zst"], ["--out", "o", "--compress", "zst"]):
        result = emlb_run("notes", *options)
        assert result.exit_code == 2
        assert "comes with Python 3.14 and later" in result.stderr and "choose gz" in result.stderr


def test_shards_hold_so_many_notes(notes: Path) -> None:
    emlb_run("notes", "--out", "whole.jsonl", "--format", "documents")
    for count, sizes in ((4, [4, 2]), (3, [3, 3]), (9, [6])):
        folder = Path(f"shards-{count}")
        options = ("--format", "documents", "--shard-notes", str(count), "--compress", "gz")
        assert emlb_run("notes", "--out", str(folder), *options).exit_code == 1
        names = [f"part-{number:05}.jsonl.gz" for number in range(1, len(sizes) + 1)]
        assert sorted(path.name for path in folder.iterdir()) == names
        parts = [gzip.decompress((folder / name).read_bytes()) for name in names]
        assert [part.count(b"\n") for part in parts] == sizes
        assert b"".join(parts) == Path("whole.jsonl").read_bytes()


@pytest.mark.parametrize(
    "options", [[], ["--compress", "gz"], ["--shard-notes", "4", "--compress", "gz"]]
)
def test_documents_read_back_however_they_were_written(notes: Path, options: list[str]) -> None:
    assert emlb_run("notes", "--out", "o", "--format", "documents", *options).exit_code == 1
    files = sorted(Path("o").iterdir()) if Path("o").is_dir() else [Path("o")]
    read = [item for path in files for item in read_documents(path)]
    assert [document.note.name for document, _ in read] == [f"notes/{n}.txt" for n in range(6)]
    assert sum(len(document.entities) for document, _ in read) == 7
    assert [len(report.problems) for _, report in read] == [0, 1, 0, 0, 0, 0]  # one says "crash"


@pytest.mark.parametrize("options", [["--format", "brat"], ["--shard-notes", "2"]])
@pytest.mark.parametrize("restart", [[], ["--restart"]])
def test_a_run_that_ends_as_another_begins_keeps_its_output(
    notes: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], restart: list[str]
) -> None:
    command = ("notes", "--out", "o", *options)
    real = Journal.open

    def after_another(path: Path) -> Journal:
        monkeypatch.setattr(Journal, "open", real)
        assert emlb_run(*command).exit_code == 1
        return real(path)

    monkeypatch.setattr(Journal, "open", after_another)
    assert "choose an empty folder" in emlb_run(*command, *restart).stderr
    kept = sorted(Path("o").iterdir())
    assert len(kept) == (11 if "brat" in options else 3)
    assert not Path("o", "emlb-run.state").exists()


@pytest.mark.parametrize("name", ["o.jsonl.part", "o.jsonl.state"])
@pytest.mark.parametrize("content", ["", "mine", "mine\nand mine\n"])
@pytest.mark.parametrize("restart", [[], ["--restart"]])
def test_a_file_that_happens_to_have_our_name(
    notes: Path, model: Model, name: str, content: str, restart: list[str]
) -> None:
    path = Path(name)
    path.write_text(content, encoding="utf-8")
    path.chmod(0o644)
    result = emlb_run("notes", "--out", "o.jsonl", *restart)
    if name == "o.jsonl.state" and not content:  # nothing is lost, and it may be ours
        assert result.exit_code == 1
        return
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert f"{path.resolve()} is there, " in result.stderr
    assert "move it away, or name another --out" in result.stderr
    assert (path.read_text(encoding="utf-8"), path.stat().st_mode & 0o777) == (content, 0o644)
    assert sorted(file.name for file in Path().iterdir()) == ["notes", name]
    path.unlink()
    assert emlb_run("notes", "--out", "o.jsonl").exit_code == 1


def test_a_folder_in_place_of_the_state_file(notes: Path) -> None:
    Path("o.jsonl.state").mkdir()
    result = invoke(["notes", "--out", "o.jsonl"])
    assert result.exit_code == 2
    assert result.stderr == f"emlb-run: {Path('o.jsonl.state').resolve()}: Is a directory\n"


def test_a_link_in_place_of_the_growing_file(notes: Path) -> None:
    Path("o.jsonl.part").symlink_to("nowhere")
    result = emlb_run("notes", "--out", "o.jsonl")
    assert (result.exit_code, "move it away" in result.stderr) == (2, True)


@pytest.mark.parametrize("note", ["notes/0.txt", "notes/2.txt"])
@pytest.mark.parametrize("ending", [".txt", ".ann"])
def test_a_pair_that_is_gone_is_missed(
    notes: Path, model: Model, monkeypatch: pytest.MonkeyPatch, note: str, ending: str
) -> None:
    monkeypatch.setattr(output, "CHECKPOINT_SECONDS", 0.0)
    command = ("notes", "--out", "o", "--format", "brat")
    break_off(model, *command)
    path = Path("o", brat_stem(note) + ending)
    kept = path.read_bytes()
    path.unlink()
    result = emlb_run(*command)
    assert result.exit_code == 2
    assert f"{path.resolve()} is gone: put it back, or use --restart\n" in result.stderr
    path.write_bytes(kept[:-1])
    result = emlb_run(*command)
    assert result.exit_code == 2
    assert f"{path.resolve()} is not what the unfinished run wrote: use --rest" in result.stderr
    path.write_bytes(kept)
    model.read = []
    assert emlb_run(*command).exit_code == 1
    assert model.read == ["notes/4.txt", "notes/5.txt"]
    endings = sorted(file.suffix for file in Path("o").iterdir())
    assert endings == [".ann"] * 5 + [".jsonl"] + [".txt"] * 5


def test_a_pair_of_a_row_that_is_gone_is_missed(notes: Path, model: Model) -> None:
    rows = "".join(f"{row},7,rash\n" for row in range(1, 5))
    Path("t.csv").write_text(f"ROW_ID,SUBJECT_ID,TEXT\n{rows}", encoding="utf-8")
    command = ("notes/1.txt", "t.csv", "--out", "o", "--format", "brat")
    break_off(model, *command, at="4")
    Path("o", "2.ann").unlink()
    result = emlb_run(*command)
    assert (result.exit_code, "/2.ann is gone: put it back" in result.stderr) == (2, True)
    assert emlb_run(*command, "--restart").exit_code == 1
    assert len(list(Path("o").iterdir())) == 9


@pytest.mark.parametrize("at", ["notes/4.txt", "notes/5.txt"])
def test_a_shard_that_was_changed_is_missed(notes: Path, model: Model, at: str) -> None:
    command = ("notes", "--out", "o", "--shard-notes", "2", "--format", "documents")
    break_off(model, *command, at=at)
    with Path("o", "part-00001.jsonl").open("ab") as file:
        file.write(b"\n")
    result = emlb_run(*command)
    assert result.exit_code == 2
    assert "part-00001.jsonl is not what the unfinished run wrote: use --rest" in result.stderr


SHARDS, PAIRS = ["--shard-notes", "2"], ["--format", "brat"]


@pytest.mark.parametrize(("first", "then"), [(SHARDS, PAIRS), (PAIRS, SHARDS)])
def test_restarting_with_other_files_leaves_none_of_the_first(
    notes: Path, model: Model, first: list[str], then: list[str]
) -> None:
    assert emlb_run("notes", "--out", "whole", *then).exit_code == 1
    break_off(model, "notes", "--out", "o", *first)
    own = Path("o", "x.txt" if first == SHARDS else "part-77777.jsonl")
    own.touch()
    before = sorted(Path("o").iterdir())
    result = emlb_run("notes", "--out", "o", *then, "--restart")
    assert (result.exit_code, "choose an empty folder" in result.stderr) == (2, True)
    assert sorted(Path("o").iterdir()) == before
    own.unlink()
    assert emlb_run("notes", "--out", "o", *then, "--restart").exit_code == 1
    written = [{path.name: path.read_bytes() for path in Path(o).iterdir()} for o in ("o", "whole")]
    assert written[0] == written[1]


@pytest.mark.parametrize("at", ["notes/4.txt", "notes/5.txt"])
def test_a_complete_shard_that_is_gone_is_missed(notes: Path, model: Model, at: str) -> None:
    command = ("notes", "--out", "o", "--shard-notes", "2")
    break_off(model, *command, at=at)
    Path("o", "part-00001.jsonl").unlink()
    result = emlb_run(*command)
    assert result.exit_code == 2
    assert "part-00001.jsonl is gone: put it back, or use --restart" in result.stderr
    assert emlb_run(*command, "--restart").exit_code == 1
    assert len(list(Path("o").iterdir())) == 3


def test_nothing_found_is_a_valid_gzip_file(notes: Path) -> None:
    emlb_run("notes/3.txt", "--out", "o.jsonl.gz")
    assert Path("o.jsonl.gz").read_bytes()[4:8] == bytes(4)  # no time in it
    assert gzip.decompress(Path("o.jsonl.gz").read_bytes()) == b""


@pytest.mark.parametrize(
    "options",
    [
        ["--out", "notes/o", "--format", "brat"],
        ["--out", "notes/o", "--shard-notes", "3"],
        ["--out", "notes/o.jsonl"],
    ],
)
def test_the_output_may_lie_among_the_notes(notes: Path, model: Model, options: list[str]) -> None:
    break_off(model, "notes/**", *options)
    assert emlb_run("notes/**", *options).exit_code == 1
    assert model.read == ["notes/4.txt", "notes/5.txt"]


def test_standard_input_is_known_by_its_content(notes: Path, model: Model) -> None:
    command = ("notes/0.txt", "-", "notes/2.txt", "--out", "o.jsonl")
    model.stop_at = "notes/2.txt"
    assert emlb_run(*command, input=b"rash drug").exit_code == 130
    result = emlb_run(*command, input=b"drug")
    assert (result.exit_code, "the note - (size" in result.stderr) == (2, True)
    model.stop_at, model.read = "", []
    assert emlb_run(*command, input=b"rash drug").exit_code == 0
    assert model.read == ["notes/2.txt"]


def test_an_error_of_ours_is_one_sentence_without_its_words(notes: Path, model: Model) -> None:
    model.stop_at, model.error = "notes/4.txt", KeyError(MARKER)
    result = emlb_run("notes", "--out", "o.jsonl")
    assert result.exit_code == 2
    assert re.match(
        r"emlb-run: internal error, KeyError at test_running\.py:\d+, after 4 of 6 notes; what"
        r" was written is in .*, and the same command goes on from there\n",
        result.stderr,
    )
    model.stop_at, model.read = "", []
    assert emlb_run("notes", "--out", "o.jsonl").exit_code == 1
    assert model.read == ["notes/4.txt", "notes/5.txt"]


def test_a_failed_sync_is_not_recorded(
    notes: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "CHECKPOINT_SECONDS", 0.0)
    syncs = 0
    real = disk.sync

    def failing(descriptor: int, path: Path) -> None:
        nonlocal syncs
        syncs += path.suffix == ".part"
        if syncs == 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        real(descriptor, path)

    monkeypatch.setattr(disk, "sync", failing)
    result = emlb_run("notes", "--out", "o.jsonl")
    assert result.exit_code == 2
    assert "o.jsonl.part: Input/output error, after 2 of 6 notes; what was" in result.stderr
    model.read = []
    assert emlb_run("notes", "--out", "o.jsonl").exit_code == 1
    assert model.read[0] == "notes/2.txt"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_device_that_is_full_is_named(notes: Path) -> None:
    result = emlb_run("notes", "--format", "documents", "--out", "/dev/full")
    assert result.exit_code == 2
    assert result.stderr == "emlb-run: /dev/full: No space left on device, after 0 of 6 notes\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_standard_output_that_is_full(notes: Path) -> None:
    code = "from emlb_cli.run import main; main()"
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, "notes", "--format", "documents", "--workers", "1"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 2
    # What loading the model had to say of this machine may come before.
    *_, last = done.stderr.splitlines(keepends=True)
    assert re.fullmatch(
        rb"emlb-run: standard output: No space left on device, after \d of 6 notes\n", last
    )
    assert MARKER.encode() not in done.stderr and b"Traceback" not in done.stderr


SLOW = """
import signal, sys, time
# A shell starts what it runs in the background with Ctrl-C ignored; here it must be heard.
signal.signal(signal.SIGINT, signal.default_int_handler)
from emlb_cli import run
from emlb_runtime.records import Document
from tests.cli.invoking import DEFAULT_RECIPE

class Slow:
    recipe = DEFAULT_RECIPE
    class info:
        provider, precision, batch = "CPUExecutionProvider", "int8", 1
    def extract_each(self, notes):
        for number, note in enumerate(notes):
            if number >= 3 and "--hang" in sys.argv:
                open("hangs", "x").close()  # all that came before is written and counted
                time.sleep(120)
            yield Document(note)

hang = sys.argv.pop() if sys.argv[-1] == "--hang" else None
sys.argv = ["emlb-run", *sys.argv[1:]]
run.load_extractor = lambda model, **options: Slow()
if hang:
    run.load_extractor = lambda model, **options: (sys.argv.append("--hang"), Slow())[1]
run.main()
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_with_a_mark_and_a_line(notes: Path, number: signal.Signals, code: int) -> None:
    command = [sys.executable, "-c", SLOW, "notes", "--format", "documents", "--out", "o.jsonl"]
    with subprocess.Popen([*command, "--hang"], stderr=subprocess.PIPE) as process:
        while not Path("hangs").exists():
            assert process.poll() is None, "it ended before it was asked to"
            time.sleep(0.01)
        assert Path("o.jsonl.part").read_bytes().count(b"\n") == 3
        process.send_signal(number)
        _, said = process.communicate(timeout=100)
    assert process.returncode == code
    assert re.fullmatch(rb"emlb-run: interrupted after 3 of 6 notes; what was .*there\n", said)
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    names = [json.loads(line)["note"] for line in Path("o.jsonl").read_bytes().splitlines()]
    assert names == [f"notes/{number}.txt" for number in range(6)]


def test_a_fingerprint_survives_its_file(tmp_path: Path) -> None:
    file = tmp_path / "note.txt"
    file.touch()
    inputs = identify_inputs([NoteFile(str(file)), ErrorRecord("b", "gone"), Note("-", MARKER)])
    made = Fingerprint({"x": "1"}, inputs)
    path = tmp_path / "run.state"
    state = Journal.open(path)
    assert state.read() is None
    state.begin(made)
    marks = [
        Checkpoint(1, 10, 5, (1, 0, 0, 0, 0), (7, 8)),
        Checkpoint(2, 20, 6, (2, 0, 0, 0, 0), complete=True),
    ]
    for mark in marks:
        state.record(mark)
    state.close()
    again = Journal.open(path)
    earlier = again.read()
    assert earlier is not None and again.checkpoint == marks[1]
    assert list(again.sizes) == [7, 8]
    assert made.differences(earlier) == []
    assert Fingerprint({"x": "2", "y": "3"}, inputs).differences(earlier) == [
        "x (1 then, 2 now)",
        "y (not set then, 3 now)",
    ]
    again.close()
    data = path.read_bytes()
    for size in range(len(data)):  # torn anywhere
        path.write_bytes(data[:size])
        torn = Journal.open(path)
        assert (torn.read() is None) == (size <= data.index(b"\n"))
        assert torn.checkpoint in (Checkpoint(), *marks)
        assert (torn.checkpoint == marks[1]) == (size == len(data))
        torn.close()


def test_another_version_of_the_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.state"
    path.write_bytes(b'{"format":2} 00000000\n')
    state = Journal.open(path)
    with pytest.raises(ArtefactError, match="of another version of EMLB: use --restart"):
        state.read()
    with pytest.raises(ConfigError, match="another run is writing this output"):
        Journal.open(path)
    state.close()
