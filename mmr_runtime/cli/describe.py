"""`mmr describe`: what a page or a song is like, in words."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmr_runtime.cli import options
from mmr_runtime.cli.display import Column, Style, one_line, table, write, write_json
from mmr_runtime.cli.errors import Command
from mmr_runtime.errors import InputError
from mmr_runtime.moods import MOODS

if TYPE_CHECKING:
    from mmr_runtime.describe import Describer, Description

_COLUMNS = (Column("score", right=True), Column("group"), Column("keyword", shrinks="end"))
_MEASURES = {
    "deviations": "scores: standard deviations above the pages or songs that the model compares with",
    "ratio": "scores: times an equal share of the group",
}
_DIGITS = 6  # in JSON: float32 holds no more


@click.command("describe", cls=Command, context_settings=options.CONTEXT, short_help="Describe pages and songs.")
@click.argument("files", nargs=-1, required=True, type=options.PATH)
@click.option("--vocabulary", type=options.PATH, help="Keywords to choose from: one a line, or group, tab, keyword.")
@click.option("--top", type=click.IntRange(min=1), default=8, show_default=True, help="Keywords to show.")
@options.engine_options
@options.json_option
@options.debug_option
def describe(
    files: tuple[Path, ...], vocabulary: Path | None, top: int, choice: options.EngineChoice, as_json: bool
) -> int:
    """Example: mmr describe page.png song.mp3

    Tell what each of FILES, a page or a song, is like: keywords of a vocabulary, and a caption with the nearest of some
    invented scenes (or pieces of music). The small default model hears and sees moods; things that are drawn it hardly
    sees.

    \b
    mmr describe page.png --top 3 --json
    mmr describe song.mp3 --vocabulary words.txt
    """  # noqa: D301, D415 (click's mark for lines that are kept; an example comes first)
    from mmr_runtime.books import VectorCache
    from mmr_runtime.describe import Describer, read_vocabulary

    terms = read_vocabulary(vocabulary) if vocabulary else None
    cache = VectorCache()
    try:
        with choice.open() as engine:
            found, skipped = _described(Describer(engine, terms, cache=cache), files, top)
    finally:
        cache.close()
    _tell_skipped(skipped, len(files))
    if as_json:
        write_json(_as_json(engine.model_id, found, skipped))
    else:
        write(_shown(found, Style.of(sys.stdout)))
    return 0


def _described(
    describer: Describer, files: Sequence[Path], top: int
) -> tuple[list[tuple[Path, Description]], list[tuple[Path, str]]]:
    """Files with their descriptions, and those that cannot be read, with the reason.

    Raises:
        InputError: none can be read.
    """
    found, skipped = [], []
    for path in files:
        try:
            found.append((path, describer.describe(path, top=top)))
        except InputError as error:
            if len(files) == 1:
                raise
            skipped.append((path, error.message))
    if not found:
        path, reason = skipped[0]
        raise InputError(f"none of {len(files)} files can be described", f"the first, {path}: {reason}")
    return found, skipped


def _tell_skipped(skipped: Sequence[tuple[Path, str]], count: int) -> None:
    if skipped:
        click.echo(f"skipped: {len(skipped)} of {count} files", err=True)
    for path, reason in skipped:
        click.echo(f"  {one_line(str(path))}: {one_line(reason)}", err=True)


def _as_json(
    model: str, found: Sequence[tuple[Path, Description]], skipped: Sequence[tuple[Path, str]]
) -> dict[str, Any]:
    return {
        "schema": 1,
        "model": model,
        "descriptions": [
            {
                "path": str(path),
                "modality": d.modality,
                "caption": d.caption,
                "measure": d.measure,
                "keywords": [{"text": k.text, "score": round(k.score, _DIGITS), "group": k.group} for k in d.keywords],
                "nearest": [{"text": text, "score": round(score, _DIGITS)} for text, score in d.nearest],
                "moods": {m: round(share, _DIGITS) for m, share in zip(MOODS, d.moods, strict=False)},
            }
            for path, d in found
        ],
        "skipped": [{"path": str(path), "reason": reason} for path, reason in skipped],
    }


def _shown(found: Sequence[tuple[Path, Description]], style: Style) -> str:
    parts = []
    for path, description in found:
        rows = [(f"{k.score:.2f}", k.group or "-", k.text) for k in description.keywords]
        head = style.paint(one_line(str(path)), bold=True)
        parts.append(f"{head}\n{one_line(description.caption)}\n\n{table(_COLUMNS, rows, style)}")
    notes = dict.fromkeys(_MEASURES[d.measure] for _, d in found)
    return "\n\n".join([*parts, *(style.paint(note, dim=True) for note in notes)])
