"""Scores as a text table for people and as JSON-ready values for programs."""

from __future__ import annotations

from typing import Any

from . import attributes
from .counts import Agreement, Counts, Rates, Scores, TypeScores
from .text_table import terminal_width

_INDENT = "  "


def render(scores: Scores, *, title: str = "", lenient: bool = True) -> str:
    """The scores as aligned plain text; precision, recall and F1 in percent.

    Args:
        scores: what to show.
        title: a first line, such as the name of the corpus.
        lenient: show the lenient figures beside the strict ones.

    Returns:
        A section each for entities, relations end to end and, where measured, relations
        on gold mentions: a row per type, then micro and macro. Then the attributes, where
        measured. No newline at the end.
    """
    sections = [
        ("Entities", scores.entities),
        ("Relations (end to end)", scores.relations),
        ("Relations on gold mentions", scores.relations_on_gold),
    ]
    noun = "document" if scores.documents == 1 else "documents"
    top = f"{title}: {scores.documents} {noun}" if title else f"{scores.documents} {noun}"
    shown = [(name, _rows(agreement, lenient=lenient)) for name, agreement in sections if agreement]
    # One width for all sections, so that their columns stand under one another.
    width = max((terminal_width(row[0]) for _, rows in shown for row in rows if row[1:]), default=0)
    lines = [top]
    for name, rows in shown:
        lines += ["", name, *(_line(row, width) for row in rows)]
    if scores.attributes is not None:
        lines += ["", attributes.render(scores.attributes)]
    return "\n".join(lines)


def to_json(scores: Scores) -> dict[str, Any]:
    """The scores as JSON-ready values; rates are fractions, not percent.

    Returns:
        ``documents``, ``entities``, ``relations`` and ``relations_on_gold`` (None if not
        measured). Each of the last three holds ``strict`` and ``lenient``, and these hold
        ``micro``, ``macro`` and ``types``. Where attributes were measured, also ``attributes``.
    """
    on_gold, said = scores.relations_on_gold, scores.attributes
    return {
        "documents": scores.documents,
        "entities": _agreement_json(scores.entities),
        "relations": _agreement_json(scores.relations),
        "relations_on_gold": None if on_gold is None else _agreement_json(on_gold),
        **({"attributes": attributes.to_json(said)} if said is not None else {}),
    }


def _agreement_json(agreement: Agreement) -> dict[str, Any]:
    return {"strict": _types_json(agreement.strict), "lenient": _types_json(agreement.lenient)}


def _types_json(scores: TypeScores) -> dict[str, Any]:
    return {
        "micro": _counts_json(scores.micro),
        "macro": _rates_json(scores.macro),
        "types": {type: _counts_json(counts) for type, counts in scores.types.items()},
    }


def _counts_json(counts: Counts) -> dict[str, Any]:
    numbers = {"tp": counts.tp, "predicted": counts.predicted, "gold": counts.gold}
    return {**_rates_json(counts), **numbers}


def _rates_json(rates: Counts | Rates) -> dict[str, float]:
    return {"precision": rates.precision, "recall": rates.recall, "f1": rates.f1}


def _rows(agreement: Agreement, *, lenient: bool) -> list[list[str]]:
    """The cells of a section, its headings first."""
    ways = [agreement.strict, agreement.lenient] if lenient else [agreement.strict]
    types = agreement.strict.types
    if not types:
        return [["no gold and no predictions"]]
    rows = [["", "gold", "predicted", *["P", "R", "F1"] * len(ways)]]
    if lenient:
        rows.insert(0, ["", "", "", "strict", "", "", "lenient", "", ""])
    for type, counts in types.items():
        numbers = [str(counts.gold), str(counts.predicted)]
        rows.append([type, *numbers, *_percents([way.types[type] for way in ways])])
    micro = agreement.strict.micro
    numbers = [str(micro.gold), str(micro.predicted)]
    rows.append(["micro", *numbers, *_percents([way.micro for way in ways])])
    rows.append(["macro", "", "", *_percents([way.macro for way in ways])])
    return rows


def _percents(ways: list[Counts] | list[Rates]) -> list[str]:
    return [f"{100 * rate:.1f}" for way in ways for rate in (way.precision, way.recall, way.f1)]


def _line(row: list[str], width: int) -> str:
    name, *cells = row
    padded = name + " " * (width - terminal_width(name))
    widths = [7, 10, *[8, 6, 6] * 2]
    aligned = (cell.rjust(size) for cell, size in zip(cells, widths, strict=False))
    return f"{_INDENT}{padded}{''.join(aligned)}".rstrip()
