"""`emlb data`: look into corpora, divide them, and change their format."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from emlb_cli.shared.console import ExitCode, one_sentence_errors
from emlb_cli.shared.options import Format, IdColumn, TextColumn, Texts
from emlb_runtime.batch.inputs import choose_columns

PROGRAM = "emlb data"

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Source = Annotated[
    Path, typer.Argument(metavar="PATH", help="A corpus as it was downloaded: folder or file.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="End at the first thing that cannot be used.")
]


@app.command("inspect", no_args_is_help=True)
def inspect_command(
    path: Source,
    format: Format = "auto",
    texts: Texts = None,
    id_column: IdColumn = None,
    text_column: TextColumn = None,
    strict: Strict = False,
    listed: Annotated[
        int, typer.Option("--list", min=0, help="How many problems to list one by one.")
    ] = 20,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all of it as JSON too.")
    ] = None,
) -> None:
    """Say what a corpus holds, and what of it cannot be used: counts, files and lines, no text."""
    with one_sentence_errors(f"{PROGRAM} inspect"):
        from emlb.data.inspect import inspect, render

        columns = choose_columns(id_column, text_column)
        found = inspect(path, format=format, texts=texts, columns=columns, strict=strict)
        typer.echo(render(found, title=str(path), listed=listed))
        if json_path:
            text = json.dumps(found.to_json(), indent=1, ensure_ascii=False)
            json_path.write_text(text + "\n", encoding="utf-8")


@app.command("convert", no_args_is_help=True)
def convert_command(
    source: Source,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Where to write; must be new.")],
    to: Annotated[
        str, typer.Option(metavar="NAME", help="brat, jsonl, anafora, share or share2013.")
    ],
    format: Format = "auto",
    texts: Texts = None,
    id_column: IdColumn = None,
    text_column: TextColumn = None,
    strict: Strict = False,
    mapping: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Rewrite the annotations by these rules, from a corpus's own types to clinical "
            "schema 2: ade, chemicals, chia, drugtemist, fda, maccrobat, phee; or n2c2, from "
            "schema 2 to the types of n2c2 2018.",
        ),
    ] = "",
    listed: Annotated[
        int, typer.Option("--list", min=0, help="How many problems to list one by one.")
    ] = 20,
) -> None:
    """Write a corpus in another format, and say what that format cannot hold."""
    with one_sentence_errors(f"{PROGRAM} convert"):
        from emlb.data.convert import convert

        columns = choose_columns(id_column, text_column)
        done = convert(
            source,
            out,
            to=to,
            format=format,
            texts=texts,
            columns=columns,
            strict=strict,
            mapping=mapping,
        )
        typer.echo(f"{done.documents:,} documents written to {out}")
        for other in done.passed_over:
            typer.echo(f"  also there, not read: {other}")
        for reason, count in done.losses.most_common():
            typer.echo(f"  {to} cannot hold: {count:,} × {reason}")
        for reason, count in done.left_out.most_common():
            typer.echo(f"  {mapping} leaves out: {count:,} × {reason}")
        if done.problems:
            typer.echo(
                f"  not used: {len(done.problems):,}, with {done.lost:,} documents lost whole"
            )
        for problem in done.problems[:listed]:
            typer.echo(f"    {problem}")
        if len(done.problems) > listed:
            typer.echo(f"    … and {len(done.problems) - listed:,} more")
        remarks = Counter(remark.reason for remark in done.remarks)
        for reason, count in remarks.most_common():
            typer.echo(f"  used, with a remark: {count:,} × {reason}")
        if done.lost:
            raise typer.Exit(ExitCode.SOME_FAILED)


@app.command("split", no_args_is_help=True)
def split_command(
    path: Source,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Where to write which document is in which part.")
    ],
    format: Format = "auto",
    texts: Texts = None,
    test_share: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of the documents for testing.")
    ] = 0.2,
    dev_share: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of the rest for development.")
    ] = 0.1,
    group_pattern: Annotated[
        str,
        typer.Option(
            metavar="REGEX",
            help="What of a document's name says which patient or abstract it belongs to; "
            "as a rule SOURCE of SOURCE_k.",
        ),
    ] = "",
    group_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A CSV of documents and their patients instead."),
    ] = None,
    at_random: Annotated[
        bool, typer.Option("--random", help="Draw even where the corpus has official parts.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 13,
) -> None:
    """Divide a corpus into train, dev and test, and warn of what stands on both sides.

    A corpus that was released in parts keeps them; else documents are drawn by a seed, those
    of one patient or abstract together.
    """
    with one_sentence_errors(f"{PROGRAM} split"):
        from emlb.data.write_splits import divide_corpus

        done = divide_corpus(
            path,
            out,
            format=format,
            texts=texts,
            test_share=test_share,
            dev_share=dev_share,
            group_pattern=group_pattern,
            group_file=group_file,
            at_random=at_random,
            seed=seed,
        )
        typer.echo(done)
