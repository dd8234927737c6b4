"""Rules that several mappings share."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from emlb_runtime.records import Document, Relation

from .doses import split_dose
from .draft import UNKNOWN, Draft

OF_A_DRUG = ("Dosage", "Duration", "Form", "Frequency", "Route")
"""Types whose relation is named after them and leads to a drug: ``Dosage-Drug``."""

FINDINGS = ("Disorder", "Test", "Procedure", "Device")
"""Types that a body part can be the place of."""

MODIFIERS = {
    "Anatomy": FINDINGS,
    "Qualifier": (*FINDINGS, "Drug", "Anatomy"),
    "Temporal": (*FINDINGS, "Drug"),
    "Value": ("Test", "Disorder", "Drug", "Procedure"),
}
"""Types whose relation is ``TYPE-of``, and what it may lead to."""

_ANALYTES = frozenset(
    (
        "albumin alanine ammonia bicarbonate bilirubin bun calcium chloride cholesterol cortisol "
        "creatinine crp glucose hdl hdl-c hemoglobin haemoglobin lactate ldl ldl-c magnesium "
        "nitrogen oxygen phosphate phosphorus potassium prolactin sodium triglyceride "
        "triglycerides urea"
    ).split()
) | {"blood glucose", "serum creatinine", "uric acid"}
_SIDE = re.compile(r"(left|right|bilateral)(?:[- ]sided)?\s+(?=\S)", re.IGNORECASE)
_SIDE_IN_NAME = re.compile(
    r"(?:ventric|atri|bundle|heart|coronary|anterior descending|main|circumflex|axis)",
    re.IGNORECASE,
)


def finish(draft: Draft) -> Document:
    """The rewritten document, with the relations that schema 2 allows between its types."""
    kept = []
    for relation in draft.relations:
        head, tail = draft.entities.get(relation.head), draft.entities.get(relation.tail)
        if head is None or tail is None or _is_allowed(relation.type, head.type, tail.type):
            kept.append(relation)
        else:
            reason = f"{relation.type} from {head.type} to {tail.type}, which the schema lacks"
            draft.dropped[reason] += 1
    draft.relations = kept
    return draft.document()


def _is_allowed(relation: str, head: str, tail: str) -> bool:
    if relation in ("ADE-Drug", "Reason-Drug"):
        return (head, tail) == ("Disorder", "Drug")
    if head in OF_A_DRUG:
        return (relation, tail) == (f"{head}-Drug", "Drug")
    return relation == f"{head}-of" and tail in MODIFIERS.get(head, ())


def split_doses(draft: Draft) -> None:
    """Split every Dosage into the parts of ``split_dose``, each with the dose's relations.

    The words of a dose that cannot be split are left open.
    """
    for id, dose in list(draft.entities.items()):
        if dose.type != "Dosage" or dose.fragments:
            continue
        parts = split_dose(dose.text)
        drugs = [r.tail for r in draft.relations if r.type == "Dosage-Drug" and r.head == id]
        if not parts:
            draft.entities[id] = replace(dose, type=UNKNOWN)
            draft.dropped["dose that no rule can split"] += 1
            _unlink(draft, id, "a dose that no rule can split")
            continue
        handed_on = [Relation("Dosage-Drug", id, drug) for drug in drugs]
        _unlink(draft, id, "a dose that is split", kept=handed_on)
        del draft.entities[id]
        for number, part in enumerate(parts):
            new = f"{id}.{number}"
            draft.add(new, part.type, dose.start + part.start, dose.start + part.end)
            draft.relations += [Relation(f"{part.type}-Drug", new, drug) for drug in drugs]


def _unlink(draft: Draft, id: str, what: str, *, kept: Collection[Relation] = ()) -> None:
    """Take the relations of a mention out, counted.

    Args:
        draft: the document.
        id: of the mention.
        what: the mention, for the reason.
        kept: relations that the caller keeps in another form; they are not counted.
    """
    for relation in draft.relations:
        if id in (relation.head, relation.tail) and relation not in kept:
            draft.dropped[f"{relation.type} of {what}"] += 1
    draft.relations = [r for r in draft.relations if id not in (r.head, r.tail)]


def turn_treats(draft: Draft) -> None:
    """Turn Treats, from a drug to a disorder, into Reason-Drug, from the disorder to the drug."""
    draft.relations = [
        Relation("Reason-Drug", r.tail, r.head) if r.type == "Treats" else r
        for r in draft.relations
    ]


def drop_relations(draft: Draft, types: Collection[str]) -> None:
    """Leave out the relations of some types, counted."""
    kept = [relation for relation in draft.relations if relation.type not in types]
    for relation in draft.relations:
        if relation.type in types:
            draft.dropped[f"{relation.type}, which the schema lacks or is not taken from here"] += 1
    draft.relations = kept


def relate_modifiers(draft: Draft, native: str) -> None:
    """Name the relations of a corpus that has one name for all modifiers by what they join.

    A drug's dose, route and the like give ``TYPE-Drug``; a body part, qualifier, time or value
    gives ``TYPE-of``. Relations of other names or between other types are left out.

    Args:
        draft: with types of the schema.
        native: the corpus's name for its modifying relation.
    """
    named: list[Relation] = []
    for relation in draft.relations:
        head, tail = draft.entities.get(relation.head), draft.entities.get(relation.tail)
        if relation.type != native or head is None or tail is None:
            reason = relation.type if relation.type != native else f"{native} of a lost mention"
            draft.dropped[f"{reason}: no relation of the schema"] += 1
        elif head.type in OF_A_DRUG and tail.type == "Drug":
            named.append(replace(relation, type=f"{head.type}-Drug"))
        elif tail.type in MODIFIERS.get(head.type, ()):
            named.append(replace(relation, type=f"{head.type}-of"))
        elif UNKNOWN not in (head.type, tail.type):
            draft.dropped[f"{native} from {head.type} to {tail.type}: none of the schema"] += 1
    draft.relations = named


def join_anatomy(draft: Draft) -> None:
    """Join a body part with what it is the place of, if that stands directly behind it.

    ``abdominal`` and ``pain`` become the Disorder ``abdominal pain``; ``chest`` and ``x-ray``
    one Test. A side in front is a Qualifier of its own (``left``, ``knee pain``), except in
    names such as ``left ventricular hypertrophy``. The body part is then no mention any more: its
    other relations are left out and counted.
    """
    for relation in [r for r in draft.relations if r.type == "Anatomy-of"]:
        if relation not in draft.relations:  # left out with an earlier one
            continue
        part, finding = draft.entities.get(relation.head), draft.entities.get(relation.tail)
        if part is None or finding is None or part.fragments or finding.fragments:
            continue
        if finding.type not in FINDINGS[:3]:
            continue
        gap = draft.note.text[part.end : finding.start]
        if part.end >= finding.start or gap not in (" ", "-"):
            continue
        del draft.entities[relation.head]
        reason = "a body part that is joined with its finding"
        _unlink(draft, relation.head, reason, kept=[relation])
        side = _SIDE.match(draft.note.text, part.start, finding.start)
        if side and not _SIDE_IN_NAME.match(draft.note.text, side.end()):
            draft.add(relation.head, "Qualifier", side.start(), side.end(1))
            draft.relations.append(Relation("Qualifier-of", relation.head, relation.tail))
            draft.move(relation.tail, side.end(), finding.end)
        else:
            draft.move(relation.tail, part.start, finding.end)


def drop_analytes(draft: Draft) -> None:
    """Take substances that laboratories measure out of the drugs; what they are is left open.

    Corpora of chemicals annotate ``creatinine`` and ``sodium`` like drugs; schema 2 has them as
    tests.
    """
    for id, entity in list(draft.entities.items()):
        if entity.type == "Drug" and entity.text.casefold() in _ANALYTES:
            draft.entities[id] = replace(entity, type=UNKNOWN)
            draft.dropped["substance that laboratories measure"] += 1
            _unlink(draft, id, "a substance that laboratories measure")
