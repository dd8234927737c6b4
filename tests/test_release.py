"""The release script refuses what is no release, and writes version and changelog as it should."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def release(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with copies of the files that it changes."""
    spec = importlib.util.spec_from_file_location("release", repo / "scripts" / "release.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    version, changelog = tmp_path / "__init__.py", tmp_path / "CHANGELOG.md"
    version.write_text('"""Doc."""\n\n__version__ = "0.3.1"\n', encoding="utf-8")
    changelog.write_text(
        "# Changelog\n\n## [0.4.0] - unreleased\n\n### Added\n\n- Something.\n\n"
        "## [0.3.1] - 2026-01-02\n\n- Older.\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(module, "VERSION_FILE", version)
    monkeypatch.setattr(module, "CHANGELOG", changelog)
    monkeypatch.setattr(module, "DIST", tmp_path)
    monkeypatch.setattr(module, "git", lambda *arguments: "v0.3.0 v0.3.1")
    return module


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("1.0", "no version"),
        ("0.3.1", "released already"),
        ("0.2.9", "older"),
        ("v0.4.0", "no ver"),
    ],
)
def test_what_is_no_successor_is_refused(release: ModuleType, version: str, says: str) -> None:
    with pytest.raises(SystemExit, match=says):
        release.check_version(version)


def test_version_and_changelog_are_written(release: ModuleType) -> None:
    release.check_version("0.4.0")
    release.write_version("0.4.0")
    release.write_changelog("0.4.0")
    assert '__version__ = "0.4.0"\n' in release.VERSION_FILE.read_text("utf-8")
    text = release.CHANGELOG.read_text("utf-8")
    assert re.search(
        r"## \[0\.4\.0\] - \d{4}-\d\d-\d\d\n\n### Added\n\n- Something\.\n\n## \[0\.3\.1\]", text
    )


def test_a_release_without_entries_is_refused(release: ModuleType) -> None:
    release.CHANGELOG.write_text("# Changelog\n\n## [0.4.0] - unreleased\n\n## [0.3.1]\n\n- x\n")
    with pytest.raises(SystemExit, match="no entries"):
        release.write_changelog("0.4.0")


def test_the_bill_names_what_the_light_install_brings(release: ModuleType) -> None:
    bill = json.loads(release.write_sbom("0.4.0").read_text("utf-8"))
    names = {part["name"] for part in bill["components"]}
    assert {"numpy", "onnxruntime", "tokenizers", "safetensors"} <= names
    assert "torch" not in names


def test_this_changelog_can_be_released(repo: Path, release: ModuleType) -> None:
    release.CHANGELOG.write_text((repo / "CHANGELOG.md").read_text("utf-8"), encoding="utf-8")
    release.write_changelog("99.0.0")
    assert "## [99.0.0] - " in release.CHANGELOG.read_text("utf-8")
