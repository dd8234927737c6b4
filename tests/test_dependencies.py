"""Every dependency has a reason, a pin and hashes; and what looks for their faults finds them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name as plain_name

LOCKS = ("light.lock", "dev.lock", "optimum.lock", "transformers5.lock")

# Stands in for pip-audit: says what it is told, and keeps the file that it was given.
STAND_IN = """
import os, pathlib, shutil, sys
shutil.copy(sys.argv[sys.argv.index("--requirement") + 1], "given")
sys.stdout.write(os.environ["SAYS"])
sys.stderr.write(os.environ["COMPLAINS"])
sys.exit(int(os.environ["CODE"]))
"""


def requirements(pyproject: str) -> dict[str, Requirement]:
    """What pyproject.toml asks for by itself, in any extra or for the build, by name."""
    read = tomllib.loads(pyproject)
    project = read["project"]
    lists = [project["dependencies"], read["build-system"]["requires"]]
    lists += project["optional-dependencies"].values()
    found = [Requirement(line) for lines in lists for line in lines]
    return {plain_name(each.name): each for each in found if each.name != project["name"]}


def explained(contributing: str) -> dict[str, str]:
    """The reasons in the table of CONTRIBUTING.md, by package."""
    _, _, section = contributing.partition("| package | reason |\n|---|---|\n")
    rows = re.findall(r"^\| ([\w, -]+) \| (.+) \|$", section, flags=re.MULTILINE)
    return {plain_name(name): reason for names, reason in rows for name in names.split(", ")}


def pins(text: str) -> dict[str, str]:
    """The versions of a constraints or lock file, by package."""
    found = re.findall(r"^([\w.-]+)==([\w.+-]+)", text, flags=re.MULTILINE)
    return {plain_name(name): version for name, version in found}


@pytest.fixture
def pyproject(repo: Path) -> str:
    return (repo / "pyproject.toml").read_text(encoding="utf-8")


@pytest.fixture
def constraints(repo: Path) -> dict[str, str]:
    return pins((repo / "constraints.txt").read_text(encoding="utf-8"))


def test_every_dependency_has_a_reason(
    repo: Path, pyproject: str, constraints: dict[str, str]
) -> None:
    reasons = explained((repo / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    without = requirements(pyproject).keys() - reasons.keys()
    assert not without, "CONTRIBUTING.md gives no reason for these"
    assert all(len(reason) > 10 for reason in reasons.values())
    assert reasons.keys() <= constraints.keys(), "CONTRIBUTING.md names what is gone"


def test_a_new_dependency_is_noticed(pyproject: str) -> None:
    planted = pyproject.replace('"numpy>=1.26",', '"numpy>=1.26",\n    "left-pad>=1",')
    assert requirements(planted).keys() - requirements(pyproject).keys() == {"left-pad"}


def test_every_dependency_is_pinned(pyproject: str, constraints: dict[str, str]) -> None:
    for name, requirement in requirements(pyproject).items():
        assert requirement.specifier, f"{name} has no lower bound"
        assert requirement.specifier.contains(constraints[name]), name


@pytest.mark.parametrize("lock", LOCKS)
def test_ci_installs_the_pinned_versions_by_hash(
    repo: Path, constraints: dict[str, str], lock: str
) -> None:
    text = (repo / ".ci" / lock).read_text(encoding="utf-8")
    # One line says all of a package once the backslashes at line ends are gone.
    lines = text.replace("\\\n", "").splitlines()
    packages = [line for line in lines if line and not line.lstrip().startswith("#")]
    assert len(packages) == len(pins(text))
    for line in packages:
        assert re.fullmatch(r"[\w.-]+==\S+( +--hash=sha256:[0-9a-f]{64})+ *", line), line[:60]
    if lock == "transformers5.lock":
        own = pins((repo / ".ci" / "transformers5.txt").read_text(encoding="utf-8"))
        assert own.keys() <= constraints.keys(), "they stand in place of others"
        constraints = constraints | own
    for name, version in pins(text).items():
        if name in constraints:
            assert version.partition("+")[0] == constraints[name], f"{name}: make lock"


def test_the_locks_hold_what_ci_needs(repo: Path, pyproject: str) -> None:
    light, dev, optimum, newer = (
        pins((repo / ".ci" / lock).read_text(encoding="utf-8")) for lock in LOCKS
    )
    assert light.items() <= dev.items() <= optimum.items()
    elsewhere = {"onnxruntime-gpu", "optimum-onnx"}
    assert requirements(pyproject).keys() - dev.keys() <= elsewhere, "make lock"
    assert "optimum-onnx" in optimum and optimum["transformers"].startswith("4.")
    assert dev.keys() <= newer.keys() and newer["transformers"].startswith("5.")
    project = tomllib.loads(pyproject)["project"]
    core = [*project["dependencies"], *project["optional-dependencies"]["cpu"]]
    assert {plain_name(Requirement(line).name) for line in core} <= light.keys()
    assert "torch" not in light
    for lock in (dev, optimum, newer):
        assert lock["torch"].endswith("+cpu")
        assert not [name for name in lock if name.startswith("nvidia-")]


def audit(repo: Path, folder: Path, *, code: int, says: object = "", complains: str = "") -> str:
    """Run the audit over a lock file of one package; its exit code and what it prints."""
    (folder / "pip_audit.py").write_text(STAND_IN, encoding="utf-8")
    (folder / "a.lock").write_text("torch==2.13.0+cpu \\\n    --hash=sha256:00\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(repo / ".ci" / "audit.py"), "a.lock"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={
            "PYTHONPATH": str(folder),
            "CODE": str(code),
            "SAYS": json.dumps(says) if says else "",
            "COMPLAINS": complains,
        },
        check=False,
        timeout=60,
    )
    return f"{done.returncode} {done.stdout}{done.stderr}"


def test_a_vulnerability_fails_the_audit(repo: Path, tmp_path: Path) -> None:
    fault = {"id": "PYSEC-1", "fix_versions": ["2.14.0"]}
    package = {"name": "torch", "version": "2.13.0", "vulns": [fault]}
    said = audit(repo, tmp_path, code=1, says={"dependencies": [package]})
    assert said == "1 audit: torch 2.13.0 has PYSEC-1, mended in 2.14.0\n"
    given = (tmp_path / "given").read_text(encoding="utf-8")
    assert given == "torch==2.13.0 \\\n    --hash=sha256:00\n", "the index has no +cpu"


def test_nothing_found_passes_the_audit(repo: Path, tmp_path: Path) -> None:
    known = {"name": "rich", "version": "15.0.0", "vulns": []}
    unknown = {"name": "torch", "skip_reason": "not found"}
    said = audit(repo, tmp_path, code=0, says={"dependencies": [known, unknown]})
    assert said == (
        "0 audit: not looked up, unknown to the service: torch\naudit: no known vulnerabilities\n"
    )


def test_an_audit_that_looked_up_nothing_says_so(repo: Path, tmp_path: Path) -> None:
    unknown = {"name": "torch", "skip_reason": "not found"}
    said = audit(repo, tmp_path, code=0, says={"dependencies": [unknown]})
    assert said == "0 audit: no package was looked up, the service knows none of the 1\n"
    offline = (
        "Traceback\nrequests.exceptions.ConnectionError: HTTPSConnectionPool(host='pypi.org')\n"
    )
    said = audit(repo, tmp_path, code=1, complains=offline)
    assert said == (
        "0 audit: no package was looked up, the service is out of reach"
        " (requests.exceptions.ConnectionError)\n"
    )


def test_an_audit_that_cannot_read_its_file_fails(repo: Path, tmp_path: Path) -> None:
    said = audit(repo, tmp_path, code=1, complains="a.lock contains invalid specifier\n")
    assert said == "1 a.lock contains invalid specifier\n"
