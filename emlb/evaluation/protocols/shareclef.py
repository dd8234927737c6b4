"""ShARe/CLEF eHealth 2013 task 1 (also SemEval-2014 task 7) and 2014 task 2.

**2013** follows the organisers' ``eval.pl``, which both tasks used (Suominen et al. 2013;
Pradhan et al. 2014):

* A document's disorders are told apart by their fragments: of those with the same ones
  the last one in the file counts, with its concept (CUI). Concepts are compared without
  regard to case. Ours, as its files always have one: a disorder without a concept is right
  only where gold has none either, ``CUI-less`` being a concept.
* ``entities``, task 1a. *Strict*: the fragments are the same. *Relaxed*: a prediction is
  right if a fragment of it shares a code point with one of any gold disorder, and a gold
  disorder is missed if none of its does with any prediction. A mention can match several,
  and several can match it: nothing is paired, so there are no ties.
* The recall of *relaxed* is right predictions divided by the sum of right predictions and
  missed gold disorders. Its denominator is not the number of gold disorders: two
  predictions in one gold disorder count twice on both sides. That is the program's rule.
* ``concepts``, task 1b. *Strict*: the accuracy is the share of the gold disorders that a
  prediction has with the same fragments and concept. *Relaxed*: the share of the
  predictions with the fragments of a gold disorder that have its concept too.

**2014** follows the task's paper (Mowery et al. 2014, CEUR-WS 1180), which measures accuracy
in task 2a and F1 in task 2b. Its program was not at hand: what is marked "ours" is our
reading. Participants were given the disorders, so a disorder is looked up by its
fragments (ours: also where disorders are predicted).

* ``attributes``, task 2a: the accuracy is the share of the gold disorders whose normalised
  value is right; ``all`` is that of all slots together. Values are compared without
  regard to case and asterisks, and a missing one is the slot's default, which the task's
  files were filled with. Ours: a gold disorder that is not predicted has no right value.
* Precision, recall and F1 of values are ours throughout: what counts are values other
  than the default; a wrong one is an error on both sides.
* ``cues``, task 2b: the cue of a slot is right if it has the fragments of the gold one
  (*strict*), or shares a code point with it (*relaxed*), on a disorder with the same
  fragments. ``all`` pools the slots. The relation to the document's time has no cues.
  Ours: a cue in the wrong place is an error on both sides, one that nothing has to match
  (no cue on either side) is not counted, and of several cues of a slot the first counts.

A rate with nothing to divide by is zero, as in ``eval.pl``: without gold disorders or
without predictions all are. What the corpus does not have gets no row: no disorder with a
concept, no value in a slot, or no cue on either side.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping

from emlb.data.formats.share.corpus import DISORDER, SLOTS, Slot
from emlb_runtime.records import Document

from .base import Key, Row, Tally, rates
from .disorders import CONCEPT, Disorder, Spans, read_disorders

_MODES = ("strict", "relaxed")
_ALL = "all"

_Disorders = Mapping[Spans, Disorder]


class ShareClef:
    """The scores of ShARe/CLEF eHealth 2013 task 1 and 2014 task 2."""

    name = "shareclef"
    title = (
        "ShARe/CLEF eHealth 2013 task 1 and 2014 task 2 (Suominen et al. 2013, Mowery et al. 2014)"
    )

    def tally(self, gold: Document, predicted: Document) -> Tally:
        """The counts of each row; those of ``all`` come from them."""
        sides = read_disorders(gold), read_disorders(predicted)
        tally = _disorders(*sides) | _concepts(*sides)
        for slot in SLOTS:
            tally |= _values(slot, *sides) | _cues(slot.name, *sides)
        return tally

    def rows(self, total: Tally) -> list[Row]:
        """Disorders, concepts, values slot by slot, cues slot by slot."""
        return [
            *_disorder_rows(total),
            *_concept_rows(total),
            *_value_rows(total),
            *_cue_rows(total),
        ]


def _disorders(gold: _Disorders, predicted: _Disorders) -> dict[Key, tuple[float, ...]]:
    """Right predictions, predictions, missed gold disorders, gold disorders."""
    same = len(gold.keys() & predicted.keys())
    gold_cover, predicted_cover = _Cover(gold), _Cover(predicted)
    right = sum(map(gold_cover.touches, predicted))
    missed = len(gold) - sum(map(predicted_cover.touches, gold))
    sizes = len(predicted), len(gold)
    return {
        ("entities", DISORDER, "strict"): (same, sizes[0], len(gold) - same, sizes[1]),
        ("entities", DISORDER, "relaxed"): (right, sizes[0], missed, sizes[1]),
    }


def _disorder_rows(total: Tally) -> list[Row]:
    rows = []
    for mode in _MODES:
        right, predicted, missed, gold = total.get(("entities", DISORDER, mode), (0, 0, 0, 0))
        values = rates(correct=right, predicted=predicted, gold=right + missed)
        rows.append(Row("entities", DISORDER, mode, values, int(gold), int(predicted)))
    return rows


def _concepts(gold: _Disorders, predicted: _Disorders) -> dict[Key, tuple[float, ...]]:
    """Right concepts, what they are a share of, and disorders that have a concept."""
    same = gold.keys() & predicted.keys()
    right = sum(gold[spans].concept == predicted[spans].concept for spans in same)
    held = sum(bool(disorder.concept) for side in (gold, predicted) for disorder in side.values())
    return {
        ("concepts", CONCEPT, "strict"): (right, len(gold), held),
        ("concepts", CONCEPT, "relaxed"): (right, len(same), held),
    }


def _concept_rows(total: Tally) -> list[Row]:
    rows = []
    for mode in _MODES:
        right, size, held = total.get(("concepts", CONCEPT, mode), (0, 0, 0))
        if held:
            values = {"accuracy": right / size if size else 0.0}
            rows.append(Row("concepts", CONCEPT, mode, values, int(size)))
    return rows


def _values(slot: Slot, gold: _Disorders, predicted: _Disorders) -> dict[Key, tuple[float, ...]]:
    """Right values and gold disorders; of values other than the default: right, predicted, gold.

    Last, disorders that have a value at all.
    """
    default = slot.default.lower()
    expected, found = (
        {spans: disorder.value(slot.name, default) for spans, disorder in side.items()}
        for side in (gold, predicted)
    )
    right = [value for spans, value in expected.items() if found.get(spans) == value]
    marked, marked_predicted, marked_gold = (
        sum(value != default for value in values)
        for values in (right, found.values(), expected.values())
    )
    held = sum(slot.name in item.values for side in (gold, predicted) for item in side.values())
    counts = (len(right), len(gold), marked, marked_predicted, marked_gold, held)
    return {("attributes", slot.name, "value"): counts}


def _value_rows(total: Tally) -> list[Row]:
    held = {
        slot.name: total[key]
        for slot in SLOTS
        if total.get(key := ("attributes", slot.name, "value"), (0,))[-1]
    }
    rows = []
    for name, counts in _with_all(held).items():
        right, size, marked, predicted, gold, _ = counts
        values = {"accuracy": right / size if size else 0.0}
        values |= rates(correct=marked, predicted=predicted, gold=gold)
        rows.append(Row("attributes", name, "value", values, int(gold), int(predicted)))
    return rows


def _cues(slot: str, gold: _Disorders, predicted: _Disorders) -> dict[Key, tuple[float, ...]]:
    """Right, predicted and gold cues."""
    expected, found = (
        {spans: disorder.cues[slot] for spans, disorder in side.items() if slot in disorder.cues}
        for side in (gold, predicted)
    )
    if not expected and not found:
        return {}
    pairs = [(expected[spans], found[spans]) for spans in expected.keys() & found.keys()]
    right = {
        "strict": sum(one == other for one, other in pairs),
        "relaxed": sum(_Cover([one]).touches(other) for one, other in pairs),
    }
    return {("cues", slot, mode): (right[mode], len(found), len(expected)) for mode in _MODES}


def _cue_rows(total: Tally) -> list[Row]:
    rows = []
    for mode in _MODES:
        keys = {slot.name: ("cues", slot.name, mode) for slot in SLOTS}
        held = {slot: total[key] for slot, key in keys.items() if key in total}
        for name, (right, predicted, gold) in _with_all(held).items():
            values = rates(correct=right, predicted=predicted, gold=gold)
            rows.append(Row("cues", name, mode, values, int(gold), int(predicted)))
    return rows


def _with_all(slots: Mapping[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
    """The slots' counts, and last the sums of all, if there are any."""
    sums = tuple(map(sum, zip(*slots.values(), strict=True)))
    return {**slots, _ALL: sums} if slots else {}


class _Cover:
    """The code points of some mentions, to find what touches one of them."""

    def __init__(self, mentions: Iterable[Spans]) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        for start, end in sorted(span for spans in mentions for span in spans):
            if self.ends and start <= self.ends[-1]:
                self.ends[-1] = max(end, self.ends[-1])
            else:
                self.starts.append(start)
                self.ends.append(end)

    def touches(self, spans: Spans) -> bool:
        """Whether a fragment shares a code point with one of the mentions."""
        for start, end in spans:
            last = bisect_left(self.starts, end) - 1
            if last >= 0 and self.ends[last] > start:
                return True
        return False
