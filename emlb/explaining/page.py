"""An explanation as one HTML page: no script, nothing loaded, readable in light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from emlb_runtime.records import Entity

from .listing import heaviest
from .records import Explained, Explanation, Weights

_STYLE = """\
:root { color-scheme: light dark; --back: #fff; --ink: #1a1a1a; --faint: #595959;
  --line: #c8c8c8; --shade: 255 176 46; }
@media (prefers-color-scheme: dark) {
  :root { --back: #16181d; --ink: #ececec; --faint: #a8a8a8; --line: #444; --shade: 36 98 196; }
}
body { margin: 2rem auto; max-width: 54rem; padding: 0 1rem; background: var(--back);
  color: var(--ink); font: 1rem/1.6 system-ui, sans-serif; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin-top: 3rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
h1, h2, .window, td { overflow-wrap: anywhere; }
.about, .facts { color: var(--faint); }
.window { white-space: pre-wrap; border: 1px solid var(--line); border-radius: .3rem;
  margin: 0; padding: .7rem; line-height: 2; }
.window span { border-radius: .15rem; background: rgb(var(--shade) / calc(var(--w) * .8)); }
.head { border-bottom: .2rem solid; } .tail { border-bottom: .2rem dashed; }
table { border-collapse: collapse; } td, th { padding: .1rem .8rem .1rem 0; text-align: left; }
td.figure { text-align: right; font-variant-numeric: tabular-nums; }
"""

_ABOUT = """\
The stronger a word is shaded, the more weight it had; each passage is shaded on its own
scale, and hovering over a word gives its figure.
<span class="head">Head mention</span>, <span class="tail">tail mention</span>.
Attention shows where the model looked, not why it decided as it did."""


def render_page(explanation: Explanation, *, top: int = 8) -> str:
    """The page; it holds the text of the windows that decided a triple.

    Args:
        explanation: of one note.
        top: rows of each table of words at most.
    """
    name = _safe(explanation.document.note.name)
    body = [f"<h1>{name}</h1>", f"<p>{_safe(explanation.summary)}</p>"]
    if explanation.triples:
        body.append(f'<p class="about">{_ABOUT}</p>')
    body += [f"<p>{_safe(sentence)}</p>" for sentence in explanation.missing]
    for explained in explanation.triples:
        body += _article(explained, explanation.document.note.text, top)
    return "\n".join([*_frame(name), *body, "</main>", "</body>", "</html>", ""])


def _frame(title: str) -> list[str]:
    return [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}: where the model looked</title>",
        f"<style>\n{_STYLE}</style>",
        "</head>",
        "<body>",
        "<main>",
    ]


def _article(explained: Explained, text: str, top: int) -> Iterator[str]:
    triple, (start, end) = explained.triple, explained.extent
    yield "<article>"
    yield (
        f"<h2>{explained.number}. {_mention(triple.head)} → {_safe(triple.relation.type)} → "
        f"{_mention(triple.tail)}</h2>"
    )
    yield (
        f'<p class="facts">Score {triple.relation.score:.4f}. {_place("Head", triple.head)} '
        f"{_place('Tail', triple.tail)} Window {explained.window}, characters {start} to {end}.</p>"
    )
    for _, title, weights in explained.views():
        yield f"<h3>{title}</h3>"
        yield _passage(explained, text, weights)
        yield f'<p class="facts">SpecialTokens tokens: {_percent(weights.special)}.</p>'
        yield from _table(explained, text, weights, top)
    yield "</article>"


def _passage(explained: Explained, text: str, weights: Weights) -> str:
    """The window, each word in its shade."""
    heaviest_weight = max(float(weights.words.max()), 1e-9)
    parts: list[str] = []
    position = explained.extent[0]
    for (start, end), weight in zip(explained.words.tolist(), weights.words.tolist(), strict=True):
        parts.append(_between(explained, text, position, start))
        roles = _roles(explained, start, end)
        classes = f' class="{" ".join(roles)}"' if roles else ""
        title = ", ".join([f"weight {weight:.4f}", *(f"{role} mention" for role in roles)])
        shade = f"--w:{weight / heaviest_weight:.3f}"
        parts.append(
            f'<span{classes} style="{shade}" title="{title}">{_safe(text[start:end])}</span>'
        )
        position = end
    return f'<p class="window" lang="" dir="auto">{"".join(parts)}</p>'


def _between(explained: Explained, text: str, start: int, end: int) -> str:
    """What stands between two words; inside a mention it is marked as part of it."""
    roles = _roles(explained, start, end) if start < end else []
    shown = _safe(text[start:end])
    return f'<span class="{" ".join(roles)}" style="--w:0">{shown}</span>' if roles else shown


def _roles(explained: Explained, start: int, end: int) -> list[str]:
    mentions = (("head", explained.triple.head), ("tail", explained.triple.tail))
    return [role for role, entity in mentions if entity.start <= start and end <= entity.end]


def _table(explained: Explained, text: str, weights: Weights, top: int) -> Iterator[str]:
    words = heaviest(weights, top)
    yield "<details>"
    yield f"<summary>The {len(words)} heaviest words as a table</summary>"
    yield '<table><tr><th scope="col">Word</th><th scope="col">Characters</th>'
    yield '<th scope="col">Weight</th></tr>'
    for word in words:
        start, end = explained.words[word].tolist()
        yield (
            f'<tr><td lang="">{_safe(text[start:end])}</td><td class="figure">{start}–{end}</td>'
            f'<td class="figure">{_percent(float(weights.words[word]))}</td></tr>'
        )
    yield "</table>"
    yield "</details>"


def _mention(entity: Entity) -> str:
    return f'<bdi lang="">{_safe(entity.text)}</bdi>'


def _place(role: str, entity: Entity) -> str:
    return f"{role}: {_safe(entity.type)}, characters {entity.start} to {entity.end}."


def _percent(weight: float) -> str:
    return f"{100 * weight:.1f} %"


def _safe(text: str) -> str:
    """Escaped; control characters, which HTML does not allow, as their pictures (␀)."""
    pictured = "".join(
        chr(0x2400 + ord(letter)) if letter < " " and letter not in "\t\n\r" else letter
        for letter in text
    )
    return escape(pictured)
