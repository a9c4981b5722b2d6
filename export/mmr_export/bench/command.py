"""`mmr bench`. Nothing numeric is imported before there is work for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmr_export.html import require_matplotlib
from mmr_runtime.cli.display import Column, Style, table, write
from mmr_runtime.cli.errors import Command
from mmr_runtime.cli.options import CONTEXT, PATH, debug_option, model_option
from mmr_runtime.errors import UsageError
from mmr_runtime.files import write_file

if TYPE_CHECKING:
    from .tables import Table

_ROUNDS, _QUICK_ROUNDS = 100, 3


@click.command("bench", cls=Command, context_settings=CONTEXT, short_help="Measure speed and memory on this machine.")
@model_option
@click.option("--precision", default="", help="For example fp32,int8. Default: all that the bundle has.")
@click.option("--threads", help="Numbers of threads, for example 1,2. Default: 1, 2 and 4, as far as there are cores.")
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    help=f"How often each stage runs; songs and whole processes run in a fifth of the rounds.  [default: {_ROUNDS}]",
)
@click.option("--checkpoint", type=PATH, help="What the bundle was made of: measures PyTorch beside it.")
@click.option("--json", "json_file", type=PATH, help="Write all figures to this file.")
@click.option("--html", "html_file", type=PATH, help="Write a report with plots to this file.")
@click.option("--quick", is_flag=True, help=f"Small inputs and {_QUICK_ROUNDS} rounds: to try it, not to measure.")
@debug_option
def bench(
    model: str,
    precision: str,
    threads: str | None,
    rounds: int | None,
    checkpoint: Path | None,
    json_file: Path | None,
    html_file: Path | None,
    quick: bool,
) -> None:
    """Example: mmr bench --json build/bench.json --html build/bench.html

    Measure a model on this machine with generated pages and songs: every stage of its work, and whole processes. What
    the figures mean stands in docs/benchmarks.md. Leave the machine alone meanwhile.
    """  # noqa: D415 (an example comes first)
    # Minutes later would be late to say this.
    if html_file:
        require_matplotlib("--html")
    from .host import make_result, write_result
    from .inputs import QUICK, Sizes
    from .measure import Plan, measure
    from .processes import can_measure
    from .report import html_report
    from .tables import make_tables

    plan = Plan.of(
        model,
        [part.strip() for part in precision.split(",") if part.strip()],
        threads=_numbers(threads) if threads else _default_threads(),
        rounds=rounds or (_QUICK_ROUNDS if quick else _ROUNDS),
        sizes=QUICK if quick else Sizes(),
        checkpoint=checkpoint,
    )
    if not can_measure():
        click.echo("note: whole processes are measured on Linux only", err=True)
    result = make_result("bench", measure(plan, _progress))
    if json_file:
        write_result(json_file, result)
    if html_file:
        html_file.parent.mkdir(parents=True, exist_ok=True)
        write_file(html_file, html_report(result).encode())
    _show(make_tables(result["figures"]))


def _show(tables: Sequence[Table]) -> None:
    style = Style.of(sys.stdout)
    for number, made in enumerate(tables):
        columns = [Column(head, right=place >= made.texts) for place, head in enumerate(made.head)]
        write(("\n" if number else "") + table(columns, made.rows, style))


def _numbers(text: str) -> tuple[int, ...]:
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = [0]
    if found[0] < 1:
        raise UsageError(f"--threads cannot be {text}", "give numbers from 1 on, separated by commas: 1,2")
    return tuple(found)


def _default_threads() -> tuple[int, ...]:
    from mmr_runtime.sessions import allowed_cores

    return tuple(count for count in (1, 2, 4) if count <= allowed_cores())


@contextmanager
def _progress(what: str, length: int) -> Iterator[Callable[[], Any]]:
    with click.progressbar(length=length, label=f"{what:15}", file=sys.stderr) as bar:
        yield lambda: bar.update(1)
