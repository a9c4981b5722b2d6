"""What a page is about: its mood grades, energy, genre, place, and the sentence that describes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmr_export.synth.pages.cast import Look, describe, draw_look
from mmr_export.synth.pages.scenery import GENRE_PLACES, PLACES
from mmr_runtime.errors import UsageError
from mmr_runtime.moods import GENRES, MOODS

Rng = np.random.Generator

# Which moods share a page, and how often.
_COMPANIONS: dict[str, tuple[tuple[str, float], ...]] = {
    "Happy": (("Funny", 3), ("Tender", 2), ("Exciting", 2)),
    "Funny": (("Happy", 3), ("Angry", 1.5), ("Exciting", 1), ("Tender", 0.5)),
    "Sad": (("Tender", 2.5), ("Angry", 1.5), ("Scary", 1)),
    "Tender": (("Happy", 2.5), ("Sad", 2.5), ("Funny", 0.7)),
    "Exciting": (("Angry", 2.5), ("Scary", 1.5), ("Happy", 1.5), ("Funny", 0.7)),
    "Angry": (("Exciting", 2.5), ("Sad", 2), ("Scary", 1.5), ("Funny", 0.7)),
    "Scary": (("Exciting", 2), ("Angry", 2), ("Sad", 1.5)),
}
_ENERGY = {
    "Happy": (0, 2),
    "Funny": (1, 2),
    "Sad": (0, 1),
    "Tender": (0, 0),
    "Exciting": (2, 3),
    "Angry": (1, 3),
    "Scary": (0, 2),
}

# How likely a genre is when only the mood is asked for; 1 where nothing is said.
_LEANING: dict[str, dict[str, float]] = {
    "Happy": {"romantic comedy": 2, "animal": 2, "horror": 0.05, "suspense": 0.1, "sports": 2},
    "Funny": {"four-frame cartoons": 5, "humor": 4, "romantic comedy": 2, "horror": 0.1, "suspense": 0.2},
    "Sad": {"love romance": 2, "historical drama": 2, "humor": 0.2, "four-frame cartoons": 0.2},
    "Tender": {
        "love romance": 4,
        "romantic comedy": 2,
        "animal": 2,
        "horror": 0.05,
        "battle": 0.3,
        "four-frame cartoons": 0.3,
    },
    "Exciting": {
        "battle": 4,
        "sports": 4,
        "science fiction": 2,
        "fantasy": 2,
        "love romance": 0.1,
        "four-frame cartoons": 0.1,
    },
    "Angry": {"battle": 3, "suspense": 2, "historical drama": 2, "four-frame cartoons": 0.3},
    "Scary": {
        "horror": 6,
        "suspense": 4,
        "fantasy": 1,
        "humor": 0.1,
        "four-frame cartoons": 0.1,
        "love romance": 0.1,
        "sports": 0.1,
    },
}

_SENTENCES: dict[str, tuple[str, ...]] = {
    "Happy": (
        "{a} laughs with both arms thrown up {place}",
        "{a} beams and jumps while {b} claps {place}",
        "{a} smiles brightly amid glints of light {place}",
        "Sunlight pours over {a} and {b} as they walk along singing {place}",
    ),
    "Funny": (
        "{a} trips over and lands face down while {b} stares {place}",
        "{a} makes a blank-eyed face at what {b} has just said {place}",
        "{a} yells a retort with sweat flying as {b} looks the other way {place}",
        "{b} strikes a pose and {a} goes pale with ruled lines over the brow {place}",
    ),
    "Sad": (
        "{a} stands with bowed head in the rain {place}",
        "Tears run down the cheeks of {a}, who sits by themselves {place}",
        "{a} looks back once at {b} and walks away {place}",
        "{a} kneels in an empty space as leaves fall {place}",
    ),
    "Tender": (
        "{a} leans on the shoulder of {b} as petals drift {place}",
        "{a} lays a hand in the hand of {b} {place}",
        "{a} blushes and offers a flower to {b} {place}",
        "{a} and {b} look at each other in silence amid blossoms {place}",
    ),
    "Exciting": (
        "{a} leaps at {b} in a blur of speed lines {place}",
        "{a} races forward through a burst of light {place}",
        "{a} and {b} clash in mid-air with a flash {place}",
        "{a} strikes with full force and the ground breaks {place}",
    ),
    "Angry": (
        "{a} shouts at {b} with clenched fists {place}",
        "{a} glares with bared teeth and slams a fist down {place}",
        "{a} points at {b} and roars, veins standing out {place}",
        "Black flames seem to rise around {a}, who stares hard at {b} {place}",
    ),
    "Scary": (
        "Something with hollow eyes creeps out of the dark behind {a} {place}",
        "{a} backs away wide-eyed as pale hands reach out {place}",
        "A black figure with a slit grin waits for {a} {place}",
        "Ink-black shadows close around {a}, whose pupils shrink to points {place}",
    ),
}
_ANIMALS = ("a small cat", "a shaggy dog", "a stray kitten", "a puppy")


@dataclass(frozen=True)
class Story:
    """The plan of one page.

    Attributes:
        moods: grades 0..3 in the order of `MOODS`.
        leading: the mood of the highest grade.
        energy: 0..3.
        genre, place, night: of the story.
        cast: its characters.
        caption: one English sentence.
    """

    moods: tuple[int, ...]
    leading: str
    energy: int
    genre: str
    place: str
    night: bool
    cast: tuple[Look, ...]
    caption: str


def make_story(rng: Rng, mood: str | None, genre: str | None) -> Story:
    """Invent a page around a mood and a genre, or around random ones.

    Raises:
        UsageError: the mood or the genre is none of the paper's.
    """
    if mood is not None and mood not in MOODS:
        raise UsageError(f"no such mood: {mood}", f"choose one of {', '.join(MOODS)}")
    if genre is not None and genre not in GENRES:
        raise UsageError(f"no such genre: {genre}", f"choose one of {', '.join(GENRES)}")
    leading = mood or _leading(rng, genre)
    kind = genre or str(_weighted(rng, [(g, _LEANING[leading].get(g, 1.0)) for g in GENRES]))
    grades = _grades(rng, leading)
    place = str(rng.choice(GENRE_PLACES[kind]))
    gender = ["girl", "boy", "man"]
    rng.shuffle(gender)
    cast = tuple(draw_look(rng, kind, g) for g in gender[: int(rng.integers(2, 4))])
    low, high = _ENERGY[leading]
    night = bool(rng.random() < {"Scary": 0.9, "Sad": 0.4, "Happy": 0.05, "Funny": 0.1}.get(leading, 0.25))
    return Story(
        moods=tuple(grades[m] for m in MOODS),
        leading=leading,
        energy=int(rng.integers(low, high + 1)),
        genre=kind,
        place=place,
        night=night,
        cast=cast,
        caption=_caption(rng, leading, kind, cast, place, night),
    )


def _weighted(rng: Rng, options: list[tuple[str, float]]) -> str:
    weights = np.array([weight for _, weight in options])
    return options[int(rng.choice(len(options), p=weights / weights.sum()))][0]


def _leading(rng: Rng, genre: str | None) -> str:
    return _weighted(rng, [(m, _LEANING[m].get(genre, 1.0) if genre else 1.0) for m in MOODS])


def _grades(rng: Rng, leading: str) -> dict[str, int]:
    """The leading mood at 2 or 3, often one companion below it, seldom a second."""
    grades = dict.fromkeys(MOODS, 0)
    grades[leading] = int(rng.choice((2, 3), p=(0.4, 0.6)))
    for chance in (0.55, 0.15):
        if rng.random() < chance:
            companion = _weighted(rng, list(_COMPANIONS[leading]))
            grades[companion] = max(grades[companion], int(rng.integers(1, grades[leading])))
    return grades


def _caption(rng: Rng, leading: str, genre: str, cast: tuple[Look, ...], place: str, night: bool) -> str:
    first = str(rng.choice(_ANIMALS)) if genre == "animal" else describe(cast[0])
    where = PLACES[place][0] + (" at night" if night and place not in ("space",) and rng.random() < 0.7 else "")
    sentence = str(rng.choice(_SENTENCES[leading])).format(a=first, b=describe(cast[1]), place=where)
    return sentence[0].upper() + sentence[1:] + "."
