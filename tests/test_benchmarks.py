"""The benchmark beside peers: rounds, statistics, processes and report, without any peer."""

from __future__ import annotations

import io
import json
import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.contest import registry
from benchmarks.contest.peer import Found, Peer, cut_words
from benchmarks.contest.processes import Process
from benchmarks.contest.records import ContestantError, Counts, Example, Job
from benchmarks.contest.registry import CONTESTANTS, Entry, choose, pythons
from benchmarks.contest.report import Report, Standing
from benchmarks.contest.rounds import Rounds, Spread, pick_sample, rotated, run_rounds
from benchmarks.contest.worker import Worker, serve
from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.extract import load_pipeline
from emlb_runtime.records import Note

MARKER = "Zyxxqolimab"
JOB = Job(1, "folder", None, ("Drug",), 24, ("a.txt",), (Example("b.txt", ((0, 4, "Drug"),)),))


def test_rounds_rotate_and_warm_ups_do_not_count() -> None:
    order: list[str] = []

    def measure(name: str) -> float:
        order.append(name)
        return float(len(order))

    rounds = run_rounds(["a", "b", "c"], measure, rounds=2)
    assert order == [*"cab", *"abc", *"bca"]
    assert rounds.seconds == {"a": [4.0, 9.0], "b": [5.0, 7.0], "c": [6.0, 8.0]}
    assert rounds.failures == {}


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_one_that_fails_is_out_and_the_others_go_on(failing: int) -> None:
    runs = dict.fromkeys("abc", 0)

    def measure(name: str) -> float:
        runs[name] += 1
        if name == "b" and runs[name] == failing:
            raise ContestantError("it is tired")
        return 1.0

    rounds = run_rounds([*"abc"], measure, rounds=2)
    assert runs == {"a": 3, "b": failing, "c": 3}
    assert rounds == Rounds({"a": [1.0, 1.0], "c": [1.0, 1.0]}, {"b": "it is tired"})


def test_ratios_are_taken_within_a_round() -> None:
    # The machine was twice, then four times as slow: seconds vary, the quotients do not.
    rounds = Rounds({"ours": [1.0, 2.0, 4.0], "peer": [3.0, 6.0, 12.0]}, {})
    assert rounds.ratio("peer", to="ours") == Spread(3.0, 3.0, 3.0)
    assert rounds.ratio("ours", to="ours") == Spread(1.0, 1.0, 1.0)
    assert rounds.spread("peer") == Spread(6.0, 3.0, 12.0)
    uneven = Rounds({"ours": [1.0, 10.0, 1.0], "peer": [2.0, 10.0, 8.0]}, {})
    assert uneven.ratio("peer", to="ours") == Spread(2.0, 1.0, 8.0)


@given(st.lists(st.integers(), unique=True, min_size=1, max_size=8), st.integers(-3, 20))
def test_every_contestant_has_every_place(values: list[int], first: int) -> None:
    names = [str(value) for value in values]
    orders = [rotated(names, first + number) for number in range(len(names))]
    assert all(sorted(order) == sorted(names) for order in orders)
    assert all({order[place] for order in orders} == set(names) for place in range(len(names)))


@given(st.lists(st.integers(0, 500), min_size=1, max_size=60), st.integers(1, 5000))
def test_samples_are_distinct_and_in_order(sizes: list[int], wanted: int) -> None:
    picked = pick_sample(sizes, wanted)
    assert picked == sorted(set(picked)) and picked
    assert 0 <= picked[0] and picked[-1] < len(sizes)
    if sum(sizes) <= wanted:
        assert len(picked) == len(sizes)


def test_a_sample_is_spread_and_about_as_large_as_wanted() -> None:
    assert pick_sample([10] * 100, 50) == [0, 20, 40, 60, 80]
    assert pick_sample([10] * 100, 1) == [0]


def test_choosing() -> None:
    assert choose("", "") == list(CONTESTANTS)
    assert choose("spacy, emlb-int8", "") == ["emlb-int8", "spacy"]
    assert "spacy" not in choose("", "spacy")
    with pytest.raises(ContestantError, match="no contestant nobody; there are emlb-int8, "):
        choose("nobody", "")
    with pytest.raises(ContestantError, match="no contestant is left"):
        choose("spacy", "spacy")


def test_pythons() -> None:
    named = pythons(["peers=P", "gliner=G"], default="D")
    assert (named["gliner"], named["spacy"], named["emlb-int8"]) == ("G", "P", "D")
    with pytest.raises(ContestantError, match="give NAME=PYTHON"):
        pythons(["spacy"], default="D")
    with pytest.raises(ContestantError, match="no contestant nobody"):
        pythons(["nobody=P"], default="D")


def test_a_job_survives_json() -> None:
    assert Job.from_json(json.loads(json.dumps(asdict(JOB)))) == JOB


class Marked(Peer):
    """Finds a word; fails on notes that say so, quoting them."""

    settings = ({"batch": 1}, {"batch": 2})

    def __init__(self, job: Job, word: str) -> None:
        self._word = word
        self.types = job.entity_types

    def find(self, texts: Iterable[str]) -> Iterator[list[Found]]:
        for text in texts:
            if "fail" in text:
                raise ValueError(text)
            start = text.find(self._word)
            here = [Found(start, start + len(self._word), self.types[0], 0.5)]
            yield here if start >= 0 else []


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> str:
    """A contestant of these tests, by name."""
    module = types.ModuleType("benchmarks.contest.marked")
    module.__dict__["make"] = lambda job, word: Marked(job, word)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    entry = Entry("marked", "make", "a test", {"word": MARKER}, ("numpy", "no-such-package"))
    monkeypatch.setitem(registry.CONTESTANTS, "marked", entry)
    return "marked"


def write_notes(folder: Path, texts: Sequence[str]) -> list[str]:
    paths = [folder / f"{number}.txt" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(text.encode("utf-8"))
    return [str(path) for path in paths]


def ask(commands: Iterable[dict[str, object]]) -> list[dict[str, object]]:
    answers = io.StringIO()
    serve(io.StringIO("".join(json.dumps(command) + "\n" for command in commands)), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_a_worker_loads_tunes_and_runs(marked: str, tmp_path: Path) -> None:
    paths = write_notes(tmp_path, [f"rash\r\nafter {MARKER}", "naïve\n", f"{MARKER} 😀"])
    loaded, tuned, ready, ran = ask(
        [
            {"do": "load", "contestant": marked, "job": asdict(JOB)},
            {"do": "tune", "paths": paths[:1]},
            {"do": "prepare", "paths": paths},
            {"do": "run", "paths": paths},
        ]
    )
    assert loaded["packages"] and "no-such-package" not in str(loaded["packages"])
    assert tuned["setting"] in ({"batch": 1}, {"batch": 2})
    assert isinstance(tuned["tried"], list) and len(tuned["tried"]) == 2
    assert ready == {}
    seconds = ran.pop("seconds")
    assert isinstance(seconds, float) and seconds > 0
    assert ran == {"notes": 3, "characters": 23 + 6 + 13, "entities": 2, "relations": None}


def test_a_worker_tells_what_failed_without_the_note(marked: str, tmp_path: Path) -> None:
    paths = write_notes(tmp_path, [f"fail {MARKER}"])
    _, failed, again = ask(
        [
            {"do": "load", "contestant": marked, "job": asdict(JOB)},
            {"do": "run", "paths": paths},
            {"do": "run", "paths": []},
        ]
    )
    assert str(failed["error"]).startswith("run failed: ValueError in test_benchmarks.py, line ")
    assert MARKER not in str(failed)
    assert again["notes"] == 0  # it goes on


def test_entities_alone_ask_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(registry.__file__).parents[1])  # as its scripts run
    from benchmarks.contest.ours import entities_alone

    pipeline = load_pipeline(Bundle.load())
    pipeline.heads = tuple(entities_alone(head) for head in pipeline.heads)
    (document,) = pipeline.run([Note("n", "She developed a rash after amoxicillin.")])
    assert [entity.type for entity in document.entities] == ["Disorder", "Drug"]
    assert document.relations == ()


def test_what_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(ContestantError) as caught:
        Worker().load("spacy", JOB)
    assert str(caught.value) == (
        "spacy is not installed, or not wholly (no module spacy):"
        " see benchmarks/peers-requirements.txt and --python"
    )


def test_a_process_answers_and_ends() -> None:
    with Process(sys.executable, cores=1) as process:
        for _ in range(2):
            with pytest.raises(ContestantError, match="no contestant is loaded"):
                process.run([])


def test_a_process_that_dies_or_cannot_start(tmp_path: Path) -> None:
    dying = tmp_path / "dying"
    dying.write_text(f"#!{sys.executable}\nraise SystemExit(3)\n", encoding="utf-8")
    dying.chmod(0o700)
    with (
        Process(str(dying), cores=1) as process,
        pytest.raises(ContestantError, match="run: the process died with exit code 3"),
    ):
        process.run([])
    with pytest.raises(ContestantError, match="cannot be run: No such file"):
        Process(str(tmp_path / "missing"), cores=1)


def test_a_process_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n", encoding="utf-8")
    slow.chmod(0o700)
    with (
        Process(str(slow), cores=1, timeout=0.2) as process,
        pytest.raises(ContestantError, match=r"run: the process took over 0\.2 s"),
    ):
        process.run([])


@given(st.text(alphabet="ab-_ .,\né😀", max_size=40), st.integers(1, 5))
def test_windows_of_words_cover_the_note(text: str, words: int) -> None:
    windows = cut_words(text, words)
    assert [final for _, _, final in windows] == [False] * (len(windows) - 1) + [True]
    covered = {start + at for start, part, _ in windows for at in range(len(part))}
    assert all(text[start : start + len(part)] == part for start, part, _ in windows)
    assert {at for at, letter in enumerate(text) if not letter.isspace()} <= covered


def test_the_report(tmp_path: Path) -> None:
    facts = {"python": "3.11.7", "packages": {"onnxruntime": "1.32.0"}}
    ours = asdict(Counts(2, 90, 5, 3))
    report = Report(
        machine={"processor": "Z80", "instructions": None, "system": "CP/M", "cores": 1, "load": 0},
        notes={"notes": 2, "characters": 90, "pieces": 60},
        model="small 1.0",
        rounds=Rounds({"emlb-int8": [1.0, 2.0], "spacy": [4.0, 4.0]}, {}),
        standings={
            "emlb-int8": Standing(facts, {"workers": 1, "batch": 1}, [], ours),
            "spacy": Standing(facts, {"batch": 8}, [], asdict(Counts(2, 90, 7))),
        },
        skipped={"gliner": "gliner is not installed"},
        reference="emlb-int8",
    )
    written = report.write(tmp_path / "results")
    assert [path.name for path in written] == ["speed.json", "speed.md"]
    values = json.loads(written[0].read_text(encoding="utf-8"))
    assert values["contestants"]["spacy"]["times_emlb-int8"] == {
        "median": 3.0,
        "low": 2.0,
        "high": 4.0,
    }
    assert values["contestants"]["spacy"]["pieces_per_second"] == 15.0
    table = written[1].read_text(encoding="utf-8")
    assert "| workers 1, batch 1 | 1.33 | 40 | 5 and 3 relations | 1.00 |" in table
    assert "| batch 8 | 0.50 | 15 | 7 | 3.00 (2.00–4.00) |" in table
    assert "* `gliner`: gliner is not installed" in table
    assert "Versions: `emlb-int8` `spacy` python 3.11.7, onnxruntime 1.32.0." in table


def test_every_entry_names_a_module_and_options(repo: Path) -> None:
    for entry in CONTESTANTS.values():
        source = (repo / "benchmarks" / "contest" / f"{entry.module}.py").read_text("utf-8")
        assert f"def {entry.maker}(job: Job" in source
