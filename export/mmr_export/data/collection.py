"""The development collection: pages, clips and texts with mood grades, read from tab-separated files.

Grades are 0 absent, 1 hint, 2 present, 3 dominant, in the order of `mmr_runtime.moods.MOODS`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mmr_export import synth
from mmr_runtime.errors import InputError, MissingFileError
from mmr_runtime.moods import MOODS

Floats = NDArray[np.float64]
TEXTS = Path(synth.__file__).parent / "texts"
T = TypeVar("T")

# Variants of one story or one generator's style: as one group they cannot stand on both sides of a split.
_WHOLE_PREFIXES = ("mangakai_", "clinic_")
_CONFIDENCE = {"clear": 1.0, "likely": 0.7, "weak": 0.4}


@dataclass(frozen=True)
class Page:
    """A labelled page. `group` is what a split must keep together; `manga` tells manga-styled pages.

    `starts_scene` is 1 where a scene begins, 0.5 where one may; known of the development titles alone.
    """

    path: Path
    grades: tuple[float, ...]
    genre: str
    caption: str
    group: str
    manga: bool
    starts_scene: float = 0.0


@dataclass(frozen=True)
class Clip:
    """A labelled excerpt of music. `trust` is 0..1, 0 where the author's intent is unknown (all grades are 0 then)."""

    path: Path
    grades: tuple[float, ...]
    trust: float
    group: str
    validation: bool


@dataclass(frozen=True)
class Text:
    """A labelled text: a description of a scene or of music, a listener's query, or the dialogue of a page.

    `kind` is the file's own (`scene`, `music`, `query`) or `dialogue`, whose lines ` / ` divides; `group` is the story,
    or the text alone; `own` are those that come with the project.
    """

    text: str
    grades: tuple[float, ...]
    kind: str
    group: str
    validation: bool
    own: bool = False

    @property
    def lines(self) -> list[str]:
        """The balloons of a dialogue; a description is one line."""
        return [line.strip() for line in self.text.split(" / ") if line.strip()]


def grades_of(items: Sequence[Page] | Sequence[Clip] | Sequence[Text]) -> Floats:
    """Grades as float64 (n, 7)."""
    return np.array([item.grades for item in items], np.float64).reshape(-1, len(MOODS))


def read_pages(folder: Path) -> list[Page]:
    """Labelled training pages of `folder/pages_train.tsv`."""

    def page(row: dict[str, str]) -> Page:
        name = row["file"]
        prefix = next((p for p in _WHOLE_PREFIXES if name.startswith(p)), None)
        return Page(
            path=folder / "pages_train" / name,
            grades=_grades(row),
            genre=row["genre"],
            caption=row["caption"],
            group=prefix or row["title"],
            manga="manga" in row["style"] or "webtoon" in row["style"],
        )

    return _read(folder / "pages_train.tsv", page)


def read_titles(folder: Path) -> list[Page]:
    """Labelled pages of the development titles, `folder/pages/labels_dev.tsv`: figures only, never training."""

    def page(row: dict[str, str]) -> Page:
        path = folder / "pages" / row["file"]
        starts = float(row["scene_start"] or 0)
        return Page(path, _grades(row), row["genre"], row["caption"], row["title"], manga=True, starts_scene=starts)

    return _read(folder / "pages" / "labels_dev.tsv", page)


def read_clips(folder: Path, name: str = "audio_train") -> list[Clip]:
    """Clips of `folder/name.tsv` with the moods that their authors intended: 3 for the first, 2 for the second."""

    def clip(row: dict[str, str]) -> Clip:
        intended = {row["mood2"]: 2.0, row["mood1"]: 3.0}
        return Clip(
            path=folder / name / row["file"],
            grades=tuple(intended.get(mood, 0.0) for mood in MOODS),
            trust=_CONFIDENCE.get(row["confidence"], 0.0) if row["mood1"] else 0.0,
            group=row["piece"],
            validation=row.get("split") == "val",
        )

    return _read(folder / f"{name}.tsv", clip)


def read_texts(folder: Path) -> list[Text]:
    """All labelled texts; validation are every fifth description and the stories S17 to S22."""
    texts: list[Text] = []

    def text(row: dict[str, str]) -> Text:
        name, kind = row["id"], row.get("kind") or "dialogue"
        story = name.split("_")[1] if name.startswith("d2_") else name
        held_out = kind != "dialogue" and int(name[1:]) % 5 == 0
        held_out |= name.startswith("d2_") and 17 <= int(story[1:]) <= 22
        return Text(row["text"], _grades(row), kind, story, held_out)

    for file in ("descriptions_1", "dialogue_1", "dialogue_2"):
        # Dialogue holds bare quotation marks.
        texts += _read(folder / "text" / f"{file}.tsv", text, quoted=False)
    return texts


def read_own_texts() -> list[Text]:
    """The project's own texts (`mmr_export.synth.texts`), all for training; a row is a group, a story is not kept."""
    texts: list[Text] = []
    for path in sorted(TEXTS.glob("*.tsv")):

        def text(row: dict[str, str], name: str = path.stem) -> Text:
            return Text(row["text"], _grades(row), row["kind"], f"{name}: {row['text']}", validation=False, own=True)

        texts += _read(path, text, quoted=False)
    return texts


def folds(groups: Sequence[str], count: int, seed: int) -> NDArray[np.int64]:
    """Fold number 0..count-1 of every item; items of one group share it. Larger groups are dealt out first."""
    names, sizes = np.unique(groups, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    load, fold = np.zeros(count, np.int64), {}
    for i in order:
        fold[str(names[i])] = int(load.argmin())
        load[load.argmin()] += sizes[i]
    return np.array([fold[g] for g in groups], np.int64)


def _grades(row: dict[str, str]) -> tuple[float, ...]:
    return tuple(float(row[mood] or 0) for mood in MOODS)


def _read(path: Path, make: Callable[[dict[str, str]], T], *, quoted: bool = True) -> list[T]:
    if not path.is_file():
        raise MissingFileError(
            f"no {path.name} in {path.parent}", "name the folder of the development data with --data"
        )
    with path.open(encoding="utf-8", newline="") as f:
        try:
            rows = csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
            return [make(row) for row in rows]
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{path} does not have the expected columns: {error}") from error
