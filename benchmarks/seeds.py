"""How much the validation figures of pages depend on the split: `python benchmarks/seeds.py --data DIR`.

The page head is fitted in seconds, so its five folds over titles are drawn three times. The students take hours and are
trained once.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from host import store

from mmr_export.data.collection import grades_of
from mmr_export.evaluate import metrics
from mmr_export.train.small import Recipe, held_out_pages, prepare
from mmr_export.train.space import MOOD_COUNT
from mmr_runtime.rank import standardise

SEEDS = (0, 1, 2)


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--cache", type=click.Path(path_type=Path), default=Path(".cache/train"), show_default=True)
def main(data: Path, cache: Path) -> None:
    """Measure and store results/seeds.json."""
    recipe = Recipe.read()
    ready = prepare(data, recipe, cache, lambda line: click.echo(line, err=True))
    grades, rows = grades_of([p for p in ready.pages if p.manga]), []
    for seed in SEEDS:
        vectors = held_out_pages(ready, replace(recipe, seed=seed))
        # As the runtime does: along the mood axes, standardised over the reference set, then over the pages at hand.
        scores = vectors[:, :MOOD_COUNT].astype(np.float64)
        scores = standardise((scores - scores.mean(axis=0)) / scores.std(axis=0))
        auc = float(np.nanmean(metrics.mood_aucs(grades, scores)))
        rows.append({"seed": seed, "gain": metrics.gain(grades, scores), "auc": auc})
        click.echo(rows[-1], err=True)
    click.echo(f"stored {store('seeds', {'pages': len(grades), 'splits': rows})}", err=True)


if __name__ == "__main__":
    main()
