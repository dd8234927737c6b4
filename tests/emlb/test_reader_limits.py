"""What the corpora's readers refuse for its size, with the file and the way out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emlb.data.formats.anafora.corpus import scan_anafora
from emlb.data.formats.anafora.xml import RefusedXml, parse_annotations
from emlb.data.formats.detect import detect, scan
from emlb.data.formats.mimic import scan_mimic
from emlb.data.formats.n2c2 import scan_n2c2
from emlb.data.formats.share.corpus import scan_share
from emlb_runtime.errors import DataError
from emlb_runtime.formats import report as reasons
from emlb_runtime.formats.files.limits import (
    ANNOTATION_FILE,
    ANNOTATIONS,
    LINE,
    MIB,
    NOTE,
    XML_ELEMENTS,
    XML_FILE,
    Limit,
    TooLarge,
)
from emlb_runtime.formats.report import Problem, Report
from emlb_runtime.records import Document
from tests.memory import peak_below

MARKER = "Zebedee"
TEXT = f"{MARKER} rash"
ENTITY = "<entity><id>{0}@e@a@gold</id><span>0,12</span><type>EVENT</type><properties/></entity>"


def put(path: Path, content: str = "", *, size: int = 0) -> Path:
    """A file, with nothing up to the size that takes no place on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content.encode())
        if size:
            file.truncate(size)
    return path


def read(found: Iterator[tuple[Document | None, Report]]) -> tuple[list[str], list[Problem]]:
    """The names of documents, and all problems; nothing of it may hold text."""
    names: list[str] = []
    problems: list[Problem] = []
    with peak_below(4 * MIB):
        for document, report in found:
            names += [document.note.name] if document is not None else []
            problems += report.problems
    assert MARKER not in f"{problems}"
    return names, problems


def too_large(path: Path, limit: Limit, line: int = 0) -> Problem:
    return Problem(str(path), line, "", TooLarge(limit).reason)


def xml(*elements: str) -> str:
    return f"<data><annotations>{''.join(elements)}</annotations></data>"


@pytest.mark.parametrize(("large", "limit"), [("", NOTE), (".T.gold.completed.xml", XML_FILE)])
def test_anafora(tmp_path: Path, large: str, limit: Limit) -> None:
    for name in ("a", "b"):
        put(tmp_path / name / name, TEXT)
        put(tmp_path / name / f"{name}.T.gold.completed.xml", xml(ENTITY.format(1)))
    bad = put(tmp_path / "a" / f"a{large}", size=10 * 2**30)
    assert read(scan_anafora(tmp_path)) == (["b"], [too_large(bad, limit)])


def test_folders_without_end_of_anafora(tmp_path: Path) -> None:
    put(tmp_path / "a" / "a", TEXT)
    put(tmp_path / "a" / "a.T.gold.completed.xml", xml(ENTITY.format(1)))
    (tmp_path / "/".join("d" * 300)).mkdir(parents=True)
    names, (problem,) = read(scan_anafora(tmp_path))
    assert (names, problem.reason) == (["a"], reasons.DEEP_FOLDER)


def test_elements_and_annotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = xml(*(ENTITY.format(number) for number in range(30))).encode()
    monkeypatch.setenv("EMLB_MAX_ANNOTATIONS", "30")
    monkeypatch.setenv("EMLB_MAX_XML_ELEMENTS", "152")
    assert len(parse_annotations(data).items) == 30
    monkeypatch.setenv("EMLB_MAX_ANNOTATIONS", "29")
    with pytest.raises(RefusedXml) as refused:
        parse_annotations(data)
    assert refused.value.reason == TooLarge(ANNOTATIONS).reason
    monkeypatch.setenv("EMLB_MAX_XML_ELEMENTS", "151")
    monkeypatch.setenv("EMLB_MAX_ANNOTATIONS", "30")
    with pytest.raises(RefusedXml) as refused:
        parse_annotations(data)
    assert refused.value.reason == TooLarge(XML_ELEMENTS).reason


def test_a_tag_without_end_is_read_once() -> None:
    """An old expat, given sixteen megabytes in pieces, begins anew with each of them."""
    started = time.process_time()
    with pytest.raises(RefusedXml) as refused:
        parse_annotations(b"<data><a b='" + b"x" * (15 * MIB))
    assert refused.value.reason == reasons.BROKEN_XML
    assert time.process_time() - started < 5


def test_long_mentions_of_anafora_and_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMLB_MAX_MENTIONS", "30")
    put(tmp_path / "a" / "a", TEXT)
    put(tmp_path / "a" / "a.T.gold.completed.xml", xml(*map(ENTITY.format, range(4))))
    _, problems = read(scan_anafora(tmp_path))
    assert [(p.id, p.reason) for p in problems] == [
        ("2@e", reasons.LONG_MENTIONS),
        ("3@e", reasons.LONG_MENTIONS),
    ]
    put(tmp_path / "s" / "n.txt", TEXT)
    put(tmp_path / "s" / "n.pipe", "n.txt||Disease_Disorder||C||0||12\n" * 4)
    _, problems = read(scan_share(tmp_path / "s"))
    assert [(p.line, p.reason) for p in problems] == [
        (3, reasons.LONG_MENTIONS),
        (4, reasons.LONG_MENTIONS),
    ]


@pytest.mark.parametrize(("large", "limit"), [("a.txt", NOTE), ("a.pipe", ANNOTATION_FILE)])
def test_share(tmp_path: Path, large: str, limit: Limit) -> None:
    line = "{0}.txt||Disease_Disorder||C||8||12\n"
    for name in ("a", "b"):
        put(tmp_path / f"{name}.txt", TEXT)
        put(tmp_path / f"{name}.pipe", line.format(name))
    bad = put(tmp_path / large, TEXT if large == "a.txt" else line.format("a"), size=10 * 2**30)
    assert read(scan_share(tmp_path)) == (["b"], [too_large(bad, limit)])


def test_lines_of_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a.txt", TEXT)
    pipe = put(tmp_path / "a.pipe", "a.txt||Disease_Disorder||C||8||12\n" * 4)
    monkeypatch.setenv("EMLB_MAX_ANNOTATIONS", "3")
    assert read(scan_share(tmp_path)) == ([], [too_large(pipe, ANNOTATIONS)])


def test_n2c2_and_mimic(tmp_path: Path) -> None:
    put(tmp_path / "n" / "a.txt", TEXT)
    put(tmp_path / "n" / "b.txt", TEXT)
    put(tmp_path / "n" / "b.ann", "T1\tADE 8 12\trash\n")
    bad = put(tmp_path / "n" / "a.ann", "T1\tADE 8 12\trash\n", size=10 * 2**30)
    assert read(scan_n2c2(tmp_path / "n")) == (["b"], [too_large(bad, ANNOTATION_FILE)])
    assert detect(tmp_path / "n").format == "n2c2"
    table = put(tmp_path / "NOTEEVENTS.csv", f"ROW_ID,SUBJECT_ID,TEXT\n1,7,{TEXT}\n2,7,{TEXT}\n")
    put(tmp_path / "m" / "2.ann", "")
    bad = put(tmp_path / "m" / "1.ann", size=10 * 2**30)
    assert read(scan_mimic([table], tmp_path / "m")) == (["2"], [too_large(bad, ANNOTATION_FILE)])


def test_raw_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "b.txt", TEXT)
    bad = put(tmp_path / "a.txt", size=10 * 2**30)
    assert read(scan(tmp_path)) == (["b"], [too_large(bad, NOTE)])
    monkeypatch.setenv("EMLB_MAX_LINE", "1")
    line = json.dumps({"text": TEXT}) + "\n"
    lines = put(tmp_path / "j" / "a.jsonl", line * 2, size=10 * 2**30)
    names, problems = read(scan(lines))
    assert names == ["a:1", "a:2"]
    assert problems == [
        too_large(lines, LINE, 3),
        Problem(str(lines), 4, "", reasons.NOT_READ_ON),
    ]


def test_a_deep_line_among_raw_texts(tmp_path: Path) -> None:
    line = json.dumps({"text": TEXT}) + "\n"
    lines = put(tmp_path / "a.jsonl", line + '{"text":' + "[" * 9_000 + "\n" + line)
    names, problems = read(scan(lines))
    assert names == ["a:1", "a:3"]
    assert problems == [Problem(str(lines), 2, "", reasons.DEEP_JSON)]


def test_a_first_line_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "a.jsonl", '{"text": "', size=10 * 2**30)
    monkeypatch.setenv("EMLB_MAX_LINE", "1")
    with (
        peak_below(8 * MIB),
        pytest.raises(
            DataError, match=r"a\.jsonl: of its first line: it has more than 1 MiB, .*EMLB_MAX_LINE"
        ),
    ):
        detect(path)
