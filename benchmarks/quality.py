"""Quality of a bundle on the development data: `python benchmarks/quality.py --data DIR [--model FOLDER]`.

Reads moods of the development titles' pages, of the demo songs, of held-out clips and of held-out texts, and chooses
songs for pages. None of these was trained on. `--write` also writes the tables that the yardstick programs of the
development data read (pages.tsv, choices.tsv).
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from host import store
from numpy.typing import NDArray

from mmr_export.data.collection import grades_of, read_clips, read_texts, read_titles
from mmr_export.evaluate import metrics
from mmr_runtime import Engine
from mmr_runtime.moods import MOODS
from mmr_runtime.rank import Query, Ranker, top

Floats = NDArray[np.float64]


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--model", default="default")
@click.option("--name", default="quality", help="Name of the result file.")
@click.option("--precision", default="auto")
@click.option("--write", type=click.Path(file_okay=False, path_type=Path))
def main(data: Path, model: str, name: str, precision: str, write: Path | None) -> None:
    """Measure and store results/NAME.json."""
    with Engine.open(model, precision=precision) as engine:
        pages = read_titles(data)
        vectors = engine.embed_images([p.path for p in pages])
        dialogue = _dialogue([p.path for p in pages])
        figures: dict[str, Any] = {"model": engine.model_id}
        figures["pages"] = _pages(engine, pages, vectors)
        figures["songs"], songs = _songs(engine, data)
        figures["clips"] = _clips(engine, data)
        figures["texts"] = _texts(engine, data)
        choices = {}
        for kind, lines in (("image", None), ("image and dialogue", dialogue)):
            figures[f"choices, {kind}"], choices[kind] = _choices(engine, pages, vectors, lines, songs)
    path = store(name, figures)
    if write:
        _write(write, pages, engine.mood_scores(vectors, "image"), choices["image"], songs)
    click.echo(json.dumps(figures, indent=1))
    click.echo(f"stored {path}", err=True)


def _dialogue(pages: list[Path]) -> list[list[str]]:
    """English lines of every page."""
    found = {}
    for title in {p.parent for p in pages}:
        for number, lines in json.loads((title / "text.json").read_text(encoding="utf-8")).items():
            found[title / f"{number}.jpg"] = [str(line) for line in lines["en"] if line.strip()]
    return [found.get(p, []) for p in pages]


def _pages(engine: Engine, pages: list[Any], vectors: NDArray[np.float32]) -> dict[str, Any]:
    grades, titles = grades_of(pages), [p.group for p in pages]
    scores = engine.mood_scores(vectors, "image").astype(np.float64)
    standard = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    names = np.array(titles)
    return {
        "count": len(pages),
        "gain": metrics.gain(grades, scores),
        "gain interval": metrics.interval(lambda i: metrics.gain(grades[i], scores[i]), len(pages)),
        "gain, standardised over the pages": metrics.gain(grades, standard),
        "auc_within": metrics.auc_within(titles, grades, scores),
        "auc_within interval": metrics.interval(
            lambda i: metrics.auc_within(list(names[i]), grades[i], scores[i]), len(pages), 300
        ),
    }


def _songs(engine: Engine, data: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    clips = read_clips(data, "songs_demo")
    vectors = np.stack([engine.embed_audio(c.path).vector for c in clips])
    grades = grades_of(clips)
    scores = engine.mood_scores(vectors, "audio").astype(np.float64)
    shares = (grades > 0) / (grades > 0).sum(axis=1, keepdims=True)
    songs = {"vectors": vectors, "names": [c.path.name for c in clips], "moods": shares}
    return _mood_figures(grades, scores), songs


def _mood_figures(grades: Floats, scores: Floats) -> dict[str, Any]:
    return {
        "count": len(grades),
        "auc": float(np.nanmean(metrics.mood_aucs(grades, scores, least=2))),
        "auc interval": metrics.interval(
            lambda i: float(np.nanmean(metrics.mood_aucs(grades[i], scores[i], least=2))), len(grades), 300
        ),
        "auc by mood": dict(zip(MOODS, metrics.mood_aucs(grades, scores, least=2).round(3).tolist(), strict=True)),
        "first right": metrics.first_right(grades, scores),
        "first right interval": metrics.interval(lambda i: metrics.first_right(grades[i], scores[i]), len(grades)),
    }


def _clips(engine: Engine, data: Path) -> dict[str, Any]:
    """Held-out excerpts with an intended mood, and all held-out ones against the tagger's first and last quarter."""
    clips = [c for c in read_clips(data) if c.validation]
    vectors = np.stack([engine.embed_audio(c.path).vector for c in clips])
    scores = engine.mood_scores(vectors, "audio").astype(np.float64)
    with (data / "audio_train.tsv").open(encoding="utf-8", newline="") as f:
        rows = {r["file"]: [float(r[f"tagger_{m}"]) for m in MOODS] for r in csv.DictReader(f, delimiter="\t")}
    tagged = np.array([rows[c.path.name] for c in clips])
    high = tagged > np.quantile(tagged, 0.75, axis=0)
    known = np.array([c.trust > 0 for c in clips])
    aucs = [metrics.auc(h, s) for h, s in zip(high.T, scores.T, strict=True)]
    return _mood_figures(grades_of(clips)[known], scores[known]) | {"auc against the tagger": float(np.mean(aucs))}


def _texts(engine: Engine, data: Path) -> dict[str, Any]:
    figures = {}
    texts = [t for t in read_texts(data) if t.validation]
    scores = np.stack([engine.mood_scores(engine.embed_texts(t.lines), "text").mean(axis=0) for t in texts])
    grades = grades_of(texts)
    for kind in ("scene", "music", "query", "dialogue"):
        rows = np.array([t.kind == kind for t in texts])
        best = grades[rows][np.arange(rows.sum()), scores[rows].argmax(axis=1)] == grades[rows].max(axis=1)
        figures[kind] = {"count": int(rows.sum()), "first right": float(best.mean())}
    return figures


def _choices(
    engine: Engine,
    pages: list[Any],
    vectors: NDArray[np.float32],
    dialogue: list[list[str]] | None,
    songs: dict[str, Any],
) -> tuple[dict[str, Any], NDArray[np.int64]]:
    ranker = Ranker(engine, songs["vectors"], "audio")
    rows = []
    for i in range(len(pages)):
        text = engine.embed_texts(dialogue[i]) if dialogue and dialogue[i] else None
        rows.append(top(ranker.scores(Query("image", vectors[i : i + 1], text)), songs["names"], len(songs["names"])))
    ranked = np.stack(rows)
    grades, first = grades_of(pages), ranked[:, 0]
    precision, chance = metrics.precision_at(grades, songs["moods"], ranked)
    gain = metrics.interval(lambda i: metrics.choice_gain(grades[i], songs["moods"], first[i]), len(pages))
    return {
        "gain": metrics.choice_gain(grades, songs["moods"], first),
        "gain interval": gain,
        "P@5": precision,
        "P@5 by chance": chance,
        "share of the commonest song": float(np.bincount(first).max() / len(pages)),
        "distinct songs": len(set(first.tolist())),
    }, ranked


def _write(
    folder: Path, pages: list[Any], scores: NDArray[np.float32], ranked: NDArray[np.int64], songs: dict[str, Any]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ["/".join(p.path.parts[-2:]) for p in pages]
    with (folder / "pages.tsv").open("w", encoding="utf-8", newline="") as f:
        table = csv.writer(f, delimiter="\t", lineterminator="\n")
        table.writerow(["file", *MOODS])
        table.writerows([n, *s.round(4)] for n, s in zip(names, scores, strict=True))
    with (folder / "choices.tsv").open("w", encoding="utf-8", newline="") as f:
        table = csv.writer(f, delimiter="\t", lineterminator="\n")
        table.writerow(["page", "songs"])
        table.writerows([n, "|".join(songs["names"][i] for i in r)] for n, r in zip(names, ranked, strict=True))


if __name__ == "__main__":
    main()
