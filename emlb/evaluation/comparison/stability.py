"""How far retrained models agree with each other, whatever gold says.

*Churn* of two models is the share of inputs for which their predictions differ (Milani Fard
et al. 2016, Launch and Iterate). Hidey et al. 2022 (Reducing Model Churn: Stable Re-training
of Conversational Agents) call it jitter where only the seed of a training differs, and
measure agreement over several retrainings by exact match of whole predictions. So it is
here: ``churn`` is the mean over the pairs of models, over documents or sentences, and ``any``
the share for which not all of the models agree.

Documents of many items differ almost always. The *jitter* here is therefore taken over
items, which is ours: 1 − F1 between two models' strict predictions, either taken for gold
(F1 is symmetric), as the mean over the pairs. Of what two models both never predict, they
agree: jitter 0.

*Local instability* is how much the probability of one item varies over retrainings (after
Datta et al. 2023, Measuring and Mitigating Local Instability in Deep Neural Networks, who
look at the labels and the probabilities of a query): the variance over the models, dividing
by their number, as the mean over all items that any of them predicts. A model that does not
predict an item counts with probability 0, since its records hold no other. That is ours,
and too much where a threshold only just held the item back. 0.25 is the most there can be,
half of the models sure of every item that the others leave out.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations
from math import fsum
from statistics import pvariance

from emlb.evaluation.protocols.base import Key as TallyKey
from emlb.evaluation.protocols.base import Row, Tally
from emlb.evaluation.scoring.match_keys import SECTIONS, Items, Key, scored_items
from emlb_runtime.records import Document

ALL = "all"

_SENTENCE_END = re.compile(r"(?<=[.!?;。！？])\s+|[\r\n]+")


class Stability:
    """Tallies and rows, as of a scoring protocol, of several predictions for one document.

    Rows of mode ``pair`` are named ``1–2``; that of mode ``mean`` holds the means over the
    pairs, those of mode ``type`` the same per type; that of mode ``any`` says where not all
    agree.

    Args:
        models: how many there are, at least two.
    """

    def __init__(self, models: int) -> None:
        if models < 2:
            raise ValueError(f"stability is between two models at least, not {models}")
        self._pairs = {
            f"{one + 1}–{other + 1}": (one, other) for one, other in combinations(range(models), 2)
        }

    def tally(
        self, note: str, predicted: Sequence[Document], types: Collection[str] | None = None
    ) -> Tally:
        """What one document adds.

        Args:
            note: its text, for the sentences.
            predicted: the document as each of the models gives it.
            types: entity and relation types to look at; None for all.
        """
        starts = sentence_starts(note)
        found = [scored_items(document, types) for document in predicted]
        tally: dict[TallyKey, tuple[float, ...]] = {}
        for section in SECTIONS:
            items = [of_model[section] for of_model in found]
            differing: set[Key] = set()
            for pair, (one, other) in self._pairs.items():
                between = items[one].keys() ^ items[other].keys()
                differing |= between
                tally[section, pair, "differ"] = _differ(between, starts)
                for type, counts in _shared(items[one], items[other]):
                    tally[section, type, f"same {pair}"] = counts
            tally[section, ALL, "differ"] = _differ(differing, starts)
            tally[section, ALL, "size"] = (1, len(starts))
            for type, variances in _variances(items).items():
                tally[section, type, "variance"] = (fsum(variances), len(variances))
        return tally

    def size(self, total: Tally) -> tuple[int, int]:
        """The number of documents and of sentences."""
        documents, sentences = total.get((SECTIONS[0], ALL, "size"), (0, 0))
        return round(documents), round(sentences)

    def rows(self, total: Tally) -> list[Row]:
        """The measures from the tallies of all documents.

        ``Row.predicted`` is the number of items that any model predicts.
        """
        rows: list[Row] = []
        for section in SECTIONS:
            if (section, ALL, "size") in total:
                rows += self._section(section, total)
        return rows

    def _section(self, section: str, total: Tally) -> list[Row]:
        documents, sentences = total[section, ALL, "size"]

        def churn(name: str) -> dict[str, float]:
            of_documents, of_sentences = total[section, name, "differ"]
            return {
                "document_churn": of_documents / documents,
                "sentence_churn": of_sentences / sentences,
            }

        types = sorted(t for s, t, mode in total if s == section and mode == "variance")
        jitter = {
            pair: {type: total.get((section, type, f"same {pair}"), _NONE) for type in types}
            for pair in self._pairs
        }
        variances = {type: total[section, type, "variance"] for type in types}
        pairs = [
            Row(section, pair, "pair", {"jitter": _jitter(by_type.values()), **churn(pair)})
            for pair, by_type in jitter.items()
        ]
        spread, count = (sum(column) for column in zip((0, 0), *variances.values(), strict=True))
        mean = {name: fsum(p.values[name] for p in pairs) / len(pairs) for name in pairs[0].values}
        mean["local_instability"] = spread / count if count else 0.0
        rows = [
            *pairs,
            Row(section, ALL, "mean", mean, predicted=round(count)),
            Row(section, ALL, "any", churn(ALL)),
        ]
        for type, (spread, count) in variances.items():
            values = {
                "jitter": fsum(_jitter([jitter[pair][type]]) for pair in jitter) / len(jitter),
                "local_instability": spread / count,
            }
            rows.append(Row(section, type, "type", values, predicted=round(count)))
        return rows


def sentence_starts(text: str) -> list[int]:
    """Where sentences start, in code points; at least one.

    They end with a line, and with a mark that space follows: where windows may be cut too.
    """
    starts, position = [], 0
    for match in _SENTENCE_END.finditer(text):
        if text[position : match.start()].strip():
            starts.append(position)
        position = match.end()
    if text[position:].strip():
        starts.append(position)
    return starts or [0]


_NONE = (0.0, 0.0, 0.0)


def _shared(one: Items, other: Items) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Per type, how many items both models predict, the first, and the second."""
    both, first, second = (
        Counter(group[0] for group, _, _ in keys)
        for keys in (one.keys() & other.keys(), one.keys(), other.keys())
    )
    for type in first.keys() | second.keys():
        yield type, (both[type], first[type], second[type])


def _differ(keys: Collection[Key], starts: Sequence[int]) -> tuple[float, ...]:
    """Documents (one or none) and sentences that hold an item, by its first code point."""
    sentences = {max(bisect_right(starts, item[0][0][0]) - 1, 0) for _, item, _ in keys}
    return (float(bool(keys)), float(len(sentences)))


def _variances(items: Sequence[Items]) -> Mapping[str, list[float]]:
    """Per type, the variance of each item's probability over the models."""
    variances: dict[str, list[float]] = defaultdict(list)
    for key in {key: None for of_model in items for key in of_model}:
        scores = [of_model.get(key, 0.0) for of_model in items]
        variances[key[0][0]].append(pvariance(scores))
    return variances


def _jitter(counts: Collection[tuple[float, ...]]) -> float:
    """1 − F1 from items that both models predict, the first, and the second."""
    both, first, second = (sum(column) for column in zip(_NONE, *counts, strict=True))
    return 1 - 2 * both / (first + second) if first + second else 0.0
