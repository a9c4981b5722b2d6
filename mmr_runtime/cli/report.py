"""`mmr report`: a book's soundtrack as a page to look at and to listen to."""

from __future__ import annotations

from pathlib import Path

import click

from mmr_runtime.cli import options
from mmr_runtime.cli.display import one_line, write
from mmr_runtime.cli.errors import Command, nothing_found
from mmr_runtime.cli.volume import Place, Wishes, composed, tell_problems, volume_options
from mmr_runtime.errors import UsageError


@click.command("report", cls=Command, context_settings=options.CONTEXT, short_help="Show a book's soundtrack as HTML.")
@click.argument("book", type=options.PATH)
@volume_options
@click.option(
    "-o", "--output", type=options.PATH, default=Path("report.html"), show_default=True, help="File to write."
)
@options.engine_options
@options.verbose_option
@options.debug_option
def report(book: Path, wishes: Wishes, place: Place, output: Path, choice: options.EngineChoice) -> int:
    """Example: mmr report volume.cbz --library ~/Music -o volume.html

    Choose music for BOOK as `mmr soundtrack` does, and write one HTML page: its pages with the songs below them, the
    moods, a player for each song, and what would have been the next best.
    """  # noqa: D415 (an example comes first)
    from mmr_runtime.files import write_file
    from mmr_runtime.report import report_html

    if book.is_dir() and (book / "manifest.json").is_file():
        raise UsageError(f"{book} is a model, not a book", f"mmr quality {book}")
    with choice.open() as engine, composed(engine, book, wishes, place) as volume:
        if volume is None:
            return nothing_found("no usable songs in", place.folders)
        tell_problems(volume, verbose=place.verbose)
        page = report_html(volume.book, volume.fitted, volume.soundtrack, volume.problems)
    write_file(output, page.encode("utf-8", "replace"))
    write(f"wrote {one_line(str(output))}")
    return 0
