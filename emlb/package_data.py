"""Files that installed Python packages carry, such as an encoder or EMLB's own annotations."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from emlb_runtime.errors import ConfigError

PREFIX = "package:"


def find_packaged(place: str, folder: Path) -> Path:
    """The path that a setting means.

    Args:
        place: a path, or ``package:NAME/PATH`` for one in an installed package.
        folder: what a path is relative to.

    Raises:
        ConfigError: if the package is not installed or has no such path.
    """
    if not place.startswith(PREFIX):
        return folder / place
    package, _, within = place.removeprefix(PREFIX).partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"{place}: package {package} is not installed; pip install {package.replace('_', '-')}"
        )
    path = Path(spec.submodule_search_locations[0]) / within
    if not path.exists():
        raise ConfigError(f"{place}: package {package} has no {within}")
    return path
