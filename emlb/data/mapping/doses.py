"""Splitting a dose as other corpora annotate it into the types of clinical schema 2.

MACCROBAT and ADE annotate ``100 mg orally twice daily for 7 days`` as one Dosage. Schema 2 has a
type for each part. The rules below are the whole of it:

* An amount with a unit is a Dosage, with what stands behind a slash: ``5 mg/kg/day``. So is a
  number of forms (``2 tablets``) and a qualitative dose (``high-dose``).
* How often is a Frequency: ``twice daily``, ``every 3 weeks``, ``q12h``, ``q6h as needed``.
* How long, or how many courses, is a Duration: ``for 7 days`` gives ``7 days``, ``4 cycles``.
* The way of giving it is a Route: ``orally``, ``IV``, ``infusion``.
* A form on its own is a Form: ``tablets``, ``ointment``.
* Days of a cycle, ``on day 1``, have no type and give no mention.
* A dose with any other word left over gives nothing at all: it is not known how to read it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class DosePart:
    """One part of a dose.

    Attributes:
        type: Dosage, Duration, Form, Frequency or Route.
        start: first code point, counted from the start of the dose.
        end: one past the last.
    """

    type: str
    start: int
    end: int


_WORD_NUMBER = (
    r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fourteen|twenty|thirty"
    r"|forty|fifty|sixty|hundred|several|half)"
)
_FIGURE = r"\d+(?:[.,·]\d+)*(?:\s?/\s?\d+(?:\.\d+)?(?![\w]))?"
_ONE_NUMBER = rf"(?:{_FIGURE}|{_WORD_NUMBER}(?:[\s-](?:and\s+a\s+half|{_WORD_NUMBER}))*)"
_NUMBER = rf"(?:[<>≤≥~]\s?)?{_ONE_NUMBER}(?:\s?(?:-|–|to|or|and|±|\+/-)\s?{_ONE_NUMBER})?"
_MASS = (
    r"(?:m?g|mgs?|grams?|gm|mcg|[µμu]g|ng|kg|milligrams?|micrograms?|micro\s?g|mmol|[µμ]mol|mEq"
    r"|m?L|cc|dL|million\s+units|lit(?:er|re)s?|units?|I\.?U\.?|UI|U|MU|c?Gy|%|ppm)"
)
_TIME = r"(?:sec(?:ond)?|min(?:ute)?|hour|hr?|day|d|week|wk|month|mo|year|yr|cycle)"
_PER = (
    r"(?:\s?/\s?(?:\d+\s?)?(?:kg|kilogram|m2|m²|m\(2\)|[dm]?L|mn|min|dose|pulse|actuation"
    rf"|{_TIME}s?)(?!\w)|\s?(?:kg|m|h|day)\s?-\s?1\b|\s+per\s+(?:kg|m2|mL|kilogram)(?!\w))"
)
_FORM = (
    r"(?:(?:sustained|extended|immediate)[\s-]release\s+)?(?:tablets?|tabs?|capsules?|caps?|caplets?"
    r"|pills?"
    r"|ointments?|creams?|gels?|suppositor(?:y|ies)|patch(?:es)?|drops?|guttae|inhalers?|sprays?"
    r"|lotions?|solutions?|syrups?|suspensions?|powders?)"
)
_EVERY = rf"(?:{_NUMBER}|other|alternate)?[\s-]*{_TIME}s?"

_RULES: tuple[tuple[str, str], ...] = (
    ("", r"(?:on\s+)?(?:days?\s+\d[\d\s,–-]*(?:and\s+\d+)?(?:through\s+\d+)?|d\d+(?:-\d+)?)"),
    (
        "Frequency",
        rf"(?:(?:{_NUMBER}|once|twice|thrice|multiple)\s*(?:times?)?[\s-]*(?:a|per|each|every|/)"
        rf"[\s-]*{_TIME}\b"
        rf"|(?:{_NUMBER}\s+times\s+|once[\s-]+|twice[\s-]+|thrice[\s-]+|multiple\s+)?"
        r"(?:daily|nightly|weekly|monthly|hourly)"
        rf"|every\s+{_EVERY}|each\s+{_TIME}|(?:per|a)\s+{_TIME}"
        r"|q\.?\s?\d+(?:\s?-\s?\d+)?\s?(?:h|hrs?|hours?|d|days?|weeks?)?\.?|q\.?o?\.?d\.?|q\.?h\.?s\.?"
        r"|[bt]\.?i\.?d\.?|q\.?i\.?d\.?|t\.?i\.?w\.?|p\.?r\.?n\.?|as\s+(?:needed|required)"
        r"|b\.?d\.?|[tq]\.?d\.?s\.?|h\.?s\.?|q\s?[ap]m|nocte|mane|(?:each|every)\s+(?:morning|evening|night)"
        r"|at\s+(?:bedtime|night)|in\s+the\s+(?:morning|evening)|once|alternate\s+days"
        r"|every\s+other\s+day)",
    ),
    (
        "Dosage",
        rf"(?:{_NUMBER}[\s-]?(?:{_MASS}\b|%)(?:{_PER})*"
        rf"(?:\s?[\[(]{_NUMBER}\s?{_MASS}(?:{_PER})*[\])])?(?:\s+in\s+{_NUMBER}\s?m?L\b)?"
        rf"|{_NUMBER}\s+(?:{_FORM}|puffs?|sprays?)(?:\s?/\s?{_TIME})?"
        r"|(?:high(?:er)?|low(?:er)?|standard|conventional|full|half|moderate)(?:\s+or\s+moderate)?"
        r"(?:[\s-]+dos(?:es?|ages?))?)",
    ),
    (
        "Duration",
        rf"(?:(?:for(?:\s+the\s+(?:next|first|last))?|over|during|in|x|×)\s*{_NUMBER}[\s-]?"
        rf"(?:more\s+)?{_TIME}s?\b|{_NUMBER}[\s-]*{_TIME}s?\b"
        rf"|(?:in\s+|x\s?|/)?{_NUMBER}\s+(?:cycles?|courses?|fractions?|sessions?|infusions?"
        r"|rounds?))",
    ),
    (
        "Route",
        r"(?:orally|oral|by\s+mouth|p\.?\s?o\.?|intravenous(?:ly)?|i\.?v\.?|intramuscular(?:ly)?"
        r"|i\.?m\.?|subcutaneous(?:ly)?|s\.?[cq]\.?|sub-?c(?:u|ut)|s\.?l\.?|p\.?r\.?|sublingual(?:ly)?|topical(?:ly)?|inhaled"
        r"|(?:continuous\s+)?infusions?|(?:bolus\s+)?injections?|intrathecal(?:ly)?|rectal(?:ly)?"
        r"|transdermal(?:ly)?|nebuli[sz]ed|(?:intra)?nasal(?:ly)?|intravitreal(?:ly)?)",
    ),
    ("Form", _FORM),
)
_PATTERNS = tuple((type, re.compile(rf"{rule}(?!\w)", re.IGNORECASE)) for type, rule in _RULES)
_CONNECTED = re.compile(
    r"[\s,;:.()\[\]–-]+|(?:and|then|followed\s+by|increased\s+to|at|by|of|the|a|an|with|to|in|for"
    r"|dos(?:e|es|age|ing)|total|single|given|repeated)\b",
    re.IGNORECASE,
)
_DURATION_EDGE = re.compile(
    r"(?:for|over|during|in|x|×|/)\s*(?:the\s+(?:next|first|last)\s+)?", re.IGNORECASE
)


def split_dose(text: str) -> tuple[DosePart, ...]:
    """The parts of a dose, in text order.

    Args:
        text: the dose as another corpus annotates it.

    Returns:
        The parts; empty if any word of the dose is of no rule.
    """
    parts: list[DosePart] = []
    at = 0
    while at < len(text):
        found = [
            (match.end(), -rank, type)
            for rank, (type, pattern) in enumerate(_PATTERNS)
            if (match := pattern.match(text, at)) and match.end() > at
        ]
        if found:
            end, _, type = max(found)
            if type:
                _append(parts, _trim(DosePart(type, at, end), text), text)
            at = end
        elif match := _CONNECTED.match(text, at):
            at = match.end()
        else:
            return ()
    return tuple(parts)


def _append(parts: list[DosePart], part: DosePart, text: str) -> None:
    """Add a part; a Frequency right behind a Frequency goes on in it (``q6h PRN``)."""
    last = parts[-1] if parts else None
    if last and last.type == part.type == "Frequency" and text[last.end : part.start].isspace():
        parts[-1] = DosePart(part.type, last.start, part.end)
    else:
        parts.append(part)


def _trim(part: DosePart, text: str) -> DosePart:
    """The part without a preposition at its edge."""
    if part.type != "Duration":
        return part
    match = _DURATION_EDGE.match(text, part.start)
    return DosePart(part.type, match.end(), part.end) if match else part


def is_dose_part(text: str, type: str) -> bool:
    """Whether a text is, as a whole, one part of this type."""
    parts = split_dose(text)
    return len(parts) == 1 and parts[0] == DosePart(type, 0, len(text))
