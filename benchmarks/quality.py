"""Quality of a bundle on the development data: `python benchmarks/quality.py --data DIR [--model FOLDER]`.

Reads moods of the development titles' pages, of the demo songs, of held-out clips and of held-out texts, and chooses
songs for pages. None of these was trained on. Beside them the same on validation data (pages by heads that never saw
their title) and on training data: what a figure loses from one to the next. `--write` also writes the tables that the
yardstick programs of the development data read (pages.tsv, choices.tsv).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from host import ranking, store
from numpy.typing import NDArray

from mmr_export.data.collection import Clip, Page, Text, grades_of, read_clips, read_pages, read_texts, read_titles
from mmr_export.evaluate import metrics
from mmr_runtime import Engine
from mmr_runtime.moods import MOODS
from mmr_runtime.rank import Query, Ranker, standardise, top
from mmr_runtime.soundtrack.affinity import NEIGHBOUR_WEIGHT, affinities, page_moods

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Titles:
    """The development titles: pages in reading order, title by title, with vectors of pages and of spoken lines."""

    pages: list[Page]
    vectors: Vectors
    dialogue: list[Vectors | None]

    @classmethod
    def read(cls, engine: Engine, data: Path) -> Titles:
        """Embed all pages and all English lines."""
        pages = sorted(read_titles(data), key=lambda p: p.path)
        lines = _dialogue([p.path for p in pages])
        vectors = engine.embed_images([p.path for p in pages])
        return cls(pages, vectors, [engine.embed_texts(spoken) if spoken else None for spoken in lines])

    @property
    def names(self) -> NDArray[np.str_]:
        """The title of every page."""
        return np.array([p.group for p in self.pages])

    def moods(self, engine: Engine, dialogue: bool, neighbour_weight: float, others: bool = True) -> Floats:
        """Mood scores (n, 7), each title read as a book of a reader who has the others, too, or only this one."""
        scores = np.empty((len(self.pages), len(MOODS)))
        for title in np.unique(self.names):
            rows = np.flatnonzero(self.names == title)
            spoken = [self.dialogue[i] for i in rows] if dialogue else None
            rest = self.vectors[self.names != title] if others else None
            scores[rows] = page_moods(
                engine, self.vectors[rows], spoken, others=rest, neighbour_weight=neighbour_weight
            )
        return scores

    def affinities(self, engine: Engine, moods: Floats, songs: Songs, neighbours: bool) -> Floats:
        """How well each song fits each page, (n, m), each title a book."""
        scores, weight = np.empty((len(self.pages), len(songs.names))), NEIGHBOUR_WEIGHT if neighbours else 0.0
        ranker = Ranker(engine, songs.vectors, "audio")
        for title in np.unique(self.names):
            rows = np.flatnonzero(self.names == title)
            scores[rows] = affinities(ranker, self.vectors[rows], moods[rows], neighbour_weight=weight)
        return scores

    def readings(self, engine: Engine) -> dict[str, Floats]:
        """Mood scores (n, 7) by what is taken into account."""
        return {
            "one page alone": engine.mood_scores(self.vectors, "image").astype(np.float64),
            "within its book": self.moods(engine, dialogue=False, neighbour_weight=0, others=False),
            "within all books": self.moods(engine, dialogue=False, neighbour_weight=0),
            "with neighbours": self.moods(engine, dialogue=False, neighbour_weight=NEIGHBOUR_WEIGHT),
            "with dialogue": self.moods(engine, dialogue=True, neighbour_weight=0),
            "with dialogue and neighbours": self.moods(engine, dialogue=True, neighbour_weight=NEIGHBOUR_WEIGHT),
        }


@dataclass(frozen=True, eq=False)
class Songs:
    """The demo songs: vectors, names, and the share (m, 7) of each intended mood."""

    vectors: Vectors
    names: list[str]
    grades: Floats

    @classmethod
    def read(cls, engine: Engine, data: Path) -> Songs:
        """Embed all songs."""
        clips = read_clips(data, "songs_demo")
        vectors = np.stack([engine.embed_audio(c.path).vector for c in clips])
        return cls(vectors, [c.path.name for c in clips], grades_of(clips))

    @property
    def shares(self) -> Floats:
        """Each intended mood's share of a song; rows sum to 1."""
        return np.asarray((self.grades > 0) / (self.grades > 0).sum(axis=1, keepdims=True))


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--model", default="default")
@click.option("--name", default="quality", help="Name of the result file.")
@click.option("--precision", default="auto")
@click.option("--write", type=click.Path(file_okay=False, path_type=Path))
def main(data: Path, model: str, name: str, precision: str, write: Path | None) -> None:
    """Measure and store results/NAME.json."""
    with Engine.open(model, precision=precision) as engine:
        titles, songs = Titles.read(engine, data), Songs.read(engine, data)
        readings = titles.readings(engine)
        grades = grades_of(titles.pages)
        choices = _choices(engine, titles, songs, readings)
        figures: dict[str, Any] = {
            "model": engine.model_id,
            "pages": {k: _page_figures(titles.names, grades, scores) for k, scores in readings.items()},
            "pages, validation and training": _other_pages(engine, data),
            "songs": _mood_figures(songs.grades, engine.mood_scores(songs.vectors, "audio").astype(np.float64)),
            "clips": _clips(engine, data),
            "texts": _texts(engine, data),
            "choices": {k: _choice_figures(grades, songs, scores) for k, scores in choices.items()},
            "songs choose pages": _transposed(grades, songs, choices["with dialogue and neighbours"].T),
        }
    path = store(name, figures)
    if write:
        for kind, scores in readings.items():
            _write(write / kind.replace(" ", "-"), titles, scores, choices[kind], songs.names)
    click.echo(json.dumps(figures, indent=1))
    click.echo(f"stored {path}", err=True)


def _dialogue(pages: list[Path]) -> list[list[str]]:
    """English lines of every page."""
    found = {}
    for title in {p.parent for p in pages}:
        for number, lines in json.loads((title / "text.json").read_text(encoding="utf-8")).items():
            found[title / f"{number}.jpg"] = [str(line) for line in lines["en"] if line.strip()]
    return [found.get(p, []) for p in pages]


def _page_figures(titles: NDArray[np.str_], grades: Floats, scores: Floats) -> dict[str, Any]:
    return {
        "count": len(grades),
        "gain": metrics.gain(grades, scores),
        "gain interval": metrics.interval(lambda i: metrics.gain(grades[i], scores[i]), len(grades)),
        "auc_within": metrics.auc_within(list(titles), grades, scores),
        "auc_within interval": metrics.interval(
            lambda i: metrics.auc_within(list(titles[i]), grades[i], scores[i]), len(grades), 300
        ),
    }


def _other_pages(engine: Engine, data: Path) -> dict[str, Any]:
    """Manga-styled training pages: by heads that never saw their title, and by the heads that ship."""
    pages = [p for p in read_pages(data) if p.manga]
    grades, held_out = grades_of(pages), engine.reference("image")
    seen = engine.embed_images([p.path for p in pages])
    figures = {}
    for kind, vectors in (("validation", held_out), ("training", seen)):
        if vectors is not None and len(vectors) == len(pages):
            scores = standardise(engine.mood_scores(vectors, "image").astype(np.float64))
            figures[kind] = {
                "count": len(pages),
                "gain": metrics.gain(grades, scores),
                "auc": float(np.nanmean(metrics.mood_aucs(grades, scores))),
            }
    return figures


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
    """Excerpts with an intended mood, and all of them against the first quarter of the tagger's scores."""
    with (data / "audio_train.tsv").open(encoding="utf-8", newline="") as f:
        rows = {r["file"]: [float(r[f"tagger_{m}"]) for m in MOODS] for r in csv.DictReader(f, delimiter="\t")}

    def figures(clips: Sequence[Clip]) -> dict[str, Any]:
        vectors = np.stack([engine.embed_audio(c.path).vector for c in clips])
        scores = engine.mood_scores(vectors, "audio").astype(np.float64)
        tagged = np.array([rows[c.path.name] for c in clips])
        # A piece that the tagger finds musical is high in all moods: its profile is what stands out.
        standard = (tagged - tagged.mean(axis=0)) / tagged.std(axis=0)
        against = {"the tagger": tagged, "the tagger's profile": standard - standard.mean(axis=1, keepdims=True)}
        known = np.array([c.trust > 0 for c in clips])
        return _mood_figures(grades_of(clips)[known], scores[known]) | {
            f"auc against {name}": _first_quarter(values, scores) for name, values in against.items()
        }

    clips = read_clips(data)
    return {
        "validation": figures([c for c in clips if c.validation]),
        "training": figures([c for c in clips if not c.validation]),
    }


def _first_quarter(values: Floats, scores: Floats) -> float:
    high = values > np.quantile(values, 0.75, axis=0)
    return float(np.mean([metrics.auc(h, s) for h, s in zip(high.T, scores.T, strict=True)]))


def _texts(engine: Engine, data: Path) -> dict[str, Any]:
    """First of seven right, held out and trained on."""

    def hits(texts: Sequence[Text]) -> NDArray[np.bool_]:
        sources = ["dialogue" if t.kind == "dialogue" else "text" for t in texts]
        scores = [
            engine.mood_scores(engine.embed_texts(t.lines), s).mean(axis=0) for t, s in zip(texts, sources, strict=True)
        ]
        grades = grades_of(texts)
        picked = grades[np.arange(len(texts)), np.stack(scores).argmax(axis=1)]
        return np.asarray(picked == grades.max(axis=1))

    texts, figures = read_texts(data), {}
    for kind in ("scene", "music", "query", "dialogue"):
        held_out = hits([t for t in texts if t.kind == kind and t.validation])
        figures[kind] = {
            "count": len(held_out),
            "first right": float(held_out.mean()),
            "first right interval": metrics.interval(lambda i, h=held_out: float(h[i].mean()), len(held_out)),
            "first right, training": float(hits([t for t in texts if t.kind == kind and not t.validation]).mean()),
        }
    return figures


def _choices(engine: Engine, titles: Titles, songs: Songs, readings: dict[str, Floats]) -> dict[str, Floats]:
    """Scores (pages, songs) of every reading; one page alone as `mmr-infer` ranks it; and what correction changes."""
    ranker = Ranker(engine, songs.vectors, "audio")
    alone = np.stack([ranker.scores(Query("image", v[None])) for v in titles.vectors])
    choices = {
        kind: titles.affinities(engine, moods, songs, "neighbours" in kind)
        for kind, moods in readings.items()
        if kind != "one page alone"
    }
    moods = readings["with dialogue and neighbours"]
    shares = engine.mood_shares(moods.astype(np.float32))
    plain = shares @ engine.moods(songs.vectors, "audio").T
    with ranking(engine, hub_correction=0.0):
        compared = titles.affinities(engine, moods, songs, neighbours=True)
    return {
        **choices,
        "one page alone": alone.astype(np.float64),
        "with dialogue and neighbours, songs not compared": plain.astype(np.float64),
        "with dialogue and neighbours, hubs not corrected": compared,
    }


def _ranked(scores: Floats, names: Sequence[str]) -> NDArray[np.int64]:
    return np.stack([top(row, names, len(names)) for row in scores])


def _choice_figures(grades: Floats, songs: Songs, scores: Floats) -> dict[str, Any]:
    ranked = _ranked(scores, songs.names)
    first = ranked[:, 0]
    precision, chance = metrics.precision_at(grades, songs.shares, ranked)

    def precise(i: NDArray[np.int64]) -> float:
        return metrics.precision_at(grades[i], songs.shares, ranked[i])[0]

    return {
        "gain": metrics.choice_gain(grades, songs.shares, first),
        "gain interval": metrics.interval(
            lambda i: metrics.choice_gain(grades[i], songs.shares, first[i]), len(grades)
        ),
        "P@5": precision,
        "P@5 interval": metrics.interval(precise, len(grades)),
        "P@5 by chance": chance,
        "share of the commonest song": float(np.bincount(first).max() / len(grades)),
        "distinct songs": len(set(first.tolist())),
    }


def _transposed(grades: Floats, songs: Songs, scores: Floats) -> dict[str, Any]:
    """Pages for a song: a page is relevant when its highest mood is one of the song's."""
    clear = grades.max(axis=1) >= 2
    relevant = metrics.relevant(grades, songs.shares).T & clear
    ranked = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    hits = np.take_along_axis(relevant, ranked, axis=1).mean(axis=1)
    return {
        "P@5": float(hits.mean()),
        "P@5 interval": metrics.interval(lambda i: float(hits[i].mean()), len(hits)),
        "P@5 by chance": float(relevant.mean()),
    }


def _write(folder: Path, titles: Titles, scores: Floats, choices: Floats, songs: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ["/".join(p.path.parts[-2:]) for p in titles.pages]
    with (folder / "pages.tsv").open("w", encoding="utf-8", newline="") as f:
        table = csv.writer(f, delimiter="\t", lineterminator="\n")
        table.writerow(["file", *MOODS])
        table.writerows([n, *s.round(4)] for n, s in zip(names, scores, strict=True))
    with (folder / "choices.tsv").open("w", encoding="utf-8", newline="") as f:
        table = csv.writer(f, delimiter="\t", lineterminator="\n")
        table.writerow(["page", "songs"])
        ranked = _ranked(choices, songs)
        table.writerows([n, "|".join(songs[i] for i in r)] for n, r in zip(names, ranked, strict=True))


if __name__ == "__main__":
    main()
