"""Make a release: version, changelog, tag, and a wheel and an sdist that build reproducibly.

    make release VERSION=0.2.0

The script refuses a tree with changes, a version that is no successor, and a changelog without
entries. It builds wheel and sdist twice, in folders of their own, and compares their hashes; then
it writes an SBOM (CycloneDX) of the light install next to them, commits the version and the
changelog, and tags the commit. It pushes and uploads nothing.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import uuid
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
VERSION_FILE = ROOT / "runtime" / "emlb_runtime" / "__init__.py"
CHANGELOG = ROOT / "CHANGELOG.md"
DIST = ROOT / "dist"

_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)
_PLAIN = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_UNRELEASED = re.compile(r"^## \[[^\]]+\] - unreleased\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
_LOCKED = re.compile(r"^([\w.-]+)==([\w.+-]+)", re.MULTILINE)


def main() -> None:
    """Release the version that the command line names."""
    parser = argparse.ArgumentParser(description="Make a release of EMLB.")
    parser.add_argument("version", help="the new version, such as 0.2.0")
    parser.add_argument("--dry-run", action="store_true", help="build and check, commit nothing")
    options = parser.parse_args()
    check_version(options.version)
    if git("status", "--porcelain") and not options.dry_run:
        fail("the tree has changes: commit or stash them first")
    texts = {VERSION_FILE: VERSION_FILE.read_text("utf-8"), CHANGELOG: CHANGELOG.read_text("utf-8")}
    try:
        write_version(options.version)
        write_changelog(options.version)
        files = build_twice()
        sbom = write_sbom(options.version)
    except BaseException:
        restore(texts)
        raise
    if options.dry_run:
        restore(texts)
    else:
        git("commit", "--all", "--message", f"Release {options.version}")
        git("tag", "--annotate", f"v{options.version}", "--message", f"EMLB {options.version}")
    for path in (*files, sbom):
        sys.stdout.write(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")


def check_version(version: str) -> None:
    """Refuse a version that is malformed or not newer than today's, unless it was never tagged."""
    new, found = _PLAIN.fullmatch(version), _VERSION.search(VERSION_FILE.read_text("utf-8"))
    if new is None or found is None:
        fail(f"{version!r} is no version of the form 0.2.0")
    now = _PLAIN.fullmatch(found[1])
    if f"v{version}" in git("tag", "--list").split():
        fail(f"{version} is released already")
    if now is not None and tuple(map(int, new.groups())) < tuple(map(int, now.groups())):
        fail(f"{version} is older than {found[1]}")


def write_version(version: str) -> None:
    """Put the version where the package has it."""
    text = VERSION_FILE.read_text("utf-8")
    VERSION_FILE.write_text(_VERSION.sub(f'__version__ = "{version}"', text), "utf-8")


def write_changelog(version: str) -> None:
    """Give the unreleased entries their version and date."""
    text = CHANGELOG.read_text("utf-8")
    found = _UNRELEASED.search(text)
    if found is None or "- " not in found[1]:
        fail("CHANGELOG.md has no entries under an unreleased heading")
    heading = f"## [{version}] - {datetime.date.today().isoformat()}\n"
    CHANGELOG.write_text(text[: found.start()] + heading + text[found.start(1) :], "utf-8")


def build_twice() -> list[Path]:
    """Build wheel and sdist twice; the copies must be equal to the byte."""
    stamp = git("log", "-1", "--format=%ct")
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        for folder in (first, second):
            run("-m", "build", "--no-isolation", "--outdir", folder, epoch=stamp)
        one, other = (sorted(Path(folder).iterdir()) for folder in (first, second))
        for left, right in zip(one, other, strict=True):
            if left.read_bytes() != right.read_bytes():
                fail(f"two builds of {left.name} differ")
        DIST.mkdir(exist_ok=True)
        return [Path(shutil.copy2(path, DIST / path.name)) for path in one]


def write_sbom(version: str) -> Path:
    """A CycloneDX bill of what the light install brings, from its lock file."""
    locked = _LOCKED.findall((ROOT / ".ci" / "light.lock").read_text("utf-8"))
    licence = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["license"]
    bill: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'emlb {version}')}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "library",
                "name": "emlb",
                "version": version,
                "purl": f"pkg:pypi/emlb@{version}",
                "licenses": [{"license": {"id": licence}}],
            }
        },
        "components": [
            {"type": "library", "name": name, "version": pin, "purl": f"pkg:pypi/{name}@{pin}"}
            for name, pin in locked
        ],
    }
    path = DIST / f"emlb-{version}.cdx.json"
    path.write_text(json.dumps(bill, indent=1) + "\n", "utf-8")
    return path


def restore(texts: dict[Path, str]) -> None:
    """Put files back as they were."""
    for path, text in texts.items():
        path.write_text(text, "utf-8")


def run(*arguments: str, epoch: str) -> None:
    """Run Python in the repository with the time stamp that reproducible builds use."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        fail(f"python {' '.join(arguments)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def git(*arguments: str) -> str:
    """Run git in the repository; returns what it prints."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        fail(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def fail(sentence: str) -> NoReturn:
    """End with one sentence."""
    sys.exit(f"release: {sentence}")


if __name__ == "__main__":
    main()
