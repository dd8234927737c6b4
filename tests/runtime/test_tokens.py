"""Words with exact offsets, whatever the note holds and whichever tokenizer reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from emlb_runtime.text import tokens as module
from emlb_runtime.text.tokens import MAX_MARKS, MAX_WORD_PIECES, SLAB, Tokens, make_plain, tokenise

LETTERS = "abcdefghijklmnopqrstuvwxyzβ1234567890"
PIECES = ["[UNK]", *".,;:!?()-+/%", "aspirin", "rash", "amoxi", "##cillin", "mg", "é", "ü", "痛"]
LINE_ENDS = "\n\x0b\x0c\r\x85\u2028\u2029"
SENTENCE_ENDS = ".!?;。！？"


def make_wordpiece(*, lowercase: bool = True) -> Tokenizer:
    """BERT's own reading; letters, figures and the syllables of Hangul are pieces."""
    parts = [*LETTERS, *LETTERS.upper(), *map(chr, range(0x1100, 0x1200))]
    pieces = [*PIECES, *parts, *(f"##{part}" for part in parts)]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def make_byte_level(*, trim: bool = True) -> Tokenizer:
    """RoBERTa's way: every byte a piece, some merged, no character unknown."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: index for index, piece in enumerate([*alphabet, "Ġa", "as", "Ãī"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("Ġ", "a"), ("a", "s"), ("Ã", "ī")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if trim:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return tokenizer


def make_metaspace() -> Tokenizer:
    """The way of XLM-RoBERTa and DeBERTa: a space belongs to the word behind it."""
    scores = [("<unk>", 0.0), ("▁", -3.0), ("▁a", -1.0), *((letter, -2.0) for letter in LETTERS)]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=0))
    tokenizer.normalizer = normalizers.NFKD()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


TOKENIZERS = {
    "wordpiece": make_wordpiece(),
    "wordpiece cased": make_wordpiece(lowercase=False),
    "byte level": make_byte_level(),
    "byte level untrimmed": make_byte_level(trim=False),
    "metaspace": make_metaspace(),
}
every_tokenizer = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)

everything = st.characters(exclude_categories=())  # lone surrogates too
awkward = [
    *("\r\n", "\ufeff", "\x00", "\ud83d", "\ude00", "\ufffd", "😀", "👩\u200d🔬", "𝒳", "e\u0301"),
    *("\u0301", "ﬁ", "½", "…", "각", "痛み", "İ", "\u00a0", "\u200b", "\x0b", "\x85", "\u2028"),
    *("aspirin", "amoxicillin", " ", "  ", ".", "3.5", "b" * 30, "각" * 11, "é" * 13, "\ufdfa"),
]
texts = st.lists(st.one_of(st.sampled_from(awkward), st.text(everything, max_size=6))).map("".join)


def words_of(tokens: Tokens, text: str) -> list[str]:
    return [text[a:b] for a, b in zip(tokens.start.tolist(), tokens.end.tolist(), strict=True)]


def gaps(tokens: Tokens, text: str) -> Iterator[str]:
    """What stands before, between and behind the words."""
    bounds = [0, *np.stack([tokens.start, tokens.end], axis=1).ravel().tolist(), len(text)]
    for start, end in zip(bounds[::2], bounds[1::2], strict=True):
        yield text[start:end]


@every_tokenizer
@given(text=texts)
@example("")
@example(" \r\n\t ")
@example("\ufeffa\r\nb")
@example("a" * 300)
@example("xy" + "각" * 40)
@example("!" + "😀" * 40)
@example("\ufdfa" * 9)
@settings(deadline=None, max_examples=120)
def test_any_text(tokenizer: Tokenizer, text: str) -> None:
    tokens = tokenise(tokenizer, text)
    n = tokens.n_words
    for values in (tokens.start, tokens.end, tokens.ends_sentence):
        assert values.shape == (n,)
    assert {tokens.ids.dtype, tokens.first_piece.dtype} == {np.dtype(np.int64)}

    # Every piece belongs to one word, every word has pieces, and not too many.
    assert tokens.first_piece.shape == (n + 1,)
    assert tokens.first_piece[0] == 0 and tokens.first_piece[-1] == len(tokens.ids)
    pieces = np.diff(tokens.first_piece)
    assert (pieces > 0).all()
    assert (pieces <= MAX_WORD_PIECES).all()

    # Words come in order, share no character, and begin and end with one that is seen.
    assert (tokens.start < tokens.end).all()
    assert (tokens.end[:-1] <= tokens.start[1:]).all()
    for word in words_of(tokens, text):
        assert word and not word[0].isspace() and not word[-1].isspace()

    # What is between them, the tokenizer itself takes for nothing.
    for character in "".join(gaps(tokens, text)):
        if tokenizer.normalizer and not 0xD800 <= ord(character) < 0xE000:
            character = tokenizer.normalizer.normalize_str(character)
        elif tokenizer.normalizer:
            character = tokenizer.normalizer.normalize_str("\ufffd")
        assert not character.strip()


@every_tokenizer
@given(text=texts)
@settings(deadline=None, max_examples=60)
def test_ends_of_sentences_and_lines(tokenizer: Tokenizer, text: str) -> None:
    tokens = tokenise(tokenizer, text)
    words, (_, *after) = words_of(tokens, text), gaps(tokens, text)
    expected = [
        any(end in gap for end in LINE_ENDS) or (word[-1] in SENTENCE_ENDS and gap != "")
        for word, gap in zip(words, after, strict=True)
    ]
    assert tokens.ends_sentence.tolist() == [*expected[:-1], True][: len(words)]


def test_words_of_a_note() -> None:
    text = "\ufeffASPIRIN 3.5mg,\r\ncafe\u0301 😀 amoxicillin.\x00 Stop"
    tokens = tokenise(TOKENIZERS["wordpiece"], text)
    assert words_of(tokens, text) == [
        *("ASPIRIN", "3", ".", "5mg", ",", "cafe\u0301", "😀", "amoxicillin", ".", "Stop")
    ]
    assert tokens.start[:4].tolist() == [1, 9, 10, 11]
    assert np.diff(tokens.first_piece).tolist() == [1, 1, 1, 3, 1, 4, 1, 2, 1, 4]
    assert np.flatnonzero(tokens.ends_sentence).tolist() == [4, 8, 9]
    names = [TOKENIZERS["wordpiece"].id_to_token(int(piece)) for piece in tokens.ids[-7:]]
    assert names == ["amoxi", "##cillin", ".", "s", "##t", "##o", "##p"]


@pytest.mark.parametrize("name", ["byte level", "byte level untrimmed", "metaspace"])
def test_spaces_belong_to_no_word(name: str) -> None:
    text = " as a  b \u00a0as"
    assert words_of(tokenise(TOKENIZERS[name], text), text) == ["as", "a", "b", "as"]


def test_a_note_cannot_name_special_tokens() -> None:
    tokenizer = make_wordpiece()
    tokenizer.add_special_tokens(["[SEP]"])
    special = tokenizer.token_to_id("[SEP]")
    assert special in tokenise(tokenizer, "rash [SEP] mg").ids
    make_plain(tokenizer)
    tokens = tokenise(tokenizer, "rash [SEP] mg")
    assert special not in tokens.ids
    words = ["rash [SEP] mg"[a:b] for a, b in zip(tokens.start, tokens.end, strict=True)]
    assert words == ["rash", "[", "SEP", "]", "mg"]


def test_nothing_to_read() -> None:
    for tokenizer in TOKENIZERS.values():
        for text in ("", " ", "\r\n\t\u00a0"):
            tokens = tokenise(tokenizer, text)
            assert tokens.n_words == len(tokens.ids) == 0
            assert tokens.first_piece.tolist() == [0]


def test_only_characters_that_bert_ignores() -> None:
    assert tokenise(TOKENIZERS["wordpiece"], "\x00\ufeff\u200b\u0301\ufffd").n_words == 0


def test_lone_surrogates_keep_the_offsets() -> None:
    text = "a \ud800 rash\udfffy"
    tokens = tokenise(TOKENIZERS["wordpiece"], text)
    assert words_of(tokens, text) == ["a", "rash\udfffy"]
    tokens = tokenise(TOKENIZERS["byte level"], text)
    assert words_of(tokens, text) == ["a", "\ud800", "rash", "\udfff", "y"]


@pytest.mark.parametrize("length", [1, 23, 24, 25, 48, 49, 100])
def test_overlong_words_are_cut(length: int) -> None:
    text = f"rash {'a' * length} rash"
    tokens = tokenise(TOKENIZERS["wordpiece"], text)
    whole, rest = divmod(length, MAX_WORD_PIECES)
    expected = [MAX_WORD_PIECES] * whole + [rest] * (rest > 0)
    assert np.diff(tokens.first_piece).tolist() == [1, *expected, 1]
    assert [len(word) for word in words_of(tokens, text)] == [4, *expected, 4]


@pytest.mark.parametrize(
    ("name", "text", "lengths"),
    [
        ("wordpiece", "x" + "각" * 16, [8, 8, 1]),  # syllables of three pieces
        ("byte level", "x" + "痛" * 16, [8, 8, 1]),  # three bytes each
        ("byte level", "!!" + "😀" * 11, [7, 6]),  # four bytes each
    ],
)
def test_no_cut_inside_a_character(name: str, text: str, lengths: list[int]) -> None:
    tokens = tokenise(TOKENIZERS[name], text)
    words = words_of(tokens, text)
    assert "".join(words) == text
    assert [len(word) for word in words] == lengths


def test_one_character_of_several_words_is_one_word() -> None:
    """NFKC makes of ½ three words for this splitter; none of them could be quoted."""
    tokenizer = make_wordpiece()
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokens = tokenise(tokenizer, "a ½ b")
    assert words_of(tokens, "a ½ b") == ["a", "½", "b"]
    assert np.diff(tokens.first_piece).tolist() == [1, 3, 1]


def test_a_character_of_too_many_pieces() -> None:
    """U+FDFA is 33 bytes in NFKC; no word is longer than windows are made for."""
    tokenizer = make_byte_level()
    tokenizer.normalizer = normalizers.NFKC()
    tokens = tokenise(tokenizer, "as \ufdfa\ufdfa as")
    assert words_of(tokens, "as \ufdfa\ufdfa as") == ["as", "\ufdfa", "\ufdfa", "as"]
    assert np.diff(tokens.first_piece).tolist() == [1, MAX_WORD_PIECES, MAX_WORD_PIECES, 2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cafe\u0301 e\u0301.", ["cafe\u0301", "e\u0301", "."]),
        ("cafe\u0301\u0323", ["cafe\u0301\u0323"]),
        ("cafe \u0301rash", ["cafe", "rash"]),
        ("rash" + "\u0301" * 9, ["rash" + "\u0301" * MAX_MARKS]),
    ],
)
def test_a_word_keeps_its_last_accent(text: str, words: list[str]) -> None:
    assert words_of(tokenise(TOKENIZERS["wordpiece"], text), text) == words


def test_text_before_and_after_changes_no_word() -> None:
    tokenizer = TOKENIZERS["wordpiece"]
    note = "Rash after amoxicillin; 각각 cafe\u0301."
    alone = tokenise(tokenizer, note)
    for prefix, suffix in pairwise(["", "\ufeff", "\r\n", "😀 ", "x" * 60 + " ", "\x00"]):
        tokens = tokenise(tokenizer, prefix + note + "\n" + suffix)
        first = int(np.searchsorted(tokens.start, len(prefix)))
        mine = slice(first, first + alone.n_words)
        assert (tokens.start[mine] - len(prefix)).tolist() == alone.start.tolist()
        assert (tokens.end[mine] - len(prefix)).tolist() == alone.end.tolist()


@every_tokenizer
@given(parts=st.lists(st.sampled_from([*awkward, *[" "] * 9]), min_size=20), data=st.data())
@settings(deadline=None, max_examples=60)
def test_slabs_change_nothing(tokenizer: Tokenizer, parts: list[str], data: st.DataObject) -> None:
    """Cut before spaces, a note has the pieces, words and sentences that it has whole."""
    text = " ".join(parts)
    whole = tokenise(tokenizer, text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SLAB", data.draw(st.sampled_from([80, 100, 150])))
        slabs = tokenise(tokenizer, text)
    for field in fields(Tokens):
        assert getattr(slabs, field.name).tolist() == getattr(whole, field.name).tolist()


@every_tokenizer
@given(text=texts, data=st.data())
@settings(deadline=None, max_examples=60)
def test_words_in_slabs_keep_their_order(
    tokenizer: Tokenizer, text: str, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SLAB", data.draw(st.integers(2, 12)))
        tokens = tokenise(tokenizer, text)
    assert (tokens.start < tokens.end).all()
    assert (tokens.end[:-1] <= tokens.start[1:]).all()
    assert tokens.first_piece[-1] == len(tokens.ids)
    assert (np.diff(tokens.first_piece) > 0).all()
    assert tokens.n_words == 0 or (tokens.ends_sentence[-1] and tokens.end[-1] <= len(text))


def test_a_million_characters_without_a_space() -> None:
    text = "a" * 1_000_000
    words = words_of(tokenise(TOKENIZERS["wordpiece"], text), text)
    assert "".join(words) == text  # of a slab each, one unknown piece: WordPiece gives up on it
    assert {len(word) for word in words[:-1]} == {SLAB}
    short = "a" * 100_000
    tokens = tokenise(TOKENIZERS["byte level"], short)
    assert "".join(words_of(tokens, short)) == short
    assert np.diff(tokens.first_piece).max() == MAX_WORD_PIECES
