"""Compressed JSON lines read as the lines they hold; damaged ones and bombs are refused."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from emlb_runtime.errors import DataError
from emlb_runtime.formats import document_to_json, read_documents, read_mixture
from emlb_runtime.formats.files.limits import MIB
from emlb_runtime.records import Document, Entity, Note
from tests.memory import peak_below

MARKER = "Zebedee"
TEXT = f"Rash 😀 {MARKER}."
LINE = b'{"note": "a", "entities": []}\n'
ALIKE = b'{"note": "a", "entities": [], "text": "' + b" " * 1000 + b'"}\n'


def lines(number: int) -> bytes:
    """Documents that differ, as those of notes do."""
    made = []
    for place in range(number):
        note = Note(f"visit-{place}", TEXT)
        document = Document(note, (Entity.annotate(note, "T1", "Rash", ((0, 4),), score=0.5),))
        made.append(json.dumps(document_to_json(document, with_text=True), ensure_ascii=False))
    return "".join(f"{line}\n" for line in made).encode()


@pytest.mark.parametrize("name", ["d.jsonl", "d.jsonl.gz", "d"])
def test_compressed_documents_read_as_plain_ones(tmp_path: Path, name: str) -> None:
    data = lines(300)
    (tmp_path / "plain").write_bytes(data)
    half = data.index(b"\n", len(data) // 2) - 3  # a member may end anywhere
    path = tmp_path / name
    path.write_bytes(gzip.compress(data[:half]) + gzip.compress(b"") + gzip.compress(data[half:]))
    read = list(read_documents(path))
    assert read == list(read_documents(tmp_path / "plain"))
    assert len(read) == 300
    assert all(report.problems == () for _, report in read)
    assert read[299][0].entities[0].text == "Rash"


def test_a_compressed_mixture(tmp_path: Path) -> None:
    value = {"corpus": "ade", "doc": "7", "text": TEXT, "entities": [["R", [[0, 4]]]]}
    path = tmp_path / "mixture.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(value | {"relations": []}).encode()))
    ((document, corpus, _),) = read_mixture(path)
    assert (document.note.name, document.note.text, corpus) == ("ade/7", TEXT, "ade")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-4],
        lambda data: data[:200] + bytes([data[200] ^ 255]) + data[201:],
        lambda data: data + LINE,
        lambda data: data[:5],
    ],
    ids=["half", "no end", "a changed byte", "more behind", "five bytes"],
)
def test_a_damaged_file_is_refused(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "d.jsonl.gz"
    path.write_bytes(spoil(gzip.compress(lines(300))))
    refused = r"d\.jsonl\.gz: cannot be read \(it is compressed, and ends early or is damaged\)"
    with pytest.raises(DataError, match=refused) as caught:
        list(read_documents(path))
    assert MARKER not in str(caught.value)


def bomb(path: Path, piece: bytes, *, size: int) -> Path:
    """A small file that decompresses to pieces without end."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    with path.open("wb") as file:
        for _ in range(size // len(piece)):
            file.write(squeeze.compress(piece))
        file.write(squeeze.flush())
    return path


@pytest.mark.parametrize("piece", [b"\n", b"x", ALIKE], ids=["lines", "a line", "documents"])
def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path, piece: bytes) -> None:
    path = bomb(tmp_path / "d.jsonl.gz", piece * (MIB // len(piece)), size=100 * MIB)
    assert path.stat().st_size < MIB
    with (
        # Watching takes time for each of four million lines.
        peak_below(20 * MIB) if piece != b"\n" else nullcontext(),
        pytest.raises(
            DataError,
            match=r"d\.jsonl\.gz:\d+: it has more than 200 times its compressed size, the most that"
            r" is read: split it, or set EMLB_MAX_EXPANSION higher",
        ),
    ):
        for _ in read_documents(path):
            pass


def test_the_limits_of_lines_count_what_is_decompressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.jsonl.gz"
    path.write_bytes(gzip.compress(LINE + b'{"note": "' + b"ab" * MIB + b'"}'))
    monkeypatch.setenv("EMLB_MAX_LINE", "2")
    with pytest.raises(DataError, match=r"gz:2: it has more than 2 MiB, .* set EMLB_MAX_LINE"):
        list(read_documents(path))


def test_what_is_much_alike_is_read_if_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bomb(tmp_path / "d.jsonl.gz", ALIKE * 100, size=5 * MIB)
    with pytest.raises(DataError, match="EMLB_MAX_EXPANSION"):
        list(read_documents(path))
    monkeypatch.setenv("EMLB_MAX_EXPANSION", "2000")
    assert sum(1 for _ in read_documents(path)) == 100 * (5 * MIB // len(ALIKE * 100))
    monkeypatch.delenv("EMLB_MAX_EXPANSION")
    small = bomb(tmp_path / "small.jsonl.gz", ALIKE * 100, size=3 * MIB)
    assert sum(1 for _ in read_documents(small)) == 100 * (3 * MIB // len(ALIKE * 100))


def test_zstandard(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl.zst"
    if sys.version_info >= (3, 14):
        from compression import zstd

        path.write_bytes(zstd.compress(lines(3)))
        assert len(list(read_documents(path))) == 3
        path.write_bytes(zstd.compress(lines(3))[:-3])
        with pytest.raises(DataError, match="it is compressed, and ends early or is damaged"):
            list(read_documents(path))
    else:
        path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(9))
        with pytest.raises(DataError, match="Zstandard, which Python reads from 3.14 on; decomp"):
            list(read_documents(path))
