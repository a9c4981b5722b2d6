"""The joint space of the small model: three linear heads on features, tied through text.

The sentence teacher's space is the hinge (as in LiT, Zhai et al. 2022, the text side leads). Every vector has three
blocks:

- mood: seven coordinates, one for each mood, a ridge regression of the grades on the features;
- meaning: the leading principal components of sentence vectors; a page is regressed on its caption's, a clip on those
  of its tags;
- one constant coordinate, as long as the others together are on average: brought to unit length, a vector that says
  little then still says little, and how strong a mood is can be compared between pages (0.005 to 0.01 AUC between
  collections of other styles; docs/decisions/003-small-model.md).

Ridge is used since the data are few (about 200 manga-styled pages, 500 clips with a known intent): it has no local
optima, and its strength is one number, chosen by cross-validation over titles and pieces. Turning the heads further
with a contrastive loss was tried and lost on held-out pages and texts (docs/decisions/003-small-model.md); the student
that hears is trained with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MOOD_COUNT = 7
CONSTANT = 1.0
"""The constant coordinate; `_balanced` gives the others a mean squared length of 1."""


@dataclass(frozen=True)
class SpaceOptions:
    """What the recipe says about the space.

    Attributes:
        size: length of a joint vector.
        mood_share: share of a vector's squared length that the mood block has on average.
        page_strength: ridge of the page head, per standardised feature.
        clip_strength: ridge of the clip head.
        text_strength: ridge of the text head.
        student_strength: ridge of the audio student's head on its own features.
    """

    size: int = 256
    mood_share: float = 0.7
    page_strength: float = 3e4
    clip_strength: float = 1000.0
    text_strength: float = 1.0
    student_strength: float = 300.0


@dataclass(frozen=True, eq=False)
class Examples:
    """Features with what they should say.

    Attributes:
        features: (n, f), standardised.
        moods: (n, 7) targets, centred per collection.
        meaning: (n, 384) sentence vectors of the same items (captions, tags, the texts themselves).
        weights: (n,), at least 0.
    """

    features: Floats
    moods: Floats
    meaning: Floats
    weights: Floats

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Examples:
        return Examples(self.features[rows], self.moods[rows], self.meaning[rows], self.weights[rows])


@dataclass(frozen=True, eq=False)
class Head:
    """A linear map (f, size - 1) from standardised features to all but the constant coordinate of joint vectors."""

    weight: Floats

    def __call__(self, features: Floats) -> Floats:
        """Unit rows (n, size) of features (n, f)."""
        full = self.affine()
        rows = features @ full.weight + full.bias
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float64)

    def affine(self) -> Affine:
        """The map before it is brought to unit length, for standardised features."""
        bias = np.zeros(self.weight.shape[1] + 1)
        bias[-1] = CONSTANT
        return Affine(np.pad(self.weight, ((0, 0), (0, 1))), bias)


def ridge(x: Floats, y: Floats, weights: Floats, strength: float) -> Floats:
    """Coefficients (f, k) of a weighted ridge regression without intercept.

    Solved in whichever of primal and dual form is smaller.
    """
    used = weights > 0
    x, y, w = x[used], y[used], weights[used]
    if x.shape[0] < x.shape[1]:
        return np.asarray(x.T @ np.linalg.solve(x @ x.T + np.diag(strength / w), y), np.float64)
    xw = x * w[:, None]
    return np.asarray(np.linalg.solve(xw.T @ x + strength * np.eye(x.shape[1]), xw.T @ y), np.float64)


@dataclass(frozen=True, eq=False)
class Affine:
    """A linear map with bias: weight (f, size), bias (size,)."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True, eq=False)
class Space:
    """The three heads. Pages and clips have heads on their own features, texts on sentence vectors."""

    page: Head
    clip: Head
    text: Head


def fit_space(pages: Examples, clips: Examples, texts: Examples, options: SpaceOptions) -> Space:
    """Fit the heads.

    Args:
        pages: features of the image trunk; meaning: captions.
        clips: features of the music teacher; meaning: their tags in words.
        texts: features and meaning: sentence vectors (centred for the features); the mood prompts are among them.
        options: the recipe.
    """
    basis = _meaning_basis(texts.meaning, pages.meaning, options.size - MOOD_COUNT - 1)
    return Space(
        page=_fit_head(pages, basis, options.page_strength, options),
        clip=_fit_head(clips, basis, options.clip_strength, options),
        text=_fit_head(texts, basis, options.text_strength, options),
    )


def _meaning_basis(texts: Floats, captions: Floats, count: int) -> tuple[Floats, Floats]:
    """Mean (384,) and principal directions (384, count) of sentence vectors."""
    rows = np.concatenate([texts, captions])
    mean = rows.mean(axis=0)
    _, _, directions = np.linalg.svd(rows - mean, full_matrices=False)
    return mean, directions[:count].T


def _fit_head(examples: Examples, basis: tuple[Floats, Floats], strength: float, options: SpaceOptions) -> Head:
    mean, directions = basis
    meaning = (examples.meaning - mean) @ directions
    mood = ridge(examples.features, examples.moods, examples.weights, strength)
    sense = ridge(examples.features, meaning, np.maximum(examples.weights, 1e-6), strength)
    return Head(_balanced(examples.features, np.concatenate([mood, sense], axis=1), options))


def follow(features: Floats, teacher: Head, teacher_features: Floats, options: SpaceOptions) -> Affine:
    """The head of a student: its own features (n, f) to where its teacher places the same items.

    The bias makes the mean item the middle of the space, as it is for the teacher's standardised features.
    """
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-4
    standard, targets = (features - mean) / spread, teacher_features @ teacher.weight
    weight = ridge(standard, targets - targets.mean(axis=0), np.ones(len(features)), options.student_strength)
    own = Head(_balanced(standard, weight, options)).affine()
    weight = own.weight / spread[:, None]
    return Affine(weight, own.bias - mean @ weight)


def _balanced(features: Floats, weight: Floats, options: SpaceOptions) -> Floats:
    """The weight (f, size - 1) with both blocks at their share of the length.

    Ridge shrinks, and each modality by another amount: both blocks are brought to a common spread.
    """
    rows = features @ weight
    spread = np.maximum(rows[:, :MOOD_COUNT].std(axis=0), 1e-6)
    length = max(np.sqrt((rows[:, MOOD_COUNT:] ** 2).sum(axis=1).mean()), 1e-6)
    a = np.sqrt(options.mood_share / MOOD_COUNT)
    b = np.sqrt(1 - options.mood_share)
    return np.concatenate([weight[:, :MOOD_COUNT] * (a / spread), weight[:, MOOD_COUNT:] * (b / length)], axis=1)
