"""Clinical TempEval (SemEval 2015 task 6, 2016 task 12, 2017 task 12), as anaforatools scores it.

The organisers scored with ``python -m anafora.evaluate`` (github.com/bethard/anaforatools),
and the rows have its names; those of the papers (Bethard et al. 2015, 2016, 2017) are:

* ``TIMEX3:<span>`` and ``EVENT:<span>``: the mention's fragments, all of them alike;
* ``TIMEX3:Class``, and of events ``Type``, ``Polarity``, ``Degree``, ``ContextualModality``
  and ``DocTimeRel`` (the relation to the document's time): fragments and the value.
  ``ContextualAspect`` and ``Permanence`` are scored the same way; the papers do not give them;
* ``TIMEX3`` and ``EVENT``: fragments and every attribute. The task's page asks for it;
* ``TLINK:Type:CONTAINS``, narrative containers: the fragments of source and target, as they
  stand (``strict``) or with temporal closure (``closure``): a predicted relation is right
  if gold implies it, and a gold one is found if the prediction implies it (`closure`);
* ``TLINK:Type``: the same for all types of temporal link.

The program's conventions, all kept here:

* Items are sets per document: duplicates are one, ids do not matter, and the mentions of
  a relation need not have the right type.
* Precision is 1.0 without predictions, and recall 1.0 without gold.
* Where a document has an attribute on any mention, gold or predicted, those without it
  take part as if "none" were its value; otherwise the document does not take part.
* What no document has gets no row.
* With closure, links of a type that means nothing to it (``NOTED-ON``) are left out on
  both sides, and of those that say the same one is left.

Different here: the program stops with an error at a link without a type when it closes;
we leave the link out. Our records cannot tell an empty type from a missing one.

``accuracy`` is the papers' measure of the values alone: the F1 of the attribute divided by
that of the span, 0.0 if there is none. Where gold mentions were given to the systems it is
the accuracy that the papers report for DocTimeRel.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence

from emlb_runtime.records import Document, Entity

from .base import Key, Row, Tally
from .closure import TimeLink, count_closed

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "TIMEX3": ("Class",),
    "EVENT": (
        *("DocTimeRel", "Type", "Polarity", "Degree", "ContextualModality"),
        *("ContextualAspect", "Permanence"),
    ),
}
"""The entity types that are scored, with the attributes that have rows."""

_Counts = dict[Key, tuple[float, ...]]

_LINK = "TLINK"
_CONTAINS = "CONTAINS"
_ALL_LINKS, _CONTAINERS = f"{_LINK}:Type", f"{_LINK}:Type:{_CONTAINS}"


class TempEval:
    """The scores of Clinical TempEval.

    Tallies hold reference, predicted and correct items; with closure, reference,
    predicted, right predicted and found reference links.
    """

    name = "tempeval"
    title = "Clinical TempEval, as anafora.evaluate (Bethard et al. 2016)"

    def tally(self, gold: Document, predicted: Document) -> Tally:
        """The counts of each row that the program has for the document."""
        tally: _Counts = {}
        for type in ATTRIBUTES:
            tally |= _entities(type, _of_type(gold, type), _of_type(predicted, type))
        return tally | _links(_time_links(gold), _time_links(predicted))

    def rows(self, total: Tally) -> list[Row]:
        """Times, events, then links; rows that no document has are left out."""
        keys: list[Key] = []
        for type, attributes in ATTRIBUTES.items():
            keys.append(("entities", _span(type), "strict"))
            keys += [("attributes", f"{type}:{name}", "strict") for name in attributes]
            keys.append(("attributes", type, "strict"))
        for name in (_CONTAINERS, _ALL_LINKS):
            keys += [("relations", name, "strict"), ("relations", name, "closure")]
        return [_row(key, total) for key in keys if key in total]


def _row(key: Key, total: Tally) -> Row:
    section, name, mode = key
    reference, predicted = total[key][:2]
    values = _rates(total[key])
    if section == "attributes":
        spans = _rates(total["entities", _span(name.partition(":")[0]), mode])["f1"]
        values["accuracy"] = values["f1"] / spans if spans else 0.0
    return Row(section, name, mode, values, int(reference), int(predicted))


def _rates(counts: Sequence[float]) -> dict[str, float]:
    reference, predicted, right, *found = counts
    precision = right / predicted if predicted else 1.0
    recall = (found[0] if found else right) / reference if reference else 1.0
    both = precision + recall
    f1 = 2 * precision * recall / both if both else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


def _span(type: str) -> str:
    return f"{type}:<span>"


def _of_type(document: Document, type: str) -> list[Entity]:
    return [entity for entity in document.entities if entity.type == type]


def _entities(type: str, gold: list[Entity], predicted: list[Entity]) -> _Counts:
    """The counts of one type's spans, of each of its attributes and of all together."""
    if not gold and not predicted:
        return {}
    sides = gold, predicted
    tally: _Counts = {
        ("entities", _span(type), "strict"): _count(*(_spans(side) for side in sides)),
        ("attributes", type, "strict"): _count(*(_all_values(side) for side in sides)),
    }
    for name in ATTRIBUTES[type]:
        if any(name in entity.attributes for side in sides for entity in side):
            counts = _count(*(_values(side, name) for side in sides))
            tally["attributes", f"{type}:{name}", "strict"] = counts
    return tally


def _spans(entities: list[Entity]) -> set[Hashable]:
    return {entity.spans for entity in entities}


def _values(entities: list[Entity], name: str) -> set[Hashable]:
    return {(entity.spans, entity.attributes.get(name)) for entity in entities}


def _all_values(entities: list[Entity]) -> set[Hashable]:
    """The fragments with all attributes; empty ones count as absent, as in the program."""
    return {
        (entity.spans, frozenset(pair for pair in entity.attributes.items() if pair[1]))
        for entity in entities
    }


def _time_links(document: Document) -> set[TimeLink]:
    """The temporal links; one without a type of its own has the empty string for it."""
    return {
        (triple.head.spans, triple.tail.spans, type)
        for triple in document.triples()
        for family, _, type in [triple.relation.type.partition("-")]
        if family == _LINK
    }


def _links(gold: set[TimeLink], predicted: set[TimeLink]) -> _Counts:
    tally: _Counts = {}
    containers = [{link for link in side if link[2] == _CONTAINS} for side in (gold, predicted)]
    for name, sides in ((_CONTAINERS, containers), (_ALL_LINKS, [gold, predicted])):
        # Links without a type alone do not make a row in the program.
        if any(link[2] for side in sides for link in side):
            tally["relations", name, "strict"] = _count(*sides)
            tally["relations", name, "closure"] = count_closed(*sides)
    return tally


def _count(gold: Collection[Hashable], predicted: Collection[Hashable]) -> tuple[int, int, int]:
    return len(gold), len(predicted), len({*gold} & {*predicted})
