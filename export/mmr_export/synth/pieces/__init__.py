"""A seeded composer of short pieces of background music with mood grades (NumPy only).

`characters` says what each mood does to tempo, mode, register and so on, after the literature on musical expression;
`styles` casts instruments; `composing` writes a score of the two; `instruments`, `percussion` and `mixing` play it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.moods import MOODS

from .composing import Writer, draw_plan
from .mixing import mix

__all__ = ["Piece", "compose"]


@dataclass(frozen=True)
class Piece:
    """A composed piece.

    Attributes:
        samples: float32 (n,), mono, in [-1, 1].
        sample_rate: Hz.
        moods: grades 0 (absent) to 3 (dominant), in the order of mmr_runtime.moods.MOODS.
        tempo_bpm: beats per minute (dotted quarters in 6/8).
        key: the tonic in letters.
        mode: a name of theory.MODES.
        description: one English line about it.
    """

    samples: NDArray[np.float32]
    sample_rate: int
    moods: tuple[int, ...]
    tempo_bpm: float
    key: str
    mode: str
    description: str


def compose(seed: int, *, mood: str | None = None, seconds: float = 12.0, sample_rate: int = 44100) -> Piece:
    """Composes and plays a piece; equal arguments give equal samples, and other moods of a seed other pieces.

    Args:
        seed: any integer from 0 on.
        mood: the dominant mood, one of MOODS; None draws one.
        seconds: length, above 0.
        sample_rate: Hz.

    Raises:
        ValueError: for an unknown mood, a length that is not above 0 or a rate below 8000 Hz.
    """
    if mood is not None and mood not in MOODS:
        raise ValueError(f"unknown mood {mood!r}: one of {', '.join(MOODS)}")
    if not seconds > 0 or sample_rate < 8000:
        raise ValueError("a piece needs a length above 0 s and a rate of at least 8000 Hz")
    rng = np.random.default_rng([seed, 0 if mood is None else 1 + MOODS.index(mood)])
    plan = draw_plan(mood, seconds, rng)
    score = Writer(plan, rng).score()
    samples = mix(score, plan.room, seconds, sample_rate, rng)
    instruments = list(dict.fromkeys(part.instrument for part in score.parts))
    graded = sorted(((grade, name) for grade, name in zip(plan.grades, MOODS, strict=True) if grade), reverse=True)
    moods = ", ".join(f"{name.lower()}" if grade > 1 else f"slightly {name.lower()}" for grade, name in graded)
    description = (
        f"{moods}: {plan.style_name}, {plan.key.name} {plan.key.mode}, {plan.metre.name}, {plan.tempo:.0f} bpm, "
        f"{', '.join(instruments)}{', drums' if score.blows else ''}"
    )
    return Piece(samples, sample_rate, plan.grades, round(plan.tempo, 1), plan.key.name, plan.key.mode, description)
