"""A job runs, stops and goes on from Python as `emlb-run` does from the shell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from emlb_cli.shared.run_parser import _parser
from emlb_runtime import ConfigError, DataError, Document, ErrorRecord, Extractor, Note
from emlb_runtime.batch import Compression, ExtractionJob, OutputSpec, RunStats
from emlb_runtime.batch import output as output_module
from emlb_runtime.errors import ArtefactError
from emlb_runtime.extraction.recipe import Recipe
from tests.cli.invoking import invoke

TEXTS = (
    "Rash after amoxicillin 500 mg.",
    "Nausea after codeine.",
    "Potassium was 5.6 mmol/L.",
    "CT of the chest showed a mass.",
)


class Interrupting:
    """An extractor that is interrupted before a note."""

    def __init__(self, extractor: Extractor, at: str) -> None:
        self.info, self.recipe = extractor.info, extractor.recipe
        self._extractor, self._at = extractor, at

    def extract_each(self, notes: Iterable[Note | ErrorRecord]) -> Iterator[Document | ErrorRecord]:
        def until(notes: Iterable[Note | ErrorRecord]) -> Iterator[Note | ErrorRecord]:
            for note in notes:
                if isinstance(note, Note) and note.name.endswith(self._at):
                    return
                yield note

        yield from self._extractor.extract_each(until(notes))
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def extractor() -> Iterator[Extractor]:
    with Extractor.load(workers=1) as loaded:
        yield loaded


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    for number, text in enumerate(TEXTS):
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_job_writes_what_the_command_writes(notes: Path, extractor: Extractor) -> None:
    assert invoke(["notes", "--format", "documents", "--out", "shell.jsonl"]).exit_code == 0
    seen: list[int] = []
    job = ExtractionJob(["notes"], OutputSpec("python.jsonl", "documents"))
    stats = job.run(extractor, on_progress=lambda stats: seen.append(stats.done))
    assert Path("python.jsonl").read_bytes() == Path("shell.jsonl").read_bytes()
    assert (stats.notes, stats.failed, stats.saved, job.total) == (4, 0, 4, 4)
    assert seen == [0, 1, 2, 3, 4]
    assert stats.seconds > 0


def test_an_interrupted_job_goes_on(
    notes: Path, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_module, "CHECKPOINT_SECONDS", 0.0)
    ExtractionJob(["notes"], "whole.jsonl").run(extractor)
    job = ExtractionJob(["notes"], "broken.jsonl")
    with pytest.raises(KeyboardInterrupt):
        job.run(Interrupting(extractor, "2.txt"))  # type: ignore[arg-type]
    assert (job.stats.saved, Path("broken.jsonl").exists()) == (2, False)
    again = ExtractionJob(["notes"], "broken.jsonl")
    starts: list[RunStats] = []
    again.run(extractor, on_progress=lambda stats: starts.append(stats))
    assert starts[0].before == 2
    assert Path("broken.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()


def test_the_command_goes_on_where_a_job_stopped(notes: Path, extractor: Extractor) -> None:
    job = ExtractionJob(["notes"], "broken.jsonl")
    with pytest.raises(KeyboardInterrupt):
        job.run(Interrupting(extractor, "3.txt"))  # type: ignore[arg-type]
    result = invoke(["notes", "--out", "broken.jsonl"])
    assert "going on after 3 of 4 notes" in result.stderr
    ExtractionJob(["notes"], "whole.jsonl").run(extractor)
    assert Path("broken.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()


def test_another_question_is_refused(notes: Path, extractor: Extractor) -> None:
    with pytest.raises(KeyboardInterrupt):
        ExtractionJob(["notes"], OutputSpec("o.jsonl")).run(
            Interrupting(extractor, "1.txt")  # type: ignore[arg-type]
        )
    other = OutputSpec("o.jsonl", redact_text=True)
    with pytest.raises(ArtefactError, match=r"differs in --redact-text \(False then, True now\)"):
        ExtractionJob(["notes"], other).run(extractor)
    ExtractionJob(["notes"], other, restart=True).run(extractor)
    assert '"text"' not in Path("o.jsonl").read_text(encoding="utf-8")


def test_what_cannot_be_done_is_refused_before_a_model_is_loaded(notes: Path) -> None:
    with pytest.raises(DataError, match="no note found"):
        ExtractionJob(["nowhere"], "o.jsonl")
    with pytest.raises(DataError, match="name files, folders or patterns"):
        ExtractionJob([], "o.jsonl")
    with pytest.raises(ConfigError, match="there is no folder"):
        ExtractionJob(["notes"], "no/where.jsonl")
    with pytest.raises(ConfigError, match="unknown text encoding"):
        ExtractionJob(["notes"], "o.jsonl", encoding="klingon")


def test_one_path_is_one_input(notes: Path, extractor: Extractor) -> None:
    for given in ("notes", Path("notes"), [Path("notes")]):
        assert ExtractionJob(given, OutputSpec("o.jsonl")).total == 4
    assert OutputSpec(Path("o.jsonl")).out == "o.jsonl"  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unknown output format 'xml'; choose triples"):
        OutputSpec("o.jsonl", "xml")


def test_a_file_is_compressed_as_its_name_ends() -> None:
    assert OutputSpec("a.jsonl.gz").compression is Compression.GZIP
    assert OutputSpec("a.gz", "brat").compression is Compression.NONE
    assert OutputSpec("a.gz", shard_notes=3).compression is Compression.NONE
    assert OutputSpec("-").compression is Compression.NONE
    assert OutputSpec("a.jsonl", compress=Compression.GZIP).compression is Compression.GZIP


# Options that do not change the bytes of the output, or are part of it in another way.
_NOT_SETTINGS = {
    "--out": "where it is written",
    "--model": "named by its content",
    "--provider": "named by what really runs",
    "--precision": "named by what really runs",
    "--workers": "changes nothing",
    "--restart": "forgets the earlier run",
    "--quiet": "changes nothing",
    "--help": "no run",
    "--version": "no run",
}


def test_each_option_that_changes_the_output_is_in_the_fingerprint(
    notes: Path, extractor: Extractor
) -> None:
    """A new option must be added to the settings, or stand above with a reason."""
    Path("table.csv").write_text("visit,note\n1,Rash after codeine.\n", encoding="utf-8")
    actions = _parser("emlb-run")._actions
    long = {name for action in actions for name in action.option_strings if name.startswith("--")}
    job = ExtractionJob(["table.csv"], OutputSpec("o.jsonl"), id_column="visit", text_column="note")
    settings = job._identify(extractor, job._files).settings
    assert long - settings.keys() - _NOT_SETTINGS.keys() == set()
    assert _NOT_SETTINGS.keys() <= long
    assert Recipe.__dataclass_fields__.keys() == {
        *("bundle", "provider", "precision", "workers", "min_score", "batch")
    }
