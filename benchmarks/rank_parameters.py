"""Which rank parameters choose best on validation data: `python benchmarks/rank_parameters.py --data DIR`.

Pages: the manga-styled training pages, each as heads saw it that never saw its title (the bundle's reference set).
Songs: held-out excerpts with an intended mood. The development titles and songs take no part.
"""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import click
import numpy as np
from host import ranking, store

from mmr_export.data.collection import grades_of, read_clips, read_pages
from mmr_export.evaluate import metrics
from mmr_runtime import Engine
from mmr_runtime.rank import Ranker, top
from mmr_runtime.soundtrack.affinity import affinities, page_moods


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--model", default="default")
def main(data: Path, model: str) -> None:
    """Measure a grid and store results/rank_parameters.json, best P@5 first."""
    with Engine.open(model) as engine:
        grades = grades_of([p for p in read_pages(data) if p.manga])
        pages = engine.reference("image")
        if pages is None or len(pages) != len(grades):
            raise click.ClickException("the bundle's reference set is not the manga-styled pages of this data")
        clips = [c for c in read_clips(data) if c.validation and c.trust > 0]
        songs = np.stack([engine.embed_audio(c.path).vector for c in clips])
        intended = grades_of(clips) > 0
        shares = intended / intended.sum(axis=1, keepdims=True)
        grid = itertools.product((0.0, 0.3, 0.6), (0.5, 1.0, 2.0), (0.0, 0.5, 1.0))
        rows = [_measure(engine, pages, songs, grades, shares, *values) for values in grid]
        about = [_about(engine, data, pages, weight) for weight in (0.0, 0.1, 0.2, 0.3, 0.5)]
    rows.sort(key=lambda r: -r["P@5"])
    counts = {"pages": len(grades), "songs": len(clips)}
    path = store("rank_parameters", {"model": engine.model_id, **counts, "grid": rows, "about": about})
    for row in rows:
        click.echo("  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
    click.echo(f"stored {path}", err=True)


def _about(engine: Engine, data: Path, vectors: Any, weight: float) -> dict[str, float]:
    """Moods of pages, each within its title, with the commonest genre of the title as what the book is about."""
    pages = [p for p in read_pages(data) if p.manga]
    grades, titles = grades_of(pages), np.array([p.group for p in pages])
    scores = np.empty_like(grades)
    for title in np.unique(titles):
        rows = np.flatnonzero(titles == title)
        genre = Counter(pages[row].genre for row in rows).most_common(1)[0][0]
        about = engine.embed_texts([genre])
        scores[rows] = page_moods(engine, vectors[rows], about=about, neighbour_weight=0, about_weight=weight)
    auc = float(np.nanmean(metrics.mood_aucs(grades, scores)))
    return {"weight": weight, "gain": metrics.gain(grades, scores), "auc": auc}


def _measure(
    engine: Engine, pages: Any, songs: Any, grades: Any, shares: Any, direct: float, temperature: float, hubs: float
) -> dict[str, Any]:
    names = [f"{i:04d}" for i in range(len(songs))]
    with ranking(engine, form="blend", direct_weight=direct, temperature=temperature, hub_correction=hubs):
        # The pages stand in no order: each is read within all of them, without neighbours.
        moods = page_moods(engine, pages, neighbour_weight=0)
        scores = affinities(Ranker(engine, songs, "audio"), pages, moods, neighbour_weight=0)
    ranked = np.stack([top(row, names, len(names)) for row in scores])
    precision, chance = metrics.precision_at(grades, shares, ranked)
    return {
        "direct_weight": direct,
        "temperature": temperature,
        "hub_correction": hubs,
        "P@5": precision,
        "chance": chance,
        "gain": metrics.choice_gain(grades, shares, ranked[:, 0]),
        "commonest song": float(np.bincount(ranked[:, 0]).max() / len(pages)),
    }


if __name__ == "__main__":
    main()
