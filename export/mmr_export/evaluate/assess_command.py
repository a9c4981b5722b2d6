"""`mmr evaluate`: what a model gets right on data sets."""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmr_runtime.cli import options
from mmr_runtime.cli.display import Column, Style, table, write, write_json
from mmr_runtime.cli.errors import Command
from mmr_runtime.cli.progress import ProgressBar
from mmr_runtime.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmr_export.data.datasets import Dataset, Item
    from mmr_export.data.splits import Kind, Split
    from mmr_export.evaluate.assess import Assessment

_KINDS: dict[Kind, str] = {
    "group": "by title or video",
    "item": "by single item, as the paper: titles leak",
    "fold": "by fold",
    "given": "as the data set divides itself",
}


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
    from mmr_runtime.library import Progress

    if split is not None and everything:
        raise UsageError("--split and --all exclude each other")
    places = [_place(words) for words in named]
    if output is not None:
        require_matplotlib("a report")
        _make_folder(output)
    stored = _stored_split(model, split, everything)
    encoder = open_encoder(model)
    data = [_read(name, folder, encoder.options.get(name, {})) for name, folder in places]
    if len({dataset.modality for dataset in data}) < len(data):
        raise UsageError("two data sets are both of pictures, or both of sound", "judge them one after the other")
    if len({dataset.name for dataset in data}) < len(data):
        raise UsageError(f"two data sets are called {data[0].name}", "rename one of their folders")
    if split is not None and stored is not None and not any(_named_by(stored, dataset) for dataset in data):
        raise InputError(f"{split} names no item of the data", "give the split of this data set, or none")
    chosen = [(dataset, *_validating(dataset, stored)) for dataset in data]
    bar = ProgressBar("items", sys.stderr, "reading")
    try:
        found = assess(
            encoder, chosen, as_published=as_published, progress=lambda done, all_: bar(Progress(done, all_, None))
        )
    finally:
        bar.close()
    if output is not None:
        _write(found, output)
    if as_json:
        write_json(found.to_json())
    else:
        write(_text(found))
        if output is not None:
            click.echo(f"wrote {output / 'report.html'}", err=True)
    return 0


def _place(words: str) -> tuple[str, Path]:
    name, equals, folder = words.partition("=")
    if not equals:
        raise UsageError(f"{words} is not NAME=FOLDER", "for example --data manga109=Manga109_released")
    return name, Path(folder)


def _stored_split(model: str, split: Path | None, everything: bool) -> Split | None:
    """The split that is given, else the one beside a checkpoint, else none."""
    from mmr_export.data.splits import read_split

    if split is not None:
        return read_split(split)
    beside = Path(model).with_suffix(".split.json")
    return read_split(beside) if Path(model).is_file() and beside.is_file() and not everything else None


def _read(name: str, folder: Path, reading: Mapping[str, Any]) -> Dataset:
    """A data set, called by its kind, its folder, and how it was read if that is not the usual way."""
    from mmr_export.data.catalogue import read_dataset

    dataset = read_dataset(name, folder, **reading)
    ways = "".join(f", {option} {value}" for option, value in reading.items())
    return replace(dataset, name=f"{name} {folder.resolve().name}{ways}")


def _named_by(split: Split, dataset: Dataset) -> frozenset[str]:
    return frozenset((*split.train, *split.validation)) & {item.key for item in dataset.items}


def _validating(dataset: Dataset, split: Split | None) -> tuple[Sequence[Item], str]:
    """The items to judge by, and in words which ones these are."""
    everything = f"all {len(dataset.items)} items"
    if split is None:
        return dataset.items, everything
    if not _named_by(split, dataset):  # of pages and songs, one has been trained on, and the other not
        return dataset.items, f"{everything}, none of which the split names"
    validates = frozenset(split.validation)
    items = [item for item in dataset.items if item.key in validates]
    if not items:
        raise InputError(f"{dataset.name} holds no item that validates by the split", "give its whole data, or --all")
    missing = len(validates) - len(items)
    without = f" without {missing} that are not there" if missing else ""
    return items, f"the {len(items)} that validate{without}, split {_KINDS[split.kind]}"


def _make_folder(output: Path) -> None:
    """Before the work, not after it."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{output} cannot be made a folder: {error.strerror}", "choose another place") from error


def _write(found: Assessment, output: Path) -> None:
    from mmr_export.evaluate.document import document
    from mmr_runtime.files import write_file

    write_file(output / "report.html", document(found).encode())
    for part in found.tables:
        stem = part.title.replace(", ", "_").replace(" ", "-")
        write_file(output / f"{stem}.md", part.to_markdown().encode())
        lines = io.StringIO(newline="")
        csv.writer(lines).writerows(part.to_rows())
        write_file(output / f"{stem}.csv", lines.getvalue().encode())


def _text(found: Assessment) -> str:
    from mmr_export.evaluate.document import SUMMARY, first_three, summary

    style = Style.of(sys.stdout)
    parts = [table([Column(name) for name in SUMMARY], summary(found.to_json()["data"]), style)]
    for part in found.tables:
        lines = [[row, *first_three(part, i, intervals=False)] for i, row in enumerate(part.rows)]
        parts.append(
            f"\n{part.title}\n" + table([Column(name) for name in ("query", "first", "second", "third")], lines, style)
        )
    return "\n".join(parts)
