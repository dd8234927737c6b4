"""The benchmark of endurance on a few notes: what it makes, measures, finds wrong and writes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.marathon import threads
from benchmarks.marathon.lengths import Lengths
from benchmarks.marathon.many import measure_memory, measure_short
from benchmarks.marathon.report import EnduranceError, Measurement, Row, write_report
from benchmarks.marathon.texts import (
    cut_parts,
    lay_out,
    read_texts,
    short_notes,
    spread_lengths,
    write_folder,
    write_table,
)
from benchmarks.marathon.threads import ONE, STREAM, Sharing, measure_soak
from benchmarks.marathon.watch import Sample, Watched, check_presence, read_memory
from emlb_runtime.extract import Extractor
from emlb_runtime.formats.notes import find_notes, read_notes
from emlb_runtime.records import Document, Note
from emlb_runtime.text.tokens import Tokens

MARKER = "Zyxxqolimab"
TEXTS = [
    "Rash after amoxicillin 500 mg. It cleared in a week.\nNo fever! Chest clear?\n",
    "She takes aspirin daily. No bleeding was seen.",
    "Metformin 1 g twice daily; nausea since. Stopped. Better now.",
]
NOTES = [Note(f"n{number}", text) for number, text in enumerate(TEXTS)]

on_linux = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory is read from /proc"
)


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return Extractor.load(provider="cpu", workers=2)


@given(
    st.lists(st.text(alphabet="ab", min_size=1, max_size=9), min_size=1, max_size=9, unique=True),
    st.integers(1, 40),
)
def test_notes_are_spread_over_all_lengths(texts: list[str], count: int) -> None:
    chosen = spread_lengths(texts, count)
    assert len(chosen) == count and max(texts, key=len) in chosen
    often = [chosen.count(text) for text in texts]
    assert max(often) - min(often) <= 1


def test_short_notes_are_whole_sentences_of_one_note() -> None:
    made = list(short_notes(TEXTS, 200))
    assert len(made) == 200 == len(list(islice(short_notes(TEXTS, 500), 200)))
    assert set(made) >= {TEXTS[1], "Stopped. Better now.", "No fever! Chest clear?"}
    assert all(any(part in text for text in TEXTS) for part in made)
    assert all(2 <= sum(map(part.count, ".!?;")) <= 5 for part in made)
    assert made == list(short_notes(TEXTS, 200))
    for useless in (["One sentence."], ["1.\n2.\n3."]):
        with pytest.raises(EnduranceError, match="there is nothing to cut"):
            list(short_notes(useless, 1))


def test_notes_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"rash \xff")
    with pytest.raises(EnduranceError, match=r"bad\.txt: it is not valid utf-8"):
        read_texts([str(tmp_path)])
    (tmp_path / "bad.txt").write_bytes(b" \n")
    with pytest.raises(EnduranceError, match="no note with any text"):
        read_texts([str(tmp_path)])


def test_what_is_written_is_read_as_it_was(tmp_path: Path) -> None:
    texts = [*TEXTS, 'says "no",\r\nand 37 °C', MARKER]
    folder, table = tmp_path / "notes", tmp_path / "notes.csv"
    for place, names in (
        (folder, write_folder(folder, iter(texts))),
        (table, write_table(table, iter(texts))),
    ):
        found = list(read_notes(find_notes([place.as_posix()])))
        assert found == [Note(name, text) for name, text in zip(names, texts, strict=True)]


@pytest.mark.parametrize("pieces", [7, 40])
def test_parts_have_their_length_and_follow_each_other(extractor: Extractor, pieces: int) -> None:
    def tokenise(text: str) -> Tokens:
        return extractor.pipeline.prepare(Note("", text)).tokens

    text = lay_out(TEXTS, 5 * pieces, tokenise)
    parts = cut_parts(text, tokenise(text), pieces=pieces, count=5)
    longest = 6  # pieces of a word of these notes
    assert all(0 < size < pieces + longest for _, size in parts)
    assert abs(sum(size for _, size in parts) - 5 * pieces) < longest
    assert [len(tokenise(part).ids) for part, _ in parts] == [size for _, size in parts]
    assert "".join("".join(part for part, _ in parts).split()) in "".join(text.split())


def test_lengths_are_compared_by_piece(extractor: Extractor) -> None:
    lengths = Lengths(TEXTS, extractor, lengths=[20, 60, 200], together=60)
    assert lengths.names == ["20", "60", "200"]
    assert 59 < lengths.pieces("20") < 66 and 199 < lengths.pieces("200") < 206
    assert all(lengths.run(name) > 0 for name in lengths.names)
    assert all(len(used) == 1 and used[0] > 0 for used in lengths.processor.values())
    seconds = {name: [9.0, 0.001 * lengths.pieces(name)] for name in lengths.names}
    lengths.processor = {name: [values[1], 9.0] for name, values in seconds.items()}
    seconds["200"] = [99.0, 0.0014 * lengths.pieces("200")]
    short, long = lengths.conclude(seconds, reference="60").rows
    assert (short.measured, short.reached) == ("+0.0 % processor, +0.0 % time", True)
    assert (long.measured, long.reached) == ("+0.0 % processor, +40.0 % time", False)


class Faulty(Extractor):
    """Wrong about one note, and unable to read another, quoting it, after a good first pass."""

    @classmethod
    def like(cls, extractor: Extractor, *, wrong: str = "", failing: str = "") -> Faulty:
        faulty = cls.load(provider="cpu", workers=extractor.info.workers)
        faulty.wrong, faulty.failing, faulty.asked = wrong, failing, 0
        return faulty

    wrong: str
    failing: str
    asked: int

    def extract(self, text: str, *, name: str = "") -> Document:
        self.asked += 1
        if name == self.failing and self.asked > len(NOTES):
            raise ValueError(f"{MARKER} {text}")
        document = super().extract(text, name=name)
        if name == self.wrong and self.asked > len(NOTES):
            return replace(document, entities=())
        return document


def test_threads_give_the_same_answers(extractor: Extractor) -> None:
    sharing = Sharing(NOTES, extractor, threads=8)
    assert sharing.names == [ONE, "8 threads", STREAM]
    assert [document.note for document in sharing.expected] == NOTES
    assert any(document.entities for document in sharing.expected)
    for name in sharing.names:
        assert sharing.run(name) > 0
    seconds = {ONE: [2.0, 3.0, 4.0], "8 threads": [1.0, 4.0, 2.0], STREAM: [1.0, 1.0, 1.0]}
    speed, answers = sharing.conclude(seconds).rows
    assert (speed.measured, speed.reached) == ("2.00× (0.75–2.00)", True)
    assert (answers.measured, answers.reached) == ("0", True)
    slower = sharing.conclude(seconds | {"8 threads": [2.1, 3.1, 4.1]}).rows[0]
    assert not slower.reached


def test_another_answer_is_noticed(extractor: Extractor) -> None:
    sharing = Sharing(NOTES, Faulty.like(extractor, wrong="n0"), threads=2)
    sharing.run("2 threads")
    sharing.run(ONE)
    answers = sharing.conclude(dict.fromkeys(sharing.names, [1.0])).rows[1]
    assert (answers.measured, answers.reached) == ("2", False)


@on_linux
def test_a_soak_counts_answers_and_errors(extractor: Extractor) -> None:
    before = time.perf_counter()
    good = measure_soak(NOTES, extractor, threads=3, seconds=0.5, interval=0.05)
    assert time.perf_counter() - before < 60  # and not for ever
    assert good.figures["answers"] >= 3 and good.figures["resident_at_the_end"] > 2**20
    assert [row.reached for row in good.rows[:2]] == [True, True]
    faulty = Faulty.like(extractor, wrong="n0", failing="n1")
    bad = measure_soak(NOTES, faulty, threads=3, seconds=0.5, interval=0.05)
    assert bad.figures["wrong"] > 0 and bad.figures["errors"]["ValueError"] > 0
    assert [row.reached for row in bad.rows[:2]] == [False, False]
    assert MARKER not in str(bad)


@pytest.mark.parametrize(("step", "reached"), [(1.0, True), (1.03, False)])
def test_a_soak_notices_growth(
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch, step: float, reached: bool
) -> None:
    grown = (int(2**28 * step**number) for number in count())
    monkeypatch.setattr(threads, "read_memory", lambda: (next(grown), 0))
    memory = measure_soak(NOTES, extractor, threads=2, seconds=0.5, interval=0.02).rows[2]
    assert memory.reached is reached


@on_linux
def test_memory_is_that_of_the_process() -> None:
    resident, peak = read_memory()
    assert 2**20 < resident <= peak

    # A process of its own: in this one memory that earlier tests have freed may be used again.
    holding = "held = b'x' * (64 << 20); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin and child.stdout and child.stdout.readline()
        of_child, its_peak = read_memory(child.pid)
        child.stdin.write(b"\n")
        child.stdin.close()
    assert 64 << 20 < of_child <= its_peak < 256 << 20
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
        with pytest.raises(ProcessLookupError):
            read_memory(child.pid)


def test_memory_at_a_share_of_the_output() -> None:
    samples = [Sample(n, 100 + n, 200, written=10 * n) for n in range(101)]
    watched = Watched(101.0, samples, 1000)
    assert (watched.peak, watched.resident_when(0.1), watched.resident_when(0.5)) == (200, 110, 150)
    assert Watched(1.0, samples[:41], 1000).resident_when(0.9) == 140


def test_lost_doubled_failed_and_unknown_notes(tmp_path: Path) -> None:
    lines: list[dict[str, str]] = [{"note": name} for name in ("a", "b", "b", "other")]
    lines.append({"note": "d", "error": "it cannot be read"})
    out = tmp_path / "out.jsonl"
    out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    presence = check_presence(out, ["a", "b", "c", "d"])
    assert str(presence) == "1 once, 1 missing, 1 doubled, 1 failed, 1 unknown"
    assert not presence.is_complete
    assert check_presence(out, ["a", "b", "d", "other"]).missing == 0


@on_linux
@pytest.mark.parametrize("kind", ["folder", "table"])
def test_memory_of_few_and_many(tmp_path: Path, kind: str) -> None:
    found = measure_memory(TEXTS, tmp_path, few=2, many=9, kind=kind, model=None)
    assert [row.what for row in found.rows][0] == "peak memory, 9 notes against 2"
    assert found.rows[1].reached and found.rows[2].measured == "9 once"
    few, many = found.figures["runs"][2], found.figures["runs"][9]
    assert min(few["peak_bytes"], many["peak_bytes"]) > 50 * 2**20
    assert found.figures["peak_ratio"] == many["peak_bytes"] / few["peak_bytes"]
    assert not list(tmp_path.glob("*.jsonl*"))


@on_linux
def test_a_run_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(EnduranceError, match="emlb-run ended with exit code 2"):
        measure_short(TEXTS, tmp_path, count=2, kind="folder", model=str(tmp_path / "none"))


def test_the_report_keeps_what_was_measured_before(tmp_path: Path) -> None:
    def measured(name: str, said: str, *, reached: bool | None) -> Measurement:
        return Measurement(name, [Row(f"{name}?", "≤ 1", said, reached)], {"x": 1}, "with care.")

    def write(measurement: Measurement, run: str) -> str:
        facts = {"run": run, "machine": {"cores": 1}}
        paths = write_report(tmp_path, measurement, order=["a", "b"], facts=facts)
        assert [path.name for path in paths] == ["endurance.json", "endurance.md"]
        return paths[1].read_text(encoding="utf-8")

    write(measured("b", "2", reached=False), "a Z80")
    write(measured("a", "0.5", reached=True), "a 6502")
    table = write(measured("b", "0.7", reached=None), "a 6502")
    assert "| a? | ≤ 1 | 0.5 | yes |\n| b? | ≤ 1 | 0.7 | – |\n" in table
    assert "`a`, `b`: a 6502." in table and "Z80" not in table
    values = json.loads((tmp_path / "endurance.json").read_text(encoding="utf-8"))
    assert list(values) == ["a", "b"] and values["b"]["rows"][0]["measured"] == "0.7"
    (tmp_path / "endurance.json").write_text('{"a": {}}', encoding="utf-8")
    with pytest.raises(EnduranceError, match="name another --out"):
        write(measured("a", "1", reached=True), "a 6502")


@on_linux
@pytest.mark.slow
def test_all_measurements(repo: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    write_folder(notes, iter([*TEXTS, MARKER, *TEXTS]))
    sizes = "--rounds 1 --few 4 --many 8 --short 400 --lengths 20 60 200 --reference 60"
    sizes += " --together 60 --threads 3 --shared 5 --soaked 3 --minutes 0.02"
    script = repo / "benchmarks" / "endurance.py"
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, script, "all", notes, *sizes.split(), "--out", out],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    values = json.loads((out / "endurance.json").read_text(encoding="utf-8"))
    assert list(values) == ["memory", "linear", "threads", "short-notes", "soak"]
    left = [path.read_text(encoding="utf-8") for path in out.iterdir()]
    assert all(MARKER not in text for text in [done.stdout, done.stderr, *left])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["all", "notes"], "all comes first, and needs --out"),
        (["linear", "notes", "--reference", "7"], "--reference one of them"),
        (["soak", "notes", "--threads", "0"], "--threads must be at least 1"),
        (["memory", "no-such-folder"], "memory: no-such-folder: there is no such file or folder"),
    ],
)
def test_wrong_options(repo: Path, arguments: list[str], said: str) -> None:
    script = repo / "benchmarks" / "endurance.py"
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode and said in done.stderr and "Traceback" not in done.stderr
