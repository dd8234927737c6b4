"""The files that a corpus in a folder is made of."""

from __future__ import annotations

import os
from pathlib import Path


def files_below(folder: Path, *endings: str, unread: list[Path] | None = None) -> list[Path]:
    """The files in a folder and its subfolders, sorted by path.

    What is hidden is passed over: archives made on a Mac hold a hidden twin of each file,
    editors hidden copies. Links are followed, but no folder is entered twice, so that a link
    beside its target doubles nothing. A link that leads nowhere counts as a file, and so does
    an empty folder with one of the endings: reading them will say what they are.

    Args:
        folder: where to look.
        endings: what a name must end in, in capitals or not; any if none is given.
        unread: is given the folders that cannot be listed.
    """
    wanted = tuple(ending.lower() for ending in endings) or ("",)
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    folders, links = [folder], list[Path]()
    while folders or links:
        place = folders.pop() if folders else links.pop(0)
        try:
            status = place.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(place) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            if unread is not None:
                unread.append(place)
            continue
        if not entries and endings and place.name.lower().endswith(wanted):
            found.append(place)
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                (links if entry.is_symlink() else folders).append(place / entry.name)
            elif entry.name.lower().endswith(wanted):
                found.append(place / entry.name)
    return sorted(found)
