"""An extractor ends when it is told to, and travels as what it was loaded from."""

from __future__ import annotations

import copy
import gc
import inspect
import os
import pickle
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from emlb_runtime import Extractor, Note, extract
from emlb_runtime.bundle.loader import DEFAULT_MODEL
from emlb_runtime.errors import BackendError, BundleError
from emlb_runtime.extraction.recipe import KEPT, Recipe, RecipeCache
from emlb_runtime.inference.providers import PROVIDERS

TEXTS = ("Nausea after codeine.", "Rash after penicillin.")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the bundled model."""
    return Path(shutil.copytree(DEFAULT_MODEL, tmp_path / "bundle"))


@pytest.fixture(autouse=True)
def fresh_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "_unpickled", RecipeCache())


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("emlb-")}


def test_with() -> None:
    before = threads()
    with Extractor.load(provider="cpu", workers=3) as extractor:
        assert not threads() - before  # none before they are needed, so that a fork is safe
        first = extractor.extract(TEXTS[0])
        assert first.entities and len(threads() - before) == 7
    assert not threads() - before
    assert extractor.info.workers == 3


def test_nothing_works_after_close() -> None:
    extractor = Extractor.load(provider="cpu")
    running = extractor.extract_many([TEXTS[0]] * 500)
    next(running)
    extractor.close()
    extractor.close()
    with pytest.raises(RuntimeError, match=r"this Extractor is closed.*Extractor\.load\(\)"):
        list(running)
    for use in (
        lambda: extractor.extract(TEXTS[0]),
        lambda: extractor.extract_many(TEXTS),  # at the call
        lambda: extractor.extract_each(TEXTS),
        lambda: extractor.pipeline,
        extractor.__enter__,
    ):
        with pytest.raises(RuntimeError, match="this Extractor is closed"):
            use()


def test_an_error_within_with_comes_through() -> None:
    with pytest.raises(KeyError), Extractor.load(provider="cpu") as extractor:
        raise KeyError
    with pytest.raises(RuntimeError, match="closed"):
        extractor.extract("")


def test_closed_by_another_thread() -> None:
    """Each call ends, with an answer or that sentence; no sound note has an error record."""
    extractor = Extractor.load(provider="cpu", workers=2)
    text = " ".join(TEXTS) * 60
    ends: list[str] = []

    def use(number: int) -> None:
        try:
            while True:
                if number % 2:
                    extractor.extract(text)
                else:
                    results = list(extractor.extract_each([Note("n", text)] * 3))
                    assert not [r for r in results if hasattr(r, "error")]
        except RuntimeError as error:
            ends.append(str(error))

    users = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for user in users:
        user.start()
    time.sleep(0.5)
    extractor.close()
    for user in users:
        user.join(timeout=120)
    assert len(ends) == 4
    assert all("this Extractor is closed" in end for end in ends)


def test_one_that_is_forgotten_ends_by_itself() -> None:
    before = threads()
    extractor = Extractor.load(provider="cpu")
    extractor.extract(TEXTS[0])
    del extractor
    gc.collect()
    for _ in range(100):
        if not threads() - before:
            break
        time.sleep(0.1)
    assert not threads() - before


def test_pickled_and_copied() -> None:
    extractor = Extractor.load(provider="cpu", workers=3, min_score=0.5)
    expected = list(extractor.extract_many(TEXTS))
    data = pickle.dumps(extractor)
    assert len(data) < 500
    assert os.fsencode(DEFAULT_MODEL) not in data  # another machine has it elsewhere
    for other in (pickle.loads(data), copy.deepcopy(extractor), copy.copy(extractor)):
        assert other is not extractor
        assert other.info == extractor.info
        assert list(other.extract_many(TEXTS)) == expected
        other.close()
    assert list(extractor.extract_many(TEXTS)) == expected
    assert pickle.loads(pickle.dumps(expected)) == expected


def test_options_and_an_absolute_path_travel(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bundle.parent)
    extractor = Extractor.load("bundle", provider="cpu", workers=2, min_score=0.99, batch=3)
    data = pickle.dumps(extractor)
    monkeypatch.chdir("/")
    other = pickle.loads(data)
    assert (other.info.workers, other.info.batch) == (2, 3)
    assert other._recipe == Recipe(str(bundle), "cpu", None, 2, 0.99, 3)
    assert all(entity.score >= 0.99 for d in other.extract_many(TEXTS) for entity in d.entities)
    again = pickle.loads(pickle.dumps(other))
    assert again._recipe == other._recipe


def test_every_option_of_load_is_in_the_recipe() -> None:
    """An option that is left out would be lost in another process, or behind a fork."""
    options = inspect.signature(Extractor.load).parameters
    assert [field.name for field in fields(Recipe)] == list(options)


def test_a_bundle_that_is_not_there(bundle: Path) -> None:
    data = pickle.dumps(Extractor.load(bundle, provider="cpu"))
    shutil.rmtree(bundle)
    with pytest.raises(BundleError, match="there is no such bundle folder"):
        pickle.loads(data)


def test_networks_are_loaded_once_per_process(bundle: Path) -> None:
    """For each task frameworks unpickle again; each copy may be closed without the others."""
    data = pickle.dumps(Extractor.load(bundle, provider="cpu", workers=1))
    first, second = pickle.loads(data), pickle.loads(data)
    assert first.pipeline is second.pipeline
    first.close()
    assert second.extract(TEXTS[0]).entities
    third = pickle.loads(data)  # the first let them go
    assert third.pipeline is not second.pipeline
    os.utime(bundle / "config.json", ns=(1, 1))  # another bundle has come in its place
    assert pickle.loads(data).pipeline is not third.pipeline


def test_few_recipes_are_kept() -> None:
    extractors = [
        Extractor.load(provider="cpu", workers=1, min_score=n / 10) for n in range(KEPT + 1)
    ]
    datas = [pickle.dumps(extractor) for extractor in extractors]
    pipelines = [pickle.loads(data).pipeline for data in datas]
    assert pickle.loads(datas[-1]).pipeline is pipelines[-1]
    assert pickle.loads(datas[0]).pipeline is not pipelines[0]


@pytest.fixture
def in_child() -> Iterator[Extractor]:
    """An extractor that believes to be a forked child's, of a provider that does not survive."""
    extractor = Extractor.load(provider="cpu", workers=1)
    opened = extractor._opened
    assert opened is not None
    opened.networks._survives = False
    opened.networks._after_fork()
    extractor._after_fork()
    yield extractor
    extractor.close()


def test_other_providers_are_loaded_again(in_child: Extractor) -> None:
    spoilt = in_child._opened
    assert spoilt is not None
    assert in_child.pipeline is not spoilt.networks.pipeline
    assert in_child.extract(TEXTS[0]).entities


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_gpu_does_not_outlive_a_fork(in_child: Extractor, provider: str) -> None:
    in_child._info = replace(in_child.info, provider=PROVIDERS[provider])
    with pytest.raises(BackendError, match=f"{provider} cannot be used .* forked .* spawn"):
        in_child.extract(TEXTS[0])
    with pytest.raises(BackendError, match="forked"):  # not an error record per note
        list(in_child.extract_each(TEXTS))
