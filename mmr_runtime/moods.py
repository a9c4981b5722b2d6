"""The seven moods and twelve genres of the paper, with the prompts that the text encoder is asked.

Source: Sharma and Tsuruoka, "Zero-Shot Music Retrieval For Japanese Manga" (2023): AudioSet's seven "Music mood"
classes and Manga109's twelve genres. AudioCLIP uses labels bare, without a template around them.
"""

from __future__ import annotations

MOODS = ("Happy", "Funny", "Sad", "Tender", "Exciting", "Angry", "Scary")
MOOD_PROMPTS = tuple(f"{mood} music" for mood in MOODS)

GENRES = (
    "animal",
    "battle",
    "fantasy",
    "four-frame cartoons",
    "historical drama",
    "horror",
    "humor",
    "love romance",
    "romantic comedy",
    "science fiction",
    "sports",
    "suspense",
)
GENRE_PROMPTS = GENRES
