"""Loads a bundle again and again with one file disturbed and its hash made to fit.

Run as a program with little memory to spare, so that a crash, a hang or a huge allocation is
seen: ``python -m tests.runtime.fuzz_bundles GOOD SCRATCH SEED COUNT``.
"""

from __future__ import annotations

import json
import random
import resource
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

from tests.runtime.disturb import disturb
from tests.runtime.hostile import FILES_READ, floating, seal

SPARE_BYTES = 1 << 30
MAX_SECONDS = 10.0


def main(good: str, scratch: str, seed: str, count: str) -> None:
    """Disturb every file that many times; fails with what was raised if it was no BundleError."""
    from emlb_runtime.bundle.loader import Bundle
    from emlb_runtime.errors import BundleError
    from emlb_runtime.extract import load_pipeline

    load_pipeline(Bundle.load(good), precision="fp32")
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + SPARE_BYTES, held + SPARE_BYTES))
    folder, chance = Path(scratch), random.Random(seed)
    shutil.copytree(good, folder)
    found: Counter[str] = Counter()
    for name in FILES_READ:
        whole = {file: (Path(good) / file).read_bytes() for file in (name, "config.json")}
        for _ in range(int(count)):
            (folder / name).write_bytes(disturb(name, whole[name], chance))
            if name != "config.json":
                seal(folder)
            began = time.monotonic()
            try:
                bundle = Bundle.load(folder)
                load_pipeline(bundle, precision=floating(bundle))
                found["loaded"] += 1
            except BundleError:
                found["refused"] += 1
            if time.monotonic() - began > MAX_SECONDS:
                raise TimeoutError(f"{name}: a disturbed file took long")
            for file, data in whole.items():
                (folder / file).write_bytes(data)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
