"""What temporal relations imply, decided on the end points of their intervals.

An interval is a mention's fragments. A relation between two intervals says which of
their four end points come before, or coincide with, which; from these statements follow
others (of ``a < b`` and ``b = c``: ``a < c``), and with them further relations.

The meaning of each relation, and what is counted, are those of anaforatools, the scorer
of Clinical TempEval, which repeats its rules until nothing new follows. Here points that
coincide are one node of a graph, and one walk finds what each node comes before, so the
cost grows with the relations and not with all that follows from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from emlb_runtime.records import Fragment

Interval = tuple[Fragment, ...]
"""A mention's fragments in text order; mentions with the same ones are the same interval."""

TimeLink = tuple[Interval, Interval, str]
"""Source, target, and the relation's type, such as ``CONTAINS``."""

_Point = tuple[Interval, str]
"""An end point: its interval, and ``start`` or ``end``."""

_Statement = tuple[_Point, str, _Point]
"""Two points with ``<`` (before) or ``=`` (coincides) between them."""

_SAME_STARTS, _SAME_ENDS = "a.start = b.start", "a.end = b.end"
_SAME = (_SAME_STARTS, _SAME_ENDS)
_INSIDE = ("a.start < b.start", "b.end < a.end")

MEANINGS: Mapping[str, tuple[str, ...]] = {
    "BEFORE": ("a.end < b.start",),
    "AFTER": ("b.end < a.start",),
    "IBEFORE": ("a.end = b.start",),
    "IAFTER": ("a.start = b.end",),
    "CONTAINS": _INSIDE,
    "INCLUDES": _INSIDE,
    "IS_INCLUDED": ("b.start < a.start", "a.end < b.end"),
    "BEGINS-ON": (_SAME_STARTS,),
    "ENDS-ON": (_SAME_ENDS,),
    "BEGINS": (_SAME_STARTS, "a.end < b.end"),
    "BEGUN_BY": (_SAME_STARTS, "b.end < a.end"),
    "ENDS": ("b.start < a.start", _SAME_ENDS),
    "ENDED_BY": ("a.start < b.start", _SAME_ENDS),
    "SIMULTANEOUS": _SAME,
    "IDENTITY": _SAME,
    "DURING": _SAME,
    "DURING_INV": _SAME,
    "OVERLAP": ("a.start < b.end", "b.start < a.end"),
}
"""What each relation of an interval ``a`` to an interval ``b`` says of their end points."""

_PARSED = {
    type: tuple(
        (left[0], left[2:], sign, right[0], right[2:])
        for left, sign, right in (rule.split() for rule in rules)
    )
    for type, rules in MEANINGS.items()
}


class Timeline:
    """The relations of one document together with all that follows from them.

    Relations that contradict each other are taken at their word: whatever can be derived
    from them counts, as it does in anaforatools.
    """

    def __init__(self, links: Iterable[TimeLink]) -> None:
        """Derive what the links imply.

        Args:
            links: relations of types in MEANINGS.

        Raises:
            KeyError: if a type is not in MEANINGS.
        """
        self._parents: dict[_Point, _Point] = {}
        self._joined: set[_Point] = set()
        before = []
        for link in links:
            for left, sign, right in _statements(link):
                self._parents.setdefault(left, left)
                self._parents.setdefault(right, right)
                if sign == "=":
                    # A point coincides with itself only where some relation says so.
                    self._joined |= {left, right}
                    self._parents[self._root(left)] = self._root(right)
                else:
                    before.append((left, right))
        roots = dict.fromkeys(map(self._root, self._parents))
        self._nodes = {root: node for node, root in enumerate(roots)}
        later: list[list[int]] = [[] for _ in roots]
        for left, right in before:
            later[self._node(left)].append(self._node(right))
        self._reached = _reached(later)

    def implies(self, link: TimeLink) -> bool:
        """Whether the link follows; False for a type that is not in MEANINGS."""
        source, target, type = link
        points = {"a": source, "b": target}
        return type in _PARSED and all(
            self._holds((points[left], one), sign, (points[right], other))
            for left, one, sign, right, other in _PARSED[type]
        )

    def _holds(self, left: _Point, sign: str, right: _Point) -> bool:
        if left not in self._parents or right not in self._parents:
            return False
        if sign == "=":
            return left in self._joined and self._root(left) == self._root(right)
        return bool(self._reached[self._node(left)] >> self._node(right) & 1)

    def _node(self, point: _Point) -> int:
        return self._nodes[self._root(point)]

    def _root(self, point: _Point) -> _Point:
        """The point that stands for all those that coincide with this one."""
        parents = self._parents
        while parents[point] != point:
            parents[point] = parents[parents[point]]
            point = parents[point]
        return point


def distinct(links: Iterable[TimeLink]) -> list[TimeLink]:
    """The links of types in MEANINGS, one of each set that says the same, sorted.

    ``A CONTAINS B``, ``A INCLUDES B`` and ``B IS_INCLUDED A`` say the same. anaforatools
    keeps whichever its hash order puts first; here it is the one that sorts first. The
    choice cannot change a count: equal ones are implied together or not at all, and
    imply the same.
    """
    kept: dict[frozenset[_Statement], TimeLink] = {}
    for link in sorted({link for link in links if link[2] in MEANINGS}):
        kept.setdefault(frozenset(_statements(link)), link)
    return list(kept.values())


def count_closed(
    reference: Iterable[TimeLink], predicted: Iterable[TimeLink]
) -> tuple[int, int, int, int]:
    """Compare two documents' relations with closure.

    Returns:
        The number of distinct reference links, of distinct predicted ones, of predicted
        ones that the reference implies, and of reference ones that the prediction implies.
    """
    references, predictions = distinct(reference), distinct(predicted)
    if not references or not predictions:
        return len(references), len(predictions), 0, 0
    return (
        len(references),
        len(predictions),
        sum(map(Timeline(references).implies, predictions)),
        sum(map(Timeline(predictions).implies, references)),
    )


def _statements(link: TimeLink) -> list[_Statement]:
    """What the link says of its end points, in both directions where points coincide."""
    source, target, type = link
    points = {"a": source, "b": target}
    found: list[_Statement] = [
        ((interval, "start"), "<", (interval, "end")) for interval in (source, target)
    ]
    for left, one, sign, right, other in _PARSED[type]:
        first, second = (points[left], one), (points[right], other)
        found.append((first, sign, second))
        if sign == "=":
            found.append((second, sign, first))
    return found


def _reached(later: list[list[int]]) -> list[int]:
    """For each node the set, as bits, of those that one step or more lead to.

    Tarjan's walk finishes a node after all that it leads to, cycles as a whole, so every
    set is made once from finished ones. It keeps its own stack: chains are long.
    """
    size = len(later)
    order, lowest, reached = [-1] * size, [0] * size, [0] * size
    done = [False] * size
    open_nodes: list[int] = []
    count = 0
    for root in range(size):
        walk = [(root, iter(later[root]))] if order[root] < 0 else []
        while walk:
            node, steps = walk[-1]
            if order[node] < 0:
                order[node] = lowest[node] = count
                count += 1
                open_nodes.append(node)
            for step in steps:
                if order[step] < 0:
                    walk.append((step, iter(later[step])))
                    break
                if not done[step]:
                    lowest[node] = min(lowest[node], order[step])
            else:
                walk.pop()
                if walk:
                    parent = walk[-1][0]
                    lowest[parent] = min(lowest[parent], lowest[node])
                if lowest[node] == order[node]:
                    cycle = [open_nodes.pop()]
                    while cycle[-1] != node:
                        cycle.append(open_nodes.pop())
                    bits = 0
                    for step in {step for member in cycle for step in later[member]}:
                        bits |= 1 << step | reached[step]
                    for member in cycle:
                        reached[member], done[member] = bits, True
    return reached
