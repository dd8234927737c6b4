"""The brat reader and formatter."""

from __future__ import annotations

import re
from itertools import islice, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlb_runtime.errors import DataError
from emlb_runtime.formats import (
    Report,
    format_brat,
    open_writer,
    parse_brat,
    read_brat,
    read_brat_folder,
    scan_brat_folder,
)
from emlb_runtime.formats import report as reasons
from emlb_runtime.records import Document, Entity, Note, Relation

TEXT = "Rash after amoxicillin.\nSevere lower and upper back pain.\n"
CORPORA = ("ade", "ade_dose", "bc5cdr", "biored", "chia", "ddi2013", "e3c", "maccrobat2020")
MARKER = "Zebedee"

labels = st.text(alphabet="ADEdrug-_:é𝒳", min_size=1, max_size=6)
texts = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.sampled_from(["\r\n", "\ufeff", "😀", "e\u0301", "\t", "\u2028", "\x85", "\n", " "]),
    ),
    min_size=1,
    max_size=12,
).map("".join)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """A document over any text, with fragments, overlaps and relations."""
    note = Note("note", draw(texts.filter(bool)))
    cuts = st.lists(st.integers(0, len(note.text)), min_size=2, max_size=6, unique=True).map(sorted)
    entities = []
    for index in range(draw(st.integers(0, 5))):
        bounds = draw(cuts)
        spans = tuple(zip(bounds[::2], bounds[1::2], strict=False))
        attributes = draw(st.dictionaries(labels, st.just("") | labels, max_size=2))
        entities.append(
            Entity.annotate(note, f"T{index + 1}", draw(labels), spans, attributes=attributes)
        )
    ids = [entity.id for entity in entities]
    relations = []
    if ids:
        ends = st.sampled_from(ids)
        links = st.lists(st.builds(Relation, labels, ends, ends), max_size=4)
        relations = draw(links)
    return Document(note, tuple(entities), tuple(relations))


def parse(annotations: str, text: str = TEXT) -> tuple[Document, Report]:
    return parse_brat(text, annotations, name="note", file="note.ann")


def found(report: Report) -> list[tuple[int, str, str]]:
    return [(problem.line, problem.id, problem.reason) for problem in report.problems]


def remarks(report: Report) -> list[tuple[int, str, str]]:
    return [(remark.line, remark.id, remark.reason) for remark in report.remarks]


@given(documents(), st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "\ufeff"]))
def test_round_trip(document: Document, newline: str, mark: str) -> None:
    annotations = mark + format_brat(document).replace("\n", newline)
    again, report = parse_brat(document.note.text, annotations, name="note")
    assert again == document
    assert report.problems == ()
    for entity in again.entities:
        assert again.note.text[entity.start : entity.end] == entity.text


@given(st.text(), st.text(alphabet="TREAMN#*1290 ;:\t\nArg\r"))
def test_any_file_is_read_or_reported(text: str, annotations: str) -> None:
    document, report = parse_brat(text, annotations, name="note")
    for entity in document.entities:
        assert text[entity.start : entity.end] == entity.text
        assert all(end <= start for (_, end), (start, _) in pairwise(entity.spans))
    assert len(list(document.triples())) == len(document.relations)
    numbers = [problem.line for problem in report.problems]
    assert numbers == sorted(numbers)


@given(texts)
def test_files_keep_marks_and_carriage_returns(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.mktemp("brat")
    (folder / "a.txt").write_bytes(text.encode())
    (folder / "a.ann").write_bytes(f"T1\tDrug 0 {len(text)}".encode() if text else b"")
    document, _ = read_brat(folder / "a.txt")
    assert document.note == Note("a", text)
    assert [entity.text for entity in document.entities] == ([text] if text else [])


def test_fragments() -> None:
    document, report = parse("T1\tFinding 31 36;47 56\tlower back pain\n")
    (entity,) = document.entities
    assert entity.fragments == ((31, 36), (47, 56))
    assert (entity.start, entity.end) == (31, 56)
    assert entity.text == "lower and upper back pain"
    assert report.problems == ()
    assert report.counts["discontinuous"] == 1


def test_newline_inside_a_mention() -> None:
    document, report = parse("T1\tX 11 30\tamoxicillin. Severe\n")
    assert document.entities[0].text == "amoxicillin.\nSevere"
    assert report.problems == ()
    assert format_brat(document) == "T1\tX 11 30\tamoxicillin. Severe\n"


def test_events_stand_for_their_triggers() -> None:
    document, report = parse(
        "E1\tRash:T1 Cause:T2 Cause2:E2\n"
        "E2\tPain:T3\n"
        "R1\tBEFORE Arg1:E1 Arg2:E2\n"
        "T1\tRash 0 4\tRash\n"
        "T2\tDrug 11 22\tamoxicillin\n"
        "T3\tPain 52 56\tpain\n"
    )
    assert document.relations == (
        Relation("Cause", "T1", "T2"),
        Relation("Cause", "T1", "T3"),
        Relation("BEFORE", "T1", "T3"),
    )
    assert report.problems == ()
    assert report.counts["events"] == 2
    again, _ = parse(format_brat(document))
    assert again == document


def test_broken_events() -> None:
    document, report = parse(
        "T1\tRash 0 4\tRash\n"
        "E1\tRash:T9 Cause:T1\n"
        "E2\tFever:T1 Cause:T9\n"
        "E3\tRash\n"
        "R1\tBEFORE Arg1:E1 Arg2:T1\n"
    )
    assert document.relations == ()
    assert found(report) == [
        (2, "E1", reasons.NO_TRIGGER),
        (3, "E2", reasons.NO_ARGUMENT),
        (4, "E3", reasons.MALFORMED),
        (5, "R1", reasons.NO_ARGUMENT),
    ]
    assert remarks(report) == [(3, "E2", reasons.EVENT_TYPE_DIFFERS)]


def test_relation_arguments_in_any_order() -> None:
    mentions = "T1\tRash 0 4\tRash\nT2\tDrug 11 22\tamoxicillin\n"
    document, _ = parse(mentions + "R1\tADE Arg2:T2 Arg1:T1\nR2\tADE Effect:T1 Cause:T2\t\n")
    assert document.relations == (Relation("ADE", "T1", "T2"),) * 2


def test_other_lines_are_counted() -> None:
    _, report = parse(
        "T1\tRash 0 4\tRash\n"
        "A1\tNegated T1\nM1\tUncertain T1\n"
        "N1\tReference T1 CUI:C0015230\tRash\n"
        "#1\tAnnotatorNotes T1\tcheck\n# free comment\n"
        "*\tEquiv T1 T1\n\n"
    )
    assert report.problems == ()
    assert report.counts == {
        "documents": 1,
        "entities": 1,
        "relations": 0,
        "discontinuous": 0,
        "same_type_overlaps": 0,
        "events": 0,
        "attributes": 2,
        "normalisations": 1,
        "comments": 2,
        "equivalences": 1,
    }


def test_overlaps_of_one_type_are_counted() -> None:
    _, report = parse(
        "T1\tX 0 10\tRash after\nT2\tX 5 10\tafter\nT3\tX 0 4\tRash\nT4\tY 0 10\tRash after\n"
        "T5\tX 10 11\t \n"
    )
    assert report.problems == ()
    assert report.counts["same_type_overlaps"] == 2


@pytest.mark.parametrize(
    ("line", "id", "reason"),
    [
        ("T1\tDrug 0 4\trash", "T1", reasons.REPEATED_ID),
        ("T2\tDrug 3 3\t", "T2", reasons.ZERO_LENGTH),
        ("T2\tDrug 5 3\tx", "T2", reasons.ZERO_LENGTH),
        ("T2\tDrug 50 59\tx", "T2", reasons.PAST_THE_END),
        ("T2\tDrug 5 8;0 4\tx", "T2", reasons.DISORDERED),
        ("T2\tDrug 0 4;3 8\tx", "T2", reasons.DISORDERED),
        ("T2\tDrug 0 -4\tx", "T2", reasons.MALFORMED),
        ("T2\tDrug 0 ٤\tx", "T2", reasons.MALFORMED),
        ("T2\tDrug 0\tx", "T2", reasons.MALFORMED),
        ("T2\tDrug 0 " + "9" * 5000 + "\tx", "T2", reasons.MALFORMED),
        ("T2 Drug 0 4 Rash", "", reasons.MALFORMED),
        ("T2", "T2", reasons.MALFORMED),
        ("Rash\tDrug 0 4\tRash", "", reasons.MALFORMED),
        ("Q2\tDrug 0 4\tRash", "Q2", reasons.MALFORMED),
        ("R1\tADE Arg1:T1 Arg2:T7", "R1", reasons.NO_ARGUMENT),
        ("R1\tADE Arg1:T1", "R1", reasons.MALFORMED),
        ("R1\tADE T1 T1", "R1", reasons.MALFORMED),
        ("R1\t ", "R1", reasons.MALFORMED),
    ],
)
def test_unusable_lines_are_dropped_and_reported(line: str, id: str, reason: str) -> None:
    document, report = parse(f"T1\tRash 0 4\tRash\n{line}\n")
    assert [entity.text for entity in document.entities] == ["Rash"]
    assert document.relations == ()
    assert found(report) == [(2, id, reason)]
    assert report.summary() == {reason: 1}


@pytest.mark.parametrize("line", ["T1\tRash 0 4", "T1\tRash 0 4\t"])
def test_a_mention_without_a_surface_is_used_with_a_remark(line: str) -> None:
    document, report = parse(line)
    assert [entity.text for entity in document.entities] == ["Rash"]
    assert report.problems == ()
    assert remarks(report) == [(1, "T1", reasons.NO_SURFACE)]


def test_a_mention_whose_text_stands_elsewhere_is_not_used_nor_what_hangs_on_it() -> None:
    document, report = parse(
        "T1\tRash 1 5\tRash\nT2\tDrug 11 22\tamoxicillin\nE1\tRash:T1 Cause:T2\n"
        "R1\tADE Arg1:T1 Arg2:T2\nA1\tNegated T1\nA2\tSure E1\n"
    )
    assert [entity.id for entity in document.entities] == ["T2"]
    assert document.relations == ()
    assert found(report) == [
        (1, "T1", reasons.SURFACE_DIFFERS),
        (3, "E1", reasons.NO_TRIGGER),
        (4, "R1", reasons.NO_ARGUMENT),
        (5, "A1", reasons.NO_ATTRIBUTE_TARGET),
        (6, "A2", reasons.NO_ATTRIBUTE_TARGET),
    ]
    assert (report.counts["entities"], report.counts["relations"]) == (1, 0)


def test_reports_merge() -> None:
    _, one = parse("T1\tRash 0 4\tRash\nT2\n")
    _, two = parse("T1\tRash 0 4\tRash\nT2\nT2\tX 0 0\t\n")
    both = one + two
    assert both == Report.merge([one, two])
    assert both.counts["documents"] == both.counts["entities"] == 2
    assert both.summary() == {reasons.MALFORMED: 2, reasons.ZERO_LENGTH: 1}
    assert str(one.problems[0]) == f"note.ann:2: T2: {reasons.MALFORMED}"


def test_no_message_holds_note_text() -> None:
    text = f"{MARKER} was seen."
    lines = (
        f"{MARKER}\tDrug 0 7\t{MARKER}",
        MARKER,
        f"T1{MARKER}\tDrug 0 7\t{MARKER}",
        f"T2\t{MARKER} 0 x\t{MARKER}",
        f"T3\tDrug 1 7\t{MARKER}",
        f"T4\tDrug 0 99\t{MARKER}",
        f"T5\tDrug 0 0\t{MARKER}",
        f"T3\tDrug 0 7\t{MARKER}",
        f"R1\tADE Arg1:{MARKER} Arg2:T3",
        f"E1\t{MARKER}",
        f"E2\tDrug:{MARKER}",
        f"E3\t{MARKER}:T3",
        f"A1\t{MARKER}",
        f"#\t{MARKER}",
        f"Q\t{MARKER}",
    )
    document, report = parse("\n".join(lines), text=text)
    assert len(report.problems) == 14
    shown = f"{report!r} {report.summary()} {document!r} " + " ".join(map(str, report.problems))
    assert MARKER not in shown


def test_unreadable_files(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(DataError, match=r"a\.txt: cannot be read \(No such file"):
        read_brat(path)
    path.write_bytes(f"{MARKER} \xe9".encode("latin-1"))
    (tmp_path / "a.ann").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.txt: not UTF-8 at byte 8; convert") as caught:
        read_brat(path)
    assert MARKER not in str(caught.value)
    assert caught.value.__cause__ is None


def test_folder_is_read_in_order_of_names(tmp_path: Path) -> None:
    for stem in ("b/2", "a.1", "b/10"):
        path = tmp_path / f"{stem}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("Rash", encoding="utf-8")
        path.with_suffix(".ann").write_text("T1\tRash 0 4\tRash\n", encoding="utf-8")
    assert [document.note.name for document, _ in read_brat_folder(tmp_path)] == [
        "a.1",
        "b/10",
        "b/2",
    ]


def test_folder_without_partners(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no brat files found; expected NAME.txt and NAME.ann"):
        next(read_brat_folder(tmp_path))
    (tmp_path / "a.txt").touch()
    (tmp_path / "b.txt").touch()
    (tmp_path / "b.ann").touch()
    with pytest.raises(DataError, match=r"1 files lack their partner, such as a\.txt"):
        next(read_brat_folder(tmp_path))
    found = list(scan_brat_folder(tmp_path))
    assert [document is None for document, _ in found] == [True, False]
    (tmp_path / "c.ann").touch()
    with pytest.raises(DataError, match=r"such as c\.ann"):
        next(read_brat_folder(tmp_path))
    (tmp_path / "d.txt").write_bytes(b"\xff")
    (tmp_path / "d.ann").touch()
    reports = [report for document, report in scan_brat_folder(tmp_path) if document is None]
    assert [(Path(p.file).name, p.reason) for report in reports for p in report.problems] == [
        ("c.ann", reasons.NO_TEXT),
        ("a.txt", reasons.NO_ANNOTATIONS),
        ("d.txt", reasons.NOT_UTF8),
    ]
    assert Report.merge(reports).counts == {"documents_lost": 3}


def test_attributes() -> None:
    document, report = parse(
        "T1\tRash 0 4\tRash\nT2\tDrug 11 22\tamoxicillin\nE1\tDrug:T2\n"
        "R1\tADE Arg1:T1 Arg2:T2\n"
        "A1\tNegated T1\nA2\tPolarity E1 NEG\nM1\tSource T1 seen by the nurse\n"
        "A3\tPolarity T2 NEG\nA4\tPolarity T2 POS\nA5\tSure R1\nA6\tSure T9\nA7\tSure\n"
    )
    assert [dict(entity.attributes) for entity in document.entities] == [
        {"Negated": "", "Source": "seen by the nurse"},
        {"Polarity": "NEG"},
    ]
    assert report.counts["attributes"] == 3
    assert found(report) == [
        (9, "A4", reasons.REPEATED_ATTRIBUTE),
        (10, "A5", reasons.RELATION_ATTRIBUTE),
        (11, "A6", reasons.NO_ATTRIBUTE_TARGET),
        (12, "A7", reasons.MALFORMED),
    ]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("No\r\nX pain", "T1\tPain 5 9\tpain\n", reasons.CRLF_COUNTED_ONCE),
        ("No\nX pain", "T1\tPain 6 10\tpain\n", reasons.CRLF_COUNTED_TWICE),
        ("😀 pain", "T1\tPain 3 7\tpain\n", reasons.UTF16_COUNTED),
    ],
)
def test_mentions_counted_in_another_way_are_moved(text: str, line: str, reason: str) -> None:
    document, report = parse(line, text=text)
    assert [entity.text for entity in document.entities] == ["pain"]
    assert document.entities[0].start == text.index("pain")
    assert report.problems == ()
    assert remarks(report) == [(1, "T1", reason)]


CRLF_NOTE = "Took aspirin.\r\nDeveloped melena.\r\nStopped aspirin.\r\n"


def test_crlf_counted_as_one_character() -> None:
    """The field's case: every mention after the first line is short by the lines before it."""
    document, report = parse(
        "T1\tDrug 5 12\taspirin\nT2\tDisorder 24 30\tmelena\nT3\tDrug 40 47\taspirin\n"
        "R1\tADE-Drug Arg1:T2 Arg2:T1\n",
        text=CRLF_NOTE,
    )
    assert [(e.start, e.text) for e in document.entities] == [
        (5, "aspirin"),
        (25, "melena"),
        (42, "aspirin"),
    ]
    assert document.relations == (Relation("ADE-Drug", "T2", "T1"),)
    assert report.problems == ()
    assert report.remarked() == {reasons.CRLF_COUNTED_ONCE: 2}


def test_one_edited_surface_does_not_keep_the_others_from_being_moved() -> None:
    document, report = parse(
        "T1\tDrug 5 12\taspirin\nT2\tDisorder 24 30\tmelaena\nT3\tDrug 40 47\taspirin\n"
        "T4\tDrug 25 31;40 47\tmelena aspirin\nT5\tVerb 32 39\n",
        text=CRLF_NOTE,
    )
    assert [e.id for e in document.entities] == ["T1", "T3", "T5"]
    assert document.entities[2].text == "Stopped"  # without a surface, counted as the others
    assert found(report) == [
        (2, "T2", reasons.SURFACE_DIFFERS),
        (4, "T4", reasons.SURFACE_DIFFERS),
    ]
    assert remarks(report) == [
        (3, "T3", reasons.CRLF_COUNTED_ONCE),
        (5, "T5", reasons.NO_SURFACE),
        (5, "T5", reasons.CRLF_COUNTED_ONCE),
    ]


def test_mentions_past_the_end_by_another_count_are_moved() -> None:
    text = "\n" * 9 + "warfarin"
    document, report = parse("T1\tDrug 18 26\twarfarin\nT2\tX 30 31\ty\n", text=text)
    assert [(e.start, e.end) for e in document.entities] == [(9, 17)]
    assert found(report) == [(2, "T2", reasons.PAST_THE_END)]
    assert remarks(report) == [(1, "T1", reasons.CRLF_COUNTED_TWICE)]


@given(
    st.lists(st.sampled_from(["a", "Rash ", "\r\n", "\n", "😀", " "]), min_size=2).map("".join),
    st.sampled_from(["crlf as one", "line end as two", "utf-16"]),
    st.data(),
)
def test_what_another_tool_counted_comes_back(text: str, tool: str, data: st.DataObject) -> None:
    """Mentions chosen in the text, their offsets counted as the tool does."""

    def counted(place: int) -> int:
        before = text[:place]
        if tool == "crlf as one":
            return len(before.replace("\r\n", "\n"))
        if tool == "utf-16":
            return len(before.encode("utf-16-le")) // 2
        return place + before.count("\n") - before.count("\r\n")

    halves = {match.start() + 1 for match in re.finditer("\r\n", text)}
    bounds = st.sampled_from([n for n in range(len(text) + 1) if n not in halves])
    pairs = st.tuples(bounds, bounds).map(sorted).filter(lambda pair: pair[0] < pair[1])
    spans = data.draw(st.lists(pairs, min_size=1))
    one_line = text.replace("\r", " ").replace("\n", " ")
    lines = [
        f"T{n}\tX {counted(start)} {counted(end)}\t{one_line[start:end]}\n"
        for n, (start, end) in enumerate(spans)
    ]
    document, report = parse_brat(text, "".join(lines), name="n")
    assert report.problems == ()
    assert len(document.entities) == len(spans)
    for entity, (start, end) in zip(document.entities, spans, strict=True):
        # Where both counts fit all surfaces, as in a run of spaces, either may be taken.
        assert entity.text.split() == text[start:end].split()


ID_LINES = st.lists(
    st.one_of(
        st.builds(
            "T{}\tX {} {}\t{}\n".format,
            st.integers(1, 9),
            st.integers(0, 58),
            st.integers(0, 60),
            st.sampled_from(["Rash", "rash", "", "amoxicillin", " "]),
        ),
        st.sampled_from(
            [
                "T7\tX 0 4\tRash\n",
                "T8\tDrug 11 22\tamoxicillin\n",
                "T9\tX 0 4\n",
                "T6\tX 0 4\tRasH\n",
            ]
        ),
        st.builds("R{}\tL Arg1:T{} Arg2:T{}\n".format, *[st.integers(1, 9)] * 3),
        st.builds("E{}\tX:T{} Cause:T{}\n".format, *[st.integers(1, 9)] * 3),
        st.builds("A{}\tNo T{}\n".format, *[st.integers(1, 9)] * 2),
        st.builds("A{}\tHow E{} {}\n".format, *[st.integers(1, 9)] * 3),
    ),
    max_size=25,
)


@given(ID_LINES)
def test_what_is_reported_as_unused_is_absent_and_counts_add_up(lines: list[str]) -> None:
    document, report = parse("".join(lines))
    unused = {problem.line for problem in report.problems}
    first: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        first.setdefault(line.partition("\t")[0], number)
    used = {id: number for id, number in first.items() if number not in unused}
    mentions = [id for id in used if id.startswith("T")]
    assert [entity.id for entity in document.entities] == mentions
    relations = [id for id in used if id.startswith(("R", "E"))]
    assert len(document.relations) == len(relations) == report.counts["relations"]
    asked = {
        (lines[number - 1].split("\t")[1].split(" ")[0])
        for id, number in used.items()
        if id[0] == "A"
    }
    assert {name for entity in document.entities for name in entity.attributes} == asked
    remarked = {remark.line for remark in report.remarks}
    assert not remarked & (unused - {number for id, number in first.items() if id[0] == "E"})
    assert report.counts["entities"] + sum(
        lines[number - 1].startswith("T") for number in unused
    ) == sum(line.startswith("T") for line in lines)


def test_foreign_ids_are_numbered_anew() -> None:
    note = Note("note", TEXT)
    document = Document(
        note,
        (
            Entity.annotate(note, "rash", "Rash", ((0, 4),)),
            Entity.annotate(note, "T1", "Drug", ((11, 22),)),
        ),
        (Relation("ADE", "rash", "T1"),),
    )
    again, report = parse(format_brat(document))
    assert report.problems == ()
    assert again.relations == (Relation("ADE", "T1", "T2"),)


def test_what_brat_cannot_hold() -> None:
    note = Note("note", TEXT)
    rash = Entity.annotate(note, "T1", "Skin rash", ((0, 4),))
    with pytest.raises(DataError, match="brat cannot hold the label 'Skin rash'; labels need"):
        format_brat(Document(note, (rash,)))
    with pytest.raises(DataError, match="relation 1 names an entity that the document lacks"):
        format_brat(Document(note, (), (Relation("ADE", "T1", "T2"),)))


def check_corpus(folder: Path, out: Path, limit: int | None) -> None:
    """Read a corpus, write it, read it again: nothing changes, nothing is reported."""
    names = []
    documents = {}
    with open_writer("brat", out) as writer:
        for document, report in islice(read_brat_folder(folder), limit):
            assert report.problems == ()
            for entity in document.entities:
                assert document.note.text[entity.start : entity.end] == entity.text
            names.append(document.note.name)
            documents[document.note.name.replace("/", "__")] = document
            writer.write(document)
    assert len(documents) == len(names) > 0
    for document, report in read_brat_folder(out):
        first = documents.pop(document.note.name)
        assert document.note.text == first.note.text
        assert document.entities == first.entities
        assert document.relations == first.relations
        assert report.problems == ()
    assert not documents


@pytest.mark.parametrize("corpus", CORPORA)
def test_corpus_sample_round_trip(corpora: Path, tmp_path: Path, corpus: str) -> None:
    if not (corpora / corpus).is_dir():
        pytest.skip(f"no corpus {corpus}")
    check_corpus(corpora / corpus, tmp_path / "out", 200)


@pytest.mark.slow
@pytest.mark.parametrize("corpus", CORPORA)
def test_corpus_round_trip(corpora: Path, tmp_path: Path, corpus: str) -> None:
    if not (corpora / corpus).is_dir():
        pytest.skip(f"no corpus {corpus}")
    check_corpus(corpora / corpus, tmp_path / "out", None)


def test_hidden_twins_and_capital_endings(tmp_path: Path) -> None:
    for name in ("1.TXT", "2.txt", "._2.txt", "__MACOSX/._2.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("Rash", encoding="utf-8")
    (tmp_path / "1.ANN").write_text("T1\tRash 0 4\tRash\n", encoding="utf-8")
    (tmp_path / "2.ann").touch()
    (tmp_path / "._2.ann").write_bytes(b"\x00\x05\xff")
    assert [document.note.name for document, _ in read_brat_folder(tmp_path)] == ["1", "2"]
    (tmp_path / "1.txt").write_text("Rash", encoding="utf-8")
    reports = [report for document, report in scan_brat_folder(tmp_path) if document is None]
    assert [p.reason for report in reports for p in report.problems] == [reasons.REPEATED_DOCUMENT]


def test_a_link_to_nowhere_is_reported(tmp_path: Path) -> None:
    (tmp_path / "1.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "1.ann").touch()
    ((document, report),) = scan_brat_folder(tmp_path)
    assert document is None
    assert report.problems[0].reason == reasons.UNREADABLE


def test_texts_elsewhere(tmp_path: Path) -> None:
    annotations, texts = tmp_path / "a", tmp_path / "t"
    for name in ("test/1", "2", "3", "4"):
        path = annotations / f"{name}.ann"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("T1\tRash 0 4\tRash\n", encoding="utf-8")
    for name in ("test/1", "deep/2", "x/3", "y/3", "unannotated"):
        path = texts / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("Rash", encoding="utf-8")
    found = list(scan_brat_folder(annotations, texts=texts))
    assert [document.note.name for document, _ in found if document] == ["2", "test/1"]
    lost = [p for document, report in found if document is None for p in report.problems]
    assert [(Path(p.file).name, p.reason) for p in lost] == [
        ("3.ann", reasons.NO_TEXT),
        ("4.ann", reasons.NO_TEXT),
    ]
