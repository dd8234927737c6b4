"""How far relations reach, as training annotations show it."""

from __future__ import annotations

import pytest

from emlb.data.config import CorpusConfig, TaskConfig
from emlb.data.corpora import Corpus, derive_task
from emlb.data.max_distance import SEEN, find_reach
from emlb.data.splits import Split
from emlb.model.pretrained import LoadedTokenizer
from emlb_runtime.errors import ConfigError
from emlb_runtime.formats.report import Report
from emlb_runtime.records import Document
from tests.tiny import parse_markup


def apart(n_words: int) -> Document:
    """A drug and what it caused, with so many words between."""
    return parse_markup(
        f"[Drug:d aspirin]{' x' * n_words} [Disorder:e dry cough], yes {{ADE-Drug e d}}"
    )


@pytest.mark.parametrize(("share", "words"), [(1.0, 99), (0.99, 99), (0.9, 90), (0.5, 50)])
def test_the_share_that_lies_within(share: float, words: int, tokenizer: LoadedTokenizer) -> None:
    documents = [apart(n) for n in range(SEEN)]
    found = find_reach(documents, tokenizer.tokenizer, share=share)
    assert found == {"ADE-Drug": words}
    assert sum(n <= words for n in range(SEEN)) >= share * SEEN


def test_neighbours_and_overlaps_have_no_words_between(tokenizer: LoadedTokenizer) -> None:
    document = parse_markup("[Drug:d aspirin] [Disorder:e cough] {ADE-Drug e d}")
    assert find_reach([document] * SEEN, tokenizer.tokenizer, share=1.0) == {"ADE-Drug": 0}


def test_a_rare_relation_reaches_anywhere(tokenizer: LoadedTokenizer) -> None:
    documents = [apart(3)] * (SEEN - 1)
    assert find_reach(documents, tokenizer.tokenizer, share=1.0) == {}


def test_mentions_that_end_inside_words_tell_nothing(tokenizer: LoadedTokenizer) -> None:
    document = parse_markup("[Drug:d aspi]rin x x [Disorder:e cough] {ADE-Drug e d}")
    assert find_reach([document] * SEEN, tokenizer.tokenizer, share=1.0) == {}


def test_a_task_has_the_reach_of_its_relations(tokenizer: LoadedTokenizer) -> None:
    corpus = Corpus(
        CorpusConfig("notes", "notes", dev="dev"),
        Split(tuple(apart(n % 10) for n in range(SEEN)), ()),
        Report(),
    )
    task = derive_task(TaskConfig("notes", reach=0.5), [corpus], tokenizer.tokenizer)
    assert task.reach == {"ADE-Drug": 5}
    other = TaskConfig("notes", relation_types=("Treats",))
    assert derive_task(other, [corpus], tokenizer.tokenizer).reach == {}


@pytest.mark.parametrize("share", [0.0, -1.0, 1.01, float("nan")])
def test_impossible_shares(share: float) -> None:
    with pytest.raises(ConfigError, match=r"task\.reach is .*above 0 and at most 1"):
        TaskConfig("notes", reach=share)
