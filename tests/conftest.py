"""Fixtures that every package's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
from hypothesis.database import DirectoryBasedExampleDatabase, InMemoryExampleDatabase

from emlb_runtime.machine.info import available_cores, available_memory
from emlb_runtime.records import Document

from . import attributed, tiny

REPO = Path(__file__).resolve().parent.parent

# A busy machine is no failure: examples are not timed. A checkout that this user may not write to
# is no failure either: the examples that failed are then remembered for this session alone.
hypothesis.settings.register_profile(
    "emlb",
    deadline=None,
    database=(
        DirectoryBasedExampleDatabase(REPO / ".hypothesis" / "examples")
        if os.access(REPO, os.W_OK)
        else InMemoryExampleDatabase()
    ),
)
hypothesis.settings.load_profile("emlb")

MAX_WORKERS = 16  # each imports torch and trains the tiny model once
WORKER_BYTES = 2 * 2**30  # torch, a model in training, and a process that a test starts


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many processes ``make test`` runs, within a container's share of cores and memory."""
    by_memory = available_memory() // WORKER_BYTES or 1  # one, too, where memory is unknown
    return min(available_cores(), by_memory, MAX_WORKERS)


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the checkout."""
    return REPO


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of public corpora: ``$EMLB_DATA``, else ``../shared/data``.

    They are not part of the checkout; a test that asks for them is skipped without.
    """
    named = os.environ.get("EMLB_DATA")
    folder = Path(named) if named else REPO.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no corpora: set EMLB_DATA to the folder that holds them")
    return folder


@pytest.fixture(scope="session")
def example_notes() -> tuple[Path, ...]:
    """The ten notes of ``examples/notes``, sorted by name."""
    return tuple(sorted((REPO / "examples" / "notes").glob("*.txt")))


@pytest.fixture(scope="session")
def tiny_documents() -> tuple[Document, ...]:
    """The eight annotated notes of ``tests.tiny``."""
    return tiny.tiny_notes()


@pytest.fixture(scope="session")
def tiny_data(
    tiny_documents: tuple[Document, ...], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A brat folder of the eight notes."""
    return tiny.write_brat(tiny_documents, tmp_path_factory.mktemp("data") / "notes")


@pytest.fixture(scope="session")
def tiny_encoder(
    tiny_documents: tuple[Document, ...], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with an untrained BERT, 32 wide, and a tokenizer that knows the eight notes."""
    texts = [document.note.text for document in tiny_documents]
    return tiny.build_encoder(tmp_path_factory.mktemp("encoder"), texts)


@pytest.fixture(scope="session")
def tiny_run(
    tiny_data: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tiny.TinyRun:
    """A finished training run that has learned the eight notes; treat it as read-only."""
    return tiny.train_tiny(tmp_path_factory.mktemp("tiny"), encoder=tiny_encoder, data=tiny_data)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_run: tiny.TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model exported, fp32 and int8; read only."""
    from emlb_export.export import export

    return export(tiny_run.folder, out=tmp_path_factory.mktemp("export") / "tiny", quantize=True)


@pytest.fixture(scope="session")
def attributed_run(tmp_path_factory: pytest.TempPathFactory) -> attributed.AttributedRun:
    """A finished run that has learned the attributes of ``tests.attributed``; read only."""
    return attributed.train_attributed(tmp_path_factory.mktemp("attributed"))


@pytest.fixture(scope="session")
def attributed_bundle(
    attributed_run: attributed.AttributedRun, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """That model exported, int8 and fp32; read only."""
    from emlb_export.export import export

    return export(
        attributed_run.folder, out=tmp_path_factory.mktemp("export") / "attributed", quantize=True
    )
