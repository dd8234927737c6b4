"""The Anafora reader and writer."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import anafora
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emlb.data.formats.anafora import model as losses
from emlb.data.formats.anafora import xml as _anafora_xml
from emlb.data.formats.anafora.corpus import find_anafora, scan_anafora, write_anafora
from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.formats import Report
from emlb_runtime.formats import report as reasons
from emlb_runtime.formats.files.limits import XML_FILE, TooLarge
from emlb_runtime.records import Document, Entity, Note, Relation, Status

TEXT = "Rash after amoxicillin.\nSevere lower and upper back pain.\n"
MARKER = "Zebedee"
GOLD = "Temporal-Relation.gold.completed.xml"

texts = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.sampled_from(["\r\n", "\ufeff", "😀", "e\u0301", "\t", "\u2028", "\x85", "\n", " "]),
    ),
    min_size=1,
    max_size=12,
).map("".join)
xml_texts = st.text(st.characters(codec="utf-8").filter(losses.is_xml_text), max_size=6)
labels = xml_texts.filter(lambda label: label.strip())
link_labels = labels | st.builds("{}LINK-{}".format, st.sampled_from("TA"), xml_texts)
names = st.text("abZé_-.9蛋", min_size=1, max_size=5).filter(lambda name: name[0] not in "-.9")


@st.composite
def documents(
    draw: st.DrawFn,
    types: st.SearchStrategy[str] = labels,
    keys: st.SearchStrategy[str] = names,
    values: st.SearchStrategy[str] = xml_texts,
) -> Document:
    """A document over any text, with fragments, overlaps, attributes and relations."""
    note = Note("train/note.1", draw(texts.filter(bool)))
    cuts = st.lists(st.integers(0, len(note.text)), min_size=2, max_size=6, unique=True).map(sorted)
    numbers = draw(st.lists(st.integers(0, 99), max_size=4, unique=True))
    entities = []
    for number in numbers:
        bounds = draw(cuts)
        spans = tuple(zip(bounds[::2], bounds[1::2], strict=False))
        attributes = draw(st.dictionaries(keys, values, max_size=3))
        entities.append(
            Entity.annotate(note, f"T{number}", draw(types), spans, attributes=attributes)
        )
    relations = []
    if entities:
        ends = st.sampled_from([entity.id for entity in entities])
        relations = draw(st.lists(st.builds(Relation, types | link_labels, ends, ends), max_size=4))
    return Document(note, tuple(entities), tuple(relations))


def entity(id: object, span: str, type: str = "EVENT", properties: str = "") -> str:
    """An entity on one line."""
    return (
        f"<entity><id>{id}@e@note@gold</id><span>{span}</span><type>{type}</type>"
        f"<parentsType>TemporalEntities</parentsType><properties>{properties}</properties></entity>"
    )


def relation(id: object, properties: str, type: str = "TLINK") -> str:
    return (
        f"<relation><id>{id}@r@note@gold</id><type>{type}</type>"
        f"<properties>{properties}</properties></relation>"
    )


def link(head: object, tail: object, more: str = "<Type>CONTAINS</Type>") -> str:
    return f"<Source>{head}@e@note@gold</Source>{more}<Target>{tail}@e@note@gold</Target>"


def data(*lines: str) -> str:
    """A file of which the first annotation stands on line 2."""
    return "\n".join(("<data><annotations>", *lines, "</annotations></data>"))


def put(folder: Path, xml: str | bytes, text: str | bytes | None = TEXT, file: str = GOLD) -> Path:
    """A document folder with one annotation file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{folder.name}.{file}"
    path.write_bytes(xml if isinstance(xml, bytes) else xml.encode())
    if text is not None:
        content = text if isinstance(text, bytes) else text.encode()
        (folder / folder.name).write_bytes(content)
    return path


def read(folder: Path, *lines: str, text: str = TEXT) -> tuple[Document, Report]:
    """What is read of a single document of these annotations."""
    put(folder / "note", data(*lines), text)
    ((document, report),) = scan_anafora(folder)
    assert document is not None
    return document, report


def found(report: Report) -> list[tuple[int, str, str]]:
    return [(problem.line, problem.id, problem.reason) for problem in report.problems]


def scan_all(folder: Path, **options: str) -> list[tuple[str | None, list[tuple[str, str]]]]:
    """Each document's name, with its problems' files and reasons."""
    return [
        (
            document.note.name if document else None,
            [(Path(problem.file).name, problem.reason) for problem in report.problems],
        )
        for document, report in scan_anafora(folder, schema=options.get("schema", ""))
    ]


def test_what_thyme_looks_like(tmp_path: Path) -> None:
    properties = "<DocTimeRel>BEFORE</DocTimeRel><Degree/><Type>\nN/A &lt;</Type>"
    lines = (
        entity(7, "0,4", properties=properties),
        entity(12, "31,36;47,56", "TIMEX3", "<Class>DATE</Class>"),
        entity(9, "0,5", "SECTIONTIME"),
        relation(1, link(12, 7)),
        relation(2, link(7, 9, "<Type></Type>"), "ALINK"),
    )
    document, report = read(tmp_path, *lines)
    assert report.problems == ()
    rash, pain, section = document.entities
    assert (rash.id, rash.type, rash.text) == ("T7", "EVENT", "Rash")
    assert rash.attributes == {"DocTimeRel": "BEFORE", "Degree": "", "Type": "\nN/A <"}
    assert (pain.id, pain.fragments) == ("T12", ((31, 36), (47, 56)))
    assert (section.type, section.attributes) == ("SECTIONTIME", {})
    backwards = "<Target>7@e@note@gold</Target><Source>9@e@note@gold</Source>"
    (again,) = read(tmp_path, *lines, relation(3, backwards))[0].relations[2:]
    assert again == Relation("TLINK", "T9", "T7")
    assert document.relations == (
        Relation("TLINK-CONTAINS", "T12", "T7"),
        Relation("ALINK", "T7", "T9"),
    )
    assert report.counts == {
        "documents": 1,
        "entities": 3,
        "relations": 2,
        "discontinuous": 1,
        "same_type_overlaps": 0,
        "attributes": 4,
        "elements_passed_over": 0,
        "files_passed_over": 0,
    }


@settings(max_examples=60)
@given(documents())
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, document: Document) -> None:
    folder = tmp_path_factory.mktemp("anafora")
    assert write_anafora(document, folder) == {}
    before = {path: path.read_bytes() for path in folder.rglob("note.1*") if path.is_file()}
    assert len(before) == 2
    ((again, report),) = scan_anafora(folder)
    assert again == document
    assert report.problems == ()
    assert write_anafora(again, folder) == {}
    assert before == {path: path.read_bytes() for path in before}


any_text = st.text("a \r<&]>\x00\x0b\ufffe\ud800:", max_size=4)


@settings(max_examples=60)
@given(documents(any_text, any_text, any_text))
def test_losses_are_counted(tmp_path_factory: pytest.TempPathFactory, document: Document) -> None:
    folder = tmp_path_factory.mktemp("anafora")
    lost = write_anafora(document, folder)
    ((again, report),) = scan_anafora(folder)
    assert again is not None
    assert report.problems == ()
    assert len(document.entities) - len(again.entities) == lost[losses.ENTITY_LOST]
    assert len(document.relations) - len(again.relations) == (
        lost[losses.RELATION_LOST] + lost[losses.ARGUMENT_LOST]
    )
    expected = [document.entity(entity.id).attributes for entity in again.entities]
    kept = [entity.attributes for entity in again.entities]
    assert sum(map(len, expected)) - sum(map(len, kept)) == (
        lost[losses.ATTRIBUTE_NAME_LOST] + lost[losses.ATTRIBUTE_VALUE_LOST]
    )
    for before, after in zip(expected, kept, strict=True):
        assert after.items() <= before.items()
    assert set(again.relations) <= set(document.relations)


def test_each_loss(tmp_path: Path) -> None:
    note = Note("note", TEXT)

    def mention(id: str, type: str = "X", **more: object) -> Entity:
        return Entity.annotate(note, id, type, ((0, 4),), **more)

    document = Document(
        note,
        (
            mention("T1", attributes={"a b": "", "a:b": "", "": "", "x": "\x01", "y": "1"}),
            mention("T2", "\x02"),
            mention("T3", score=0.5),
            mention("\x03"),
            mention("5@e@note@gold"),
            mention("T5"),
            mention("rash 1"),
        ),
        (
            Relation("R", "T1", "T2"),
            Relation(" ", "T1", "T3"),
            Relation("R", "T1", "T5", task="t"),
            Relation("TLINK-", "rash 1", "\x03"),
        ),
        Status(1, 1, "CPU", "int8"),
    )
    assert write_anafora(document, tmp_path) == {
        losses.ATTRIBUTE_NAME_LOST: 3,
        losses.ATTRIBUTE_VALUE_LOST: 1,
        losses.ENTITY_LOST: 1,
        losses.ARGUMENT_LOST: 1,
        losses.RELATION_LOST: 1,
        losses.SCORE_LOST: 2,
        losses.STATUS_LOST: 1,
        losses.ID_CHANGED: 3,
    }
    ((again, report),) = scan_anafora(tmp_path)
    assert again is not None
    assert report.problems == ()
    assert [entity.id for entity in again.entities] == ["T1", "T3", "T0", "T5", "T2", "rash 1"]
    assert again.entities[0].attributes == {"y": "1"}
    assert again.relations == (Relation("R", "T1", "T2"), Relation("TLINK-", "rash 1", "T0"))


def test_what_is_written(tmp_path: Path) -> None:
    note = Note("a/note", TEXT)
    document = Document(
        note,
        (
            Entity.annotate(note, "T3", "EVENT", ((0, 4), (5, 7)), attributes={"Degree": "a\r<b"}),
            Entity.annotate(note, "T4", "DOCTIME", ((5, 10),)),
        ),
        (Relation("TLINK-BEGINS-ON", "T3", "T4"), Relation("CON-SUB", "T4", "T3")),
    )
    write_anafora(document, tmp_path, schema="Temporal-Entity", annotator="system")
    path = tmp_path / "a" / "note" / "note.Temporal-Entity.system.completed.xml"
    assert path.read_text(encoding="utf-8") == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        "<data>\n"
        "    <info>\n"
        "        <savetime>00:00:00 01-01-1970</savetime>\n"
        "        <progress>completed</progress>\n"
        "    </info>\n"
        '    <schema path="./" protocol="file">temporal-schema.xml</schema>\n'
        "    <annotations>\n"
        "        <entity>\n"
        "            <id>3@e@note@system</id>\n"
        "            <span>0,4;5,7</span>\n"
        "            <type>EVENT</type>\n"
        "            <parentsType>TemporalEntities</parentsType>\n"
        "            <properties>\n"
        "                <Degree>a&#13;&lt;b</Degree>\n"
        "            </properties>\n"
        "        </entity>\n"
        "        <entity>\n"
        "            <id>4@e@note@system</id>\n"
        "            <span>5,10</span>\n"
        "            <type>DOCTIME</type>\n"
        "            <parentsType>TemporalEntities</parentsType>\n"
        "            <properties>\n"
        "            </properties>\n"
        "        </entity>\n"
        "        <relation>\n"
        "            <id>1@r@note@system</id>\n"
        "            <type>TLINK</type>\n"
        "            <parentsType>TemporalRelations</parentsType>\n"
        "            <properties>\n"
        "                <Source>3@e@note@system</Source>\n"
        "                <Type>BEGINS-ON</Type>\n"
        "                <Target>4@e@note@system</Target>\n"
        "            </properties>\n"
        "        </relation>\n"
        "        <relation>\n"
        "            <id>2@r@note@system</id>\n"
        "            <type>CON-SUB</type>\n"
        "            <parentsType>TemporalRelations</parentsType>\n"
        "            <properties>\n"
        "                <Source>4@e@note@system</Source>\n"
        "                <Target>3@e@note@system</Target>\n"
        "            </properties>\n"
        "        </relation>\n"
        "    </annotations>\n"
        "</data>\n"
    )
    assert [again for again, _ in scan_anafora(tmp_path)] == [document]


@pytest.mark.parametrize(
    "name", ["", "..", "../a", "/a", "a/", "a//b", "a/../b", ".", "a\\b", "c:", "a\nb", "x" * 300]
)
def test_names_stay_below_the_folder(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    with pytest.raises(DataError, match="cannot be a folder below .* relative name of plain parts"):
        write_anafora(Document(Note(name, TEXT)), out)
    assert not list(tmp_path.iterdir())


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "away")
    with pytest.raises(DataError, match="cannot be a folder below"):
        write_anafora(Document(Note("a/b", TEXT)), tmp_path / "out")


def test_nothing_else_is_overwritten(tmp_path: Path) -> None:
    note = Note("note", TEXT)
    write_anafora(Document(note), tmp_path)
    with pytest.raises(DataError, match="holds something else already; choose another folder"):
        write_anafora(Document(Note("note", f"{MARKER}")), tmp_path)
    more = Document(note, (Entity.annotate(note, "T1", "X", ((0, 4),)),))
    with pytest.raises(DataError, match="holds something else already"):
        write_anafora(more, tmp_path)
    write_anafora(more, tmp_path, annotator="system")
    assert len(list((tmp_path / "note").iterdir())) == 3
    with pytest.raises(DataError, match="cannot be written"):
        write_anafora(Document(Note("note/note/x", TEXT)), tmp_path)


def test_documents_that_cannot_be_written(tmp_path: Path) -> None:
    note = Note("note", TEXT)
    mention = Entity.annotate(note, "T1", "X", ((0, 4),))
    with pytest.raises(DataError, match="two mentions share an id"):
        write_anafora(Document(note, (mention, mention)), tmp_path)
    with pytest.raises(DataError, match="relation 1 names a mention that the document lacks"):
        write_anafora(Document(note, (mention,), (Relation("R", "T1", "T2"),)), tmp_path)
    for options in ({"schema": "a/b"}, {"schema": ""}, {"annotator": "a.b"}, {"annotator": "a@b"}):
        with pytest.raises(ConfigError, match="letters, digits"):
            write_anafora(Document(note), tmp_path, **options)
    assert not list(tmp_path.iterdir())


RASH = entity(1, "0,4", "Rash", "<Empty/>")
DRUG = entity(2, "11,22", "Drug")
OPEN = "<entity><id>3@e@note@gold</id>"


@pytest.mark.parametrize(
    ("line", "id", "reason"),
    [
        (RASH, "1@e", reasons.REPEATED_ID),
        (entity(3, "3,3"), "3@e", reasons.ZERO_LENGTH),
        (entity(3, "5,3"), "3@e", reasons.ZERO_LENGTH),
        (entity(3, "50,59"), "3@e", reasons.PAST_THE_END),
        (entity(3, "5,8;0,4"), "3@e", reasons.DISORDERED),
        (entity(3, "0,4;3,8"), "3@e", reasons.DISORDERED),
        (entity(3, "0,-4"), "3@e", reasons.MALFORMED),
        (entity(3, "0,٤"), "3@e", reasons.MALFORMED),
        (entity(3, "0,4,5"), "3@e", reasons.MALFORMED),
        (entity(3, "0"), "3@e", reasons.MALFORMED),
        (entity(3, ""), "3@e", reasons.MALFORMED),
        (entity(3, "0," + "9" * 5000), "3@e", reasons.MALFORMED),
        (entity(3, "<b>0,4</b>"), "3@e", reasons.MALFORMED),
        (entity(3, "0,4", " "), "3@e", reasons.MALFORMED),
        (entity(3, "0,4</span><span>0,5"), "3@e", reasons.MALFORMED),
        (entity("3@e@note@gold</id><id>4", "0,4"), "", reasons.MALFORMED),
        (entity(3, "0,4", properties="<A/>").replace("3@e@note@gold", ""), "", reasons.MALFORMED),
        (f"{OPEN}<type>Rash</type></entity>", "3@e", reasons.MALFORMED),
        (f"{OPEN}<span>0,4</span></entity>", "3@e", reasons.MALFORMED),
        (f"{OPEN}{OPEN}<type>Rash</type></entity></entity>", "3@e", reasons.MALFORMED),
        ("<entity><span>0,4</span><type>Rash</type></entity>", "", reasons.MALFORMED),
        (f"<adjudication>{entity(3, '0,4')}</adjudication>", "", reasons.MALFORMED),
        (relation(1, link(1, 7)), "1@r", reasons.NO_ARGUMENT),
        (relation(1, "<Source>Rash</Source><Target>Drug</Target>"), "1@r", reasons.NO_ARGUMENT),
        (relation(1, link(1, 2).replace("2@e", "1@r")), "1@r", reasons.NO_ARGUMENT),
        (relation(1, ""), "1@r", reasons.ARGUMENTS),
        (relation(1, "<Source>1@e@note@gold</Source><Target/>"), "1@r", reasons.ARGUMENTS),
        (relation(1, link(1, 2).replace("Target", "Source")), "1@r", reasons.ARGUMENTS),
        (relation(1, link(1, 2).replace("Target", "Other")), "1@r", reasons.ARGUMENTS),
        (relation(1, link(1, 2, "<Via>1@e@note@gold</Via>")), "1@r", reasons.ARGUMENTS),
        (relation(1, link(1, 2, "<Type><b/></Type>")), "1@r", reasons.MALFORMED),
        (relation(1, link(1, 2), ""), "1@r", reasons.MALFORMED),
        (relation(1, link(1, 2)).replace("1@r@note@gold", ""), "", reasons.MALFORMED),
    ],
)
def test_unusable_annotations_are_dropped_and_reported(
    tmp_path: Path, line: str, id: str, reason: str
) -> None:
    document, report = read(tmp_path, RASH, DRUG, line)
    assert [entity.text for entity in document.entities] == ["Rash", "amoxicillin"]
    assert document.relations == ()
    assert found(report) == [(4, id, reason)]


def test_a_chain_of_coreference(tmp_path: Path) -> None:
    first = "<FirstInstance>1@e@note@gold</FirstInstance>"
    next = "<Coreferring_String>{}@e@note@gold</Coreferring_String>".format
    document, report = read(
        tmp_path,
        *(entity(number, "0,4", "Markable") for number in (1, 2, 3)),
        relation(1, first + next(2) + next(3), "Identical"),
        relation(2, first + next(3) + "<Coreferring_String/>", "Identical"),
        relation(3, "<Whole>3@e@note@gold</Whole><Part>1@r@note@gold</Part>", "Whole/Part"),
    )
    assert document.relations == (Relation("Identical", "T1", "T3"),)
    assert found(report) == [
        (5, "1@r", reasons.ARGUMENTS),
        (7, "3@r", reasons.NO_ARGUMENT),
    ]


def test_properties_that_records_cannot_hold(tmp_path: Path) -> None:
    more = "<Type>BEFORE</Type>\n<Sure>no</Sure>\n<Degree>N/A</Degree><Note/><Type>OVERLAP</Type>"
    document, report = read(
        tmp_path,
        entity(1, "0,4", properties="<A>x</A>\n<A>x</A>\n<A>y</A>\n<B>a<c>b</c></B>"),
        entity(2, "0,4", properties="<Next>1@e@note@gold</Next><Empty/>"),
        entity(3, "0,4").replace("<parentsType>", "<addition><x>1</x></addition><parentsType>"),
        relation(1, link(1, 2, more)),
    )
    assert [dict(entity.attributes) for entity in document.entities] == [
        {"A": "x"},
        {"Next": "1@e@note@gold", "Empty": ""},
        {},
    ]
    assert document.relations == (Relation("TLINK-BEFORE", "T1", "T2"),)
    assert report.counts["elements_passed_over"] == 2
    assert found(report) == [
        (4, "1@e", reasons.REPEATED_ATTRIBUTE),
        (5, "1@e", reasons.MALFORMED),
        (9, "1@r", reasons.RELATION_ATTRIBUTE),
        (10, "1@r", reasons.RELATION_ATTRIBUTE),
    ]
    assert [(r.line, r.id, r.reason) for r in report.remarks] == [
        (6, "2@e", reasons.LINKING_ATTRIBUTE)
    ]


def test_ids_are_shortened_where_they_stay_apart(tmp_path: Path) -> None:
    document, report = read(
        tmp_path,
        entity(1, "0,4"),
        entity(2, "0,4"),
        entity(2, "0,4").replace("gold", "ann"),
        entity(3, "0,4"),
        entity(4, "0,4").replace("4@e@note@gold", "T3"),
        entity(5, "0,4").replace("5@e@note@gold", "E5"),
        relation(1, "<A>E5</A><B>2@e@note@ann</B>", "R"),
    )
    assert report.problems == ()
    ids = ["T1", "2@e@note@gold", "2@e@note@ann", "3@e@note@gold", "T3", "E5"]
    assert [entity.id for entity in document.entities] == ids
    assert document.relations == (Relation("R", "E5", "2@e@note@ann"),)
    assert write_anafora(Document(document.note, document.entities[:3]), tmp_path / "out") == {}
    ((again, _),) = scan_anafora(tmp_path / "out")
    assert again is not None
    assert again.entities == document.entities[:3]


LAUGHS = (
    '<!DOCTYPE data [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>'
    f"<data><annotations>{entity(1, '0,4', '&c;')}</annotations></data>"
)
OUTSIDE = (
    '<!DOCTYPE data [<!ENTITY x SYSTEM "file://{}">]>\n'
    f"<data><annotations>{entity(1, '0,4', '&x;')}</annotations></data>"
)


@pytest.mark.parametrize(
    ("xml", "line", "reason"),
    [
        (LAUGHS, 1, reasons.FORBIDDEN_XML),
        (LAUGHS.encode("utf-16"), 1, reasons.FORBIDDEN_XML),
        (OUTSIDE, 1, reasons.FORBIDDEN_XML),
        ('\n<!DOCTYPE data SYSTEM "http://127.0.0.1:9/x.dtd"><data/>', 2, reasons.FORBIDDEN_XML),
        ("<!DOCTYPE data><data/>", 1, reasons.FORBIDDEN_XML),
        (data("<entity>", f"<{MARKER}>", "</entity>"), 4, reasons.BROKEN_XML),
        (data(entity(1, "0,4", f"&{MARKER};")), 2, reasons.BROKEN_XML),
        (data(entity(1, "0,4", "\x01")), 2, reasons.BROKEN_XML),
        ("", 1, reasons.BROKEN_XML),
        (MARKER, 1, reasons.BROKEN_XML),
        (b"<data>\n\xe9</data>", 2, reasons.BROKEN_XML),
        (f'<?xml version="1.0" encoding="{MARKER}"?><data/>', 1, reasons.BROKEN_XML),
        ('<?xml version="1.0" encoding="shift_jis"?><data/>', 1, reasons.BROKEN_XML),
        (f"<{MARKER}/>", 1, reasons.WRONG_ROOT),
        ("<data>\n" + "<a>" * 5000, 2, reasons.DEEP_XML),
    ],
)
def test_refused_xml_costs_its_own_document_only(
    tmp_path: Path, xml: str | bytes, line: int, reason: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(MARKER)
    bad = put(tmp_path / "in" / "b", xml.format(secret) if xml is OUTSIDE else xml)
    put(tmp_path / "in" / "a", data(RASH))
    put(tmp_path / "in" / "c", data(RASH))
    results = list(scan_anafora(tmp_path / "in"))
    assert [document and document.note.name for document, _ in results] == ["a", None, "c"]
    (problem,) = results[1][1].problems
    assert (problem.file, problem.line, problem.reason) == (str(bad), line, reason)
    assert results[1][1].counts["documents_lost"] == 1
    assert MARKER not in repr(results)


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nested = "<addition>" * 29 + "</addition>" * 29
    document, report = read(
        tmp_path / "deep", RASH.replace("<parentsType>", f"{nested}<parentsType>")
    )
    assert (len(document.entities), report.problems) == (1, ())
    assert report.counts["elements_passed_over"] == 29
    xml = data(RASH)
    put(tmp_path / "large" / "note", xml)
    monkeypatch.setenv("EMLB_MAX_XML", "1")
    assert scan_all(tmp_path / "large") == [("note", [])]
    put(tmp_path / "large" / "note", xml + " " * (2**20 - len(xml) + 1))
    assert scan_all(tmp_path / "large") == [(None, [(f"note.{GOLD}", TooLarge(XML_FILE).reason)])]


def test_text_is_untouched(tmp_path: Path) -> None:
    text = "\ufeffNo\r\nX pain \u2028😀"
    document, report = read(tmp_path, entity(1, "7,11"), text=text)
    assert report.problems == ()
    assert (document.note.text, document.entities[0].text) == (text, "pain")


def test_documents_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b/2", "a.1", "b/10", "b"):
        put(tmp_path / name, data(RASH))
    assert scan_all(tmp_path) == [("a.1", []), ("b", []), ("b/10", []), ("b/2", [])]
    assert [item.name for item in find_anafora(tmp_path)] == ["a.1", "b", "b/10", "b/2"]
    assert scan_all(tmp_path / "a.1") == [("a.1", [])]
    monkeypatch.chdir(tmp_path / "a.1")
    assert scan_all(Path()) == [("a.1", [])]


def test_which_file_is_read(tmp_path: Path) -> None:
    def offer(name: str, *files: str) -> None:
        for file in files:
            put(tmp_path / name, data(entity(1, "0,4", file)), file=f"{file}.xml")

    relation, entities, others = "Temporal-Relation", "Temporal-Entity", "Coreference"
    offer("a.b", *(f"{schema}.gold.completed" for schema in (others, entities, relation)))
    offer("b", f"{relation}.gold.inprogress", f"{others}.gold.completed", f"{entities}.x.completed")
    offer("c", *(f"{relation}.{who}.completed" for who in ("preannotation", "bob", "ann")))
    offer("d", f"{relation}.ann.completed", f"{relation}.gold.completed")
    offer(
        "e", f"{others}.gold.completed", "UMLS.Adjudication.gold.completed", "Other.ann.completed"
    )
    offer("f", f"{relation}.gold.inprogress", f"{relation}.preannotation.completed", "Old")
    offer("g", "Temporal.completed", "completed")
    results = list(scan_anafora(tmp_path))
    chosen = [document.entities[0].type if document else None for document, _ in results]
    assert chosen == [
        f"{relation}.gold.completed",
        f"{entities}.x.completed",
        f"{relation}.ann.completed",
        f"{relation}.gold.completed",
        f"{others}.gold.completed",
        None,
        "Temporal.completed",
    ]
    assert [report.counts["files_passed_over"] for _, report in results] == [2, 2, 2, 1, 2, 3, 1]
    assert [
        [(Path(problem.file).name, problem.reason) for problem in report.problems]
        for _, report in results
    ] == [
        [],
        [],
        [(f"c.{relation}.bob.completed.xml", reasons.OTHER_FILE)],
        [],
        [("e.UMLS.Adjudication.gold.completed.xml", reasons.OTHER_FILE)],
        [
            ("f", reasons.NO_ANNOTATIONS),
            ("f.Old.xml", reasons.NOT_COMPLETED),
            (f"f.{relation}.gold.inprogress.xml", reasons.NOT_COMPLETED),
            (f"f.{relation}.preannotation.completed.xml", reasons.NOT_COMPLETED),
        ],
        [],
    ]
    assert "f" not in [item.name for item in find_anafora(tmp_path)]
    by_schema = list(scan_anafora(tmp_path, schema=others))
    chosen = [document.entities[0].type if document else None for document, _ in by_schema]
    assert chosen == [f"{others}.gold.completed"] * 2 + [None] * 2 + [chosen[0]] + [None] * 2
    assert all(
        [problem.reason for problem in report.problems] == [reasons.NO_ANNOTATIONS]
        for document, report in by_schema
        if document is None
    )


def test_texts_elsewhere(tmp_path: Path) -> None:
    for name in ("test/a", "test/b", "test/c", "test/d", "train/a"):
        put(tmp_path / "xml" / name, data(RASH), None)
    (tmp_path / "xml" / "test" / "d" / "d.txt").write_text("d beside")
    texts = tmp_path / "texts"
    (texts / "test").mkdir(parents=True)
    (texts / "test" / "a").write_text("a by path")
    (texts / "a").write_text("a by name")
    (texts / "b.txt").write_text("b by name")
    (texts / "d").write_text("d by name")
    results = list(scan_anafora(tmp_path / "xml", texts=texts))
    assert [document and (document.note.name, document.note.text) for document, _ in results] == [
        ("test/a", "a by path"),
        ("test/b", "b by name"),
        None,
        ("test/d", "d beside"),
        ("train/a", "a by name"),
    ]
    (problem,) = results[2][1].problems
    assert (Path(problem.file).name, problem.reason) == (f"c.{GOLD}", reasons.NO_TEXT)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no Anafora files found; expected folders DOC with"):
        next(scan_anafora(tmp_path / "nowhere"))
    put(tmp_path / "a", "").unlink()
    put(tmp_path / "b", "").unlink()
    (tmp_path / "b" / "b").rename(tmp_path / "b" / "b.txt")
    assert find_anafora(tmp_path) == []
    with pytest.raises(DataError, match="no Anafora files found"):
        next(scan_anafora(tmp_path))
    put(tmp_path / "c", data(), b"\xff")
    put(tmp_path / "d", data(), None)
    put(tmp_path / "e", "").unlink()
    (tmp_path / "e" / f"e.{GOLD}").symlink_to(tmp_path / "nowhere")
    put(tmp_path / "f", "").unlink()
    os.mkfifo(tmp_path / "f" / f"f.{GOLD}")
    for name in "zfe":
        (tmp_path / "a" / f"{name}.{GOLD}").touch()
    (tmp_path / "a" / f"._f.{GOLD}").touch()
    assert scan_all(tmp_path) == [
        (None, [("a", reasons.NO_ANNOTATIONS)]),
        (None, [("b", reasons.NO_ANNOTATIONS)]),
        (None, [("c", reasons.NOT_UTF8)]),
        (None, [(f"d.{GOLD}", reasons.NO_TEXT)]),
        (None, [(f"e.{GOLD}", reasons.UNREADABLE)]),
        (None, [(f"f.{GOLD}", reasons.UNREADABLE)]),
        (None, [(f"{name}.{GOLD}", reasons.MISPLACED) for name in "efz"]),
    ]


@settings(max_examples=60)
@given(st.text(max_size=9), st.lists(st.sampled_from([*"<>&/;,@1\n", "entity", "id", RASH])))
def test_any_file_is_read_or_reported(
    tmp_path_factory: pytest.TempPathFactory, text: str, parts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("anafora")
    put(folder / "note", data("".join(parts)), text)
    ((document, report),) = scan_anafora(folder)
    assert document is not None or report.counts["documents_lost"] == 1
    for entity in document.entities if document else ():
        assert text[entity.start : entity.end] == entity.text


def test_no_message_holds_note_text(tmp_path: Path) -> None:
    text = f"{MARKER} was seen."
    lines = (
        entity(MARKER, "0,99"),
        entity(f"T1@{MARKER}", "0,99"),
        entity(1, MARKER),
        entity(2, "0,0", MARKER, f"<{MARKER}>{MARKER}</{MARKER}>"),
        entity(3, "0,7", MARKER, f"<{MARKER}>{MARKER}</{MARKER}>"),
        entity(3, "0,7", MARKER),
        entity(4, "0,7", "X", f"<A>{MARKER}</A><A>not {MARKER}</A><B><{MARKER}/></B>"),
        relation(MARKER, link(MARKER, 3, f"<Type>{MARKER}</Type>"), MARKER),
        relation(1, link(3, 4, f"<{MARKER}>{MARKER}</{MARKER}>")),
        f"<{MARKER}>{MARKER}</{MARKER}>",
    )
    document, report = read(tmp_path, *lines, text=text)
    assert len(report.problems) == 10
    assert len(document.relations) == 1
    shown = f"{report!r} {report.summary()} " + " ".join(map(str, report.problems))
    assert MARKER not in shown
    shown = repr(_anafora_xml.parse_annotations(data(*lines[:7]).encode()))
    assert f"'{MARKER}'" not in shown.replace(f"name='{MARKER}'", "")
    bad = Document(document.note, (*document.entities, document.entities[0]))
    with pytest.raises(DataError) as caught:
        write_anafora(bad, tmp_path / "out")
    assert MARKER not in str(caught.value)
    odd = Entity.annotate(document.note, "T1", "X", ((0, 7),), attributes={MARKER + ":": MARKER})
    lost = write_anafora(Document(document.note, (odd,)), tmp_path / "out")
    assert MARKER not in repr(lost)


def read_with_anaforatools(folder: Path) -> tuple[list[object], list[object]]:
    """Mentions and links of every document, as the scorer of Clinical TempEval reads them."""
    mentions: list[object] = []
    links: list[object] = []
    for place, base, files in sorted(anafora.walk(str(folder))):
        (file,) = files
        parsed = anafora.AnaforaData.from_file(str(folder / place / file))
        assert Path(place).name == base
        for item in parsed.annotations:
            properties = dict(item.properties.items())
            if isinstance(item, anafora.AnaforaEntity):
                values = {name: value or "" for name, value in properties.items()}
                mentions.append((place, item.type, item.spans, values))
            else:
                ends = (properties.pop("Source"), properties.pop("Target"))
                type = "-".join((item.type, *properties.values()))
                links.append((place, type, *((end.type, end.spans) for end in ends)))
    return mentions, links


def as_anaforatools(documents: list[Document]) -> tuple[list[object], list[object]]:
    mentions: list[object] = []
    links: list[object] = []
    for document in documents:
        name = document.note.name
        for entity in document.entities:
            mentions.append((name, entity.type, entity.spans, dict(entity.attributes)))
        for triple in document.triples():
            ends = ((end.type, end.spans) for end in (triple.head, triple.tail))
            links.append((name, triple.relation.type, *ends))
    return mentions, links


@settings(max_examples=40)
@given(documents())
def test_anaforatools_reads_the_same(
    tmp_path_factory: pytest.TempPathFactory, document: Document
) -> None:
    folder = tmp_path_factory.mktemp("anafora")
    write_anafora(document, folder)
    assert read_with_anaforatools(folder) == as_anaforatools([document])


def test_e3c(corpora: Path, tmp_path: Path) -> None:
    folder = corpora / "e3c_anafora"
    documents = []
    counts: Counter[str] = Counter()
    for document, report in scan_anafora(folder):
        assert document is not None
        assert report.problems == ()
        documents.append(document)
        counts.update(entity.type for entity in document.entities)
        counts.update(relation.type for relation in document.relations)
    assert len(documents) == len(find_anafora(folder)) == 84
    assert counts == {
        "EVENT": 4885,
        "TIMEX3": 380,
        "TLINK-BEFORE": 1260,
        "TLINK-BEGINS-ON": 216,
        "TLINK-CONTAINS": 1972,
        "TLINK-ENDS-ON": 175,
        "TLINK-OVERLAP": 1152,
        "ALINK-CONTINUES": 24,
        "ALINK-INITIATES": 60,
        "ALINK-REINITIATES": 7,
        "ALINK-TERMINATES": 23,
    }
    for document in documents:
        assert write_anafora(document, tmp_path) == {}
    assert [document for document, _ in scan_anafora(tmp_path)] == documents
    assert read_with_anaforatools(tmp_path) == as_anaforatools(documents)
    assert read_with_anaforatools(folder) == as_anaforatools(documents)


def test_endings_in_capitals_are_endings(tmp_path: Path) -> None:
    put(tmp_path / "note", data(entity(1, "0,4")), file="Temporal-Relation.gold.completed.XML")
    assert len(find_anafora(tmp_path)) == 1
    ((document, report),) = scan_anafora(tmp_path)
    assert document is not None
    assert (len(document.entities), report.problems) == (1, ())


def test_texts_elsewhere_in_folders_of_their_own(tmp_path: Path) -> None:
    put(tmp_path / "xml" / "train" / "note", data(entity(1, "0,4")), text=None)
    for place in ("train/note", "note"):
        path = tmp_path / place.replace("/", "-") / place / "note"
        path.parent.mkdir(parents=True)
        path.write_text(TEXT, encoding="utf-8")
        found = scan_anafora(tmp_path / "xml", texts=tmp_path / place.replace("/", "-"))
        assert [document.note.text for document, _ in found if document] == [TEXT]
