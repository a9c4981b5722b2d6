"""Figures of soundtracks: worked by hand on small ones, and beside each other in the order that they must have."""

from __future__ import annotations

import numpy as np
import pytest

from mmr_export.evaluate.soundtracks import (
    NAMES,
    Truth,
    figures,
    intervals,
    mean_figures,
    one_song,
    page_by_page,
    random_segments,
)

CALM, WILD = 0, 1
MOODS = np.array([[3, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 3, 0, 0]], float)


def title(scenes: list[tuple[int, int]]) -> Truth:
    """Scenes as (pages, mood); song 0 is worth 1 on calm pages, song 1 on wild ones."""
    moods = np.concatenate([np.full(pages, mood) for pages, mood in scenes])
    starts = np.zeros(len(moods), bool)
    starts[np.cumsum([0, *(pages for pages, _ in scenes[:-1])])] = True
    return Truth(np.eye(2)[moods], MOODS[moods], starts)


TITLE = title([(6, CALM), (4, WILD)])


def songs(*runs: tuple[int, int]) -> np.ndarray:
    return np.concatenate([np.full(pages, song) for pages, song in runs])


def test_the_right_song_on_every_page() -> None:
    found = figures([TITLE], [songs((6, CALM), (4, WILD))])
    assert found == pytest.approx(
        {
            "gain": 1,
            "regret": 0,
            "switches per 10 pages": 10 / 9,
            "dwell": 5,
            "boundary F1": 1,
            "WindowDiff": 0,
            "coherence": 1,
            "commonest song": 0.6,
        }
    )


def test_one_song_is_the_zero_of_gain_and_coherence() -> None:
    found = figures([TITLE], [songs((10, CALM))])
    assert found["gain"] == 0
    assert found["regret"] == pytest.approx(0.4)
    assert found["coherence"] == pytest.approx(0)
    assert (found["boundary F1"], found["switches per 10 pages"], found["dwell"]) == (0, 0, 10)
    assert found["commonest song"] == 1


def test_a_change_beside_the_scene_counts_and_one_further_off_does_not() -> None:
    assert figures([TITLE], [songs((7, CALM), (3, WILD))])["boundary F1"] == 1
    assert figures([TITLE], [songs((8, CALM), (2, WILD))])["boundary F1"] == 0
    twice = figures([TITLE], [songs((3, CALM), (3, WILD), (4, CALM))])
    assert twice["boundary F1"] == pytest.approx(2 * 0.5 * 1 / 1.5)


def test_window_diff_does_not_forgive_changes_on_every_page() -> None:
    restless = figures([TITLE], [np.arange(10) % 2])
    assert restless["boundary F1"] > 0.4
    assert restless["WindowDiff"] == 1
    # Windows of 2 pages: of 8, those that begin 4 and 5 pages in hold the scene's start.
    assert figures([TITLE], [songs((10, CALM))])["WindowDiff"] == pytest.approx(2 / 8)


def test_random_cuts_explain_nothing_on_average() -> None:
    rng = np.random.default_rng(0)
    noise = Truth(rng.random((60, 2)), rng.normal(size=(60, 7)), np.zeros(60, bool))
    drawn = [figures([noise], [random_segments(noise.values, 8, rng)]) for _ in range(200)]
    assert mean_figures(drawn)["coherence"] == pytest.approx(0, abs=0.02)


def test_simple_soundtracks() -> None:
    affinity = np.array([[1, 0.0], [0, 3], [1, 0]])
    assert page_by_page(affinity).tolist() == [0, 1, 0]
    assert one_song(affinity).tolist() == [1, 1, 1]
    made = random_segments(affinity, 3, np.random.default_rng(0))
    assert made.tolist() == [0, 1, 0]


def test_intervals_hold_the_figures_and_are_the_same_each_time() -> None:
    titles = [title([(7, CALM), (9, WILD), (8, CALM)]), title([(10, WILD), (12, CALM)])]
    made = [songs((8, CALM), (10, WILD), (6, CALM)), songs((9, WILD), (13, CALM))]
    found, spans = figures(titles, made), intervals(titles, made, rounds=200)
    assert set(found) == set(spans) == set(NAMES)
    assert all(low <= found[name] <= high for name, (low, high) in spans.items())
    assert spans == intervals(titles, made, rounds=200)
