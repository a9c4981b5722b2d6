"""Figures of classification and retrieval are those of scikit-learn and SciPy; intervals draw whole groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import skew
from sklearn import metrics as sklearn
from sklearn.calibration import calibration_curve

from mmr_export.evaluate.bootstrap import intervals, members
from mmr_export.evaluate.classification import (
    ClassReport,
    average_precision,
    average_precisions,
    calibration,
    confusion,
    first_right,
    softmax,
)
from mmr_export.evaluate.retrieval import Recall, first_candidates, hubness, modality_gap, occurrences, partner_ranks

Floats = NDArray[np.float64]


@st.composite
def answers(draw: st.DrawFn) -> tuple[NDArray[np.bool_], Floats]:
    """Labels (n, k) with at least one a row, and scores with ties."""
    n, k = draw(st.integers(2, 30)), draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    labels = rng.random((n, k)) < 0.3
    labels[np.arange(n), rng.integers(0, k, n)] = True
    return labels, rng.integers(0, draw(st.integers(1, 20)) + 1, (n, k)).astype(float)


# -- classification ---------------------------------------------------------------------------------------------------


@given(answers())
def test_average_precision_is_scikit_learns(case: tuple[NDArray[np.bool_], Floats]) -> None:
    labels, scores = case
    for positive, score in zip(labels.T, scores.T, strict=True):
        if positive.any():
            expected = sklearn.average_precision_score(positive, score)
            assert average_precision(positive, score) == pytest.approx(expected)
    known = labels.any(axis=0)
    expected = sklearn.average_precision_score(labels[:, known], scores[:, known], average="macro")
    assert np.nanmean(average_precisions(labels, scores)) == pytest.approx(expected)


def test_a_class_without_positives_has_no_average_precision() -> None:
    assert np.isnan(average_precision(np.zeros(3, bool), np.arange(3.0)))


@given(answers())
def test_report_and_confusion_are_scikit_learns(case: tuple[NDArray[np.bool_], Floats]) -> None:
    _, scores = case
    n, k = scores.shape
    true = np.random.default_rng(n).integers(0, k, n)
    labels, said = np.eye(k, dtype=bool)[true], scores.argmax(axis=1)
    matrix = confusion(labels, scores)
    np.testing.assert_array_equal(matrix, sklearn.confusion_matrix(true, said, labels=range(k)))
    assert first_right(labels, scores) == pytest.approx(sklearn.accuracy_score(true, said))
    ours = ClassReport.of(matrix)
    *theirs, _ = sklearn.precision_recall_fscore_support(true, said, labels=range(k), zero_division=np.nan)
    for mine, other in zip((ours.precision, ours.recall, ours.f1), theirs, strict=True):
        np.testing.assert_allclose(mine, other)


def test_an_item_of_two_classes_is_right_by_either_and_counts_half_in_each() -> None:
    labels = np.array([[True, True, False]])
    assert first_right(labels, np.array([[0, 1, 0.5]])) == 1
    np.testing.assert_array_equal(confusion(labels, np.array([[0, 1, 0.5]])), [[0, 0.5, 0], [0, 0.5, 0], [0, 0, 0]])


def test_calibration_bins_are_scikit_learns_and_a_calibrated_answer_has_no_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 20_000)
    right = rng.random(20_000) < confidence
    posterior = np.stack([confidence, 1 - confidence], axis=1)
    found = calibration(np.stack([right, ~right], axis=1), posterior)
    assert found.error < 0.02
    accuracy, said = calibration_curve(right, confidence, n_bins=10)
    filled = found.count > 0
    np.testing.assert_allclose(found.accuracy[filled], accuracy)
    np.testing.assert_allclose(found.confidence[filled], said)
    sure = calibration(np.stack([right, ~right], axis=1), np.tile([1.0, 0.0], (20_000, 1)))
    assert sure.error == pytest.approx(1 - right.mean())


# -- intervals --------------------------------------------------------------------------------------------------------


def share(values: Floats, groups: list[str]) -> list[float]:
    return intervals(lambda rows: np.array([values[rows].mean()]), groups)[:, 0].tolist()


def test_an_interval_over_groups_is_wider_where_their_items_are_alike() -> None:
    right = np.repeat(np.random.default_rng(0).random(20) < 0.5, 10).astype(float)
    wide = share(right, [str(i // 10) for i in range(200)])
    narrow = share(right, [str(i) for i in range(200)])
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])
    assert wide[0] < right.mean() < wide[1]


def test_an_interval_is_that_of_the_normal_approximation() -> None:
    right = (np.arange(400) % 2).astype(float)
    low, high = share(right, list(map(str, range(400))))
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=0.008)


def test_one_group_gives_no_interval() -> None:
    assert np.isnan(share(np.arange(5.0), ["a"] * 5)).all()


def test_members_are_the_items_of_each_group() -> None:
    assert [rows.tolist() for rows in members(["b", "a", "b", "c", "a"])] == [[1, 4], [0, 2], [3]]


# -- retrieval --------------------------------------------------------------------------------------------------------


@given(st.integers(1, 30), st.integers(0, 99))
def test_ranks_are_found_by_sorting(n: int, seed: int) -> None:
    similarity = np.random.default_rng(seed).random((n, n))
    expected = [int(np.flatnonzero(np.argsort(-row) == i)[0]) + 1 for i, row in enumerate(similarity)]
    np.testing.assert_array_equal(partner_ranks(similarity), expected)


def test_who_says_the_same_of_all_finds_nothing() -> None:
    assert Recall.of(partner_ranks(np.ones((20, 20)))) == Recall(0, 0, 0, 20)
    assert Recall.of(partner_ranks(np.eye(20))) == Recall(1, 1, 1, 1)


def test_a_hub_skews_the_occurrences() -> None:
    rng = np.random.default_rng(0)
    even = rng.random((500, 100))
    hub = even.copy()
    hub[:, 0] += 1
    counts, usual = (occurrences(first_candidates(values), 100) for values in (hub, even))
    assert counts[0] == 500
    assert counts.sum() == 5000
    assert abs(hubness(usual)) < 1 < hubness(counts)
    assert hubness(counts) == pytest.approx(float(skew(counts)))
    assert np.isnan(hubness(np.array([3, 3, 3])))


@given(st.integers(1, 20), st.integers(0, 99))
def test_the_first_candidates_are_those_that_sorting_finds(m: int, seed: int) -> None:
    similarity = np.random.default_rng(seed).random((4, m))
    expected = np.sort(np.argsort(-similarity, axis=1)[:, :10], axis=1)
    np.testing.assert_array_equal(np.sort(first_candidates(similarity), axis=1), expected)


def test_the_gap_of_two_modalities_is_the_distance_of_their_means() -> None:
    assert modality_gap(np.eye(2), -np.eye(2)) == pytest.approx(np.sqrt(2))


def test_softmax_takes_large_logits() -> None:
    np.testing.assert_allclose(softmax(np.array([[1e4, 0.0], [3.0, 3.0]])), [[1, 0], [0.5, 0.5]])
