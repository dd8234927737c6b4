"""Notes are found as asked and decoded without a change."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlb_runtime.errors import ConfigError
from emlb_runtime.formats import notes as text
from emlb_runtime.formats.files.limits import Limit
from emlb_runtime.formats.notes import NoteFile, check_encoding, find_notes, read_note, read_notes
from emlb_runtime.records import ErrorRecord, Note

MARKER = "Zebrafish"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with notes at two levels."""
    for name in ("notes/b.txt", "notes/a.txt", "notes/deep/a.txt", "notes/deep/C.TXT"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    (tmp_path / "notes/a.ann").write_text("", encoding="utf-8")
    (tmp_path / "notes/.hidden.txt").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*inputs: str) -> list[str]:
    """The names of what the inputs lead to, all of them notes."""
    found = find_notes(inputs)
    assert all(isinstance(item, NoteFile) for item in found)
    return [item.name for item in found if isinstance(item, NoteFile)]


def failure(*inputs: str) -> ErrorRecord:
    """The one error record that the inputs lead to."""
    (record,) = find_notes(inputs)
    assert isinstance(record, ErrorRecord)
    return record


IN_NOTES = ["notes/a.txt", "notes/b.txt", "notes/deep/C.TXT", "notes/deep/a.txt"]


def test_files_keep_their_order_and_spelling(folder: Path) -> None:
    assert names("notes/b.txt", "notes/a.txt") == ["notes/b.txt", "notes/a.txt"]
    assert names("./notes//a.txt") == ["notes/a.txt"]
    assert names(str(folder / "notes/a.txt")) == [(folder / "notes/a.txt").as_posix()]


def test_a_named_file_needs_no_suffix(folder: Path) -> None:
    assert names("notes/a.ann") == ["notes/a.ann"]


def test_folders_are_walked_in_order(folder: Path) -> None:
    assert names("notes") == IN_NOTES
    assert names("notes/") == IN_NOTES


def test_patterns_stand_for_what_they_match(folder: Path) -> None:
    assert names("notes/*.txt") == ["notes/a.txt", "notes/b.txt"]
    assert names("notes/**/a.txt") == ["notes/a.txt", "notes/deep/a.txt"]
    assert names("not[e]s") == IN_NOTES
    assert failure("notes/*.md") == ErrorRecord("notes/*.md", "no file matches this pattern")


def test_a_name_that_looks_like_a_pattern_is_a_name(folder: Path) -> None:
    (folder / "visit [1].txt").write_text("", encoding="utf-8")
    assert names("visit [1].txt") == ["visit [1].txt"]


def test_a_note_is_found_once(folder: Path) -> None:
    absolute = str(folder / "notes/a.txt")
    assert names("notes/b.txt", "notes", absolute, "notes/*.txt", "-", "-") == [
        "notes/b.txt",
        "notes/a.txt",
        *IN_NOTES[2:],
        "-",
    ]


def test_standard_input_and_a_file_of_its_name_differ(folder: Path) -> None:
    (folder / "-").write_text("", encoding="utf-8")
    assert names("-", "./-") == ["-", "./-"]


def test_what_leads_to_no_note_is_reported(folder: Path) -> None:
    (folder / "empty").mkdir()
    assert failure("empty") == ErrorRecord("empty", "the folder holds no .txt file")
    assert failure("gone.txt") == ErrorRecord("gone.txt", "there is no such file or folder")
    assert failure("") == ErrorRecord("", "there is no such file or folder")


def test_folder_named_like_a_note_is_an_error_record_of_its_own(folder: Path) -> None:
    (folder / "notes/c.txt").mkdir()
    found = find_notes(["notes"])
    records = [item for item in read_notes(found) if isinstance(item, ErrorRecord)]
    assert records == [ErrorRecord("notes/c.txt", "it is a folder, not a note")]
    assert len(found) == 5


def test_links_are_followed_but_not_in_circles(folder: Path) -> None:
    (folder / "notes/deep/up").symlink_to(folder / "notes", target_is_directory=True)
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere/d.txt").write_text("", encoding="utf-8")
    (folder / "notes/linked").symlink_to(folder / "elsewhere", target_is_directory=True)
    assert names("notes") == [*IN_NOTES, "notes/linked/d.txt"]


def test_broken_link_is_an_error_record(folder: Path) -> None:
    (folder / "notes/z.txt").symlink_to(folder / "nowhere")
    assert list(read_notes(find_notes(["notes"])))[-1] == ErrorRecord(
        "notes/z.txt", "the file does not exist, or vanished before it was read"
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this platform")
def test_a_pipe_in_a_folder_does_not_block(folder: Path) -> None:
    os.mkfifo(folder / "notes/z.txt")
    assert find_notes(["notes"])[-1] == ErrorRecord("notes/z.txt", "it is not a regular file")


@pytest.mark.parametrize(
    "content",
    [
        "",
        " \n\t",
        "a\r\nb\rc\n",
        "\ufeffbyte-order mark",
        "nul \0 inside",
        "𝒳 é e\u0301 \u2028 \x85",
    ],
)
def test_decoding_changes_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(content.encode("utf-8"))
    assert read_note(path, name="note.txt") == Note("note.txt", content)


@given(content=st.text())
def test_decoding_changes_nothing_whatever_the_text(
    tmp_path_factory: pytest.TempPathFactory, content: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(content.encode("utf-8"))
    assert read_note(path, name="any.txt") == Note("any.txt", content)


def test_invalid_bytes_are_an_error_record_without_text(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(f"{MARKER} 37".encode() + b"\xb0C")
    record = read_note(path, name="note.txt")
    assert record == ErrorRecord(
        "note.txt",
        "it is not valid utf-8 at byte 12:"
        " try --encoding with the note's encoding, or --errors replace",
    )


def test_invalid_bytes_can_be_read_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(b"37\xb0C")
    assert read_note(path, name="n", encoding="latin-1") == Note("n", "37°C")
    assert read_note(path, name="n", errors="replace") == Note("n", "37\ufffdC")


def test_utf16_is_recognised_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(MARKER.encode("utf-16"))
    record = read_note(path, name="n")
    assert isinstance(record, ErrorRecord)
    assert "--encoding utf-16" in record.error
    assert read_note(path, name="n", encoding="utf-16") == Note("n", MARKER)


def test_truncated_utf16_is_an_error_record(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(MARKER.encode("utf-16")[:-1])
    record = read_note(path, name="n", encoding="utf-16")
    assert isinstance(record, ErrorRecord)
    assert MARKER not in record.error


def test_unreadable_paths_are_error_records(tmp_path: Path) -> None:
    assert read_note(tmp_path, name="n") == ErrorRecord("n", "it is a folder, not a note")
    gone = read_note(tmp_path / "gone.txt", name="n")
    assert isinstance(gone, ErrorRecord)
    assert "vanished" in gone.error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PermissionError(13, "Permission denied"), "there is no permission to read it"),
        (OSError(5, "Input/output error"), "it cannot be read: Input/output error"),
    ],
)
def test_other_failures_are_error_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, sentence: str
) -> None:
    def fail(path: Path, limit: Limit) -> bytes:
        raise error

    monkeypatch.setattr(text, "read_file", fail)
    assert read_note(tmp_path / "n.txt", name="n") == ErrorRecord("n", sentence)


def test_standard_input_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfrash\r\n")))
    assert list(read_notes(find_notes(["-"]))) == [Note("-", "\ufeffrash\r\n")]


def test_closed_standard_input_is_an_error_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert read_note(None, name="-") == ErrorRecord(
        "-", "it cannot be read: standard input is closed"
    )


def test_notes_are_read_one_by_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def watch(path: Path | None, *, name: str, **options: str) -> Note:
        read.append(name)
        return Note(name, "")

    monkeypatch.setattr(text, "read_note", watch)
    notes = read_notes(find_notes(["notes"]))
    assert read == []
    next(notes)
    assert read == IN_NOTES[:1]


def test_records_pass_through(folder: Path) -> None:
    record = ErrorRecord("gone.txt", "there is no such file or folder")
    first, second = read_notes(find_notes(["gone.txt", "notes/a.txt"]))
    assert first == record
    assert second == Note("notes/a.txt", "notes/a.txt")


@pytest.mark.parametrize(
    "check",
    [
        lambda: check_encoding("utf-9"),
        lambda: check_encoding("hex"),
        lambda: check_encoding("a\0b"),
        lambda: check_encoding("utf-8", errors="surrogateescape"),
        lambda: read_note(Path(__file__), name="n", encoding="utf-9"),
    ],
)
def test_unknown_decoding_is_refused(check: Callable[[], object]) -> None:
    with pytest.raises(ConfigError, match="unknown .*: (use one|choose from)"):
        check()


def test_texts_stay_out_of_representations(folder: Path) -> None:
    (note,) = read_notes(find_notes(["notes/a.txt"]))
    assert isinstance(note, Note)
    assert "text" not in repr(note)
