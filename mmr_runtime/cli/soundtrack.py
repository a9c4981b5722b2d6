"""`mmr soundtrack`: music for a whole book."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmr_runtime.cli import options
from mmr_runtime.cli.display import Column, Style, clock, one_line, table, write
from mmr_runtime.cli.errors import Command, nothing_found
from mmr_runtime.cli.volume import Place, Wishes, composed, tell_problems, volume_options
from mmr_runtime.errors import UsageError
from mmr_runtime.moods import MOODS

if TYPE_CHECKING:
    from mmr_runtime.cli.volume import Volume
    from mmr_runtime.soundtrack import Form, Part

_COLUMNS = (
    Column("pages", right=True),
    Column("mood"),
    Column("title", shrinks="end"),
    Column("start", right=True),
    Column("margin", right=True),
    Column("next best", shrinks="end", dim=True),
)
_FORMS = ("text", "json", "m3u8", "jspf", "opencomic")  # soundtrack.FORMS, too heavy for --help; a test compares them
_BY_NAME = {"music.json": "opencomic", "bgm.json": "opencomic"}
_BY_SUFFIX = {".txt": "text", ".json": "json", ".m3u8": "m3u8", ".m3u": "m3u8", ".jspf": "jspf"}


@click.command("soundtrack", cls=Command, context_settings=options.CONTEXT, short_help="Choose music for a whole book.")
@click.argument("book", type=options.PATH)
@volume_options
@click.option("-o", "--output", type=options.PATH, help="File to write; its name tells the form.")
@click.option("--form", type=click.Choice(_FORMS), help="Form of the output where its name does not tell it.")
@options.engine_options
@options.json_option
@options.verbose_option
@options.debug_option
def soundtrack(
    book: Path,
    wishes: Wishes,
    place: Place,
    output: Path | None,
    form: Form | None,
    choice: options.EngineChoice,
    as_json: bool,
) -> int:
    """Example: mmr soundtrack volume.cbz --library ~/Music -o music.json

    Cut BOOK (a folder, CBZ, CBT, CBR, EPUB or PDF) into segments and choose a song for each. What you pin, ban or edit
    is kept for the next time.

    \b
    mmr soundtrack volume.cbz --library ~/Music --pin 12-15=battle.ogg --ban polka.mp3
    mmr soundtrack volume.cbz --library ~/Music -o plan.txt    then change plan.txt, and:
    mmr soundtrack volume.cbz --library ~/Music --edit plan.txt
    """  # noqa: D301, D415 (click's mark for lines that are kept; an example comes first)
    from mmr_runtime.soundtrack import render
    from mmr_runtime.soundtrack import write as write_file

    chosen = _form(output, form) if output else form
    with choice.open() as engine, composed(engine, book, wishes, place) as volume:
        if volume is None:
            return nothing_found("no usable songs in", place.folders)
        tell_problems(volume, verbose=place.verbose)
        if output and chosen:
            write_file(volume.soundtrack, output, chosen)
        if as_json or (chosen and not output):
            click.echo(render(volume.soundtrack, "json" if as_json else chosen or "json", Path.cwd()), nl=False)
        else:
            _show(volume)
            if output:
                write(f"\nwrote {one_line(str(output))} ({chosen})")
    return 0


def _form(output: Path, form: Form | None) -> Form:
    found = form or _BY_NAME.get(output.name.lower()) or _BY_SUFFIX.get(output.suffix.lower())
    if found is None:
        raise UsageError(
            f"the name {output.name} tells no form", "end it in .txt, .json, .m3u8 or .jspf, or name one with --form"
        )
    return found  # type: ignore[return-value]  # of `_FORMS`


def _show(volume: Volume) -> None:
    rows = [_row(volume, part) for part in volume.soundtrack.parts]
    write(table(_COLUMNS, rows, Style.of(sys.stdout)))


def _row(volume: Volume, part: Part) -> tuple[str, ...]:
    shares = volume.fitted.shares_of(part.first, part.last)
    others = [volume.fitted.titles[path] for path, _ in part.runners_up]
    return (
        part.pages,
        MOODS[int(shares.argmax())].lower() if len(shares) == len(MOODS) else "-",
        part.song.title or Path(part.song.path).stem,
        clock(part.song.start_s or 0),
        ("pinned" if part.pinned else "") if part.margin is None else f"{part.margin:+.2f}{'*' if part.pinned else ''}",
        ", ".join(others),
    )
