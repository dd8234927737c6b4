"""Notes that hurt, made to any size: each is a function of about how many characters it has."""

from __future__ import annotations

import base64
import random
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle

PROSE = "Given aspirin 75 mg, then amoxicillin; a rash and chest pain on day 3. No fever.\r\n"
"""What stands between the nasty parts, so that there is something to find."""

LINE_ENDS = (
    "\n",
    "\r",
    "\r\n",
    "\x85",
    "\u2028",
    "\u2029",
    "\x0b",
    "\x0c",
    "\x1c",
    "\n\r",
    "\r\r\n",
)
BIDI = "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u180e"
EMOJI = (
    *(
        "😀",
        "👩\u200d🔬",
        "👨\u200d👩\u200d👧\u200d👦",
        "🏳\ufe0f\u200d🌈",
        "👍🏽",
        "🇩🇪",
        "1\ufe0f\u20e3",
    ),
    *("❤\ufe0f", "\U0001f469\U0001f3fb\u200d\u2764\ufe0f\u200d\U0001f468", "\u200d", "\U0001f3fb"),
)
EXPANDERS = ("İ", "ß", "ﬁ", "ﬃ", "ŉ", "ǰ", "ΐ", "ſt", "\ufdfa", "½", "㎎", "K", "Å", "Ω", "ẞ")
ASTRAL = ("𝒳", "𝐀spirin", "𐐀", "𠀀", "𝟙𝟚", "𞤀", "\U000e0041\U000e007f", "𒀀")
UNASSIGNED = ("\u0378", "\ue000", "\uf8ff", "\U000f0000", "\U0010fffd", "\ufdd0", "\uffff")
NONCHARACTERS = ("\ufffe", "\U0001fffe", "\U0010ffff", "\U000e01f0", "\u2065", "\U000e0fff")
CONTROLS = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
RTL = "המטופל קיבל אספירין 75 מ\u05f4ג. المريض تناول الأسبرين\u060c وظهر طفح جلدي. "


def fill(parts: Iterable[str], n: int) -> str:
    """The parts over and over, up to about n characters; cut at a part's end."""
    made: list[str] = []
    size = 0
    for part in cycle(list(parts)):
        if size >= n:
            break
        made.append(part)
        size += len(part)
    return "".join(made)


def between(parts: Iterable[str]) -> list[str]:
    """Each part once inside a word and once between words of prose."""
    return [f"{PROSE}asp{part}irin {part} rash{part}" for part in parts]


def _random(n: int) -> str:
    """Any code points at all, lone surrogates too."""
    draw = random.Random(n)
    return "".join(chr(draw.randrange(sys.maxunicode + 1)) for _ in range(n))


def _base64(n: int) -> str:
    blob = base64.b64encode(random.Random(n).randbytes(n * 3 // 4)).decode()
    return f"{PROSE}{blob}\n{PROSE}"


def _base64_lines(n: int) -> str:
    blob = _base64(n)
    return "\r\n".join(blob[start : start + 76] for start in range(0, n, 76))


def _table(n: int) -> str:
    row = "|   NA 138 | K 4.1 | CL 101 | ASPIRIN 75 MG | RASH | WBC 11.2* H |\r\n"
    return fill(["LABS\t\tRESULTS\r\n" + "=" * 80 + "\r\n", *[row] * 30, "\f"], n)


def _normal_forms(n: int) -> str:
    words = "café naïve Ångström 각 각각 ế ộ ḍ̇ Ꙗ̈ ﷺ ｱｽﾋﾟﾘﾝ ﬃ"
    forms = [unicodedata.normalize(form, words) for form in ("NFC", "NFD", "NFKC", "NFKD")]
    return fill([*forms, PROSE], n)


def _jamo() -> Iterator[str]:
    yield "".join(map(chr, range(0x1100, 0x1200)))
    yield unicodedata.normalize("NFD", "환자는 아스피린을 복용했다 ")
    yield "\u1100\u1161\u11a8" * 9 + "\u1161" * 9 + "\u11a8" * 9 + "\u3131\uffa1\ua960\ud7b0 "


NASTY: dict[str, Callable[[int], str]] = {
    "bidi controls": lambda n: fill(between(BIDI), n),
    "right to left": lambda n: fill([RTL, PROSE, f"\u202e{PROSE}\u202c"], n),
    "combining marks": lambda n: fill(["a\u0301", "e\u0301\u0323\u0302 ", "\u0301", PROSE], n),
    "a tower of marks": lambda n: f"{PROSE}a" + "\u0301\u0489\u20dd" * (n // 3) + f" {PROSE}",
    "marks alone": lambda n: "\u0301" * n,
    "long words": lambda n: fill(["x" * 10_000, " ", "ab1-" * 2_500, " ", PROSE], n),
    "one word": lambda n: "a" * n,
    "one word of emoji": lambda n: "👩\u200d🔬" * (n // 3),
    "no spaces": lambda n: fill(["aspirin.rash,75mg;"], n),
    "emoji": lambda n: fill(between(EMOJI), n),
    "line ends": lambda n: fill(between(LINE_ENDS), n),
    "carriage returns": lambda n: fill(["aspirin\r", "rash\r\r"], n),
    "tiny lines": lambda n: "a\n" * (n // 2),
    "tiny sentences": lambda n: "a. " * (n // 3),
    "full stops": lambda n: "." * n,
    "empty lines": lambda n: "\n" * n,
    "spaces": lambda n: fill([" \t\u00a0\u3000\u2009"], n),
    "indents": lambda n: fill(["aspirin", " " * 3_000, "rash\n", "\u2003" * 500], n),
    "capitals in tables": _table,
    "zero width": lambda n: fill(between(ZERO_WIDTH), n),
    "zero width alone": lambda n: fill([ZERO_WIDTH], n),
    "lone surrogates": lambda n: fill(between(["\ud83d", "\ude00", "\udfff\ud800", "\udc80"]), n),
    "surrogates alone": lambda n: "\ud800" * n,
    "base64": _base64,
    "base64 in lines": _base64_lines,
    "NULs": lambda n: fill(between(["\x00", "\x00" * 50]), n),
    "NULs alone": lambda n: "\x00" * n,
    "byte-order marks": lambda n: "\ufeff" + fill(between(["\ufeff", "\ufffe", "\ufeff\ufeff"]), n),
    "controls": lambda n: fill(between(CONTROLS), n),
    "unassigned and private": lambda n: fill(between(UNASSIGNED), n),
    "noncharacters": lambda n: fill(between(NONCHARACTERS), n),
    "astral letters": lambda n: fill(between(ASTRAL), n),
    "expanders": lambda n: fill(between(EXPANDERS), n),
    "expanders alone": lambda n: "\ufdfa" * (n // 4) + "İ" * (n // 4) + "ﬃ" * (n // 2),
    "Hangul jamo": lambda n: fill([*_jamo(), PROSE], n),
    "syllables without spaces": lambda n: "각" * n,
    "ideographs": lambda n: fill(["患者服用阿司匹林后出现皮疹。"], n),
    "normal forms": _normal_forms,
    "special tokens": lambda n: fill(
        between(["[SEP]", "[CLS]", "[MASK]", "[PAD]", "##ing", "</s>"]), n
    ),
    "markup": lambda n: fill(["<b>rash</b>&nbsp;", "{\\rtf1 aspirin}", "[**Known 1**]", PROSE], n),
    "any code points": _random,
}
"""By name."""
