"""From clinical schema 2 to the nine entity types of n2c2 2018 track 2.

n2c2 tells the strength of a product (``20 mg``, ``5 %``, ``100 unit/mL``) from the amount that is
taken (``2 tablets``, ``10 units``, ``5 mL``). Schema 2 has one Dosage for both; its unit decides.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

from emlb_runtime.records import Document, Relation

from .draft import Draft

_AS_IT_IS = ("Drug", "Duration", "Form", "Frequency", "Route")
_MASS = r"(?:mg|mgs|milligrams?|g|gm|grams?|mcg|µg|μg|ug|micrograms?|mEq|mmol)"
_STRENGTH = re.compile(
    rf"\d[\d.,/ -]*(?:%|{_MASS}(?!\w)|(?:units?|IU)\s?/\s?m?L)"  # 20 mg, 5 %, 100 unit/mL
    r"|\d+(?:\.\d+)?(?:\s?[-/]\s?\d+(?:\.\d+)?)+$",  # 5/325, 875-125
    re.IGNORECASE,
)
_RATE = re.compile(r"(?:/|per)\s?(?:kg|m2|h|hr|hour|min|minute|d|day)(?!\w)", re.IGNORECASE)


def is_strength(dosage: str) -> bool:
    """Whether n2c2 would call a Dosage of schema 2 a Strength.

    It does where the unit is one of mass, a share or a concentration: of the product. Numbers of
    tablets or puffs, volumes, units of insulin and rates per weight or time are what is given.

    Args:
        dosage: the mention's text.
    """
    return _STRENGTH.match(dosage) is not None and _RATE.search(dosage) is None


def map_to_n2c2(document: Document, dropped: Counter[str]) -> Document:
    """A document of clinical schema 2 in the types of n2c2 2018 track 2.

    Drug, Form, Frequency, Route and Duration are the same; a Dosage is a Strength or a Dosage
    (``is_strength``); a Disorder is an ADE or a Reason by its relations, both if it has both, and
    left out if it has neither. All other types are left out.

    Args:
        document: in types of schema 2, annotated or extracted.
        dropped: receives what is left out, by reason.
    """
    draft = Draft.of(document, dropped)
    roles: dict[str, set[str]] = {}
    for relation in draft.relations:
        if relation.type in ("ADE-Drug", "Reason-Drug"):
            roles.setdefault(relation.head, set()).add(relation.type.removesuffix("-Drug"))
    for id, entity in list(draft.entities.items()):
        if entity.type == "Dosage":
            type = "Strength" if is_strength(entity.text) else "Dosage"
            draft.entities[id] = replace(entity, type=type)
        elif entity.type == "Disorder" and id in roles:
            first, *second = sorted(roles[id])
            draft.entities[id] = replace(entity, type=first)
            for role in second:
                draft.entities[f"{id}.{role}"] = replace(entity, id=f"{id}.{role}", type=role)
        elif entity.type not in _AS_IT_IS:
            draft.remove(id, f"{entity.type}, which n2c2 lacks")
    draft.relations = [
        named for relation in draft.relations for named in _rename(relation, draft, roles)
    ]
    return draft.document()


def _rename(relation: Relation, draft: Draft, roles: dict[str, set[str]]) -> list[Relation]:
    head, tail = draft.entities.get(relation.head), draft.entities.get(relation.tail)
    if head is None or tail is None or tail.type != "Drug":
        draft.dropped[f"{relation.type}, which n2c2 lacks"] += 1
        return []
    role = relation.type.removesuffix("-Drug")
    if relation.head in roles and role in roles[relation.head]:
        twin = f"{relation.head}.{role}"
        return [replace(relation, head=twin if twin in draft.entities else relation.head)]
    return [replace(relation, type=f"{head.type}-Drug")]
