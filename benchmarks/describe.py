"""Whether keywords and captions beat chance: `python benchmarks/describe.py --data DIR [--model FOLDER]`.

Measured on the development titles and the demo songs, which nothing was trained on, and on the manga-styled training
pages as heads saw them that never saw their title. These are the bundle's reference set too, and their captions were
trained on as texts: their figures flatter.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from host import store
from numpy.typing import NDArray

from mmr_export.data.collection import Page, grades_of, read_clips, read_pages, read_titles
from mmr_export.data.teachers import Tagger
from mmr_export.evaluate import metrics
from mmr_runtime import Engine
from mmr_runtime.audio import read_windows
from mmr_runtime.bundle import AudioSpec
from mmr_runtime.describe import Describer, Seen, Term, built_in_vocabulary
from mmr_runtime.moods import MOODS

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

# Terms of the built-in vocabulary that a label speaks of.
MOOD_TERMS = {
    "Happy": ("happy", "cheerful"),
    "Funny": ("funny", "silly", "playful"),
    "Sad": ("sad", "mournful", "lonely"),
    "Tender": ("tender", "loving", "gentle"),
    "Exciting": ("exciting", "heroic", "adventurous"),
    "Angry": ("angry", "furious", "aggressive"),
    "Scary": ("scary", "eerie", "menacing"),
}
GENRE_TERMS = {
    "animal": "animals",
    "battle": "battle",
    "fantasy": "fantasy",
    "historical drama": "history",
    "horror": "horror",
    "humor": "comedy",
    "love romance": "love",
    "romantic comedy": "romantic comedy",
    "science fiction": "science fiction",
    "sports": "sports",
    "suspense": "suspense",
}
TAG_NAMES = {
    "bells": "Bell",
    "brass fanfare": "Brass instrument",
    "chiptune": "Video game music",
    "drums": "Drum",
    "full orchestra": "Orchestra",
    "horns": "French horn",
    "marimba": "Marimba, xylophone",
    "pizzicato strings": "Pizzicato",
    "solo piano": "Piano",
    "string orchestra": "String section",
    "violin": "Violin, fiddle",
    "xylophone": "Marimba, xylophone",
    "ambient": "Ambient music",
    "classical": "Classical music",
    "electronic": "Electronic music",
    "pop": "Pop music",
    "rock": "Rock music",
}
LEAST = 3


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--model", default="default")
def main(data: Path, model: str) -> None:
    """Measure and store."""
    dev, manga = read_titles(data), [p for p in read_pages(data) if p.manga]
    songs = read_clips(data, "songs_demo")
    with Engine.open(model) as engine:
        held_out = engine.reference("image")
        if held_out is None or len(held_out) != len(manga):
            raise click.ClickException("the bundle's reference set is not the manga-styled pages of this data")
        pages = {
            "development pages": (dev, engine.embed_images([p.path for p in dev])),
            "held-out manga": (manga, held_out),
        }
        heard = np.stack([engine.embed_audio(s.path).vector for s in songs])
        figures: dict[str, Any] = {"model": engine.model_id, "pages": {}, "seconds": _seconds(engine, dev[0].path)}
        for name, (items, vectors) in pages.items():
            figures["pages"][name] = {
                "pages": len(items),
                "moods": _moods(engine, grades_of(items), vectors, "image"),
                "genres": _mean(_aucs(engine, _genres(items), vectors)),
                "things in the caption": _mean(_aucs(engine, _things(items), vectors)),
                "own caption": _captions(engine, items, vectors),
                "first mood in the caption": _first_mood(engine, grades_of(items), vectors, "image"),
            }
        figures["songs"] = {
            "songs": len(songs),
            "moods": _moods(engine, grades_of(songs), heard, "audio"),
            "first mood in the caption": _first_mood(engine, grades_of(songs), heard, "audio"),
            "tagger": _tagged(engine, Tagger(data), [s.path for s in songs], heard),
        }
    path = store("describe", figures)
    click.echo(f"{figures}\nstored {path}")


def _scores(engine: Engine, terms: Sequence[str], vectors: Vectors, modality: Seen) -> Floats:
    """Scores (n, t) as `mmr describe` gives them."""
    describer = Describer(engine, [Term(text) for text in terms])
    rows = []
    for vector in vectors:
        keywords = describer.describe_vector(vector, modality, top=len(terms)).keywords
        found = {keyword.text: keyword.score for keyword in keywords}
        rows.append([found[text] for text in terms])
    return np.array(rows)


def _moods(engine: Engine, grades: Floats, vectors: Vectors, modality: Seen) -> dict[str, Any]:
    """Mean AUC of words of mood, a mood's words averaged, beside that of the engine's own moods."""
    scores = np.stack(
        [_scores(engine, MOOD_TERMS[mood], vectors, modality).mean(axis=1) for mood in MOODS],
        axis=1,
    )
    single = [
        metrics.mood_aucs(grades[:, [i]], column[:, None])[0]
        for i, mood in enumerate(MOODS)
        for column in _scores(engine, MOOD_TERMS[mood], vectors, modality).T
    ]

    def mean(rows: NDArray[np.int64]) -> float:
        return float(np.nanmean(metrics.mood_aucs(grades[rows], scores[rows])))

    own = engine.mood_scores(vectors, modality).astype(np.float64)
    return {
        "auc": mean(np.arange(len(grades))),
        "auc interval": metrics.interval(mean, len(grades), 300),
        "auc of one word": float(np.nanmean(single)),
        "auc of the engine's moods": float(np.nanmean(metrics.mood_aucs(grades, own))),
    }


def _genres(pages: Sequence[Page]) -> dict[str, NDArray[np.bool_]]:
    return {term: np.array([p.genre == genre for p in pages]) for genre, term in GENRE_TERMS.items()}


def _things(pages: Sequence[Page]) -> dict[str, NDArray[np.bool_]]:
    """Which captions name a thing of the group `scene`."""
    terms = [t.text for t in built_in_vocabulary() if t.group == "scene"]
    patterns = {t: re.compile(rf"\b{re.sub('^(a|an|the) ', '', t)}(s|es)?\b", re.IGNORECASE) for t in terms}
    return {t: np.array([bool(pattern.search(p.caption)) for p in pages]) for t, pattern in patterns.items()}


def _aucs(engine: Engine, truth: dict[str, NDArray[np.bool_]], vectors: Vectors) -> dict[str, float]:
    """AUC of every term that is true of some pages and of some not."""
    known = [term for term, pages in truth.items() if min(pages.sum(), (~pages).sum()) >= LEAST]
    scores = _scores(engine, known, vectors, "image")
    return {term: metrics.auc(truth[term], column) for term, column in zip(known, scores.T, strict=True)}


def _mean(values: dict[str, float]) -> dict[str, Any]:
    """Mean with its interval over the terms, which is the little that so few terms allow to say."""
    each = np.array(list(values.values()))
    return {
        "mean": float(each.mean()),
        "interval": metrics.interval(lambda i: float(each[i].mean()), len(each)),
        "each": values,
    }


def _captions(engine: Engine, pages: Sequence[Page], vectors: Vectors) -> dict[str, Any]:
    """Where a page's own caption stands among those of all pages: 0 first, 0.5 by chance, 1 last."""
    scores = _scores(engine, [p.caption for p in pages], vectors, "image")
    places = (scores > np.diag(scores)[:, None]).sum(axis=1) / (len(pages) - 1)
    return {
        "place": float(places.mean()),
        "interval": metrics.interval(lambda i: float(places[i].mean()), len(pages)),
        "among the first tenth": float((places < 0.1).mean()),
    }


def _first_mood(engine: Engine, grades: Floats, vectors: Vectors, modality: Seen) -> dict[str, float]:
    """How often a caption names a mood, and how often the first one named is there; by chance: any mood is."""
    describer = Describer(engine)
    found = [describer.describe_vector(vector, modality, top=1) for vector in vectors]
    named = np.array([not d.caption.startswith("No plain mood") for d in found])
    alike = np.array(['; near to "' in d.caption for d in found])
    first = np.array([np.argmax(d.moods) for d in found])
    right = grades[np.arange(len(grades)), first] >= 2
    return {
        "captions that name one": float(named.mean()),
        "of these right": float(right[named].mean()),
        "by chance": float((grades[named] >= 2).mean()),
        "of these with a description of that mood": float(alike[named].mean()),
    }


def _tagged(engine: Engine, tagger: Tagger, songs: Sequence[Path], vectors: Vectors) -> dict[str, Any]:
    """Rank correlation of keywords with AudioSet's tagger, which the audio tower learned from, on unheard songs."""
    names = [label.lower() for label in tagger.labels]
    spec = AudioSpec(sample_rate=Tagger.rate, window_samples=10 * Tagger.rate)
    logits = [tagger.tag(list(read_windows(path, windows=4, spec=spec).samples)).logits.mean(axis=0) for path in songs]
    figures = {}
    for group in ("sound", "style"):
        terms = [t.text for t in built_in_vocabulary() if t.group == group]
        known = {t: names.index(label) for t in terms if (label := TAG_NAMES.get(t, t).lower()) in names}
        columns = _scores(engine, list(known), vectors, "audio").T
        tags = np.array(logits, np.float64)[:, list(known.values())].T
        each = {t: _rank_correlation(a, b) for t, a, b in zip(known, columns, tags, strict=True)}
        figures[group] = _mean(each)
    return figures


def _rank_correlation(a: Floats, b: Floats) -> float:
    """Spearman's rho of values without ties."""
    return float(np.corrcoef(a.argsort().argsort(), b.argsort().argsort())[0, 1])


def _seconds(engine: Engine, page: Path) -> dict[str, float]:
    """What a page costs whose texts are embedded for it, and one after it."""
    describer = Describer(engine)
    engine.warmup(("image", "text"))
    spent = []
    for _ in range(2):
        started = time.perf_counter()
        describer.describe(page)
        spent.append(time.perf_counter() - started)
    return {"first page": spent[0], "next page": spent[1]}


if __name__ == "__main__":
    main()
