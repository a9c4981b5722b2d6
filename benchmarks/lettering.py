"""What reading the lettering does to the moods of pages: `python benchmarks/lettering.py --data DIR [--model FOLDER]`.

The manga-styled training pages, drawn as heads saw them that never saw their title (the bundle's reference set),
without and with what the extra `ocr` reads on them; and the English Western ones by their lettering alone, whose
drawings were trained on. No page's text was trained on. Stored in results/lettering.json.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from host import store
from numpy.typing import NDArray

from mmr_export.data.collection import Page, grades_of, read_pages
from mmr_export.evaluate import metrics
from mmr_runtime import Engine
from mmr_runtime.books.ocr import Lettering
from mmr_runtime.image import load_image
from mmr_runtime.rank import standardise
from mmr_runtime.soundtrack.affinity import DIALOGUE_WEIGHT

Floats = NDArray[np.float64]
WESTERN = 160


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--model", default="default")
def main(data: Path, model: str) -> None:
    """Measure and store."""
    pages = read_pages(data)
    manga, western = [p for p in pages if p.manga], [p for p in pages if not p.manga]
    western = [western[i] for i in np.random.default_rng(0).permutation(len(western))[:WESTERN]]
    with Engine.open(model) as engine:
        held_out = engine.reference("image")
        if held_out is None or len(held_out) != len(manga):
            raise click.ClickException("the bundle's reference set is not the manga-styled pages of this data")
        read, seconds = _read(engine, manga)
        drawn = standardise(engine.mood_scores(held_out, "image").astype(np.float64))
        both = drawn.copy()
        rows = list(read)
        both[rows] += DIALOGUE_WEIGHT * standardise(np.stack([read[row] for row in rows]))
        figures: dict[str, Any] = {
            "model": engine.model_id,
            "seconds per page": float(np.median(seconds)),
            "manga": {
                "pages": len(manga),
                "lettered": len(rows),
                "drawing": _figures(grades_of(manga)[rows], drawn[rows]),
                "drawing and lettering": _figures(grades_of(manga)[rows], both[rows]),
            },
        }
        read, _ = _read(engine, western)
        rows = list(read)
        alone = standardise(np.stack([read[row] for row in rows]))
        figures["western"] = {
            "pages": len(western),
            "lettered": len(rows),
            "lettering": _figures(grades_of(western)[rows], alone),
        }
    path = store("lettering", figures)
    click.echo(f"{figures}\nstored {path}")


def _read(engine: Engine, pages: list[Page]) -> tuple[dict[int, Floats], list[float]]:
    """Mood scores (7,) of what is lettered, by page; and the seconds that each page took."""
    lettering, found, seconds = Lettering(), {}, []
    for number, page in enumerate(pages):
        image = load_image(page.path)
        started = time.perf_counter()
        lines = lettering.read(image)
        seconds.append(time.perf_counter() - started)
        if lines:
            scores = engine.mood_scores(engine.embed_texts(lines), "dialogue").mean(axis=0)
            found[number] = scores.astype(np.float64)
    return found, seconds


def _figures(grades: Floats, scores: Floats) -> dict[str, Any]:
    def auc(rows: NDArray[np.int64]) -> float:
        return float(np.nanmean(metrics.mood_aucs(grades[rows], scores[rows])))

    everything = np.arange(len(grades))
    return {
        "gain": metrics.gain(grades, scores),
        "gain interval": metrics.interval(lambda i: metrics.gain(grades[i], scores[i]), len(grades)),
        "auc": auc(everything),
        "auc interval": metrics.interval(auc, len(grades), 300),
    }


if __name__ == "__main__":
    main()
