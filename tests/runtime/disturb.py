"""Files with a little of them changed, at random, as a fuzzer does."""

from __future__ import annotations

import copy
import json
import random
from typing import Any


def disturb(name: str, data: bytes, chance: random.Random) -> bytes:
    """A file with a few bytes changed; of JSON, as often a value."""
    if name.endswith(".json") and chance.random() < 0.5:
        values = json.loads(data)
        for _ in range(chance.choice((1, 1, 2, 5))):
            _disturb_value(values, chance)
        return json.dumps(values).encode()
    return _disturb_bytes(data, chance)


_ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1 << 70,
    1.5,
    1e308,
    "",
    "x",
    "\ud800",
    "../x",
    [],
    {},
    [[]],
    {"x": []},
)


def _disturb_value(values: Any, chance: random.Random) -> None:
    """Replace, remove or copy a member somewhere below."""
    while True:
        keys = list(values) if isinstance(values, dict) else list(range(len(values)))
        if not keys:
            return
        key = chance.choice(keys)
        if isinstance(values[key], dict | list) and values[key] and chance.random() < 0.7:
            values = values[key]
            continue
        kind = chance.randrange(4)
        if kind == 0:
            del values[key]
        elif kind == 1:
            values[key] = copy.deepcopy(values[chance.choice(keys)])
        else:
            values[key] = copy.deepcopy(chance.choice(_ODD))
        return


def _disturb_bytes(data: bytes, chance: random.Random) -> bytes:
    """Flip, overwrite, cut, repeat or insert a few bytes."""
    spoiled = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        place = chance.randrange(len(spoiled)) if spoiled else 0
        if chance.random() < 0.5:  # what describes the rest lies near the start, or is small
            place = min(place, chance.randrange(4096))
        kind = chance.randrange(8)
        if kind < 3 and spoiled:
            spoiled[place] ^= 1 << chance.randrange(8)
        elif kind == 3 and spoiled:
            spoiled[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        elif kind == 4:
            del spoiled[place : place + chance.choice((1, 2, 8, 200))]
        elif kind == 5:
            part = spoiled[place : place + chance.choice((1, 8, 200))]
            spoiled[place:place] = part
        elif kind == 6:
            spoiled[place : place + 8] = chance.choice((b"\xff" * 8, b"\xff" * 7 + b"\x7f"))
        else:
            del spoiled[place:]
    return bytes(spoiled) or b"\0"
