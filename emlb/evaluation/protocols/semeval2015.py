"""SemEval-2015 task 14 (Elhadad et al. 2015), as ``task1_eval.pl`` and ``task2_eval.pl`` score it.

Disorders of the ShARe corpus, in the format of ShARe/CLEF eHealth 2014 without time.

* A document's disorders are told apart by their fragments; of those with the same ones
  the last counts. Everything is compared without regard to case.
* ``task 1``: a match needs the same concept (CUI). *Strict*: the same fragments too.
* *Relaxed* (``task 2``: without regard to the concept): disorders with the same fragments
  are paired first. Then each gold disorder in turn takes **all** predictions that overlap
  it and that nothing has taken yet; the one that shares most with it is its partner, the
  others are false positives. A gold disorder that is paired already takes part again: it
  changes partners if something overlaps it, and its former partner is not counted at all.
  What two mentions share is the longest stretch that a fragment of one shares with a
  fragment of the other, and mentions that merely touch share one code point.
* A document without gold disorders is left out with all its predictions.
* ``task 2``, over the pairs: *accuracy*, the mean share of the nine slots that are right,
  the concept being one; *weighted accuracy*, the mean over the pairs of the right slots'
  weight divided by all slots' weight, a slot's weight being that of its gold value (rare
  values weigh more; one that the program does not list weighs nothing). Each is also
  given multiplied by the F1 of the relaxed pairs, the task's ranking figure. A slot's own
  row is its right weight divided by its weight.

The programs go through gold disorders and ties in Perl's hash order, so their relaxed
figures can differ from run to run where a prediction overlaps two gold disorders. Here
gold disorders come in text order, and of equal partners the first in the text is taken.

Ours: a slot without a value has its default. A rate with nothing to divide by is zero
(for a slot's weighted accuracy the program stops instead).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from emlb.data.formats.share.corpus import DISORDER
from emlb_runtime.records import Document

from .base import Key, Row, Tally, rates
from .disorders import BODY_LOCATION, CONCEPT, Disorder, Spans, read_disorders

_ANY = "any concept"

WEIGHTS: Mapping[str, Mapping[str, int]] = {
    CONCEPT: {_ANY: 100},
    "NI": {"no": 21, "yes": 79},
    # The program's spelling: "donor_other" weighs nothing.
    "SC": {"patient": 1, "family_member": 99, "other": 100, "doner_other": 100},
    "UI": {"no": 7, "yes": 93},
    "CC": {
        "unmarked": 4,
        **dict.fromkeys(("increased", "improved", "worsened", "resolved"), 99),
        **dict.fromkeys(("decreased", "changed"), 100),
    },
    "SV": {"unmarked": 8, "moderate": 96, "severe": 97, "slight": 99},
    "CO": {"false": 6, "true": 94},
    "GC": {"false": 1, "true": 99},
    BODY_LOCATION: {"null": 51, _ANY: 49},
}
"""What each gold value of a slot weighs, in hundredths; a slot's default comes first."""

_Disorders = Mapping[Spans, Disorder]


@dataclass(frozen=True, slots=True)
class _Matches:
    """Pairs of gold and predicted disorders, and what is left on either side."""

    pairs: list[tuple[Disorder, Disorder]]
    false_positives: int
    missed: int

    @property
    def counts(self) -> tuple[int, int, int]:
        return len(self.pairs), self.false_positives, self.missed


class SemEval2015:
    """The scores of SemEval-2015 task 14, tasks 1 and 2."""

    name = "semeval2015"
    title = "SemEval-2015 task 14, as task1_eval.pl and task2_eval.pl (Elhadad et al. 2015)"

    def tally(self, gold: Document, predicted: Document) -> Tally:
        """Pairs, false positives and missed gold; of task 2 also what is right in pairs."""
        sides = read_disorders(gold), read_disorders(predicted)
        if not sides[0]:
            return {}
        sizes = len(sides[0]), len(sides[1])
        tally: dict[Key, tuple[float, ...]] = {
            ("task 1", DISORDER, "strict"): (*_match_strict(*sides).counts, *sizes),
            ("task 1", DISORDER, "relaxed"): (
                *_match_relaxed(*sides, _same_concept).counts,
                *sizes,
            ),
        }
        matches = _match_relaxed(*sides, lambda gold, predicted: True)
        right, shares = 0, 0.0
        slots = {slot: (0, 0) for slot in WEIGHTS}
        for pair in matches.pairs:
            weights = {slot: _weigh(slot, *pair) for slot in WEIGHTS}
            right += sum(_agree(slot, *pair) for slot in WEIGHTS)
            won, possible = map(sum, zip(*weights.values(), strict=True))
            shares += won / possible
            slots = {
                slot: (a + weights[slot][0], b + weights[slot][1]) for slot, (a, b) in slots.items()
            }
        tally["task 2", "all", "relaxed"] = (*matches.counts, *sizes, right, shares)
        return tally | {("task 2", slot, "relaxed"): counts for slot, counts in slots.items()}

    def rows(self, total: Tally) -> list[Row]:
        """Task 1 strict and relaxed; task 2 as a whole, then slot by slot."""
        if not total:
            return []
        rows = [_row(("task 1", DISORDER, mode), total) for mode in ("strict", "relaxed")]
        rows.append(_row(("task 2", "all", "relaxed"), total))
        for slot in WEIGHTS:
            won, possible = total["task 2", slot, "relaxed"]
            values = {"weighted_accuracy": won / possible if possible else 0.0}
            rows.append(Row("task 2", slot, "relaxed", values))
        return rows


def _row(key: Key, total: Tally) -> Row:
    pairs, false_positives, missed, gold, predicted, *more = total[key]
    values = rates(correct=pairs, predicted=pairs + false_positives, gold=pairs + missed)
    if more:
        right, shares = more
        accuracy = right / (len(WEIGHTS) * pairs) if pairs else 0.0
        weighted = shares / pairs if pairs else 0.0
        values |= {"accuracy": accuracy, "f1_accuracy": values["f1"] * accuracy}
        values |= {"weighted_accuracy": weighted, "f1_weighted_accuracy": values["f1"] * weighted}
    return Row(*key, values, int(gold), int(predicted))


def _match_strict(gold: _Disorders, predicted: _Disorders) -> _Matches:
    pairs = [
        (gold[spans], predicted[spans])
        for spans in gold.keys() & predicted.keys()
        if _same_concept(gold[spans], predicted[spans])
    ]
    return _Matches(pairs, len(predicted) - len(pairs), len(gold) - len(pairs))


def _match_relaxed(
    gold: _Disorders, predicted: _Disorders, fit: Callable[[Disorder, Disorder], bool]
) -> _Matches:
    """Pair disorders that fit: those with the same fragments, then those that overlap."""
    partners = {
        spans: spans for spans in gold if spans in predicted and fit(gold[spans], predicted[spans])
    }
    free = sorted(predicted.keys() - partners.keys())
    false_positives = 0
    for spans in sorted(gold):
        last = max(end for _, end in spans)
        found = [
            (-shared, other)
            for other in free
            if other[0][0] <= last and (shared := _shared(spans, other))
            if fit(gold[spans], predicted[other])
        ]
        if found:
            partners[spans] = min(found)[1]
            false_positives += len(found) - 1
            free = [other for other in free if other not in {taken for _, taken in found}]
    pairs = [(gold[spans], predicted[other]) for spans, other in sorted(partners.items())]
    return _Matches(pairs, false_positives + len(free), len(gold) - len(partners))


def _shared(one: Spans, other: Spans) -> int:
    """The longest stretch that two fragments share, touching ones one code point."""
    return max(
        0,
        *(
            min(end, other_end) - max(start, other_start) + 1
            for start, end in one
            for other_start, other_end in other
        ),
    )


def _same_concept(gold: Disorder, predicted: Disorder) -> bool:
    return gold.concept == predicted.concept


def _value(disorder: Disorder, slot: str) -> str:
    return disorder.concept if slot == CONCEPT else disorder.value(slot, next(iter(WEIGHTS[slot])))


def _agree(slot: str, gold: Disorder, predicted: Disorder) -> bool:
    return _value(gold, slot) == _value(predicted, slot)


def _weigh(slot: str, gold: Disorder, predicted: Disorder) -> tuple[int, int]:
    """The weight won in a slot, and the weight that could be won."""
    value, weights = _value(gold, slot), WEIGHTS[slot]
    if _ANY in weights and value not in weights:
        value = _ANY
    weight = weights.get(value, 0)
    return weight if _agree(slot, gold, predicted) else 0, weight
