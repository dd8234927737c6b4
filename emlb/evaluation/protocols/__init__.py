"""The scoring rules of shared tasks, as their own programs apply them."""

from __future__ import annotations

from emlb_runtime.errors import ConfigError

from .ade import Ade
from .base import Row, ScoringProtocol, Tally, add
from .n2c2 import N2c2
from .paper import Paper
from .semeval2015 import SemEval2015
from .shareclef import ShareClef
from .standard import Standard
from .tempeval import TempEval

__all__ = ["PROTOCOLS", "Row", "ScoringProtocol", "Tally", "add", "find_protocol"]

PROTOCOLS: dict[str, ScoringProtocol] = {
    protocol.name: protocol
    for protocol in (Standard(), N2c2(), TempEval(), ShareClef(), SemEval2015(), Ade(), Paper())
}
"""The protocols by the names that ``--protocol`` takes."""


def find_protocol(name: str) -> ScoringProtocol:
    """The protocol of that name.

    Raises:
        ConfigError: if there is none.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"unknown protocol {name!r}; choose {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
