"""The files that a corpus in a folder is made of."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

_SUFFIX = re.compile(r"(?:\.[A-Za-z][A-Za-z0-9_-]{0,9})(?:\.(?:gz|zst|bz2|xz))?$", re.ASCII)
_SHOWN = 8

NO_SUFFIX = "without a suffix"
"""What suffix_of says of a name such as ``ID907_clinic_921``."""


def suffix_of(name: str) -> str:
    """What a file's name ends in, for counting: ``.con``, ``.csv.gz`` or ``NO_SUFFIX``."""
    match = _SUFFIX.search(name)
    return match[0].lower() if match and match.start() else NO_SUFFIX


def describe_suffixes(counts: Counter[str]) -> str:
    """How many files there are of each suffix, in words; empty for no file.

    Args:
        counts: files by what ``suffix_of`` says of their names.
    """
    if not counts:
        return ""
    kinds = sorted(counts.items(), key=lambda kind: (kind[0] == NO_SUFFIX, -kind[1], kind[0]))
    listed = [f"{count:,} {suffix}" for suffix, count in kinds[:_SHOWN]]
    if rest := sum(count for _, count in kinds[_SHOWN:]):
        listed.append(f"{rest:,} of other suffixes")
    total = counts.total()
    return f"{total:,} other file{'s' * (total != 1)} ({', '.join(listed)})"


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
