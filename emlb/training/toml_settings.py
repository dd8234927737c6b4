"""Reading TOML into frozen dataclasses, with every unknown or ill-typed key an error."""

from __future__ import annotations

import difflib
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from emlb_runtime.errors import ConfigError

T = TypeVar("T")


def load_toml(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """A TOML file's values, with ``section.key=value`` overrides applied.

    One of several sections of a name is given by its number: ``corpus.0.repeat=2``.

    Values are read as TOML, or as a plain string where that fails.

    Raises:
        ConfigError: if the file is missing or malformed, or an override is not of that form.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such configuration file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: not readable as TOML: {error}") from None
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"override {override!r}: write it as key=value or section.key=value")
        *sections, last = key.strip().split(".")
        target: Any = values
        for section in sections:
            target = _section(target, section, override)
        if not isinstance(target, dict):
            raise ConfigError(f"override {override!r}: {sections[-1]} is not a section")
        target[last] = _value(text.strip())
    return values


def _section(target: Any, name: str, override: str) -> Any:
    """A section's subsection, made if it is missing; of a list of sections, one by number."""
    if isinstance(target, list):
        if not name.isdecimal() or int(name) >= len(target):
            raise ConfigError(
                f"override {override!r}: name one of the {len(target)} by its number, from 0"
            )
        return target[int(name)]
    if not isinstance(target, dict):
        raise ConfigError(f"override {override!r}: {name} is not in a section")
    return target.setdefault(name, {})


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def build(kind: type[T], values: Mapping[str, Any], *, where: str = "") -> T:
    """A dataclass of TOML values.

    Args:
        kind: a dataclass whose fields are plain values, tuples, or dataclasses.
        values: the section.
        where: the section's name, for messages.

    Raises:
        ConfigError: on an unknown key (naming the nearest), a missing one, or a wrong type.
    """
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind)
    label = f"{where}." if where else ""
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {label}{near[0]}?" if near else f"known: {', '.join(known)}"
            raise ConfigError(f"unknown setting {label}{key}; {hint}")
    for name, item in known.items():
        if name not in values and item.default is MISSING and item.default_factory is MISSING:
            raise ConfigError(f"setting {label}{name} is missing")
    made = {key: _convert(hints[key], value, label + key) for key, value in values.items()}
    return kind(**made)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert(next(kind for kind in arguments if kind is not type(None)), value, where)
    if is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, Mapping):
            return build(hint, value, where=where)
    elif origin is tuple:
        if isinstance(value, list):
            return tuple(
                _convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)
            )
    elif origin is typing.Literal:
        if value in arguments:
            return value
        raise ConfigError(f"setting {where} is {value!r}; it must be one of {arguments}")
    elif hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    name = getattr(hint, "__name__", str(hint))
    raise ConfigError(f"setting {where} is {value!r}; it must be of type {name}")
