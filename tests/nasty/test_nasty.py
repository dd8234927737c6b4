"""Nasty notes: offsets exact, nothing lost, no crash, time and memory in proportion."""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from tokenizers import Tokenizer

from emlb_runtime import Extractor
from emlb_runtime.records import Document, Note
from emlb_runtime.text.tokens import MAX_WORD_PIECES, Tokens, tokenise
from emlb_runtime.text.windows import WindowConfig, cut_windows
from tests.fuzz.extractor import check_extracted
from tests.nasty.network import bundled_tokenizer, make_pipeline
from tests.nasty.notes import NASTY

every_kind = pytest.mark.parametrize("kind", NASTY)

WITHOUT_WORDS = {
    *("marks alone", "empty lines", "spaces", "zero width alone", "surrogates alone"),
    "NULs alone",
}
"""Of which BERT's tokenizer, which deletes what is not seen, makes nothing."""


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return bundled_tokenizer()


def extract(text: str, tokenizer: Tokenizer) -> Document:
    (document,) = make_pipeline(tokenizer)[0].run([Note("n", text)])
    return document


def check_tokens(tokens: Tokens, text: str) -> None:
    """Words strictly in order and inside the note, each with pieces and none with too many."""
    bounds = np.stack([tokens.start, tokens.end], axis=1).ravel()
    assert (bounds[::2] < bounds[1::2]).all()
    assert (bounds[1:-1:2] <= bounds[2::2]).all()
    assert not len(bounds) or (bounds[0] >= 0 and bounds[-1] <= len(text))
    pieces = np.diff(tokens.first_piece)
    assert (pieces > 0).all() and (pieces <= MAX_WORD_PIECES).all()
    assert tokens.first_piece[-1] == len(tokens.ids)
    for start, end in zip(tokens.start[:500].tolist(), tokens.end[:500].tolist(), strict=True):
        assert not text[start].isspace() and not text[end - 1].isspace()


@every_kind
def test_words_and_windows(kind: str, tokenizer: Tokenizer) -> None:
    text = NASTY[kind](12_000)
    assert len(text) > 10_000
    tokens = tokenise(tokenizer, text)
    check_tokens(tokens, text)
    assert (tokens.n_words == 0) == (kind in WITHOUT_WORDS)
    windows = cut_windows(tokens, WindowConfig())
    seen = np.zeros(tokens.n_words, dtype=int)
    for window in windows:
        seen[window.start : window.end] += 1
        pieces = tokens.first_piece[window.end] - tokens.first_piece[window.start]
        assert pieces <= WindowConfig().max_pieces - 2
    assert ((seen == 1) | (seen == 2)).all()


@every_kind
def test_slabs_lose_no_word(
    kind: str, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In small slabs a note has the same characters in words; words with spaces, the same."""
    text = NASTY[kind](6_000)
    whole = tokenise(tokenizer, text)
    monkeypatch.setattr("emlb_runtime.text.tokens.SLAB", 1000)
    slabs = tokenise(tokenizer, text)
    check_tokens(slabs, text)

    def covered(tokens: Tokens) -> bytes:
        edges = np.zeros(len(text) + 1, dtype=int)
        np.add.at(edges, tokens.start, 1)
        np.add.at(edges, tokens.end, -1)
        return np.cumsum(edges).tobytes()

    # A tower of marks may lose more than MAX_MARKS behind a cut: they belong to no word there.
    if kind not in ("a tower of marks", "any code points"):
        assert covered(slabs) == covered(whole)


@every_kind
def test_mentions_lie_on_the_text(kind: str, tokenizer: Tokenizer) -> None:
    """With a network that finds something everywhere."""
    text = NASTY[kind](2_500)
    document = extract(text, tokenizer)
    check_extracted(document, text)
    assert extract(text, tokenizer) == document
    assert document.entities or kind in WITHOUT_WORDS or tokenise(tokenizer, text).n_words < 50


@pytest.fixture(scope="module")
def tiny(tiny_bundle: Path) -> Extractor:
    return Extractor.load(tiny_bundle, provider="cpu", workers=1)


@every_kind
def test_a_real_extractor(kind: str, tiny: Extractor) -> None:
    text = NASTY[kind](1_000)
    check_extracted(tiny.extract(text), text)


@pytest.fixture(scope="module")
def bundled() -> Extractor:
    return Extractor.load(provider="cpu", workers=1)


@pytest.mark.parametrize(
    "kind",
    [
        *("bidi controls", "combining marks", "emoji", "line ends", "capitals in tables"),
        *("zero width", "lone surrogates", "NULs", "expanders", "Hangul jamo", "special tokens"),
    ],
)
def test_the_bundled_model(kind: str, bundled: Extractor) -> None:
    text = NASTY[kind](1_200)
    document = bundled.extract(text)
    check_extracted(document, text)
    assert document.entities or kind in ("special tokens", "Hangul jamo")


def seconds(text: str, tokenizer: Tokenizer) -> float:
    """Processor time of tokenising and cutting; the median of five."""
    taken = []
    for _ in range(5):
        started = time.process_time()
        cut_windows(tokenise(tokenizer, text), WindowConfig())
        taken.append(time.process_time() - started)
    return median(taken)


@every_kind
def test_time_is_linear(kind: str, tokenizer: Tokenizer) -> None:
    """Eight times the note takes far less than the sixty-four times of a quadratic."""
    short, long = (NASTY[kind](size) for size in (5_000, 40_000))
    assert seconds(long, tokenizer) < 28 * seconds(short, tokenizer) + 0.05


@every_kind
def test_work_is_linear(kind: str, tokenizer: Tokenizer) -> None:
    """The network sees each piece at most twice, however long the note."""
    text = NASTY[kind](5_000)
    pipeline, network = make_pipeline(tokenizer)
    (document,) = pipeline.run([Note("n", text)])
    tokens = tokenise(tokenizer, text)
    assert document.status is not None and document.status.windows == network.windows
    assert network.pieces <= 2 * len(tokens.ids) + 2 * network.windows
    assert network.windows <= 1 + len(tokens.ids) / (158 - 40 - 24 - MAX_WORD_PIECES)


@pytest.mark.parametrize(
    "kind",
    [
        "capitals in tables",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in NASTY),
    ],
)
def test_memory_is_bounded(
    kind: str, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python and numpy hold a slab's arrays, and of the rest what words and pieces take."""
    monkeypatch.setattr("emlb_runtime.text.tokens.SLAB", 2**14)
    text = NASTY[kind](2**18)
    tracemalloc.start()
    try:
        tokens = tokenise(tokenizer, text)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    kept = 8 * len(tokens.ids) + 33 * tokens.n_words
    assert peak < 2**14 * 600 + 3 * kept


FIFTY_MEGABYTES = """
import resource, sys
from emlb_runtime.formats.notes import read_note
from pathlib import Path
from tests.fuzz.extractor import check_extracted
from tests.nasty.network import bundled_tokenizer, make_pipeline
note = read_note(Path(sys.argv[1]), name="n")
(document,) = make_pipeline(bundled_tokenizer())[0].run([note])
assert len(document.entities) > 100_000, len(document.entities)
assert document.status.characters == len(note.text)
for entity in document.entities:
    assert note.text[entity.start : entity.end] == entity.text
print(document.status.windows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_fifty_megabytes(tmp_path: Path) -> None:
    """A note of 50 MB is read whole; memory is what its words and mentions take."""
    path = tmp_path / "note.txt"
    part = NASTY["capitals in tables"](100_000) + NASTY["line ends"](100_000).replace("asp", "")
    data = (part + NASTY["base64"](50_000)).encode()
    path.write_bytes(data * (50_000_000 // len(data)))
    done = subprocess.run(
        [sys.executable, "-c", FIFTY_MEGABYTES, str(path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    windows, megabytes = map(int, done.stdout.split())
    assert windows > 100_000
    assert megabytes < 6_000
