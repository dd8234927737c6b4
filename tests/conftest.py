"""Fixtures that every package's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent


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
