"""The training configuration, and the recipes that come with EMLB."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from emlb.examples.coverage import Coverage
from emlb.recipes import find_recipe
from emlb.training.config import RunConfig, load_config
from emlb_runtime.errors import ConfigError
from emlb_runtime.schema.task import Task

RECIPES = sorted(Path(__file__).parents[2].glob("emlb/recipes/*.toml"))

MINIMAL = """\
name = "run"
base = "encoder"

[[task]]
name = "notes"

[[corpus]]
name = "notes"
train = "train"
dev = "dev"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(MINIMAL, encoding="utf-8")
    return path


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads(recipe: Path) -> None:
    config = load_config(recipe)
    assert config.name == recipe.stem
    assert config.description
    is_teacher = recipe.stem.endswith("-teacher")  # its base is too large for a package
    assert config.base.startswith("package:") or config.start == "default" or is_teacher
    tasks = {task.name: task for task in config.task}
    for corpus in config.corpus:
        task = tasks[corpus.task or config.task[0].name]
        if task.entity_types and task.relation_types:  # else they are taken from the corpora
            types = (task.name, task.entity_types, task.relation_types)
            stated = Coverage.of(
                Task(*types, attributes=task.attribute), corpus.full, corpus.part
            )  # refuses what the task lacks
            assert stated.annotated or stated.attributes, corpus.name


def test_recipes_are_found_by_name() -> None:
    assert {"ade", "emlb-clinical-small"} <= {path.stem for path in RECIPES}
    assert all(find_recipe(Path(path.stem)) == path for path in RECIPES)
    with pytest.raises(ConfigError, match="adee: no such file, nor a recipe.*recipes: .*ade,"):
        find_recipe(Path("adee"))


def test_a_file_goes_before_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ade").write_text(MINIMAL, encoding="utf-8")
    assert find_recipe(Path("ade")) == Path("ade")
    with pytest.raises(ConfigError, match="nor a recipe of that name"):
        find_recipe(Path("../recipes/ade"))


def test_defaults_and_overrides(file: Path) -> None:
    config = load_config(file)
    assert config.folder == Path("runs/run")
    assert config.corpus[0].split is None and config.training.epochs == 10
    changed = load_config(file, ["training.epochs=3", "output=elsewhere", "windows.overlap=8"])
    assert (changed.training.epochs, changed.folder) == (3, Path("elsewhere/run"))
    assert (changed.windows.overlap, changed.windows.max_pieces) == (8, 160)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epocs=3", "unknown setting training.epocs; did you mean training.epochs?"),
        ("trainning.epochs=3", "unknown setting trainning; did you mean training?"),
        ("training.precision=fp8", "training.precision is 'fp8'; it must be one of ('auto',"),
        ("base=", "setting base is missing: name an encoder, or set start=default"),
        ("training.epochs=many", "training.epochs is 'many'; it must be of type int"),
        ("windows.max_pieces=20", "windows.max_pieces is 20; it must be at least 50"),
        ("windows.overlap=100", "windows.overlap is 100; it must lie between 0 and a third"),
        ("task=[]", "a run needs at least one [[task]] and one [[corpus]]"),
        ("corpus=[]", "a run needs at least one [[task]] and one [[corpus]]"),
        ('task=[{name="a"}, {name="a"}]', "two tasks have the same name: a, a"),
        ('task=[{name="a"}, {name="b"}]', "corpus notes: task is ''; the run has a, b"),
        ('task=[{name="a", selection="best"}]', "task.selection is 'best'; allowed: ('threshold'"),
        ('corpus=[{name="n", train="t"}]', "corpus n: give either dev or split"),
        ('corpus=[{name="n", train="t", dev="d", split={}}]', "corpus n: give either dev or split"),
        ('corpus=[{name="n", train="t", dev="d", repeat=0}]', "corpus n: repeat is 0"),
        ('corpus=[{name="n", train="t", dev="d", task="x"}]', "corpus n: task is 'x'; the run has"),
        (
            'corpus=[{name="n", train="t", dev="d", format="csv"}]',
            "corpus n: format is 'csv'; choose auto, brat, n2c2",
        ),
        ('corpus=[{name="n", train="t", split={test=1, dev=1}}]', "are both fold 1; choose two"),
        ('name=""', "name is ''; use letters, digits"),
        ("name=..", "name is '..'; use letters, digits"),
        ("name=../other", "name is '../other'; use letters, digits"),
    ],
)
def test_settings_that_are_refused(file: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(file, [override])


def test_a_corpus_names_its_task_where_there_are_several(file: Path) -> None:
    tasks = 'task=[{name="a"}, {name="b"}]'
    corpora = 'corpus=[{name="n", train="t", dev="d", task="b"}]'
    config: RunConfig = load_config(file, [tasks, corpora])
    assert config.corpus[0].task == "b"


def test_a_teacher_and_its_student_learn_the_same() -> None:
    folder = Path(__file__).parents[2] / "emlb" / "recipes"
    student = load_config(folder / "emlb-clinical-2.toml")
    teacher = load_config(folder / "emlb-clinical-2-teacher.toml")
    assert student.task == teacher.task
    assert student.windows == teacher.windows
    own = [replace(corpus, repeat=1) for corpus in student.corpus]
    assert [replace(corpus, repeat=1) for corpus in teacher.corpus] == own
    assert not teacher.distillation.teachers
    assert student.distillation.targets == "soft"
