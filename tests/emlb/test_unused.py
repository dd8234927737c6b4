"""Whatever a reader reports as unused is in no document, and the counts add up, format by format.

brat has its own test of this, in ``tests/runtime/test_brat.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlb.data.formats.anafora.corpus import scan_anafora
from emlb.data.formats.share.corpus import scan_share
from emlb_runtime.formats import read_documents, read_mixture
from emlb_runtime.formats.report import Report
from emlb_runtime.records import Document

TEXT = "Rash after iron.\r\nNo fever."

bounds = st.integers(-1, len(TEXT) + 2)
labels = st.sampled_from(["Drug", "Rash", ""])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("unused")


def check(document: Document, report: Report, mentions: int, links: int) -> None:
    """The mentions and links of a file are each in its document or among the problems."""
    assert len(document.entities) == report.counts["entities"]
    assert len(document.relations) == report.counts["relations"]
    assert len(document.entities) + len(document.relations) + len(report.problems) == (
        mentions + links
    )


json_mentions = st.fixed_dictionaries(
    {"id": st.sampled_from(["T1", "T2", "T3", "T4"]), "type": labels, "start": bounds},
    optional={"end": bounds, "text": st.sampled_from(["Rash", "iron", "fever", "", 4])},
)
json_links = st.fixed_dictionaries(
    {"type": labels, "head": st.sampled_from(["T1", "T2", "T9"])},
    optional={"tail": st.sampled_from(["T1", "T3", 0])},
)


@given(st.lists(json_mentions, max_size=6), st.lists(json_links, max_size=4), st.booleans())
def test_documents(
    folder: Path, mentions: list[dict[str, object]], links: list[dict[str, object]], text: bool
) -> None:
    value = {"note": "n", "entities": mentions, "relations": links}
    path = folder / "d.jsonl"
    path.write_text(json.dumps(value | ({"text": TEXT} if text else {})), encoding="utf-8")
    ((document, report),) = read_documents(path)
    check(document, report, len(mentions), len(links))
    asked = [(m["id"], m.get("start"), m.get("end"), m.get("text", "")) for m in mentions]
    for entity in document.entities:
        shown = {text for id, *span, text in asked if (id, *span) == (entity.id, *entity.spans[0])}
        assert entity.text in shown or (text and "" in shown)


@given(
    st.lists(st.tuples(labels, st.lists(st.tuples(bounds, bounds), max_size=2)), max_size=5),
    st.lists(st.tuples(labels, st.integers(-1, 5), st.integers(0, 5)), max_size=4),
)
def test_mixtures(folder: Path, mentions: list[object], links: list[object]) -> None:
    value = {"corpus": "c", "doc": "d", "text": TEXT, "entities": mentions, "relations": links}
    path = folder / "m.jsonl"
    path.write_text(json.dumps(value), encoding="utf-8")
    ((document, _, report),) = read_mixture(path)
    check(document, report, len(mentions), len(links))


@given(st.lists(st.tuples(st.sampled_from(["Disease_Disorder", "X"]), bounds, bounds), max_size=6))
def test_share(folder: Path, lines: list[tuple[str, int, int]]) -> None:
    place = folder / "share"
    place.mkdir(exist_ok=True)
    (place / "a.txt").write_bytes(TEXT.encode())
    rows = [f"a.txt||{type}||C1||{start}||{end}\n" for type, start, end in lines]
    (place / "a.pipe").write_text(
        "".join(rows) + "a.txt||Disease_Disorder||C1||0||4\n", encoding="utf-8"
    )
    found = list(scan_share(place, year=2013))
    ((document, report),) = [item for item in found if item[0] is not None]
    assert document is not None
    check(document, Report.merge(report for _, report in found), len(lines) + 1, 0)


@given(
    st.lists(st.tuples(st.integers(1, 4), labels, bounds, bounds), max_size=6),
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)), max_size=4),
)
def test_anafora(
    folder: Path,
    mentions: list[tuple[int, str, int, int]],
    links: list[tuple[int, int, int]],
) -> None:
    place = folder / "anafora" / "n"
    place.mkdir(parents=True, exist_ok=True)
    (place / "n").write_bytes(TEXT.encode())
    entities = [
        f"<entity><id>{id}@e@n@g</id><span>{start},{end}</span><type>{type}</type>"
        "<properties></properties></entity>"
        for id, type, start, end in mentions
    ]
    relations = [
        f"<relation><id>{id}@r@n@g</id><type>TLINK</type><properties>"
        f"<Source>{one}@e@n@g</Source><Target>{other}@e@n@g</Target></properties></relation>"
        for id, one, other in links
    ]
    xml = f"<data><annotations>{''.join(entities + relations)}</annotations></data>"
    (place / "n.Temporal-Relation.gold.completed.xml").write_text(xml, encoding="utf-8")
    ((document, report),) = scan_anafora(folder / "anafora")
    assert document is not None
    check(document, report, len(mentions), len(links))
