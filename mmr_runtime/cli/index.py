"""`mmr index`: bring the index of a library up to date, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmr_runtime.cli import options
from mmr_runtime.cli.display import one_line, write, write_json
from mmr_runtime.cli.errors import NOTHING_FOUND, Command
from mmr_runtime.cli.progress import report_json, summary, update_library

if TYPE_CHECKING:
    from mmr_runtime.library import Kind


@click.command("index", cls=Command, context_settings=options.CONTEXT, short_help="Index folders of songs.")
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=options.PATH)
@click.option(
    "--kind", type=click.Choice(["songs", "pages"]), default="songs", show_default=True, help="What to look for there."
)
@options.index_option
@options.engine_options
@options.json_option
@options.verbose_option
@options.debug_option
def index(
    folders: tuple[Path, ...],
    kind: Kind,
    index: Path | None,
    choice: options.EngineChoice,
    as_json: bool,
    verbose: bool,
) -> int:
    """Example: mmr index ~/Music

    Listen to the songs of these folders that are new or changed, so that `mmr-infer` answers at once. Folders that are
    searched together must be indexed together, unless they share an index given by --index.
    """  # noqa: D415 (an example comes first)
    from mmr_runtime.library import Library

    with choice.open() as engine, Library.open(folders, engine, index, kind=kind) as library:
        report = update_library(library, verbose=verbose)
        count, place, model = len(library), library.index, engine.model_id
    if as_json:
        write_json({"schema": 1, "model": model, "index": str(place), kind: count, "indexed": report_json(report)})
    else:
        write(f"{summary(report)}\n{count} {kind} in {one_line(str(place))}")
    if count:
        return 0
    click.echo(f"nothing found: no usable {kind} in {', '.join(one_line(str(folder)) for folder in folders)}", err=True)
    return NOTHING_FOUND
