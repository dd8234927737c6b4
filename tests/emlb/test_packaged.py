"""Files that installed packages carry."""

from __future__ import annotations

from pathlib import Path

import pytest

from emlb.package_data import find_packaged
from emlb_runtime.errors import ConfigError


def test_paths_are_relative_to_the_folder_and_packages_to_themselves(tmp_path: Path) -> None:
    assert find_packaged("a/b", tmp_path) == tmp_path / "a" / "b"
    found = find_packaged("package:emlb/recipes/ade.toml", tmp_path)
    assert found.is_file() and not found.is_relative_to(tmp_path)
    with pytest.raises(ConfigError, match="package emlb has no recipes/none"):
        find_packaged("package:emlb/recipes/none.toml", tmp_path)


@pytest.mark.parametrize("package", ["no_such_package", "", "..", "emlb.none.recipes", "json.none"])
def test_a_package_that_is_not_there(package: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not installed"):
        find_packaged(f"package:{package}/file", tmp_path)
