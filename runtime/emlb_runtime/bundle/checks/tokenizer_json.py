"""A tokenizer's file: a vocabulary of bounded size whose ids the encoder knows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from emlb_runtime.checked_json import members, parse_json
from emlb_runtime.errors import BundleError

MAX_VALUES = 12_000_000
MAX_PIECES = 2_000_000
MAX_ADDED = 100_000
_SCORED = ([str, float], [str, int])


def check_tokenizer(data: bytes, *, special: Collection[int], rows: int | None) -> None:
    """Check a ``tokenizer.json``.

    Args:
        data: the file.
        special: ids of the tokens that the bundle frames windows with.
        rows: of the encoder's table of pieces; None if it cannot be told.

    Raises:
        BundleError: if it is malformed, random, or has an id that the encoder does not know.
    """
    # A repeated piece is taken by its last id, here as in tokenizers.
    values = members(parse_json(data, max_values=MAX_VALUES, unique=False), "it")
    model = members(values.get("model"), "its model")
    if model.get("dropout"):
        raise BundleError("its model drops pieces at random")
    vocabulary, added = _vocabulary_ids(model), _added_ids(values.get("added_tokens", []))
    highest = max(*added, max(vocabulary), 0)
    if rows is not None and highest >= rows:
        raise BundleError(f"it has piece {highest}, but the encoder's table has {rows} rows")
    for id in special:
        if id not in added and id not in vocabulary:
            raise BundleError(f"its vocabulary lacks piece {id}, one of the special tokens")


def _vocabulary_ids(model: Any) -> Collection[int]:
    vocabulary = model.get("vocab")
    if not isinstance(vocabulary, dict | list) or not 0 < len(vocabulary) <= MAX_PIECES:
        raise BundleError(f"its vocabulary is not one of up to {MAX_PIECES:,} pieces")
    if isinstance(vocabulary, list):
        for entry in vocabulary:
            if not isinstance(entry, list) or list(map(type, entry)) not in _SCORED:
                raise BundleError("its vocabulary is not a list of pieces with scores")
        return range(len(vocabulary))
    ids = vocabulary.values()
    if set(map(type, ids)) != {int} or min(ids) < 0:
        raise BundleError("its vocabulary has an id that is no whole number")
    unknown = model.get("unk_token")
    if model.get("type") in ("WordPiece", "WordLevel") and (
        not isinstance(unknown, str) or unknown not in vocabulary
    ):
        raise BundleError("its vocabulary lacks its token for what is unknown")
    return ids


def _added_ids(added: Any) -> list[int]:
    if not isinstance(added, list) or len(added) > MAX_ADDED:
        raise BundleError("its added tokens are no list, or too many")
    ids: list[int] = []
    for token in added:
        id = token.get("id") if isinstance(token, dict) else None
        if type(id) is not int or id < 0:
            raise BundleError("an added token has an id that is no whole number")
        ids.append(id)
    return ids
