"""TOML into dataclasses: whatever is wrong is named, with what is allowed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from emlb.training.toml_settings import build, load_toml
from emlb_runtime.errors import ConfigError


@dataclass(frozen=True)
class Oven:
    heat: float
    fan: bool = False
    mode: Literal["bake", "grill"] = "bake"


@dataclass(frozen=True)
class Kitchen:
    name: str
    seats: int = 4
    oven: Oven = field(default_factory=lambda: Oven(180.0))
    spare: Oven | None = None
    ovens: tuple[Oven, ...] = ()
    dishes: tuple[str, ...] = ()


def test_values_of_every_kind() -> None:
    made = build(
        Kitchen,
        {
            "name": "k",
            "seats": 2,
            "oven": {"heat": 200, "fan": True},
            "spare": {"heat": 90.5, "mode": "grill"},
            "ovens": [{"heat": 1.0}, {"heat": 2.0}],
            "dishes": ["soup", "pie"],
        },
    )
    assert made == Kitchen(
        name="k",
        seats=2,
        oven=Oven(200.0, fan=True),
        spare=Oven(90.5, mode="grill"),
        ovens=(Oven(1.0), Oven(2.0)),
        dishes=("soup", "pie"),
    )
    assert isinstance(made.oven.heat, float)  # a whole number will do for a fraction
    assert build(Kitchen, {"name": "k"}) == Kitchen("k")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nam": "k"}, "unknown setting nam; did you mean name?"),
        ({"name": "k", "seat": 3}, "unknown setting seat; did you mean seats?"),
        ({"name": "k", "oven": {"heta": 3}}, "unknown setting oven.heta; did you mean oven.heat?"),
        ({"name": "k", "ovens": [{"heat": 1.0}, {"heat": 1.0, "fna": True}]},
         "unknown setting ovens[1].fna; did you mean ovens[1].fan?"),
        ({"name": "k", "zzz": 1},
         "unknown setting zzz; known: name, seats, oven, spare, ovens, dishes"),
        ({}, "setting name is missing"),
        ({"name": "k", "oven": {}}, "setting oven.heat is missing"),
        ({"name": 3}, "setting name is 3; it must be of type str"),
        ({"name": "k", "seats": "3"}, "setting seats is '3'; it must be of type int"),
        ({"name": "k", "seats": 3.0}, "setting seats is 3.0; it must be of type int"),
        ({"name": "k", "seats": True}, "setting seats is True; it must be of type int"),
        ({"name": "k", "oven": {"heat": True}}, "oven.heat is True; it must be of type float"),
        ({"name": "k", "oven": {"heat": "hot"}}, "setting oven.heat is 'hot'"),
        ({"name": "k", "oven": {"heat": 1, "fan": 1}}, "oven.fan is 1; it must be of type bool"),
        ({"name": "k", "oven": {"heat": 1, "mode": "steam"}},
         "setting oven.mode is 'steam'; it must be one of ('bake', 'grill')"),
        ({"name": "k", "oven": 3}, "setting oven is 3; it must be of type Oven"),
        ({"name": "k", "spare": [1]}, "setting spare is [1]; it must be of type Oven"),
        ({"name": "k", "dishes": "soup"}, "setting dishes is 'soup'; it must be of type tuple"),
        ({"name": "k", "dishes": ["soup", 3]}, "setting dishes[1] is 3; it must be of type str"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        build(Kitchen, values)


TOML = 'name = "k"\n[oven]\nheat = 180.0\n[[ovens]]\nheat = 1.0\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "kitchen.toml"
    path.write_text(TOML, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("seats=6", "seats", 6),
        ("name=my kitchen", "name", "my kitchen"),
        ('name="6"', "name", "6"),
        ("name=a=b", "name", "a=b"),
        (" seats = 6 ", "seats", 6),
        ("oven.heat=200.5", "oven", {"heat": 200.5}),
        ("oven.fan=true", "oven", {"heat": 180.0, "fan": True}),
        ("spare.heat=90", "spare", {"heat": 90}),
        ('dishes=["soup", "pie"]', "dishes", ["soup", "pie"]),
        ("ovens=[{ heat = 3.0 }]", "ovens", [{"heat": 3.0}]),
    ],
)
def test_overrides(file: Path, override: str, key: str, value: object) -> None:
    assert load_toml(file, [override])[key] == value


def test_later_overrides_win(file: Path) -> None:
    assert load_toml(file, ["seats=5", "seats=6"])["seats"] == 6


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seats", "override 'seats': write it as key=value or section.key=value"),
        ("=6", "override '=6': write it as"),
        ("name.first=x", "override 'name.first=x': name is not a section"),
        ("ovens.heat=2", "override 'ovens.heat=2': ovens is not a section"),
    ],
)
def test_overrides_of_another_form(file: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_toml(file, [override])


def test_an_override_can_be_a_typo_too(file: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape("did you mean oven.heat?")):
        build(Kitchen, load_toml(file, ["oven.heet=3"]))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no.toml: there is no such configuration file"):
        load_toml(tmp_path / "no.toml")
    for name, content in (("bad", b"name = "), ("latin", 'name = "ä"'.encode("latin-1"))):
        path = tmp_path / f"{name}.toml"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=f"{name}.toml: not readable as TOML"):
            load_toml(path)
    with pytest.raises(ConfigError, match="not readable as TOML"):
        load_toml(tmp_path)
