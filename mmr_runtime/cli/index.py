"""`mmr index`: bring the index of a library up to date, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from mmr_runtime.cli import options
from mmr_runtime.cli.display import one_line, write, write_json
from mmr_runtime.cli.errors import Command, nothing_found
from mmr_runtime.cli.progress import report_json, summary, update_library

if TYPE_CHECKING:
    from mmr_runtime.library import Kind
    from mmr_runtime.library.indexing import Cluster


@click.command("index", cls=Command, context_settings=options.CONTEXT, short_help="Index folders of songs.")
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=options.PATH)
@options.store_option
@click.option(
    "--engine",
    "listener",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Who listens: this process, or all machines of a Ray cluster.",
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Files to listen to at once.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option(
    "--include", multiple=True, metavar="PATTERN", help="Only files whose path matches, as '*/albums/*'; it is kept."
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="No files whose path matches; it is kept.")
@click.option("--all", "all_files", is_flag=True, help="Forget the patterns of before.")
@click.option("--ban", "bans", multiple=True, type=options.PATH, help="Never choose this song; it is kept.")
@click.option("--unban", "unbans", multiple=True, type=options.PATH, help="Choose this song again.")
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
    store: str | None,
    listener: Literal["local", "ray"],
    jobs: int,
    dry_run: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    all_files: bool,
    bans: tuple[Path, ...],
    unbans: tuple[Path, ...],
    kind: Kind,
    index: Path | None,
    choice: options.EngineChoice,
    as_json: bool,
    verbose: bool,
) -> int:
    """Example: mmr index ~/Music

    Listen to the songs of these folders that are new or changed, so that `mmr-infer` answers at once. Folders that are
    searched together must be indexed together, unless they share an index given by --index. A playlist (M3U, M3U8,
    XSPF, JSPF) may stand for a folder.
    """  # noqa: D415 (an example comes first)
    from mmr_runtime.library import Patterns

    cluster: Cluster | None = None
    if listener == "ray":
        from mmr_runtime.library.cluster import by_ray

        cluster = by_ray
    patterns = Patterns(include, exclude) if all_files or include or exclude else None
    with choice.open() as engine, options.library_of(engine, folders, index, store, kind) as library:
        if dry_run:
            report = library.preview(patterns)
        else:
            if patterns is not None:
                library.patterns = patterns
            report = update_library(library, verbose=verbose, jobs=jobs, cluster=cluster)
            for song in bans:
                library.ban(song.resolve())
            for song in unbans:
                library.unban(song.resolve())
            library.publish()
        count, place, model = len(library), library.index, engine.model_id
    if as_json:
        write_json({"schema": 1, "model": model, "index": str(place), kind: count, "indexed": report_json(report)})
    else:
        intended = f"would look into {report.added} files, keep {report.kept}, forget {report.removed}"
        write(f"{intended if dry_run else summary(report)}\n{count} {kind} in {one_line(str(place))}")
    if count or (dry_run and report.added):
        return 0
    return nothing_found(f"no usable {kind} in", folders)
