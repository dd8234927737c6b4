"""An explanation as plain text for the terminal."""

from __future__ import annotations

from emlb_runtime.records import Entity

from .records import Explained, Explanation, Weights


def render_listing(explanation: Explanation, *, top: int = 8) -> str:
    """The triples, and the words that weighed most.

    Args:
        explanation: of one note.
        top: words of each reader at most.
    """
    text = explanation.document.note.text
    lines = [f"{plain(explanation.document.note.name)}: {explanation.summary}"]
    for explained in explanation.triples:
        lines += ["", *_triple_lines(explained, text, top)]
    if explanation.missing:
        lines += ["", *explanation.missing]
    return "\n".join(lines)


def heaviest(weights: Weights, top: int) -> list[int]:
    """The words that weigh most, heaviest first, by index; the earlier of equals first."""
    order = sorted(range(len(weights.words)), key=lambda word: (-weights.words[word], word))
    return order[:top]


def plain(text: str) -> str:
    """Text on one line, without what a terminal would obey."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(shown.split())


def _triple_lines(explained: Explained, text: str, top: int) -> list[str]:
    triple, (start, end) = explained.triple, explained.extent
    lines = [
        f"{explained.number}. {_mention(triple.head)} --{triple.relation.type}--> "
        f"{_mention(triple.tail)}",
        f"   score {triple.relation.score:.4f}, window {explained.window} "
        f"(characters {start}-{end})",
    ]
    for name, _, weights in explained.views():
        words = [
            f"{plain(text[slice(*explained.words[word])])} {weights.words[word]:.3f}"
            for word in heaviest(weights, top)
        ]
        lines.append(f"   {name + ':':<11}{', '.join(words)}; special {weights.special:.3f}")
    return lines


def _mention(entity: Entity) -> str:
    return f"{plain(entity.text)} [{entity.type} {entity.start}-{entity.end}]"
