"""Looks up the packages of a lock file among known vulnerabilities, where pip-audit can.

    python .ci/audit.py LOCK [OPTION OF PIP-AUDIT]...

The exit code is 1 if a package has one, or if the lock file is no good. That the service was not
reached, or does not know a package, is said in a line and is no failure: a check must be possible
without a network.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

COMMAND = [
    *(sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"),
    *("--disable-pip", "--require-hashes", "--requirement"),
]

# How pip-audit ends where its service is out of reach; other errors are the lock file's.
_OUT_OF_REACH = re.compile(r"requests\.exceptions\.|ServiceError|may be blocking this service")


def main(lock: str, *options: str) -> int:
    """Look up the packages; returns the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        # A local version such as torch's +cpu is not on the index, and has the same faults.
        plain = Path(folder) / Path(lock).name
        text = Path(lock).read_text(encoding="utf-8")
        plain.write_text(re.sub(r"^(\S+==[^\s+]+)\+\S+", r"\1", text, flags=re.M), encoding="utf-8")
        done = subprocess.run(
            [*COMMAND, str(plain), *options], capture_output=True, text=True, check=False
        )
    if done.returncode == 0 or done.stdout:
        # Nothing is written where all were looked up and none has a fault.
        tell(json.loads(done.stdout or '{"dependencies": []}')["dependencies"])
        return done.returncode
    if _OUT_OF_REACH.search(done.stderr):
        reason = done.stderr.strip().splitlines()[-1].partition(":")[0]
        say(f"no package was looked up, the service is out of reach ({reason})")
        return 0
    sys.stderr.write(done.stderr)
    return 1


def tell(packages: list[dict[str, Any]]) -> None:
    """Say what pip-audit has found, and what it could not look up."""
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped and len(skipped) == len(packages):
        say(f"no package was looked up, the service knows none of the {len(packages)}")
        return
    if skipped:
        say(f"not looked up, unknown to the service: {', '.join(skipped)}")
    faults = [(package, fault) for package in packages for fault in package.get("vulns", [])]
    for package, fault in faults:
        mended = ", ".join(fault["fix_versions"]) or "no release yet"
        say(f"{package['name']} {package['version']} has {fault['id']}, mended in {mended}")
    if not faults:
        say("no known vulnerabilities")


def say(sentence: str) -> None:
    """One line on standard output."""
    sys.stdout.write(f"audit: {sentence}\n")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
