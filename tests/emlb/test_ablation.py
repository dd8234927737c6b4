"""The ablation: its modules, the tables it writes, and a whole one on the tiny encoder."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from emlb.ablation import ablate as run
from emlb.ablation import figures
from emlb.ablation.ablate import ablate, make_plans
from emlb.ablation.modules import MODULES, REFERENCE, Module, run_name, settings
from emlb.ablation.record import _named
from emlb.ablation.scoring import Dataset, Figures, Judged, Models, compare, judge
from emlb.ablation.table import mean_and_deviation, render, to_csv
from emlb.data.corpora import load_corpus
from emlb.evaluation.comparison.bootstrap import Interval
from emlb.evaluation.pipeline_scores import ScoredCorpus
from emlb.evaluation.protocols import Tally
from emlb.examples.coverage import Coverage
from emlb.examples.examples import Supervision, make_examples
from emlb.model.pretrained import TrainedModel
from emlb.recipes import find_recipe
from emlb.training.config import Learned, load_config
from emlb.training.development import score_development
from emlb.training.loss.joint import JointLoss, collate
from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.records import Document, Note
from tests.tiny import RELATIONS, TYPES, TinyRun

BY_NAME = {module.name: module for module in MODULES}
F1 = ("entities", "micro", "f1")
FILES = {"ablation.md", "ablation.csv", "ablation.json"}


@pytest.mark.parametrize(
    ("name", "heads", "parts"),
    [
        ("baseline", ("softmax", "linear"), ("entities", "relations")),
        ("ete", ("crf", "bilinear"), ("entities", "relations")),
        ("MTL", ("softmax", "linear"), ("both",)),
        ("ete+MTL", ("crf", "bilinear"), ("both",)),
    ],
)
def test_modules_are_settings(
    tiny_run: TinyRun, name: str, heads: tuple[str, str], parts: tuple[Learned, ...]
) -> None:
    module = BY_NAME[name]
    assert module.parts == parts
    for part in parts:
        config = load_config(tiny_run.config, settings("tiny", module, 21, part))
        assert (config.model.entity_head, config.model.relation_head) == heads
        assert (config.seed, config.training.learned) == (21, part)
        assert config.name == run_name("tiny", module, 21, part)


def test_modules_leave_out_losses_they_cannot_have(tiny_run: TinyRun) -> None:
    asked = ["training.attention_weight=0.2", "training.cross_attention_weight=0.1"]

    def weights(name: str, part: Learned) -> tuple[float, float]:
        made = settings("tiny", BY_NAME[name], 21, part)
        training = load_config(tiny_run.config, [*asked, *made]).training
        return training.attention_weight, training.cross_attention_weight

    assert weights("ete+MTL", "both") == (0.2, 0.1)
    assert weights("MTL", "both") == (0.2, 0.0)
    assert weights("ete", "entities") == (0.0, 0.0)
    assert weights("ete", "relations") == (0.2, 0.1)


def test_runs_have_names_of_their_own() -> None:
    names = [run_name("c", m, s, part) for m in MODULES for s in (1, 2) for part in m.parts]
    assert len({name.lower() for name in names}) == len(names) == 12
    assert run_name("c", BY_NAME["ete"], 1, "entities") == "c-ete-s1-entities"
    assert run_name("c", BY_NAME["ete+MTL"], 2, "both") == "c-ete-MTL-s2"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.entity_weight=0", "training.relation_weight=0"], "nor both be 0"),
        (["training.entity_weight=-1"], "neither may be below 0"),
    ],
)
def test_weights_that_teach_nothing(tiny_run: TinyRun, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(tiny_run.config, overrides)


def test_what_cannot_be_planned(tiny_run: TinyRun, tmp_path: Path) -> None:
    for key in ("name", "seed", "training.entity_weight"):
        with pytest.raises(ConfigError, match=f"--set {key}: the ablation sets it"):
            make_plans([tiny_run.config], seeds=1, overrides=[f"{key}=1"])
    with pytest.raises(ConfigError, match="model.entity_head: it is what the ablation varies"):
        make_plans([tiny_run.config], seeds=1, overrides=["model.entity_head=crf"])
    with pytest.raises(ConfigError, match="at least 1"):
        make_plans([tiny_run.config], seeds=0)
    with pytest.raises(ConfigError, match="named tiny: name them apart"):
        make_plans([tiny_run.config, tiny_run.config], seeds=1)
    alone = tmp_path / "alone.toml"
    text = tiny_run.config.read_text(encoding="utf-8")
    alone.write_text(text.replace("[training]", "[training]\nentity_weight = 0.0"))
    with pytest.raises(ConfigError, match="needs entities and relations"):
        make_plans([alone], seeds=1)


@dataclass(frozen=True)
class Finder:
    """Stands for an entity model's pipeline: finds what it was made with."""

    documents: Sequence[Document]

    def run(self, notes: Sequence[Note], **options: Any) -> list[Document]:
        assert [note.name for note in notes] == [d.note.name for d in self.documents]
        assert not options.get("given")
        return list(self.documents)


def test_separate_models_relate_the_mentions_of_the_entity_model(tiny_run: TinyRun) -> None:
    relations = TrainedModel.load(tiny_run.model).pipeline()
    corpus = ScoredCorpus("notes", "notes", tiny_run.documents, frozenset({*TYPES, *RELATIONS}))
    found = [
        replace(
            document,
            entities=tuple(replace(e, task="notes") for e in document.entities[1:]),
            relations=(),
        )
        for document in tiny_run.documents
    ]
    models = Models(cast(Pipeline, Finder(found)), relations)
    documents = models.extract(corpus)
    spans = [[(e.start, e.end, e.type) for e in d.entities] for d in documents]
    assert spans == [[(e.start, e.end, e.type) for e in d.entities] for d in found]
    judged = judge(models, corpus, "ete", 1).figures.values
    assert judged["entities", "micro", "precision"] == 1.0
    assert 0 < judged["entities", "micro", "recall"] < 1
    assert 0 < judged["relations", "micro", "f1"] < 1
    assert judged["relations_on_gold", "micro", "f1"] == 1.0


def test_development_scores_what_is_learned(tiny_run: TinyRun) -> None:
    trained = TrainedModel.load(tiny_run.model)
    tasks = trained.model.config.task_list
    scored = [ScoredCorpus("notes", "notes", tiny_run.documents, {*TYPES, *RELATIONS})]

    def develop(learned: Learned, corpora: Sequence[ScoredCorpus] = scored) -> Any:
        return score_development(trained.model, trained.tokenizer, tasks, corpora, learned=learned)

    entities, relations = develop("entities"), develop("relations")
    assert entities.metrics == {"notes_entities": 1.0, "score": 1.0}
    assert relations.metrics == {
        "notes_relations_on_gold": 1.0,
        "notes_relation_recall_on_gold": 1.0,
        "score": 1.0,
    }
    (task,) = relations.tasks
    assert task.thresholds is not None and set(task.thresholds) == set(RELATIONS)
    assert task.calibration is None  # annotated mentions teach nothing of what others are worth
    # Without an entity of its own to find, the end-to-end score would fall.
    bare = [
        replace(scored[0], documents=tuple(replace(d, relations=()) for d in scored[0].documents))
    ]
    assert develop("relations", bare).metrics["score"] == 0.0
    assert develop("both", bare).metrics["score"] == 1.0


@pytest.mark.parametrize("learned", ["entities", "relations", "both"])
def test_only_what_is_learned_has_a_loss(tiny_run: TinyRun, learned: Learned) -> None:
    trained = TrainedModel.load(tiny_run.model)
    (task,) = trained.model.config.task_list
    coverage = Coverage(frozenset({*TYPES, *RELATIONS}))
    pipeline = trained.pipeline()
    documents = [d for d in tiny_run.documents if d.relations][:2]
    examples = make_examples(documents, Supervision(task, coverage), pipeline, Counter())
    batch = collate(
        [{"example": example} for example in examples], special=trained.tokenizer.special
    )
    loss = JointLoss(trained.model, max_pairs=99, seed=1, learned=learned)
    output = trained.model(batch["input_ids"], batch["attention_mask"])
    losses = loss(output, batch["attention_mask"], examples, predict=True)
    assert (losses.entity.item() > 0) == (learned != "relations")
    assert (losses.relation.item() > 0) == (learned != "entities")
    torch.autograd.backward(losses.entity + losses.relation)
    head = trained.model.head(task.name)
    for layer, learns in (
        (head.emission, learned != "relations"),
        (head.relation.output, learned != "entities"),
    ):
        assert layer.weight.grad is not None  # distributed training waits for every parameter
        assert bool(layer.weight.grad.any()) == learns


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/srv/clinic/data", "data"),
        ("~/data", "data"),
        ('["/srv/a/one", "two/b"]', '["one", "two/b"]'),
        ("package:name/model", "package:name/model"),
        ("owner/name", "owner/name"),
        ("entities / relations and/or both", "entities / relations and/or both"),
    ],
)
def test_paths_of_the_machine(text: str, shown: str) -> None:
    assert _named(text) == shown


def dataset(name: str = "made", *, seeds: int = 2) -> Dataset:
    """Made-up figures: the modules lie ten points apart, the seeds two."""
    rows = [
        Figures(module.name, 13 + seed, {F1: 0.5 + 0.1 * index + 0.02 * seed})
        for index, module in enumerate(MODULES)
        for seed in range(seeds)
    ]
    differences = {
        ("baseline", F1): Interval(-0.4, -0.2),
        ("ete", F1): Interval(-0.3, 0.0),
        ("MTL", F1): Interval(0.01, 0.1),
    }
    return Dataset(name, "test", 7, rows, differences)


def test_mean_and_deviation() -> None:
    assert mean_and_deviation([0.4]) == (0.4, None)
    assert mean_and_deviation([0.5, 0.52]) == pytest.approx((0.51, 0.02 / 2**0.5))


def test_table_of_made_up_figures() -> None:
    page = render([dataset(), replace(dataset("other", seeds=1), part="dev")], command="emlb x")
    lines = page.splitlines()
    cells = {
        tuple(cell.strip() for cell in line.split("|")[1:3]): line.split("|")[5].strip()
        for line in lines[lines.index("## Entities") : lines.index("## Relations")]
        if line.startswith(("| made", "| other"))
    }
    assert cells == {
        ("made", "baseline"): r"51.0 ± 1.4\*",
        ("made", "ete"): "61.0 ± 1.4",
        ("made", "MTL"): r"71.0 ± 1.4\*",
        ("made", "ete+MTL"): "81.0 ± 1.4",
        ("other", "baseline"): r"50.0\*",
        ("other", "ete"): "60.0",
        ("other", "MTL"): r"70.0\*",
        ("other", "ete+MTL"): "80.0",
    }
    assert "* made: 7 test documents; seeds 13, 14" in lines
    assert "* other: 7 development documents; seeds 13" in lines


def test_csv_has_every_run() -> None:
    rows = list(csv.DictReader(to_csv([dataset()]).splitlines()))
    assert len(rows) == 8
    assert rows[1] == {
        "dataset": "made", "part": "test", "module": "baseline", "seed": "14",
        "section": "entities", "average": "micro", "value": "f1", "figure": "0.520000",
    }  # fmt: skip


def judged(module: Module, seed: int, correct: Sequence[int]) -> Judged:
    """Ten gold and ten predicted entities per document, so many of them right."""
    tallies: list[Tally] = [{("entities", "Drug", "strict"): (n, 10, 10)} for n in correct]
    return Judged(Figures(module.name, seed, {}), {"standard": tallies})


def test_differences_are_paired_over_documents_with_seeds_pooled() -> None:
    reference = [(9, 1, 8, 2, 7, 3), (8, 2, 9, 1, 7, 3)]
    right: dict[str, Sequence[Sequence[int]]] = {
        "baseline": [[n - 1 for n in seed] for seed in reference],  # a little worse, always
        "ete": [list(seed) for seed in reference[::-1]],  # the same, seeds the other way round
        "MTL": [(1, 9, 8, 2, 7, 3), (8, 2, 1, 9, 7, 3)],  # better here, worse there
        REFERENCE: reference,
    }
    made = compare(
        "made",
        [judged(BY_NAME[m], s, row) for m, rows in right.items() for s, row in enumerate(rows)],
        part="test",
        documents=6,
    )
    assert made.is_apart("baseline", F1)
    assert made.differences["baseline", F1].high == pytest.approx(-0.1)
    assert made.differences["ete", F1] == Interval(0.0, 0.0)
    assert not made.is_apart("MTL", F1)
    assert not made.is_apart(REFERENCE, F1)


def test_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    files = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        files.append(figures.draw([dataset(), dataset("other", seeds=1)], folder, pytest.fail))
    assert [path.name for path in files[0]] == [
        "entities.png", "entities.svg", "relations.png", "relations.svg",
    ]  # fmt: skip
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert files[0][0].read_bytes().startswith(b"\x89PNG")
    drawn = files[0][1].read_text(encoding="utf-8")
    assert all(f">{name}<" in drawn for name in ("baseline", "ete+MTL", "made", "other"))


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said: list[str] = []
    assert figures.draw([dataset()], tmp_path, said.append) == []
    assert len(said) == 1 and "pip install 'emlb[figures]'" in said[0]
    assert not list(tmp_path.iterdir())


@dataclass(frozen=True)
class Whole:
    """A finished ablation."""

    config: Path
    overrides: list[str]
    out: Path
    said: list[str]

    @property
    def runs(self) -> Path:
        return self.out.parent / "runs"


@pytest.fixture(scope="module")
def whole(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Four modules, two seeds, one short pass over the notes, without figures."""
    folder = tmp_path_factory.mktemp("ablation")
    made = Whole(
        tiny_run.config,
        [f"output={folder / 'runs'}", "training.epochs=2", "corpus.0.repeat=1"],
        folder / "out",
        [],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "draw", lambda *_: [])
        assert again(made) == made.out
        yield made


def again(whole: Whole) -> Path:
    return ablate(
        [whole.config],
        seeds=2,
        out=whole.out,
        overrides=whole.overrides,
        samples=50,
        say=whole.said.append,
    )


def test_a_whole_ablation(whole: Whole) -> None:
    assert {path.name for path in whole.out.iterdir()} == FILES
    assert len(list(whole.runs.glob("tiny-*/run.json"))) == 12
    assert not list(whole.runs.glob("tiny-*/checkpoints"))
    for name, learned in (
        ("tiny-ete-s14-entities", {"notes_entities"}),
        ("tiny-ete-s14-relations", {"notes_relations_on_gold", "notes_relation_recall_on_gold"}),
        ("tiny-MTL-s13", {"notes_entities", "notes_relations", "notes_relation_recall"}),
    ):
        scores = json.loads((whole.runs / name / "run.json").read_text(encoding="utf-8"))
        assert scores["development"].keys() == {*learned, "score"}
    page = (whole.out / "ablation.md").read_text(encoding="utf-8")
    assert page.count("| tiny |") == 2 * len(MODULES)
    assert "8 development documents; seeds 13, 14" in page
    record = json.loads((whole.out / "ablation.json").read_text(encoding="utf-8"))
    (held,) = record["datasets"]
    assert [(r["module"], r["seed"]) for r in held["runs"]] == [
        (module.name, seed) for module in MODULES for seed in (13, 14)
    ]
    for one in held["runs"]:
        assert 0 <= one["figures"]["entities.micro.f1"] <= 1
        assert {"entities.macro.mdice", "relations_on_gold.micro.f1"} <= one["figures"].keys()
    assert record["versions"].keys() >= {"emlb", "torch", "transformers"}
    assert record["configurations"]["tiny"]["seeds"] == [13, 14]


def test_given_again_it_trains_nothing(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: (whole.out / name).read_bytes() for name in FILES}
    monkeypatch.setattr(run, "train", pytest.fail)
    again(whole)
    assert {name: (whole.out / name).read_bytes() for name in FILES} == before
    assert whole.said.count("tiny-baseline-s13-entities: finished before") >= 1


def test_what_it_writes_has_no_path_and_no_text(whole: Whole, tiny_run: TinyRun) -> None:
    written = " ".join((whole.out / name).read_text(encoding="utf-8") for name in FILES)
    for path in (whole.out.parent, tiny_run.data.parent, tiny_run.encoder):
        assert str(path) not in written
    told = written + " ".join(whole.said)
    assert not [w for w in ("amoxicillin", "lisinopril", "bradycardia") if w in told.lower()]


def test_runs_with_other_settings_are_not_mixed_in(whole: Whole) -> None:
    with pytest.raises(ConfigError, match="a run with other settings"):
        make_plans([whole.config], seeds=1, overrides=[*whole.overrides, "training.epochs=9"])


def test_a_run_of_before_a_setting_came_is_taken(whole: Whole, tmp_path: Path) -> None:
    folder = tmp_path / "tiny-MTL-s13"
    folder.mkdir()
    record = json.loads((whole.runs / folder.name / "run.json").read_text(encoding="utf-8"))
    record["config"]["output"] = str(tmp_path)
    del record["config"]["training"]["patience"]
    overrides = [f"output={tmp_path}", *whole.overrides[1:]]
    for known in (True, False):
        (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
        if known:
            make_plans([whole.config], seeds=2, overrides=overrides)
        else:
            with pytest.raises(ConfigError, match="other settings"):
                make_plans([whole.config], seeds=2, overrides=overrides)
        record["config"]["training"]["gone"] = 1


def test_another_division_is_refused(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    def fewer(config: Any, data: Path) -> Any:
        corpus = load_corpus(config, data)
        return replace(corpus, split=replace(corpus.split, dev=corpus.split.dev[1:]))

    monkeypatch.setattr(run, "load_corpus", fewer)
    with pytest.raises(DataError, match="divided otherwise now"):
        again(whole)


@pytest.mark.parametrize("recipe", ["e3c-temporal", "e3c-disorders"])
def test_recipes_keep_the_official_test_documents(corpora: Path, recipe: str) -> None:
    config = load_config(find_recipe(Path(recipe)))
    split = load_corpus(config.corpus[0], corpora).split
    assert [len(part) for part in (split.train, split.dev, split.test)] == [29, 7, 48]
    assert all(d.note.name.startswith("test/") for d in split.test)
    held = {entity.type for document in split.train for entity in document.entities}
    held |= {relation.type for document in split.train for relation in document.relations}
    assert {*config.task[0].entity_types, *config.task[0].relation_types} <= held
