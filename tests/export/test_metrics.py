"""Figures of quality against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr_export.evaluate import metrics

GRADES = np.array([[3.0, 0, 0], [0, 2, 0], [0, 0, 3], [3, 0, 1]])


def test_gain_is_one_for_the_best_and_zero_for_the_constant_answer() -> None:
    assert metrics.gain(GRADES, GRADES) == 1
    assert metrics.gain(GRADES, np.tile([1.0, 0, 0], (4, 1))) == 0
    assert metrics.gain(GRADES, -GRADES) < 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=2, max_size=30))
def test_auc_counts_pairs(items: list[tuple[bool, int]]) -> None:
    positive, scores = np.array([p for p, _ in items]), np.array([float(s) for _, s in items])
    pairs = [float(a > b) + 0.5 * float(a == b) for a in scores[positive] for b in scores[~positive]]
    if pairs:
        assert metrics.auc(positive, scores) == pytest.approx(np.mean(pairs))
    else:
        assert np.isnan(metrics.auc(positive, scores))


def test_auc_within_ignores_the_tone_of_a_title() -> None:
    """A reading that only tells one title from the other is chance within each."""
    grades = np.tile([[3.0], [0.0]], (10, 1))
    scores = np.repeat([[0.0], [9.0]], 10, axis=0)
    assert metrics.auc_within(["a"] * 10 + ["b"] * 10, grades, scores) == 0.5
    assert metrics.auc_within(["a"] * 10 + ["b"] * 10, grades, grades) == 1


def test_first_right_can_be_standardised() -> None:
    grades = np.array([[3.0, 0], [0, 3.0]])
    scores = np.array([[9.0, 2.0], [8.0, 3.0]])  # the first mood always reads higher
    assert metrics.first_right(grades, scores, standardise=False) == 0.5
    assert metrics.first_right(grades, scores) == 1


def test_choices() -> None:
    pages, songs = np.array([[3.0, 0], [0, 3.0], [3.0, 0]]), np.eye(2)
    assert metrics.choice_gain(pages, songs, np.array([0, 1, 0])) == 1
    assert metrics.choice_gain(pages, songs, np.array([0, 0, 0])) == 0
    ranked = np.array([[0, 1], [1, 0], [1, 0]])
    assert metrics.precision_at(pages, songs, ranked, k=1) == (pytest.approx(2 / 3), 0.5)


def test_interval_holds_the_figure_and_is_repeatable() -> None:
    values = np.random.default_rng(1).random(50)
    low, high = metrics.interval(lambda i: float(values[i].mean()), 50)
    assert low < values.mean() < high
    assert (low, high) == metrics.interval(lambda i: float(values[i].mean()), 50)
