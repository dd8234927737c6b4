"""Training configurations that come with EMLB, found by name."""

from pathlib import Path

from emlb_runtime.errors import ConfigError


def find_recipe(config: Path) -> Path:
    """The file itself if it exists, else the recipe of that name.

    Raises:
        ConfigError: if there is neither; the message lists the recipes.
    """
    if config.is_file():
        return config
    folder = Path(__file__).parent
    recipe = folder / f"{config}.toml"
    if config.name == str(config) and recipe.is_file():
        return recipe
    names = ", ".join(sorted(path.stem for path in folder.glob("*.toml")))
    raise ConfigError(f"{config}: no such file, nor a recipe of that name; recipes: {names}")
