"""ShARe/CLEF pipe files, read and written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emlb.data.formats.share.corpus import DISORDER, SLOTS, find_share, scan_share, write_share
from emlb.data.formats.share.writer import (
    FOREIGN_ATTRIBUTE,
    FOREIGN_ENTITY,
    FOREIGN_RELATION,
    FURTHER_CUE,
    LONELY_CUE,
    REPEATED_CUE,
    UNFIT_VALUE,
)
from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.formats import report as reasons
from emlb_runtime.formats.report import Report
from emlb_runtime.records import Document, Entity, Fragment, Note, Relation

MARKER = "Zebedee"
TEXT = "No severe pain in the left arm since May.\r\nFather had gout.\n"
DEFAULTS = {"CUI": "CUI-less", **{slot.name: slot.default for slot in SLOTS}}
CUED = [slot for slot in SLOTS if slot.cue]


def line_2014(spans: str, cui: str = "C1", *, name: str = "a.txt", **slots: str) -> str:
    """A line of 2014; ``SV="severe"`` and ``SV_cue="3-9"`` fill slots."""
    columns = [name, spans, cui]
    for slot in SLOTS:
        columns.append(slots.pop(slot.name, slot.default))
        if slot.cue:
            columns.append(slots.pop(f"{slot.name}_cue", "null"))
    assert not slots
    return "|".join(columns)


PAIN = line_2014(
    "10-14", "C0030193", NI="yes", NI_cue="0-2", SV="severe", SV_cue="3-9",
    BL="C0230347", BL_cue="18-21,22-30", DT="overlap", TE="date", TE_cue="37-40",
)  # fmt: skip


def make(folder: Path, files: dict[str, str], *, text: str = TEXT) -> Path:
    """A release with one note ``a`` and these annotation files."""
    for name, content in {"text/a.txt": text, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
    return folder


def read(folder: Path, *, year: int | None = None) -> tuple[list[Document], Report]:
    found = list(scan_share(folder, year=year))
    documents = [document for document, _ in found if document is not None]
    return documents, Report.merge(report for _, report in found)


def problems(report: Report) -> list[tuple[str, int, str]]:
    return [(Path(problem.file).name, problem.line, problem.reason) for problem in report.problems]


def surfaces(document: Document) -> list[tuple[str, str]]:
    return [(entity.type, entity.text) for entity in document.entities]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_slots_and_cues(tmp_path: Path, end: str) -> None:
    folder = make(tmp_path, {"2014/a.pipe": PAIN + end})
    (document,), report = read(folder)
    assert problems(report) == []
    assert document.note == Note("a", TEXT)
    assert surfaces(document) == [
        ("Disease_Disorder", "pain"),
        ("Negation_Cue", "No"),
        ("Severity_Cue", "severe"),
        ("Body_Location", "the left arm"),
        ("Temporal_Expression", "May"),
    ]
    pain, *_, arm, _ = document.entities
    assert pain.attributes == DEFAULTS | {
        "CUI": "C0030193",
        "NI": "yes",
        "SV": "severe",
        "BL": "C0230347",
        "DT": "overlap",
        "TE": "date",
    }
    assert arm.spans == ((18, 21), (22, 30))
    assert arm.attributes == {"CUI": "C0230347"}
    assert [entity.id for entity in document.entities] == ["T1", "T2", "T3", "T4", "T5"]
    assert document.relations == (
        Relation("Disorder-Negation", "T1", "T2"),
        Relation("Disorder-Severity", "T1", "T3"),
        Relation("Disorder-Body_Location", "T1", "T4"),
        Relation("Disorder-Temporal_Expression", "T1", "T5"),
    )


def test_disorders_share_a_cue_and_disagree_on_its_concept(tmp_path: Path) -> None:
    lines = [
        line_2014("10-14", BL="C1", BL_cue="22-30", SV_cue="3-9"),
        line_2014("54-58", BL="C2", BL_cue="22-30", NI_cue="3-9"),
    ]
    (document,), _ = read(make(tmp_path, {"2014/a.pipe": "\n".join(lines)}))
    assert [(entity.id, entity.type) for entity in document.entities] == [
        ("T1", DISORDER),
        ("T2", DISORDER),
        ("T3", "Severity_Cue"),
        ("T4", "Body_Location"),
        ("T5", "Negation_Cue"),
    ]
    assert document.entities[3].attributes == {}
    assert [(r.head, r.tail) for r in document.relations] == [
        ("T1", "T3"),
        ("T1", "T4"),
        ("T2", "T5"),
        ("T2", "T4"),
    ]


def test_fragments_of_2013(tmp_path: Path) -> None:
    lines = "a.txt||Disease_Disorder||CUI-less||10||14||27||30\na.txt||Disease_Disorder||C1||54||58"
    (document,), report = read(make(tmp_path, {"2013/a.pipe": lines}))
    assert problems(report) == []
    assert [entity.spans for entity in document.entities] == [((10, 14), (27, 30)), ((54, 58),)]
    assert [entity.attributes for entity in document.entities] == [
        {"CUI": "CUI-less"},
        {"CUI": "C1"},
    ]
    assert report.counts["discontinuous"] == 1


def test_templates_keep_their_words(tmp_path: Path) -> None:
    line = line_2014("10-14", SV="slot_default", SV_cue="slot_default", NI="*", NI_cue="*NULL")
    line = line.replace("|C1|", "| C1 |")
    (document,), report = read(make(tmp_path, {"2014/a.pipe": line}))
    (pain,) = document.entities
    assert problems(report) == []
    assert pain.attributes == DEFAULTS | {
        "CUI": " C1 ",
        "NI": "*",
        "SV": "slot_default",
        "Cue_SV": "slot_default",
    }


def test_semeval_2015_lacks_time(tmp_path: Path) -> None:
    short = "|".join(PAIN.split("|")[:19]).replace("a.txt", "a.text")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.text").write_bytes(TEXT.encode())
        (tmp_path / name / "a.pipe").write_text(short + "|" * (name == "two"), encoding="utf-8")
    (one, two), report = read(tmp_path)
    assert problems(report) == []
    assert (one.note.name, two.note.name) == ("one/a", "two/a")
    assert one.entities == two.entities
    assert len(one.entities) == 4
    assert set(one.entities[0].attributes) == set(DEFAULTS) - {"DT", "TE"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a.txt||Disease_Disorder||C1||10", reasons.WRONG_COLUMNS),
        ("a.txt||Disease_Disorder||C1", reasons.WRONG_COLUMNS),
        ("a.txt||Disease_Disorder||C1||10||14||15", reasons.WRONG_COLUMNS),
        ("a.txt||Disease_Disorder||C1||10||x", reasons.MALFORMED),
        ("a.txt||Disease_Disorder||C1||10||-1", reasons.MALFORMED),
        ("a.txt||Disease_Disorder||C1||10||" + "9" * 5000, reasons.MALFORMED),
        ("a.txt||Symptom||C1||10||14", reasons.UNKNOWN_TYPE),
        ("a.txt||Disease_Disorder||C1||14||10", reasons.ZERO_LENGTH),
        ("a.txt||Disease_Disorder||C1||10||99", reasons.PAST_THE_END),
        ("a.txt||Disease_Disorder||C1||27||30||10||14", reasons.DISORDERED),
        (line_2014("10-14"), reasons.WRONG_COLUMNS),
        ("nothing of the sort", reasons.WRONG_COLUMNS),
    ],
)
def test_unusable_lines_of_2013(tmp_path: Path, line: str, reason: str) -> None:
    lines = f"a.txt||Disease_Disorder||C1||54||58\n\n{line}\n"
    (document,), report = read(make(tmp_path, {"2013/a.pipe": lines}), year=2013)
    assert surfaces(document) == [(DISORDER, "gout")]
    assert problems(report) == [("a.pipe", 3, reason)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a.txt|10-14|C1", reasons.WRONG_COLUMNS),
        (line_2014("10-14") + "|x", reasons.WRONG_COLUMNS),
        ("|".join(["a.txt", "10-14", "C1", *["no"] * 17]), reasons.WRONG_COLUMNS),
        (line_2014("10"), reasons.MALFORMED),
        (line_2014("10-14,"), reasons.MALFORMED),
        (line_2014("10-14;20-21"), reasons.MALFORMED),
        (line_2014("10-10"), reasons.ZERO_LENGTH),
        (line_2014("10-99"), reasons.PAST_THE_END),
        (line_2014("54-58,10-14"), reasons.DISORDERED),
        (line_2014("10-14,12-16", NI_cue="0-2"), reasons.DISORDERED),
        ("a.txt||Disease_Disorder||C1||10||14", reasons.WRONG_COLUMNS),
    ],
)
def test_unusable_lines_of_2014(tmp_path: Path, line: str, reason: str) -> None:
    lines = f"{line_2014('54-58')}\r\n\r\n{line}\r\n"
    (document,), report = read(make(tmp_path, {"2014/a.pipe": lines}))
    assert surfaces(document) == [(DISORDER, "gout")]
    assert problems(report) == [("a.pipe", 3, reason)]


@pytest.mark.parametrize(
    ("cue", "reason"),
    [
        ("3-99", reasons.PAST_THE_END),
        ("3-3", reasons.ZERO_LENGTH),
        ("3-9,0-2", reasons.DISORDERED),
        ("3", reasons.MALFORMED),
        ("very severe", reasons.MALFORMED),
    ],
)
def test_a_bad_cue_costs_the_cue_only(tmp_path: Path, cue: str, reason: str) -> None:
    line = line_2014("10-14", SV="severe", SV_cue=cue, NI_cue="0-2")
    (document,), report = read(make(tmp_path, {"2014/a.pipe": line}))
    assert surfaces(document) == [(DISORDER, "pain"), ("Negation_Cue", "No")]
    assert document.entities[0].attributes["SV"] == "severe"
    assert problems(report) == [("a.pipe", 1, reason)]


def test_a_header_is_no_line(tmp_path: Path) -> None:
    header = "\ufeffDD_DocName|DD_Spans|DD_CUI|Norm_NI|Cue_NI"
    (document,), report = read(make(tmp_path, {"2014/a.pipe": f"{header}\n{PAIN}"}))
    assert len(document.entities) == 5
    assert problems(report) == []


def test_notes_and_annotations_without_partner(tmp_path: Path) -> None:
    folder = make(
        tmp_path,
        {
            "text/b.txt": "Gout.",
            "text/c.txt": "Gout.",
            "text/d.txt": "Gout.",
            "2014/a.pipe": PAIN,
            "2014/b.pipe": "",
            "2014/gone.pipe": "",
            "2014/more.pipe": f"gone2.txt|{PAIN.partition('|')[2]}\n{PAIN}\nnonsense\n",
        },
    )
    (folder / "2014/d.pipe").write_bytes(b"d.txt|\xff")
    documents, report = read(folder)
    assert [(document.note.name, len(document.entities)) for document in documents] == [
        ("a", 5),
        ("b", 0),
    ]
    assert problems(report) == [
        ("d.pipe", 0, reasons.NOT_UTF8),
        ("gone.pipe", 0, reasons.NO_TEXT),
        ("more.pipe", 1, reasons.NO_TEXT),
        ("more.pipe", 2, reasons.REPEATED_DOCUMENT),
        ("more.pipe", 3, reasons.WRONG_COLUMNS),
        ("c.txt", 0, reasons.NO_ANNOTATIONS),
    ]
    assert report.counts["documents"] == 2
    assert report.counts["documents_lost"] == 5


def test_lines_of_many_notes_in_one_file(tmp_path: Path) -> None:
    other = "b.txt||Disease_Disorder||C1||0||4"
    lines = f"a.txt||Disease_Disorder||C1||54||58\n{other}\na.txt||Disease_Disorder||C1||10||14"
    folder = make(
        tmp_path,
        {"corpus/b.txt": "Gout.", "gold/all.txt": lines, "gold/c.txt": "", "text/c.txt": "Well."},
    )
    documents, report = read(folder)
    assert problems(report) == []
    assert {document.note.name: surfaces(document) for document in documents} == {
        "a": [(DISORDER, "gout"), (DISORDER, "pain")],
        "c": [],
        "corpus/b": [(DISORDER, "Gout")],
    }


@pytest.mark.parametrize(
    ("text", "annotation", "named"),
    [
        ("corpus/a.txt", "ann/a.pipe.txt", "a.txt"),
        ("a.text", "a.pipe", "a.text"),
        ("ALLREPORTS/a.TXT", "GOLD/a.pipe", "a.txt"),
        ("corpus/a.txt", "ann/a-report.pipe", "a-report.txt"),
        ("corpus/a-report.txt", "ann/a.pipe", "a.txt"),
        ("corpus/a.txt", "ann/a.txt", "a.txt"),
        ("corpus/a.txt", "ann/a.pipe", "a"),
    ],
)
def test_layouts_as_released(tmp_path: Path, text: str, annotation: str, named: str) -> None:
    for name, content in {text: "Gout.", annotation: line_2014("0-4", name=named)}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "._a.pipe").write_bytes(b"\0")
    assert find_share(tmp_path) == (2014,)
    (document,), report = read(tmp_path)
    assert problems(report) == []
    assert surfaces(document) == [(DISORDER, "Gout")]


def test_the_nearest_note_of_a_name(tmp_path: Path) -> None:
    for part in ("train", "test"):
        make(tmp_path / part, {"2014/a.pipe": line_2014("0-4")}, text=f"{part}.")
    documents, report = read(tmp_path)
    assert problems(report) == []
    assert [(document.note.name, document.note.text) for document in documents] == [
        ("test/a", "test."),
        ("train/a", "train."),
    ]


def test_names_that_would_meet_stay_whole(tmp_path: Path) -> None:
    line = "a.txt||Disease_Disorder||C1||0||2"
    folder = make(tmp_path, {"2014/text/a.txt": TEXT, "gold/a.pipe": line})
    found = list(scan_share(folder))
    assert [document and document.note.name for document, _ in found] == ["2014/text/a.txt", None]
    assert problems(found[1][1]) == [("a.txt", 0, reasons.NO_ANNOTATIONS)]


def test_texts_elsewhere(tmp_path: Path) -> None:
    make(tmp_path / "gold", {"2014/a.pipe": PAIN})
    make(tmp_path / "notes", {"text/sub/a.txt": TEXT})
    (tmp_path / "notes/text/a.txt").unlink()
    ((document, report),) = scan_share(tmp_path / "gold/2014", texts=tmp_path / "notes/text")
    assert document is not None
    assert document.note.name == "sub/a"
    assert report.problems == ()
    ((document, _),) = scan_share(tmp_path / "gold", texts=tmp_path / "gold" / "text")
    assert document is not None
    assert document.note.name == "a"


def test_encoding_of_the_texts(tmp_path: Path) -> None:
    folder = make(tmp_path, {"2014/a.pipe": line_2014("2-6")})
    (folder / "text/a.txt").write_bytes("é pain".encode("latin-1"))
    ((document, report),) = scan_share(folder, text_encoding="latin-1")
    assert document is not None
    assert surfaces(document) == [(DISORDER, "pain")]
    ((document, report),) = scan_share(folder)
    assert document is None
    assert problems(report) == [("a.txt", 0, reasons.NOT_UTF8)]
    with pytest.raises(ConfigError, match="unknown encoding 'latin-one'; choose"):
        next(scan_share(folder, text_encoding="latin-one"))


def test_years(tmp_path: Path) -> None:
    assert find_share(tmp_path) == ()
    with pytest.raises(DataError, match=r"no ShARe/CLEF annotations found; expected \.pipe"):
        next(scan_share(tmp_path))
    folder = make(tmp_path, {"2013/a.pipe": "", "x/2013/a.pipe": ""})
    assert find_share(folder) == (2013,)
    with pytest.raises(DataError, match="no annotations of 2014; there are those of 2013"):
        next(scan_share(folder, year=2014))
    (folder / "y").mkdir()
    (folder / "y/b.pipe").write_text(PAIN, encoding="utf-8")
    (folder / "y/empty.pipe").touch()
    assert find_share(folder) == (2014, 2013)
    with pytest.raises(ConfigError, match="unknown year 2015; choose 2014 or 2013"):
        next(scan_share(folder, year=2015))
    assert problems(read(folder)[1]) == [("empty.pipe", 0, reasons.NO_TEXT)]
    assert len(read(folder)[0][0].entities) == 5
    assert problems(read(folder, year=2013)[1]) == [("a.pipe", 0, reasons.REPEATED_DOCUMENT)]


def test_the_year_that_most_lines_are_of(tmp_path: Path) -> None:
    lines = ["nonsense", PAIN, *["a.txt||Disease_Disorder||C1||54||58"] * 2]
    folder = make(tmp_path, {"gold/a.pipe": "\n".join(lines)})
    assert find_share(folder) == (2013,)


def test_other_folders_are_none_of_it(tmp_path: Path) -> None:
    make(tmp_path, {"notes/a.txt": "A | B\n1|2|3|4\n", "notes/a.ann": "T1\tX 0 1\tA\n"})
    (tmp_path / "notes/empty.txt").touch()
    assert find_share(tmp_path) == ()


def test_notes_that_look_like_lines(tmp_path: Path) -> None:
    note = Note("a", PAIN)
    write_share(Document(note), tmp_path)
    (document,), report = read(tmp_path)
    assert document == Document(note)
    assert problems(report) == []


def test_no_message_holds_note_text(tmp_path: Path) -> None:
    lines = (
        MARKER,
        f"{MARKER}|{MARKER}|{MARKER}",
        line_2014(MARKER),
        line_2014("10-14", SV_cue=f"{MARKER} 1", NI_cue="0-99"),
        line_2014("10-99", MARKER),
        line_2014("0-4", name=f"{MARKER}.txt"),
        f"a.txt||{MARKER}||C1||0||1",
        f"a.txt||Disease_Disorder||{MARKER}||{MARKER}||1",
    )
    folder = make(tmp_path, {"2014/a.pipe": "\n".join(lines)}, text=f"{MARKER} had pain.")
    documents, report = read(folder)
    assert len(documents) == 1
    assert len(report.problems) == 8
    assert MARKER not in f"{report!r} {documents!r} " + " ".join(map(str, report.problems))


# Writing


def check_round_trip(document: Document, folder: Path, *, year: int) -> None:
    assert write_share(document, folder, year=year) == {}
    (again,), report = read(folder, year=year)
    assert problems(report) == []
    assert again == document


values = st.text(
    st.characters(codec="utf-8", exclude_characters="|\r\n"), max_size=6
) | st.sampled_from(["C0030193", "slot_default", "*", "null"])
texts = st.lists(
    st.text(max_size=8) | st.sampled_from(["\r\n", "\ufeff", "😀", "\u2028", "|", "a.txt|1-2|"]),
    min_size=1,
    max_size=12,
).map("".join)


def fragments(length: int) -> st.SearchStrategy[tuple[Fragment, ...]]:
    bounds = st.lists(st.integers(0, length), min_size=2, max_size=6, unique=True).map(sorted)
    return bounds.map(lambda cuts: tuple(zip(cuts[::2], cuts[1::2], strict=False)))


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Disorders with slots and cues over any text, in the order in which they are read."""
    note = Note("part__a", draw(texts.filter(bool)))
    spans = fragments(len(note.text))
    places = draw(st.lists(spans, min_size=1, max_size=3))
    disorders, links = [], []
    for index in range(draw(st.integers(0, 4))):
        attributes = {name: draw(st.just(value) | values) for name, value in DEFAULTS.items()}
        for slot in CUED:
            if draw(st.booleans()):
                links.append((index, slot, draw(st.sampled_from(places))))
            elif draw(st.booleans()):
                attributes[slot.placeholder] = draw(st.sampled_from(["slot_default", "*", "NONE"]))
        disorders.append(
            Entity.annotate(note, f"T{index + 1}", DISORDER, draw(spans), attributes=attributes)
        )
    concepts: dict[tuple[str, tuple[Fragment, ...]], set[str]] = {}
    for index, slot, place in links:
        value = disorders[index].attributes[slot.name]
        concepts.setdefault((slot.cue, place), set()).add(value)
    cues = {}
    for number, ((type, place), held) in enumerate(concepts.items(), start=len(disorders) + 1):
        agreed = type == "Body_Location" and len(held) == 1
        named = {value for value in held if value.strip(" *").casefold() not in ("", "null")}
        attributes = {"CUI": named.pop()} if agreed and named else {}
        cues[type, place] = Entity.annotate(note, f"T{number}", type, place, attributes=attributes)
    relations = [
        Relation(slot.relation, disorders[index].id, cues[slot.cue, place].id)
        for index, slot, place in links
    ]
    return Document(note, (*disorders, *cues.values()), tuple(relations))


@settings(max_examples=60)
@given(documents())
def test_round_trip_2014(tmp_path_factory: pytest.TempPathFactory, document: Document) -> None:
    check_round_trip(document, tmp_path_factory.mktemp("share"), year=2014)


@settings(max_examples=60)
@given(documents())
def test_2013_keeps_disorders(tmp_path_factory: pytest.TempPathFactory, document: Document) -> None:
    folder = tmp_path_factory.mktemp("share")
    lost = write_share(document, folder, year=2013)
    (again,), report = read(folder, year=2013)
    assert problems(report) == []
    disorders = [entity for entity in document.entities if entity.type == DISORDER]
    assert [e.spans for e in again.entities] == [e.spans for e in disorders]
    assert [e.attributes for e in again.entities] == [
        {"CUI": e.attributes["CUI"]} for e in disorders
    ]
    expected = {
        FOREIGN_ENTITY: len(document.entities) - len(disorders),
        FOREIGN_RELATION: len(document.relations),
        FOREIGN_ATTRIBUTE: sum(len(e.attributes) - 1 for e in disorders),
    }
    assert lost == {reason: n for reason, n in expected.items() if n}


@settings(max_examples=60)
@given(st.data())
def test_what_is_not_counted_comes_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    note = Note("a", TEXT)
    types = st.sampled_from([DISORDER, DISORDER, "Severity_Cue", "Body_Location", "Drug"])
    names = st.sampled_from(["CUI", "SV", "Cue_SV", "Polarity"])
    held = st.dictionaries(names, st.sampled_from(["C1", "C2", "x|y", "a\nb", "*"]), max_size=3)
    places = st.sampled_from([((0, 2),), ((3, 9), (10, 14))])
    entities = [
        Entity.annotate(note, f"T{n}", data.draw(types), data.draw(places), attributes=attributes)
        for n, attributes in enumerate(data.draw(st.lists(held, max_size=6)))
    ]
    ends = st.integers(0, 7).map("T{}".format)
    labels = st.sampled_from(["Disorder-Severity", "Disorder-Body_Location", "Treats"])
    relations = data.draw(st.lists(st.builds(Relation, labels, ends, ends), max_size=6))
    document = Document(note, tuple(entities), tuple(relations))
    folder = tmp_path_factory.mktemp("share")
    lost = write_share(document, folder)
    (again,), report = read(folder)
    assert problems(report) == []
    lost_entities = sum(lost[reason] for reason in (FOREIGN_ENTITY, LONELY_CUE, REPEATED_CUE))
    assert len(again.entities) == len(entities) - lost_entities
    assert len(again.relations) == len(relations) - lost[FOREIGN_RELATION] - lost[FURTHER_CUE]
    disorders = [entity for entity in entities if entity.type == DISORDER]
    pairs = list(zip(disorders, again.entities, strict=False))
    changed = sum(
        second.attributes.get(name) != value
        for first, second in pairs
        for name, value in first.attributes.items()
    )
    if len(entities) == len(disorders):
        assert changed == lost[FOREIGN_ATTRIBUTE] + lost[UNFIT_VALUE]
    assert write_share(again, tmp_path_factory.mktemp("again")) == {}


def test_what_cannot_be_held_is_counted(tmp_path: Path) -> None:
    note = Note("a", TEXT)

    def entity(id: str, type: str, start: int, end: int, **attributes: str) -> Entity:
        return Entity.annotate(note, id, type, ((start, end),), attributes=attributes)

    entities = (
        entity("pain", DISORDER, 10, 14, CUI="C1|C2", Cue_SV="*", Cue_NI="null", Sure=""),
        entity("arm", "Body_Location", 27, 30, CUI="C0230347", Side="left"),
        entity("severe", "Severity_Cue", 3, 9),
        entity("severe2", "Severity_Cue", 3, 9),
        entity("no", "Negation_Cue", 0, 2),
        entity("gout", DISORDER, 54, 58, SV="mild\n"),
        entity("father", "Person", 43, 49),
        entity("may", "Temporal_Expression", 37, 40),
    )
    relations = (
        Relation("Disorder-Body_Location", "pain", "arm"),
        Relation("Disorder-Severity", "pain", "severe"),
        Relation("Disorder-Severity", "pain", "severe2"),
        Relation("Disorder-Severity", "gout", "severe2"),
        Relation("Disorder-Severity", "gout", "no"),
        Relation("Disorder-Negation", "no", "gout"),
        Relation("Disorder-Negation", "gone", "no"),
        Relation("Family", "gout", "father"),
        Relation("Disorder-Temporal_Expression", "gout", "may"),
    )
    lost = write_share(Document(note, entities, relations), tmp_path)
    assert lost == {
        UNFIT_VALUE: 2,
        FOREIGN_ATTRIBUTE: 4,
        FOREIGN_ENTITY: 1,
        LONELY_CUE: 1,
        REPEATED_CUE: 1,
        FURTHER_CUE: 1,
        FOREIGN_RELATION: 4,
    }
    assert (tmp_path / "text/a.txt").read_bytes() == TEXT.encode()
    assert (tmp_path / "2014/a.pipe").read_text(encoding="utf-8").splitlines() == [
        line_2014("10-14", "CUI-less", SV_cue="3-9", BL="C0230347", BL_cue="27-30"),
        line_2014("54-58", "CUI-less", SV_cue="3-9", TE_cue="37-40"),
    ]


@pytest.mark.parametrize(("cui", "kept"), [("C1|C2", True), ("C1||C2", False), ("C1|", False)])
def test_concepts_with_pipes_in_2013(tmp_path: Path, cui: str, kept: bool) -> None:
    note = Note("a", TEXT)
    pain = Entity.annotate(note, "T1", DISORDER, ((10, 14),), attributes={"CUI": cui})
    lost = write_share(Document(note, (pain,)), tmp_path, year=2013)
    (again,), report = read(tmp_path)
    assert problems(report) == []
    assert again.entities[0].attributes == {"CUI": cui if kept else "CUI-less"}
    assert lost == ({} if kept else {UNFIT_VALUE: 1})


def test_missing_slots_are_read_back_as_defaults(tmp_path: Path) -> None:
    note = Note("a", TEXT)
    pain = Entity.annotate(note, "T1", DISORDER, ((10, 14),))
    assert write_share(Document(note, (pain,)), tmp_path) == Counter()
    (again,), _ = read(tmp_path)
    assert again.entities[0].attributes == DEFAULTS


@pytest.mark.parametrize(
    "name",
    ["", ".txt", "..", "../a", "/a", "a//b", "a/../b", ".a", "a\\b", "a|b", "a\nb", "C:a", " a",
     "a ", "a/ b", "a.pipe", "a.pipe.txt", "\ufeffa", "a\ud800", "a\0"],
)  # fmt: skip
def test_unsafe_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="the note's name .* cannot be a file's; use letters"):
        write_share(Document(Note(name, "")), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_names_do_not_meet(tmp_path: Path) -> None:
    for year in (2013, 2014, 2014):
        assert write_share(Document(Note("a/b", "One.")), tmp_path, year=year) == {}
    with pytest.raises(DataError, match=r"a__b\.txt: is there already with another content"):
        write_share(Document(Note("a__b", "Two.")), tmp_path)
    note = Note("a__b", "One.")
    one = Document(note, (Entity.annotate(note, "T1", DISORDER, ((0, 3),)),))
    with pytest.raises(DataError, match=r"a__b\.pipe: is there already"):
        write_share(one, tmp_path)
    write_share(Document(Note("x-report", "Three."), ()), tmp_path)
    write_share(Document(Note("x.txt", "Four."), ()), tmp_path)
    found, _ = read(tmp_path)
    assert [(d.note.name, d.note.text) for d in found] == [
        ("a__b", "One."),
        ("x", "Four."),
        ("x-report", "Three."),
    ]


def test_writing_fails_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown year 2012; choose 2014 or 2013"):
        write_share(Document(Note("a", "")), tmp_path, year=2012)
    (tmp_path / "text").touch()
    with pytest.raises(ConfigError, match=r"a\.txt: cannot be written \("):
        write_share(Document(Note("a", "")), tmp_path)


@pytest.mark.parametrize("year", [2013, 2014])
def test_sample_round_trip(corpora: Path, tmp_path: Path, year: int) -> None:
    folder = corpora / "e3c_shareclef"
    if not folder.is_dir():
        pytest.skip("no corpus e3c_shareclef")
    assert find_share(folder) == (2014, 2013)
    first, report = read(folder, year=year)
    assert report.problems == ()
    assert (report.counts["documents"], report.counts["entities"]) == (84, 1023)
    assert report.counts["attributes"] == 1023 * (1 if year == 2013 else 11)
    assert [d.note.name for d in first][:1] == ["test/EN100046"]
    for document in first:
        assert write_share(document, tmp_path, year=year) == {}
    again, report = read(tmp_path, year=year)
    assert report.problems == ()
    assert [d.note.name for d in again] == [d.note.name.replace("/", "__") for d in first]
    for one, two in zip(first, again, strict=True):
        assert (one.note.text, one.entities, one.relations) == (
            two.note.text,
            two.entities,
            two.relations,
        )
        part, name = one.note.name.split("/")
        original = (folder / part / str(year) / f"{name}.pipe").read_text(encoding="utf-8")
        written = (tmp_path / str(year) / f"{two.note.name}.pipe").read_text(encoding="utf-8")
        assert written == original.replace(f"{name}.txt", f"{two.note.name}.txt")


def test_a_link_to_nowhere_is_no_file_of_a_release(tmp_path: Path) -> None:
    (tmp_path / "a.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "b.pipe").symlink_to(tmp_path / "nowhere")
    assert find_share(tmp_path) == ()
