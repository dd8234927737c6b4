"""JSON of unknown origin: bounded, without repeated members or numbers that are none."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from emlb_runtime.errors import BundleError

MAX_DEPTH = 32
MAX_TEXT = 1 << 16

# Control characters, and those that turn the direction of text, would let a bundle's name or
# description rewrite what a terminal shows. Lone surrogates cannot be written at all.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def parse_json(data: bytes, *, max_values: int, unique: bool = True) -> Any:
    """The values of a JSON text.

    Args:
        data: UTF-8.
        max_values: about how many values it may hold; counted before anything is made of it.
        unique: whether to look for repeated members, which takes half as long again.

    Raises:
        BundleError: if it is no JSON, repeats a member, holds NaN or infinity, or too much.
    """
    if sum(data.count(mark) for mark in b"[{,") > max_values:
        raise BundleError(f"it holds more than {max_values:,} values")
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_members if unique else None,
            parse_constant=_refuse_constant,
        )
    except ValueError:
        raise BundleError("it is not valid JSON") from None
    except RecursionError:
        raise BundleError("its values are nested too deep") from None


def check_values(values: Any) -> None:
    """Check depth, texts and numbers of parsed JSON, member names included.

    Raises:
        BundleError: if it is nested deeper than 32, or a text is too long or has characters
            that control a terminal, or a number is infinite.
    """
    level, depth = [values], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise BundleError("its values are nested too deep")
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value)
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
            elif isinstance(value, str):
                if len(value) > MAX_TEXT:
                    raise BundleError(f"a text has more than {MAX_TEXT:,} characters")
                if _UNSAFE.search(value):
                    raise BundleError("a text has control characters or lone surrogates")
            elif isinstance(value, float) and not math.isfinite(value):
                raise BundleError("a number is infinite")
        level = below


def whole(value: Any, what: str, low: int, high: int) -> int:
    """A whole number within bounds; ``true`` and ``3.0`` are none.

    Raises:
        BundleError: if it is not.
    """
    if type(value) is not int or not low <= value <= high:
        raise BundleError(f"{what} is not a whole number from {low:,} to {high:,}")
    return value


def text(value: Any, what: str, *, most: int = 200) -> str:
    """A text that can be shown on one line; it may be empty.

    Raises:
        BundleError: if it is none, longer, or has characters that cannot be shown.
    """
    if not isinstance(value, str) or len(value) > most or not value.isprintable():
        raise BundleError(f"{what} is not a text of at most {most} printable characters")
    return value


def members(value: Any, what: str) -> Mapping[str, Any]:
    """An object.

    Raises:
        BundleError: if it is none.
    """
    if not isinstance(value, dict):
        raise BundleError(f"{what} is not a JSON object")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Two readers may each take another one: what was checked would not be what is used.
        raise BundleError("it names a member twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise BundleError(f"it holds {name}, which is no JSON number")
