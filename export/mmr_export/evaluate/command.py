"""`mmr evaluate-soundtrack`: soundtracks of labelled titles, beside simple ways to make one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmr_runtime.cli import options
from mmr_runtime.cli.display import Column, Style, table, write, write_json
from mmr_runtime.cli.errors import Command

if TYPE_CHECKING:
    from mmr_runtime.engine import Engine


@click.command(
    "evaluate-soundtrack",
    cls=Command,
    context_settings=options.CONTEXT,
    short_help="Measure soundtracks of labelled titles.",
)
@click.option("--data", type=options.PATH, required=True, help="Folder of the labelled titles and songs.")
@options.index_option
@options.engine_options
@options.json_option
@options.debug_option
def evaluate_soundtrack(data: Path, index: Path | None, choice: options.EngineChoice, as_json: bool) -> int:
    """Example: mmr evaluate-soundtrack --data ../shared/data

    Make soundtracks for the labelled titles from the labelled songs, and measure what they play, where they change and
    how often, with 95 % intervals; the same for one song a title, the best song of each page, and random cuts.
    """  # noqa: D415 (an example comes first)
    with choice.open() as engine:
        found = measure(engine, data, index)
    if as_json:
        write_json(found)
    else:
        write(_table(found["soundtracks"]))
    return 0


def measure(engine: Engine, data: Path, index: Path | None = None) -> dict[str, Any]:
    """Figures and intervals of every way to make a soundtrack.

    Args:
        engine: embeds pages and songs.
        data: folder of the development data.
        index: of the songs, or None for the default one.
    """
    import numpy as np

    from mmr_export.data.collection import grades_of, read_clips, read_titles
    from mmr_export.evaluate import soundtracks as ways
    from mmr_runtime.books import Book, VectorCache, embed_book
    from mmr_runtime.library import Library
    from mmr_runtime.soundtrack import Follower, Options, Reading, fit, plan_segments, spread

    pages = read_titles(data)
    clips = {clip.path.name: clip for clip in read_clips(data, "songs_demo")}
    cache = VectorCache()
    truths, affinities = [], []
    with Library.open(data / "songs_demo", engine, index) as library:
        library.update()
        for title in sorted({page.group for page in pages}):
            own = sorted((page for page in pages if page.group == title), key=lambda page: page.path)
            with Book.open(own[0].path.parent) as book:
                fitted = fit(embed_book(book, engine, cache), library)
            intended = grades_of([clips[track.path.name] for track in fitted.songs.tracks]) > 0
            shares = intended / intended.sum(axis=1, keepdims=True)
            starts = np.array([page.starts_scene >= 1 for page in own])
            truths.append(ways.Truth(grades_of(own) @ shares.T, grades_of(own), starts))
            affinities.append(fitted.affinity)
    cache.close()

    def planned(affinity: Any, wish: Options) -> Any:
        segments = plan_segments(affinity, wish)
        return np.array([s.song for s in segments for _ in range(s.first, s.last + 1)])

    def followed(affinity: Any) -> Any:
        # Page by page, and no page of this book known before: the spread is that of the other books.
        others = [spread(other) for other in affinities if other is not affinity]
        follower, reading, played = Follower(spread=float(np.mean(others))), Reading(), []
        for page, row in enumerate(affinity):
            reading = follower.turn(reading, page, row, 8.0 * page)
            played.append(reading.song)
        return np.array(played)

    rows: dict[str, dict[str, Any]] = {}

    def add(name: str, made: list[Any]) -> None:
        rows[name] = {"figures": ways.figures(truths, made), "intervals": ways.intervals(truths, made)}

    for change in (0.3, 0.5, 0.7):
        add(f"planned, change {change}", [planned(affinity, Options(change)) for affinity in affinities])
    add("followed page by page", [followed(affinity) for affinity in affinities])
    add("best song of each page", [ways.page_by_page(affinity) for affinity in affinities])
    add("one song a title", [ways.one_song(affinity) for affinity in affinities])
    counts = [len(plan_segments(affinity)) for affinity in affinities]
    rng = np.random.default_rng(0)
    drawn = [
        [ways.random_segments(a, count, rng) for a, count in zip(affinities, counts, strict=True)] for _ in range(200)
    ]
    scored = [ways.figures(truths, made) for made in drawn]
    spans = {name: tuple(map(float, np.percentile([row[name] for row in scored], [2.5, 97.5]))) for name in ways.NAMES}
    rows["random cuts, as many"] = {"figures": ways.mean_figures(scored), "intervals": spans}
    return {"schema": 1, "model": engine.model_id, "pages": len(pages), "songs": len(clips), "soundtracks": rows}


def _table(rows: dict[str, dict[str, Any]]) -> str:
    names = list(next(iter(rows.values()))["figures"])
    columns = [Column("soundtrack"), *(Column(name, right=True) for name in names)]
    cells = [[way, *(f"{row['figures'][name]:.2f}" for name in names)] for way, row in rows.items()]
    return table(columns, cells, Style.of(sys.stdout))
