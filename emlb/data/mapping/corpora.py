"""One mapping per corpus, from its own types to clinical schema 2.

Each function takes a document as the corpus annotates it and a counter, which receives what the
mapping leaves out, by reason. What a corpus annotates in full, in part or not at all stays the
recipe's to say.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

from emlb_runtime.records import Document, Entity

from .doses import is_dose_part, split_dose
from .draft import UNKNOWN, Draft
from .rules import (
    drop_analytes,
    drop_relations,
    finish,
    join_anatomy,
    relate_modifiers,
    split_doses,
    turn_treats,
)

_QUALIFIER_WORDS = 3
"""Words of a MACCROBAT description that a Qualifier may have; longer ones are clauses."""

_MACCROBAT_TYPES = {
    "Biological_structure": "Anatomy",
    "Date": "Temporal",
    "Diagnostic_procedure": "Test",
    "Disease_disorder": "Disorder",
    "Lab_value": "Value",
    "Medication": "Drug",
    "Severity": "Qualifier",
    "Sign_symptom": "Disorder",
    "Therapeutic_procedure": "Procedure",
    "Time": "Temporal",
    # Rewritten before the types are renamed:
    "Dosage": "Dosage",
    "Duration": "Duration",
    "Form": "Form",
    "Frequency": "Frequency",
    "Qualifier": "Qualifier",
    "Route": "Route",
    "Temporal": "Temporal",
    # Of whose words schema 2 may take some, but it is not known which:
    UNKNOWN: UNKNOWN,
    "Area": UNKNOWN,
    "Biological_attribute": UNKNOWN,
    "Color": UNKNOWN,
    "Coreference": UNKNOWN,
    "Distance": UNKNOWN,
    "Family_history": UNKNOWN,
    **dict.fromkeys(("Height", "History", "Mass"), UNKNOWN),
    "Other_entity": UNKNOWN,
    "Other_event": UNKNOWN,
    "Qualitative_concept": UNKNOWN,
    "Quantitative_concept": UNKNOWN,
    "Shape": UNKNOWN,
    "Texture": UNKNOWN,
    "Volume": UNKNOWN,
    "Weight": UNKNOWN,
}
_MACCROBAT_SILENT = (
    *("Activity", "Age", "Clinical_event", "Nonbiological_location", "Occupation", "Outcome"),
    *("Personal_background", "Sex", "Subject"),
)
_GENERAL = frozenset(
    (
        "assessment complaints evaluation examination examinations investigation investigations "
        "management procedure procedures symptoms test tests therapy treatment treatments workup"
    ).split()
) | {"clinical examination", "further evaluation", "on examination", "physical examination"}
_INVASIVE = re.compile(
    r"\b(?:biops(?:y|ies)|aspirat(?:e|ion)|catheteri[sz]ation|EGD)\b|(?<!micr)oscop(?:y|ies)\b",
    re.IGNORECASE,
)
_TREATED = ("Medication", "Therapeutic_procedure", "Dosage")
_TIMES = ("Duration", "Temporal")


def map_maccrobat(document: Document, dropped: Counter[str]) -> Document:
    """MACCROBAT 2020 as released, in its 41 types.

    * Doses and ways of giving are split (``split_dose``).
    * Frequency and Duration keep their type where they modify a treatment. Elsewhere they are
      Temporal, except a Frequency that modifies nothing, which is left open.
    * A Detailed_description of up to three words is a Qualifier; a longer one is left open.
    * A body part directly before its finding is joined with it.
    * Words such as ``examination`` and ``treatment`` name nothing in particular: no mentions.
    * An examination that enters the body, such as a biopsy or an endoscopy, is a Procedure.
    * MODIFY becomes the relation that its types call for; the order of events has none.
    * What stands in Family_history is of somebody else. History says nothing about time: chronic
      diseases that go on are in it too.
    """
    draft = Draft.of(document, dropped)
    modified = _modified_types(draft)
    for id, entity in list(draft.entities.items()):
        if entity.type in ("Frequency", "Duration"):
            type = _type_of_time(entity, modified.get(id, set()))
            draft.entities[id] = replace(entity, type=type)
        elif entity.type == "Detailed_description":
            short = len(entity.text.split()) <= _QUALIFIER_WORDS
            draft.entities[id] = replace(entity, type="Qualifier" if short else UNKNOWN)
    _split_modifiers(draft)
    _say_family(draft)
    for id, entity in list(draft.entities.items()):
        if entity.text.casefold() in _GENERAL:
            draft.remove(id, "word for a procedure or finding in general")
        elif entity.type == "Diagnostic_procedure" and _INVASIVE.search(entity.text):
            draft.entities[id] = replace(entity, type="Therapeutic_procedure")
    draft.rename(_MACCROBAT_TYPES, silent=_MACCROBAT_SILENT)
    draft.trim(prepositions_of=_TIMES)
    relate_modifiers(draft, "MODIFY")
    join_anatomy(draft)
    return finish(draft)


def _modified_types(draft: Draft) -> dict[str, set[str]]:
    """The types that each mention modifies."""
    found: dict[str, set[str]] = {}
    for relation in draft.relations:
        if relation.type == "MODIFY" and relation.tail in draft.entities:
            found.setdefault(relation.head, set()).add(draft.entities[relation.tail].type)
    return found


def _type_of_time(entity: Entity, modified: set[str]) -> str:
    if modified.intersection(_TREATED):
        if is_dose_part(entity.text, "Frequency"):
            return "Frequency"
        return entity.type if entity.type == "Duration" else UNKNOWN
    return UNKNOWN if entity.type == "Frequency" and not modified else "Temporal"


def _split_modifiers(draft: Draft) -> None:
    """Split doses and ways of giving; every part modifies what the whole modified."""
    for id, entity in list(draft.entities.items()):
        if entity.type not in ("Dosage", "Administration") or entity.fragments:
            continue
        parts = split_dose(entity.text)
        if not parts:
            draft.entities[id] = replace(entity, type=UNKNOWN)
            draft.dropped[f"{entity.type} that no rule can split"] += 1
            continue
        del draft.entities[id]
        names = [f"{id}.{number}" for number in range(len(parts))]
        for name, part in zip(names, parts, strict=True):
            draft.add(name, part.type, entity.start + part.start, entity.start + part.end)
        # A duration may modify a dose: then it is the duration of what the dose is of.
        of_dose = [r.tail for r in draft.relations if r.head == id and r.type == "MODIFY"]
        draft.relations = [
            new
            for r in draft.relations
            for new in (
                [replace(r, head=name) for name in names]
                if r.head == id
                else [replace(r, tail=tail) for tail in of_dose]
                if r.tail == id and r.type == "MODIFY"
                else [r]
            )
        ]


def _say_family(draft: Draft) -> None:
    """Mark the findings that stand in a family history as another person's."""
    spans = [e for e in draft.entities.values() if e.type == "Family_history"]
    for id, entity in list(draft.entities.items()):
        within = any(span.start <= entity.start and entity.end <= span.end for span in spans)
        if within and entity.type in ("Disease_disorder", "Sign_symptom"):
            draft.say(id, Experiencer="other")


def map_ade(document: Document, dropped: Counter[str]) -> Document:
    """ADE: doses are split; ``overdose`` and the like, annotated as doses there, are left open."""
    draft = Draft.of(document, dropped)
    for id, entity in list(draft.entities.items()):
        if entity.type == "ADE":
            draft.entities[id] = replace(entity, type="Disorder")
    split_doses(draft)
    return finish(draft)


_PHEE_SILENT = ("Age", "Gender", "Negation", "Outcome", "Population", "Race", "Speculation")


def map_phee(document: Document, dropped: Counter[str]) -> Document:
    """PHEE, as it lies beside the other corpora.

    * Treats is turned round into Reason-Drug.
    * Doses and ways of giving are split; a Route, Frequency or Duration that is none by the rules
      of ``split_dose`` is left open, for PHEE's are often clauses.
    * A negated event gives its effect the Assertion absent, a speculated one possible.
    """
    draft = Draft.of(document, dropped)
    for id, entity in list(draft.entities.items()):
        marks = entity.attributes
        entity = replace(entity, attributes={})
        if entity.type in ("Duration", "Frequency", "Route") and not entity.fragments:
            draft.entities[id] = replace(entity, type=_phee_type(entity))
        else:
            draft.entities[id] = entity
        if entity.type == "Disorder" and ("Negated" in marks or "Speculated" in marks):
            draft.say(id, Assertion="absent" if "Negated" in marks else "possible")
    split_doses(draft)
    turn_treats(draft)
    drop_relations(draft, ("Negation-of", "Speculation-of"))
    draft.rename(
        {type: type for type in ("Disorder", "Drug", "Dosage", "Duration", "Form", "Frequency")}
        | {type: type for type in ("Qualifier", "Route", "Temporal", UNKNOWN)},
        silent=_PHEE_SILENT,
    )
    _name_by_head(draft)
    draft.trim(prepositions_of=_TIMES)
    return finish(draft)


def _phee_type(entity: Entity) -> str:
    parts = split_dose(entity.text)
    return parts[0].type if len(parts) == 1 else UNKNOWN


def _name_by_head(draft: Draft) -> None:
    """Name ``TYPE-Drug`` relations after what their head has become."""
    kept = []
    for relation in draft.relations:
        head = draft.entities.get(relation.head)
        if head is None or head.type == UNKNOWN:
            draft.dropped[f"{relation.type} of a mention that is left open"] += 1
        elif head.type in ("Dosage", "Duration", "Form", "Frequency", "Route"):
            kept.append(replace(relation, type=f"{head.type}-Drug"))
        else:
            kept.append(relation)
    draft.relations = kept


_FDA_ASSERTIONS = {"Absent": "absent", "Hypothetical": "hypothetical"}


def map_fda(document: Document, dropped: Counter[str]) -> Document:
    """Adverse reactions of FDA labels: disorders and how severe they are.

    A label warns of reactions; nobody had them. So ADE-Drug is not taken from here. Reactions of
    animals are no disorders of a patient and are left open.
    """
    draft = Draft.of(document, dropped)
    for id, entity in list(draft.entities.items()):
        said = entity.attributes.get("Assertion", "")
        type = UNKNOWN if said == "Animal" else entity.type
        draft.entities[id] = replace(entity, type=type, attributes={})
        if said in _FDA_ASSERTIONS:
            draft.say(id, Assertion=_FDA_ASSERTIONS[said])
    drop_relations(draft, ("ADE-Drug", "Animal-of", "Negation-of", "Speculation-of"))
    kept = ("Disorder", "Drug", "Qualifier", UNKNOWN)
    draft.rename({type: type for type in kept}, silent=("Animal", "Negation", "Speculation"))
    return finish(draft)


def map_chia(document: Document, dropped: Counter[str]) -> Document:
    """Chia's eligibility criteria: a Negation gives what it negates the Assertion absent.

    Persons have no type in schema 2. Times lose the preposition at their front.
    """
    draft = Draft.of(document, dropped)
    for relation in draft.relations:
        tail = draft.entities.get(relation.tail)
        if relation.type == "Negation-of" and tail is not None and tail.type in _NEGATED:
            draft.say(tail.id, Assertion="absent")
    draft.relations = [r for r in draft.relations if r.type != "Negation-of"]
    types = ("Device", "Disorder", "Drug", "Procedure", "Qualifier", "Temporal", "Test", "Value")
    draft.rename({type: type for type in types}, silent=("Negation", "Person"))
    draft.trim(prepositions_of=("Temporal",))
    return finish(draft)


_NEGATED = ("Device", "Disorder", "Drug", "Procedure", "Test")


def map_chemicals(document: Document, dropped: Counter[str]) -> Document:
    """BC5CDR and BioRED: chemicals are drugs, except those that laboratories measure.

    BioRED's Treats, projected from abstracts onto mentions, is left out: one in five was right.
    """
    draft = Draft.of(document, dropped)
    drop_relations(draft, ("Treats",))
    drop_analytes(draft)
    return finish(draft)


def map_drugs(document: Document, dropped: Counter[str]) -> Document:
    """DrugTEMIST, which annotates drugs alone: articles and doses of the translation trimmed."""
    draft = Draft.of(document, dropped)
    draft.rename({"Drug": "Drug"})
    draft.trim()
    return finish(draft)
