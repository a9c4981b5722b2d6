"""`mmr evaluate`: what a model gets right on data sets."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmr_runtime.cli import options
from mmr_runtime.cli.display import Column, Style, table, write, write_json
from mmr_runtime.cli.errors import Command
from mmr_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmr_export.data.datasets import Dataset, Item
    from mmr_export.evaluate.assess import Assessment

_KINDS = {"group": "by title or video", "item": "by single item, as the paper: titles leak", "fold": "by fold"}


@click.command(
    "evaluate", cls=Command, context_settings=options.CONTEXT, short_help="Measure a model on labelled data sets."
)
@click.argument("model", default="default")
@click.option(
    "--data",
    "named",
    required=True,
    multiple=True,
    metavar="NAME=FOLDER",
    help="A data set: manga109, audioset, esc50, urbansound8k, features or manifest, and where it lies. Twice for "
    "pages and songs.",
)
@click.option(
    "--split", type=options.PATH, help="Judge only what validates by this file. Default: the one beside a checkpoint."
)
@click.option("--all", "everything", is_flag=True, help="Judge all items, also those that the checkpoint trained on.")
@click.option("--as-published", is_flag=True, help="Make the tables the way of the paper's code, too.")
@click.option("--output", type=options.PATH, help="Folder for the tables as CSV and Markdown, and the report.")
@options.json_option
@options.debug_option
def evaluate(
    model: str,
    named: tuple[str, ...],
    split: Path | None,
    everything: bool,
    as_published: bool,
    output: Path | None,
    as_json: bool,
) -> int:
    """Example: mmr evaluate manga/best.pt --data manga109=Manga109 --data audioset=AudioSet --output report

    Classify pictures and clips by the names of their classes, without training on them; with pages and songs, tell
    which moods the songs have that a genre's pages get, and the other way round; with pairs, how often the partner is
    found. MODEL is a bundle's folder, a checkpoint, or `default`.
    """  # noqa: D415 (an example comes first)
    from mmr_export.evaluate.assess import assess
    from mmr_export.evaluate.encoders import open_encoder
    from mmr_export.html import require_matplotlib

    if split is not None and everything:
        raise UsageError("--split and --all exclude each other")
    if output is not None:
        require_matplotlib("a report")
    beside = Path(model).with_suffix(".split.json")
    if split is None and not everything and Path(model).is_file() and beside.is_file():
        split = beside
    chosen = [_chosen(name, split) for name in named]
    if len({dataset.modality for dataset, _, _ in chosen}) < len(chosen):
        raise UsageError("two data sets are both of pictures, or both of sound", "judge them one after the other")
    found = assess(open_encoder(model), chosen, as_published=as_published)
    if output is not None:
        _write(found, output)
    if as_json:
        write_json(found.to_json())
    else:
        write(_text(found))
        if output is not None:
            click.echo(f"wrote {output / 'report.html'}", err=True)
    return 0


def _chosen(named: str, split: Path | None) -> tuple[Dataset, Sequence[Item], str]:
    """A data set, the items to judge by, and in words which ones these are."""
    from mmr_export.data.catalogue import read_dataset
    from mmr_export.data.splits import read_split

    name, equals, folder = named.partition("=")
    if not equals:
        raise UsageError(f"{named} is not NAME=FOLDER", "for example --data manga109=Manga109_released")
    dataset = read_dataset(name, Path(folder))
    dataset = replace(dataset, name=f"{name} {Path(folder).name}")
    if split is None:
        return dataset, dataset.items, f"all {len(dataset.items)} items"
    stored = read_split(split)
    validates = frozenset(stored.validation)
    items = [item for item in dataset.items if item.key in validates]
    if not items:  # of pages and songs, one has been trained on, and the other not
        return dataset, dataset.items, f"all {len(dataset.items)} items, none of which the split names"
    kind = _KINDS.get(stored.kind, "the data set's own")
    return dataset, items, f"the {len(items)} that validate, split {kind}"


def _write(found: Assessment, output: Path) -> None:
    from mmr_export.evaluate.document import document
    from mmr_runtime.files import write_file

    output.mkdir(parents=True, exist_ok=True)
    write_file(output / "report.html", document(found).encode())
    for part in found.tables:
        stem = part.title.replace(", ", "_").replace(" ", "-")
        write_file(output / f"{stem}.md", part.to_markdown().encode())
        with (output / f"{stem}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(part.to_rows())


def _text(found: Assessment) -> str:
    from mmr_export.evaluate.document import figure, first_three

    rows: list[list[str]] = []
    for name, figures in found.to_json()["data"].items():
        rows += [
            [name, key, figure(figures[key]), figure(figures["chance"][key]), figures["judged"]]
            for key in ("accuracy", "mAP")
            if key in figures
        ]
        rows += [
            [name, f"{way}, {key}", figure(value), "", figures["judged"]]
            for way in figures
            if " to " in way
            for key, value in figures[way].items()
        ]
    style = Style.of(sys.stdout)
    columns = [Column("data"), Column("figure"), Column("value [95 % interval]"), Column("chance"), Column("judged")]
    parts = [table(columns, rows, style)]
    for part in found.tables:
        lines = [[row, *first_three(part, i, intervals=False)] for i, row in enumerate(part.rows)]
        parts.append(
            f"\n{part.title}\n" + table([Column(name) for name in ("query", "first", "second", "third")], lines, style)
        )
    return "\n".join(parts)
