"""How far apart the mentions of a relation lie, so that pairs farther apart need not be asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from emlb_runtime.pipeline import align
from emlb_runtime.records import Document
from emlb_runtime.schema.task import words_between
from emlb_runtime.text.tokens import tokenise

SEEN = 100
"""Relations of a type from which its reach is known; of a rarer type every pair is asked."""


def find_reach(documents: Iterable[Document], tokenizer: Any, *, share: float) -> dict[str, int]:
    """The words between head and tail that a share of each type's relations do not exceed.

    Args:
        documents: annotated.
        tokenizer: a ``tokenizers.Tokenizer`` that tells words apart.
        share: of the relations of a type, above 0 and at most 1.

    Returns:
        Words by relation type, of types with at least ``SEEN`` relations between mentions that
        begin and end with words.
    """
    gaps: dict[str, list[int]] = {}
    for document in documents:
        if not document.relations:
            continue
        tokens = tokenise(tokenizer, document.note.text)
        words = {e.id: align(tokens, e.start, e.end) for e in document.entities}
        for relation in document.relations:
            head, tail = words[relation.head], words[relation.tail]
            if head is not None and tail is not None:
                gaps.setdefault(relation.type, []).append(int(words_between(head, tail)))
    return {
        type: int(np.quantile(found, share, method="higher"))
        for type, found in sorted(gaps.items())
        if len(found) >= SEEN
    }
