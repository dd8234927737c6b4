"""`emlb info`: what this machine is, how a bundle would run on it, and what the bundle is."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from emlb_cli.shared.console import one_sentence_errors
from emlb_cli.shared.enums import Precision, Provider
from emlb_runtime import __version__

PROGRAM = "emlb info"


def command(
    bundle: Annotated[
        Path | None,
        typer.Argument(metavar="BUNDLE", help="A bundle's folder.  [default: bundled model]"),
    ] = None,
    provider: Annotated[
        Provider, typer.Option(help="Plan for this provider; see emlb-run.")
    ] = Provider.AUTO,
    precision: Annotated[
        Precision | None, typer.Option(help="Plan for this encoder.  [default: the bundle's own]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as one JSON object.")] = False,
) -> None:
    """Show this machine, how emlb-run would run a bundle on it, and the bundle's configuration.

    The bundle is checked first, every file of it.
    """
    with one_sentence_errors(PROGRAM):
        from emlb_runtime.bundle.loader import Bundle

        checked = Bundle.load(bundle)
        checked.verify()
        values: dict[str, Any] = {
            "emlb": __version__,
            "machine": describe_machine(),
            "runtime": describe_runtime(),
            "plan": describe_plan(checked.config, provider, precision),
            "bundle": checked.config.to_json(),
        }
        if as_json:
            typer.echo(json.dumps(values, ensure_ascii=False, indent=2))
            return
        for part in ("machine", "runtime", "plan"):
            typer.echo(f"{part}:")
            for line in lines(values[part]):
                typer.echo(f"  {line}")
        typer.echo(f"bundle: {checked.folder}")
        typer.echo(json.dumps(values["bundle"], ensure_ascii=False, indent=2))


def describe_machine() -> dict[str, Any]:
    """The machine, as ``read_machine`` knows it."""
    from emlb_runtime.machine.info import read_machine

    return asdict(read_machine())


def describe_runtime() -> dict[str, Any]:
    """Python, the wheels of ONNX Runtime and what they can run on; or what is wrong with them."""
    from emlb_runtime.errors import BackendError
    from emlb_runtime.inference.providers import import_onnxruntime, runtime_builds, what_is_missing

    values: dict[str, Any] = {"python": platform.python_version(), "wheels": runtime_builds()}
    try:
        runtime = import_onnxruntime()
    except BackendError as error:
        return {**values, "error": str(error)}
    available = runtime.get_available_providers()
    missing = {name: what_is_missing(name, runtime) for name in available}
    return {
        **values,
        "onnxruntime": runtime.__version__,
        "int8_products": describe_products(),
        "providers": available,
        "missing": {name: phrases for name, phrases in missing.items() if phrases},
    }


def describe_products() -> dict[str, str]:
    """Per kind of 8-bit products, what its self-test says on this machine's CPU."""
    from emlb_runtime.inference.arithmetic import PRODUCTS, self_test

    return {kind: "exact" if self_test(kind) else "sums overflow" for kind in PRODUCTS}


def describe_plan(config: Any, provider: str, precision: str | None) -> dict[str, Any]:
    """What ``emlb-run`` would do with these options; or why it would not."""
    from emlb_runtime.errors import EmlbError
    from emlb_runtime.extraction.session_plan import make_plan

    try:
        plan = make_plan(config, provider=provider, precision=precision)
    except EmlbError as error:
        return {"asked": provider, "error": str(error)}
    windows = {"max_pieces": config.windows.max_pieces, "overlap": config.windows.overlap}
    return {**asdict(plan), "windows": windows}


def lines(values: dict[str, Any]) -> list[str]:
    """A line for each value, and for each provider that lacks something; empty ones left out."""
    shown = []
    for name, value in values.items():
        if name == "missing":
            shown += [f"{provider} lacks {_plain(phrases)}" for provider, phrases in value.items()]
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
        elif name == "memory":
            value = f"{value / 2**30:.1f} GiB" if value else "unknown"
        if text := "unknown" if value is None else _plain(value):
            shown.append(f"{name.replace('_', ' ')}: {text}")
    return shown


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "; ".join(map(str, value)) if any(" " in str(v) for v in value) else " ".join(value)
    return str(value)
