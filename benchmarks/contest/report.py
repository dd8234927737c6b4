"""What the benchmark writes: one JSON file with everything, one Markdown table to read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .records import describe
from .registry import CONTESTANTS
from .rounds import Rounds, Spread

NAME = "speed"
"""Of the two files, before their suffixes."""


@dataclass
class Standing:
    """What is known of a contestant beside its times.

    Attributes:
        facts: Python's version and its packages'.
        setting: that it runs under.
        tried: settings and the seconds of each on the sample notes.
        counts: notes, characters, entities and relations of one pass.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    setting: dict[str, Any] = field(default_factory=dict)
    tried: list[Any] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """A whole run of the benchmark.

    Attributes:
        machine: facts about it.
        notes: their number, characters and word pieces.
        model: name and version of EMLB's.
        rounds: times, and who failed in the rounds.
        standings: by contestant that was loaded.
        skipped: by contestant that was not, or did not last, why.
        reference: the contestant that the others are compared with.
    """

    machine: Mapping[str, Any]
    notes: Mapping[str, int]
    model: str
    rounds: Rounds
    standings: Mapping[str, Standing]
    skipped: Mapping[str, str]
    reference: str

    def write(self, folder: Path) -> list[Path]:
        """Write both files and say where."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{NAME}.json", folder / f"{NAME}.md"]
        paths[0].write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")
        paths[1].write_text(self.to_markdown(), encoding="utf-8")
        return paths

    def to_json(self) -> dict[str, Any]:
        """Every figure as JSON-ready values."""
        contestants = {}
        for name, seconds in self.rounds.seconds.items():
            ratio = self.rounds.ratio(name, to=self.reference)
            contestants[name] = {
                "what": CONTESTANTS[name].what,
                **asdict(self.standings[name]),
                "seconds": seconds,
                "pieces_per_second": self.notes["pieces"] / self.rounds.spread(name).median,
                f"times_{self.reference}": asdict(ratio),
            }
        return {
            "machine": dict(self.machine),
            "notes": dict(self.notes),
            "model": self.model,
            "reference": self.reference,
            "contestants": contestants,
            "skipped": dict(self.skipped),
        }

    def to_markdown(self) -> str:
        """The table, and what one has to know to read it."""
        lines = [
            "# Speed beside peers",
            "",
            f"{describe_machine(self.machine)}. {self.notes['notes']:,} notes of"
            f" {self.notes['pieces']:,} word pieces in all; model {self.model}."
            f" {self._count_rounds()}, every contestant once in each, the order rotated; medians."
            f" *Time* is how many times as long as `{self.reference}` a contestant takes in the"
            " same round, with the least and the most. Word pieces are the notes' own, counted"
            " once by one tokenizer, without special tokens, overlaps and padding.",
            "",
            "| contestant | what it is | setting | notes/s | word pieces/s | entities | time |",
            "|---|---|---|---|---|---|---|",
            *(self._row(name) for name in self.rounds.seconds),
        ]
        if self.skipped:
            lines += ["", "Not measured:", ""]
            lines += [f"* `{name}`: {why}" for name, why in self.skipped.items()]
        lines += ["", *_REMARKS, ""]
        return "\n".join([*lines, f"Versions: {'; '.join(self._versions())}.", ""])

    def _versions(self) -> list[str]:
        """Who runs with which packages, those alike together."""
        alike: dict[str, list[str]] = {}
        for name in self.rounds.seconds:
            facts = self.standings[name].facts
            packages = {"python": facts["python"], **facts["packages"]}
            key = ", ".join(f"{package} {version}" for package, version in packages.items())
            alike.setdefault(key, []).append(f"`{name}`")
        return [f"{' '.join(names)} {key}" for key, names in alike.items()]

    def _row(self, name: str) -> str:
        standing, median = self.standings[name], self.rounds.spread(name).median
        entities = standing.counts.get("entities")
        relations = standing.counts.get("relations")
        found = "–" if entities is None else f"{entities:,}"
        found += f" and {relations:,} relations" if relations is not None else ""
        cells = [
            f"`{name}`",
            CONTESTANTS[name].what,
            describe(standing.setting),
            f"{self.notes['notes'] / median:,.2f}",
            f"{self.notes['pieces'] / median:,.0f}",
            found,
            _times(self.rounds.ratio(name, to=self.reference)),
        ]
        return f"| {' | '.join(cells)} |"

    def _count_rounds(self) -> str:
        count = len(self.rounds.seconds[self.reference])
        return f"{count} round{'s' if count > 1 else ''} after a warm-up"


_REMARKS = (
    "All read the same files; all but the bare networks write what they find as JSON lines."
    " Each lives in a process of its own and waits while another runs. Settings were tried"
    " on a sample of the notes beforehand, and the fastest kept; EMLB runs under its own plan.",
    "",
    "Fair for speed, and for nothing else: what the peers find means nothing. Their heads are"
    " random, and shifted on the sample so that they find entities about as often as EMLB and lose"
    " no time to output that no trained model would have; int8 shifts them once more, and spaCy's"
    " is trained for seconds: the column of entities shows what came of it. `transformers` and"
    " `optimum` run the encoder that"
    " EMLB's model began as (all-MiniLM-L6-v2), over windows that overlap as EMLB's do."
    " `gliner` has the sizes of gliner_small-v2.1 (DeBERTa v3 small), which is a larger network"
    " made for types named at run time, with BERT's word pieces for its own. `spacy` is a far"
    " smaller network. No peer looks for relations; rows with *entities alone* show EMLB without.",
)


def _times(ratio: Spread) -> str:
    if ratio.low == ratio.high:
        return f"{ratio.median:.2f}"
    return f"{ratio.median:.2f} ({ratio.low:.2f}–{ratio.high:.2f})"


def describe_machine(machine: Mapping[str, Any]) -> str:
    """Facts about a machine in words."""
    instructions = " ".join(machine.get("instructions") or ())
    load = machine.get("load")
    return (
        f"{machine.get('processor') or machine.get('architecture')},"
        f" {machine['cores']} core{'s' if machine['cores'] > 1 else ''}"
        f" ({instructions or 'instruction sets unknown'}), {machine['system']}"
        + ("" if load is None else f"; load {load:.2f} before the start")
    )
