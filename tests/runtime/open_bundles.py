"""Opens the bundles below a folder in this process and reports what each did, a line each.

Run as a program, so that an audit hook sees every file opened and no other test has it:
``python -m tests.runtime.open_bundles GOOD FOLDER``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

TOUCHES = ("open", "os.", "shutil.", "socket.", "subprocess.", "ctypes.dlopen", "tempfile.")
LOOKS = ("os.listdir", "os.scandir")


class Watch:
    """Notes which files are touched outside a folder, and which libraries were given bytes."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.outside: list[str] = []
        self.given: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None or not event.startswith(TOUCHES):
            return
        path: Any = arguments[0] if arguments else None
        if event == "open" and isinstance(path, int):
            return  # a file that was opened under its name before
        if event == "open" or event in LOOKS:
            writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            shown = os.path.abspath(os.fsdecode(path))
            if shown.startswith(self.folder + os.sep) and not writes:
                return
        self.outside.append(f"{event} {path!r}")

    def forbid(self, owner: Any, name: str) -> None:
        """Note calls instead of making them."""

        def note(*arguments: Any, **options: Any) -> Any:
            self.given.append(name)
            raise RuntimeError("a library was given a bundle that lies")

        note.from_buffer = note  # type: ignore[attr-defined]
        setattr(owner, name, note)


def main(good: str, root: str) -> None:
    """Open every folder below the root."""
    import onnxruntime
    import safetensors.numpy
    import tokenizers

    from emlb_runtime.bundle.loader import Bundle
    from emlb_runtime.errors import EmlbError
    from emlb_runtime.extract import load_pipeline

    load_pipeline(Bundle.load(good))  # whatever is imported late is imported now
    watch = Watch()
    watch.forbid(onnxruntime, "InferenceSession")
    watch.forbid(safetensors.numpy, "load")
    watch.forbid(tokenizers, "Tokenizer")
    for folder in sorted(path for path in Path(root).iterdir() if path.is_dir()):
        watch.outside, watch.given = [], []
        error, message = "", ""
        began = time.monotonic()
        watch.folder = str(folder)
        try:
            load_pipeline(Bundle.load(folder), precision="fp32")
        except EmlbError as raised:
            error, message = type(raised).__name__, str(raised)
        except BaseException as raised:
            error, message = f"unexpected {type(raised).__name__}", str(raised)
        finally:
            watch.folder = None
        report = {
            "error": error,
            "message": message,
            "outside": watch.outside,
            "given": watch.given,
            "seconds": time.monotonic() - began,
        }
        sys.stdout.write(json.dumps([folder.name, report]) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
