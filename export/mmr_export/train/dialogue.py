"""Spoken lines tell a mood in another way than descriptions of it: "Run!" names no mood, and no scene.

In the same text vectors dialogue has directions of its own, one for each mood: a ridge regression of the grades on the
mean vector of a page's lines, fitted on labelled dialogue alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmr_export.data.collection import folds
from mmr_export.train.space import ridge

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Dialogue:
    """Unit rows `directions` (7, d), and `calibration` (2, 7): mean and spread of the cosines of unseen dialogue."""

    directions: Floats
    calibration: Floats


def fit_dialogue(vectors: Floats, grades: Floats, groups: Sequence[str], strength: float, seed: int = 0) -> Dialogue:
    """Fit the directions, and their calibration over five folds.

    Args:
        vectors: (n, d), mean of the unit vectors of each dialogue's lines.
        grades: (n, 7), centred per author.
        groups: n names; those of one story stay together in a fold.
        strength: ridge of the regression.
        seed: of the folds.
    """
    fold, cosines = folds(groups, 5, seed), np.empty_like(grades)
    for k in range(5):
        cosines[fold == k] = vectors[fold == k] @ _directions(vectors[fold != k], grades[fold != k], strength).T
    return Dialogue(_directions(vectors, grades, strength), np.stack([cosines.mean(axis=0), cosines.std(axis=0)]))


def _directions(vectors: Floats, grades: Floats, strength: float) -> Floats:
    weight = ridge(vectors - vectors.mean(axis=0), grades / grades.std(), np.ones(len(vectors)), strength).T
    return np.asarray(weight / np.linalg.norm(weight, axis=1, keepdims=True))
