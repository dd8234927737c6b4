"""Writing that a crash cannot spoil: private files, whole writes, and what fsync promises.

Everything a run leaves on disk goes through these few functions, so that the tests can kill
it, fill the disk, or cut the power at each of them. Errors carry the path and never the data.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE_MODE = 0o600
FOLDER_MODE = 0o700
"""Names of notes may name patients, and mentions are their text: nobody else reads them."""

# A link planted where a file of ours will grow must not lead the text elsewhere.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)
# Some network file systems cannot sync a folder; the rename is in their hands then.
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES)


def open_private(path: Path, *, fresh: bool = False, follow: bool = False) -> int:
    """A descriptor to read and write a file that only its owner may read.

    Args:
        path: made if it is not there.
        fresh: empty it.
        follow: take a symbolic link for what it leads to, or a pipe or a device as it stands.

    Raises:
        OSError: naming the path.
    """
    access = os.O_WRONLY if follow else os.O_RDWR | _NO_LINK
    flags = access | os.O_CREAT | _BINARY | (os.O_TRUNC if fresh else 0)
    descriptor = os.open(path, flags, FILE_MODE)
    if not follow and hasattr(os, "fchmod"):  # one that was there may be open to others
        try:
            with _naming(path):
                os.fchmod(descriptor, FILE_MODE)
        except PermissionError:  # shared with us by its owner, who set its mode
            pass
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def write_all(descriptor: int, data: bytes, path: Path) -> None:
    """Write all of the data at the descriptor's position.

    Raises:
        OSError: naming the path; some of the data may have been written.
    """
    view = memoryview(data)
    with _naming(path):
        while view:
            view = view[os.write(descriptor, view) :]


def sync(descriptor: int, path: Path) -> None:
    """Wait until what was written would survive a power cut.

    Raises:
        OSError: naming the path; nothing written since the last sync can be relied on.
    """
    with _naming(path):
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder would survive a power cut."""
    if os.name == "nt":  # has no such thing
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with _naming(folder):
            os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def truncate(descriptor: int, size: int, path: Path) -> None:
    """Cut a file to a size in bytes, and go on writing there."""
    with _naming(path):
        os.ftruncate(descriptor, size)
        os.lseek(descriptor, size, os.SEEK_SET)


def move(source: Path, target: Path) -> None:
    """Give a file its final name, in place of what may be there."""
    os.replace(source, target)


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter, with those above it."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)


def replace_file(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Put a file in place whole, or not at all.

    Args:
        path: the file.
        data: its content.
        durable: a power cut leaves no torn file either. The name itself is only safe after
            ``sync_folder``.
    """
    partial = path.with_name(f".{path.name}{PARTIAL}")
    descriptor = open_private(partial, fresh=True)
    try:
        write_all(descriptor, data, partial)
        if durable:
            sync(descriptor, partial)
    finally:
        os.close(descriptor)
    move(partial, path)


PARTIAL = ".partial"
"""Ends the name of a file that ``replace_file`` has not finished; a dot begins it."""


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Give an error of a descriptor the path that it lacks."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from None
