"""Thresholds and calibration per precision, and what int8 may cost."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from emlb_export.export import export
from emlb_export.tuning import CHANCE, Loss, find_development, tune_precision
from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.errors import ArtefactError, BundleError, ConfigError
from emlb_runtime.extract import load_pipeline
from tests.tiny import RELATIONS, TinyRun


def run_record(run: TinyRun) -> dict[str, object]:
    values: dict[str, object] = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))
    return values


def test_each_precision_has_thresholds_of_its_own(tiny_run: TinyRun, tmp_path: Path) -> None:
    said: list[str] = []
    out = export(tiny_run.folder, out=tmp_path / "b", quantize=True, say=said.append)
    config = Bundle.load(out).config
    assert set(config.tuned) == {"int8"}
    assert config.tasks_of("fp32") == config.tasks
    for precision in ("fp32", "int8"):
        (task,) = config.tasks_of(precision)
        assert task.thresholds is not None and set(task.thresholds) == set(RELATIONS)
        (head,) = load_pipeline(Bundle.load(out), precision=precision).heads
        assert head.task == task
    assert any("int8 loses" in line and "8 development documents" in line for line in said)
    assert "int8 loses" in (out / "README.md").read_text(encoding="utf-8")


def test_int8_has_those_of_its_own_heads(tiny_run: TinyRun, tiny_bundle: Path) -> None:
    bundle = Bundle.load(tiny_bundle)
    corpora = find_development(run_record(tiny_run), bundle.config.tasks, None, print)
    for precision in ("int8", "fp32"):
        tuned = tune_precision(bundle, precision, corpora).tasks
        assert bundle.config.tasks_of(precision) == tuned


def test_those_of_the_training_are_kept_on_demand(tiny_run: TinyRun, tmp_path: Path) -> None:
    out = export(tiny_run.folder, out=tmp_path / "b", quantize=True, tuned=False)
    config = Bundle.load(out).config
    trained = json.loads((tiny_run.model / "config.json").read_text(encoding="utf-8"))
    assert [task.to_json() for task in config.tasks] == trained["tasks"]
    assert config.tuned == {}


def moved(run: TinyRun, folder: Path) -> Path:
    """A copy of the run whose corpora are no longer where they were."""
    copy = Path(shutil.copytree(run.folder, folder / "run"))
    record = run_record(run)
    assert isinstance(record["config"], dict)
    record["config"]["data"] = str(folder / "gone")
    (copy / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return copy


def test_corpora_that_moved(tiny_run: TinyRun, tmp_path: Path) -> None:
    said: list[str] = []
    copy = moved(tiny_run, tmp_path)
    out = export(copy, out=tmp_path / "b", quantize=True, say=said.append)
    assert Bundle.load(out).config.tuned == {}
    assert any("thresholds are those of the training" in s and "--data" in s for s in said)
    found = export(copy, out=tmp_path / "c", quantize=True, data=tiny_run.data.parent)
    assert set(Bundle.load(found).config.tuned) == {"int8"}
    with pytest.raises(ConfigError, match="--data"):
        export(copy, out=tmp_path / "d", quantize=True, data=tmp_path)
    assert not (tmp_path / "d").exists()


def test_tuning_does_not_look_at_what_was_chosen_before(
    tiny_run: TinyRun, tiny_bundle: Path
) -> None:
    bundle = Bundle.load(tiny_bundle)
    corpora = find_development(run_record(tiny_run), bundle.config.tasks, None, print)
    strict = tuple(
        replace(task, thresholds=dict.fromkeys(task.relation_types, 1.0), calibration=None)
        for task in bundle.config.tasks
    )
    altered = Bundle(bundle.folder, replace(bundle.config, tasks=strict, tuned={"fp32": strict}))
    assert tune_precision(bundle, "fp32", corpora) == tune_precision(altered, "fp32", corpora)


@pytest.mark.parametrize(
    ("loss", "limit", "refused"),
    [
        (Loss(9, 0.2, 0.1, 5000, 4000), 0.3, False),
        (Loss(9, 0.2, 0.4, 5000, 4000), 0.3, True),
        (Loss(9, 0.4, -2.0, 5000, 4000), 0.3, True),
        (Loss(9, 0.4, -2.0, 5000, 4000), 0.5, False),
        (Loss(9, 2.9, 0.0, 100, 0), 0.3, False),  # fewer than CHANCE of a hundred
        (Loss(9, 3.1, 0.0, 100, 0), 0.3, True),
    ],
)
def test_what_is_too_much(loss: Loss, limit: float, refused: bool) -> None:
    assert CHANCE == 3
    assert loss.exceeds(limit) is refused


def test_int8_that_costs_too_much_is_refused(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    costly = Loss(8, 4.0, 1.0, 1000, 1000)
    monkeypatch.setattr(Loss, "between", classmethod(lambda cls, fp32, int8: costly))
    with pytest.raises(ArtefactError, match=r"loses \+4.00 F1 of entities.*--max-loss 0.3"):
        export(tiny_run.folder, out=tmp_path / "b", quantize=True)
    assert list(tmp_path.iterdir()) == []
    export(tiny_run.folder, out=tmp_path / "b", quantize=True, max_loss=5.0)
    export(tiny_run.folder, out=tmp_path / "c", quantize=True, force=True)


def test_without_data_gross_disagreement_is_refused(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emlb_export.export.MIN_AGREEMENT", 1.01)
    copy = moved(tiny_run, tmp_path)
    with pytest.raises(ArtefactError, match="int8 and fp32 agree on"):
        export(copy, out=tmp_path / "b", quantize=True)
    export(copy, out=tmp_path / "b")  # there is nothing to compare without --quantize


def test_without_tuning_gross_disagreement_is_refused(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emlb_export.export.MIN_AGREEMENT", 1.01)
    with pytest.raises(ArtefactError, match="int8 and fp32 agree on"):
        export(tiny_run.folder, out=tmp_path / "b", quantize=True, tuned=False)


def test_a_record_that_cannot_be_read_leaves_the_thresholds(tiny_run: TinyRun) -> None:
    record = run_record(tiny_run)
    assert isinstance(record["config"], dict)
    record["config"]["training"]["momentum"] = 0.9
    said: list[str] = []
    assert find_development(record, (), None, said.append) == []
    assert "momentum" in said[0] and "thresholds are those of the training" in said[0]


def test_what_is_annotated_in_part_is_not_counted(tiny_run: TinyRun, tiny_bundle: Path) -> None:
    bundle = Bundle.load(tiny_bundle)
    (corpus,) = find_development(run_record(tiny_run), bundle.config.tasks, None, print)
    bare = tuple(
        replace(d, entities=tuple(e for e in d.entities if e.type != "Drug"), relations=())
        for d in corpus.documents
    )
    partly = replace(corpus, documents=bare, full={"Disorder"})
    entities = tune_precision(bundle, "fp32", [partly]).pooled.entities.strict.micro
    assert (entities.gold, entities.f1) == (sum(len(d.entities) for d in bare), 1.0)


def test_a_bundle_tuned_for_other_tasks_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))
    values = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    values["tuned"]["int8"][0]["selection"] = "greedy"
    (copy / "config.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(BundleError, match="tuned for other tasks"):
        Bundle.load(copy)
    values["tuned"] = {"int4": values["tasks"]}
    (copy / "config.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(BundleError, match="unknown precisions: int4"):
        Bundle.load(copy)


def test_thresholds_that_the_user_gives(tiny_run: TinyRun, tmp_path: Path) -> None:
    given = {"ADE-Drug": 0.123}
    for name, tuned in (("tuned", True), ("kept", False)):
        out = export(
            tiny_run.folder, out=tmp_path / name, quantize=True, tuned=tuned, thresholds=given
        )
        config = Bundle.load(out).config
        for precision in ("fp32", "int8"):
            (task,) = config.tasks_of(precision)
            assert task.thresholds is not None
            assert task.thresholds["ADE-Drug"] == 0.123 != task.thresholds["Treats"]
    for wrong in ({"Cures": 0.5}, {"Treats": 1.5}):
        with pytest.raises(ConfigError, match="--threshold .* give one of ADE-Drug, Treats"):
            export(tiny_run.folder, out=tmp_path / "wrong", thresholds=wrong)


def test_every_file_can_be_read_by_whom_the_umask_lets(tiny_bundle: Path) -> None:
    modes = {path.stat().st_mode & 0o777 for path in tiny_bundle.iterdir()}
    assert len(modes) == 1
