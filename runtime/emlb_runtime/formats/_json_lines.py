"""One line of JSON, judged by its brackets and commas before anything is built of it.

A few bytes of JSON can become many times their size in objects (``[],[],[]``), and brackets in
brackets cost stack: both are counted first, outside strings.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from emlb_runtime.errors import DataError
from emlb_runtime.formats.files.limits import NESTING, VALUES, TooLarge

_STEPS = np.zeros(256, dtype=np.int32)
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The object that a line holds; None if it is none.

    Args:
        line: in UTF-8, where lone surrogates may stand encoded.

    Raises:
        DataError: if it has too many values or is nested too deep.
    """
    _check_size(line)
    try:
        value = json.loads(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):  # its message could quote the line
        return None
    return value if isinstance(value, dict) else None


def _check_size(line: bytes) -> None:
    opened = line.count(b"[") + line.count(b"{")
    most = VALUES.value
    if opened <= NESTING and opened + line.count(b",") <= most:
        return
    # An escaped quote ends no string: with pairs of backslashes gone, it is what follows one.
    bare = np.frombuffer(line.replace(b"\\\\", b"").replace(b'\\"', b""), dtype=np.uint8)
    in_strings = np.cumsum(bare == ord('"'), dtype=np.uint8) % 2 == 1  # parity survives the wrap
    bare = bare[~in_strings]
    steps = _STEPS[bare]
    if int((steps == 1).sum()) + int((bare == ord(",")).sum()) > most:
        raise TooLarge(VALUES)
    if np.cumsum(steps[steps != 0]).max(initial=0) > NESTING:
        raise DataError(
            f"its JSON is nested deeper than {NESTING}, the most that is read: "
            "the file may be of another format"
        )
