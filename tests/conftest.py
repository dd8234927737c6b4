"""Fixtures that every package's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

from emlb_runtime.records import Document

from . import tiny

REPO = Path(__file__).resolve().parent.parent

# A busy machine is no failure: examples are not timed.
hypothesis.settings.register_profile("emlb", deadline=None)
hypothesis.settings.load_profile("emlb")


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
    from emlb_export.run import export

    return export(tiny_run.folder, out=tmp_path_factory.mktemp("export") / "tiny", quantize=True)
