"""One note of growing length: does a token cost the same?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from emlb_runtime.extract import Extractor
from emlb_runtime.records import Note
from emlb_runtime.text.tokens import Tokens

from .report import Measurement, Row, percent
from .texts import cut_parts, lay_out

DEVIATION = 0.15
"""A token's cost may differ by this share of that in the reference."""


class Lengths:
    """Notes of several lengths, all cut from one text, to be timed in rounds.

    A length below ``together`` is measured on as many notes of it as have so many pieces
    together, one after another: one short note would tell of its words more than of its length.

    Args:
        texts: real notes.
        extractor: loaded, so that no figure holds the start.
        lengths: word pieces of a note.
        together: see above.

    Raises:
        EnduranceError: if there are no words.
    """

    def __init__(
        self, texts: Sequence[str], extractor: Extractor, *, lengths: Sequence[int], together: int
    ) -> None:
        self._extractor = extractor
        counts = {length: max(1, together // length) for length in lengths}

        def tokenise(text: str) -> Tokens:
            return extractor.pipeline.prepare(Note("", text)).tokens

        # Cuts come at the end of a word, of which each has at least a piece.
        wanted = max(length * count for length, count in counts.items())
        text = lay_out(texts, wanted, tokenise)
        tokens = tokenise(text)
        self._parts = {
            str(length): cut_parts(text, tokens, pieces=length, count=count)
            for length, count in counts.items()
        }
        self.processor: dict[str, list[float]] = {name: [] for name in self._parts}

    @property
    def names(self) -> list[str]:
        """Of what is timed."""
        return list(self._parts)

    def pieces(self, name: str) -> int:
        """Word pieces of all notes of a length."""
        return sum(pieces for _, pieces in self._parts[name])

    def run(self, name: str) -> float:
        """Extract the notes of a length one by one.

        Returns:
            Seconds; those of the processor, on all cores, are kept in ``processor``.
        """
        used, started = time.process_time(), time.perf_counter()
        for text, _ in self._parts[name]:
            self._extractor.extract(text)
        seconds = time.perf_counter() - started
        self.processor[name].append(time.process_time() - used)
        return seconds

    def conclude(self, seconds: Mapping[str, Sequence[float]], *, reference: str) -> Measurement:
        """What the rounds say.

        Args:
            seconds: by name, of every round.
            reference: the name that the others are compared with.
        """
        wall = {name: min(values) / self.pieces(name) for name, values in seconds.items()}
        used = {name: min(self.processor[name]) / self.pieces(name) for name in seconds}
        rows = []
        for name in seconds:
            if name == reference:
                continue
            off = used[name] / used[reference] - 1, wall[name] / wall[reference] - 1
            rows.append(
                Row(
                    f"cost of a token, one note of {int(name):,} against one of {int(reference):,}",
                    f"within {100 * DEVIATION:.0f} %",
                    f"{percent(off[0])} processor, {percent(off[1])} time",
                    max(map(abs, off)) <= DEVIATION,
                )
            )
        figures = {
            name: {
                "notes": len(self._parts[name]),
                "pieces": self.pieces(name),
                "seconds": list(seconds[name]),
                "processor_seconds": self.processor[name],
                "microseconds_per_piece": 1e6 * wall[name],
                "processor_microseconds_per_piece": 1e6 * used[name],
            }
            for name in seconds
        }
        told = "; ".join(
            f"{int(name):,}: {1e6 * used[name]:.1f} and {1e6 * wall[name]:.1f}" for name in seconds
        )
        return Measurement(
            "linear",
            rows,
            {"reference": reference, "lengths": figures},
            "real notes laid one after another and cut to length in word pieces, the short ones"
            " many of a length, one by one; a loaded `Extractor` with its own workers; best of"
            f" the rounds. Microseconds of processor and of time per piece, by length: {told}.",
        )
