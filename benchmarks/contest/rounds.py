"""Interleaved rounds and their statistics; nothing here knows what is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from .records import ContestantError


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds: its median, and between what it lay."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Rounds:
    """What the rounds gave.

    Attributes:
        seconds: by contestant that lasted to the end, of every round in order.
        failures: by contestant that did not, why.
    """

    seconds: dict[str, list[float]]
    failures: dict[str, str]

    def spread(self, name: str) -> Spread:
        """A contestant's seconds."""
        return Spread.of(self.seconds[name])

    def ratio(self, name: str, *, to: str) -> Spread:
        """How many times as long a contestant takes as another.

        Quotients are taken within a round, where both met the same machine in the same mood.
        """
        pairs = zip(self.seconds[name], self.seconds[to], strict=True)
        return Spread.of([own / other for own, other in pairs])


def rotated(names: Sequence[str], round: int) -> list[str]:
    """The order of a round. Each starts one place further, so that none always runs first, or
    last, when the processor is hottest.
    """
    first = round % len(names) if names else 0
    return [*names[first:], *names[:first]]


def run_rounds(
    names: Sequence[str],
    measure: Callable[[str], float],
    *,
    rounds: int,
    warm_ups: int = 1,
    between: Callable[[], None] = lambda: None,
) -> Rounds:
    """Let every contestant run once per round, in rotated order.

    Args:
        names: the contestants.
        measure: lets one run and returns its seconds, or raises ``ContestantError``; then it
            is out, and the others go on.
        rounds: that count.
        warm_ups: rounds before them that do not.
        between: called before each run.
    """
    left = list(names)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    failures: dict[str, str] = {}
    for number in range(-warm_ups, rounds):
        for name in rotated(left, number):
            between()
            try:
                taken = measure(name)
            except ContestantError as error:
                failures[name] = str(error)
                left.remove(name)
                continue
            if number >= 0:
                seconds[name].append(taken)
    return Rounds({name: seconds[name] for name in left}, failures)


def pick_sample(sizes: Sequence[int], wanted: int) -> list[int]:
    """Positions of notes, evenly spread, that together have about the wanted size or all there is.

    Args:
        sizes: of the notes, in any unit.
        wanted: in the same unit.
    """
    total = sum(sizes)
    if total <= wanted:
        return list(range(len(sizes)))
    count = max(1, round(len(sizes) * wanted / total))
    return [position * len(sizes) // count for position in range(count)]
