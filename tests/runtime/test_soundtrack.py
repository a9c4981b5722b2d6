"""The plan of a whole book: the best there is under its rules, found exactly."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmr_runtime.errors import UsageError
from mmr_runtime.soundtrack import Options, Segment, plan_segments, smooth, spread
from mmr_runtime.soundtrack import search as search_module
from mmr_runtime.soundtrack import solve as solve_module
from mmr_runtime.soundtrack.solve import solve

Scores = NDArray[np.float32]
Stretch = tuple[int, int, int]  # first page, page after the last, song

FREE = Options(change=1, min_pages=1, rest=0, smoothing=0)


def scores(*songs: Iterable[float]) -> Scores:
    """Affinities (pages, songs) from one row a song, as they are easier to read."""
    return np.array(songs, np.float32).T


def book(seed: int, pages: int, songs: int) -> Scores:
    """Scenes of 4 to 15 pages, each with a mood of five; songs have moods too."""
    rng = np.random.default_rng(seed)
    moods = np.repeat(rng.integers(0, 5, pages), rng.integers(4, 16, pages))[:pages]
    kinds = rng.dirichlet(np.ones(5) / 2, songs)
    return (np.eye(5)[moods] @ kinds.T * 3 + rng.normal(0, 0.3, (pages, songs))).astype(np.float32)


def played(segments: Iterable[Segment]) -> list[int]:
    """The song of each page."""
    return [s.song for s in segments for _ in range(s.first, s.last + 1)]


# -- the rules, stated once more -------------------------------------------------------------------------------------


def stretches(songs: Iterable[int]) -> list[Stretch]:
    found: list[Stretch] = []
    for page, song in enumerate(songs):
        if found and found[-1][2] == song:
            found[-1] = (found[-1][0], page + 1, song)
        else:
            found.append((page, page + 1, song))
    return found


def room(page: int, pins: Mapping[int, int], pages: int) -> int:
    """Pages around a pin that pins of other songs leave to it; the gap between two belongs half to either."""
    left = max((p for p in pins if p < page and pins[p] != pins[page]), default=None)
    right = min((p for p in pins if p > page and pins[p] != pins[page]), default=None)
    own = [p for p in pins if (left is None or p > left) and (right is None or p < right)]
    first = 0 if left is None else left + 1 + (min(own) - left) // 2
    end = pages if right is None else max(own) + 1 + (right - max(own)) // 2
    return end - first


def keeps_rules(parts: list[Stretch], pages: int, least: int, rest: int, pins: Mapping[int, int]) -> bool:
    for i, (first, end, song) in enumerate(parts):
        inside = [p for p in pins if first <= p < end]
        if any(pins[p] != song for p in inside):
            return False
        if end - first < min(least, pages, *(room(p, pins, pages) for p in inside)):
            return False
        for other_first, other_end, other in parts[i + 1 : i + 1 + rest]:
            if other == song and not (inside and any(other_first <= p < other_end for p in pins)):
                return False
    return True


def brute_force(a: Scores, cost: float, least: int, rest: int, pins: Mapping[int, int]) -> list[Stretch]:
    """Of all plans that keep the rules the best; ties to fewer changes, then to songs that come first."""
    pages, count = a.shape
    plans = [(songs, stretches(songs)) for songs in itertools.product(range(count), repeat=pages)]
    return min(
        (cost * (len(parts) - 1) - sum(float(a[p, s]) for p, s in enumerate(songs)), len(parts), songs, parts)
        for songs, parts in plans
        if keeps_rules(parts, pages, least, rest, pins)
    )[-1]


def solved(a: Scores, cost: float, least: int, rest: int, pins: Mapping[int, int]) -> list[Stretch]:
    solution = solve(a, cost, least, rest, pins)
    assert solution.proved
    return [(s.first, s.end, s.song) for s in solution.spans]


@st.composite
def small_tasks(draw: st.DrawFn) -> tuple[Scores, float, int, int, dict[int, int]]:
    """Few pages and songs; affinities are quarters, so that there are many ties."""
    pages, songs = draw(st.sampled_from([(1, 3), (3, 3), (4, 4), (5, 3), (6, 3), (7, 2), (8, 2)]))
    values = draw(st.lists(st.integers(0, draw(st.integers(1, 8))), min_size=pages * songs, max_size=pages * songs))
    pins = draw(st.dictionaries(st.integers(0, pages - 1), st.integers(0, songs - 1), max_size=4))
    cost = draw(st.integers(0, 8)) / 4
    matrix = (np.array(values, np.float32) / 4).reshape(pages, songs)
    return matrix, cost, draw(st.integers(1, 4)), draw(st.integers(0, 4)), pins


# -- exactness -------------------------------------------------------------------------------------------------------


@settings(max_examples=250)
@given(small_tasks(), st.sampled_from([1, 2, 64]))
def test_the_plan_is_the_best_of_all(task: tuple[Scores, float, int, int, dict[int, int]], first_songs: int) -> None:
    """With pins, rest and ties, and however few songs are tried first."""
    with mock.patch.object(solve_module, "FIRST_SONGS", first_songs):
        assert solved(*task) == brute_force(*task)


@settings(max_examples=60)
@given(
    st.integers(0, 10**6),
    st.integers(1, 40),
    st.integers(1, 9),
    st.floats(0, 1),
    st.integers(1, 6),
    st.integers(0, 6),
    st.integers(0, 5),
)
def test_rules_hold_in_longer_books(
    seed: int, pages: int, songs: int, change: float, least: int, rest: int, pinned: int
) -> None:
    rng = np.random.default_rng(seed)
    bans = set(rng.integers(0, songs, songs // 4).tolist())
    usable = sorted(set(range(songs)) - bans)
    pins = {int(rng.integers(pages)): int(rng.choice(usable)) for _ in range(pinned)}
    options = Options(change=change, min_pages=least, rest=rest)
    segments = plan_segments(book(seed, pages, songs), options, pins=pins, bans=bans)
    assert [s.first for s in segments] == [0, *(s.last + 1 for s in segments[:-1])]
    assert segments[-1].last == pages - 1
    assert keeps_rules([(s.first, s.last + 1, s.song) for s in segments], pages, least, rest, pins)
    assert bans.isdisjoint(played(segments))


@pytest.mark.parametrize("rest", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_songs_left_out_at_first_were_rightly_left_out(seed: int, rest: int) -> None:
    a = book(seed, 50, 400)
    few = solved(a, 1.5, 3, rest, {20: 399})
    with mock.patch.object(solve_module, "FIRST_SONGS", 400):
        assert solved(a, 1.5, 3, rest, {20: 399}) == few


def test_a_song_may_come_once_only() -> None:
    """As long a rest as the book: nothing is ever forgotten."""
    segments = plan_segments(book(3, 60, 7), Options(change=0.9, rest=1000))
    assert len({s.song for s in segments}) == len(segments) > 3


@settings(max_examples=25)
@given(small_tasks())
def test_where_histories_are_too_many_the_rules_still_hold(
    task: tuple[Scores, float, int, int, dict[int, int]],
) -> None:
    """What cannot be proved within the limits is not called proved, and is a plan all the same."""
    a, _, least, rest, pins = task
    with mock.patch.object(search_module, "MAX_STATES", 1):
        solution = solve(*task)
    parts = [(s.first, s.end, s.song) for s in solution.spans]
    assert keeps_rules(parts, len(a), least, rest, pins)
    if solution.proved:
        assert parts == brute_force(*task)


@pytest.mark.parametrize("rest", [0, 1, 2, 3])
def test_a_song_that_others_stand_in_for_changes_nothing(rest: int) -> None:
    """2 * rest + 1 songs nowhere worse and before it are enough; up to rest 1, one."""
    rng = np.random.default_rng(rest)
    enough = 2 * rest + 1 if rest > 1 else 1
    for _ in range(40):
        a = rng.integers(0, 9, (16, enough + 2)).astype(np.float32)
        worse = a[:, :enough].min(axis=1) - rng.integers(0, 2, 16).astype(np.float32)
        assert solved(np.column_stack([a, worse]), 2, 2, rest, {}) == solved(a, 2, 2, rest, {})


def test_a_worse_song_has_its_turn_while_the_better_one_rests() -> None:
    x, better, worse = [0, 3, 0], [3, 0, 3], [2, -1, 2]
    assert solved(scores(better, x), 0, 1, 2, {}) == [(0, 3, 0)]
    assert solved(scores(better, x, worse), 0, 1, 2, {}) == [(0, 1, 0), (1, 2, 1), (2, 3, 2)]


# -- what the rules mean ---------------------------------------------------------------------------------------------


def test_a_scene_has_its_song() -> None:
    a = scores([1] * 6 + [0] * 6, [0] * 6 + [1] * 6)
    segments = plan_segments(a, Options(smoothing=0))
    assert [(s.pages, s.song) for s in segments] == [("1-6", 0), ("7-12", 1)]


def test_a_single_odd_page_changes_nothing() -> None:
    a = scores([1] * 12, [0] * 5 + [2] + [0] * 6)
    assert len(plan_segments(a, Options(min_pages=3, smoothing=0))) == 1
    assert len(plan_segments(a, FREE)) == 3


def test_a_book_shorter_than_min_pages_is_one_segment() -> None:
    assert played(plan_segments(scores([1, 0], [0, 2]), Options(change=1, min_pages=5))) == [1, 1]


def test_change_goes_from_one_song_to_the_best_of_every_page() -> None:
    a = book(1, 80, 30)
    counts = [len(plan_segments(a, Options(change=c / 10, min_pages=1, rest=0, smoothing=0))) for c in range(11)]
    assert counts[0] == 1
    assert counts == sorted(counts)
    assert played(plan_segments(a, FREE)) == a.argmax(axis=1).tolist()


def test_no_change_is_the_best_single_song() -> None:
    a = book(2, 40, 12)
    best = int(a.mean(axis=0).argmax())
    assert played(plan_segments(a, Options(change=0, smoothing=0))) == [best] * 40
    assert played(plan_segments(a, Options(one_song=True, smoothing=0))) == [best] * 40


def test_one_song_may_be_pinned() -> None:
    assert set(played(plan_segments(book(2, 40, 12), Options(one_song=True), pins={7: 5, 30: 5}))) == {5}


@given(st.integers(0, 99), st.sampled_from([0.25, 3.0, 1000.0]))
@settings(max_examples=15)
def test_the_unit_of_affinity_does_not_matter(seed: int, factor: float) -> None:
    a = book(seed, 40, 10)
    moved = a * np.float32(factor) + np.random.default_rng(seed).normal(0, factor, (40, 1)).astype(np.float32)
    assert played(plan_segments(a, Options(smoothing=0))) == played(plan_segments(moved, Options(smoothing=0)))


def test_the_spread_is_what_neither_pages_nor_songs_explain() -> None:
    rng = np.random.default_rng(0)
    plain = rng.normal(size=(9, 1)) + rng.normal(size=(1, 5))
    assert spread(plain) == pytest.approx(0, abs=1e-12)
    checkered = np.where(np.indices((8, 6)).sum(axis=0) % 2, 1, -1)
    assert spread(checkered * 2.0 + 5) == pytest.approx(2)


def test_ties_go_to_fewer_changes_then_to_the_first_song() -> None:
    assert played(plan_segments(np.zeros((9, 4), np.float32), FREE)) == [0] * 9
    assert played(plan_segments(scores([0, 1, 1], [1, 1, 1]), FREE)) == [1, 1, 1]


def test_equal_inputs_give_the_equal_plan_in_any_order_of_memory() -> None:
    a = book(4, 60, 200)
    assert plan_segments(a) == plan_segments(np.asfortranarray(a))
    assert plan_segments(a) == plan_segments(np.repeat(a, 2, axis=0)[::2])


def test_smoothing_looks_back_only() -> None:
    a = scores([0, 0, 1, 0, 0])
    np.testing.assert_allclose(smooth(a, 0.5)[:, 0], [0, 0, 0.5, 0.25, 0.125])
    assert smooth(a, 0) is a


# -- pins and bans ---------------------------------------------------------------------------------------------------


def test_a_pin_holds_and_its_song_stays_min_pages() -> None:
    a = scores([1] * 12, [0] * 12)
    segments = plan_segments(a, Options(min_pages=3, rest=1, smoothing=0), pins={5: 1})
    assert [(s.song, s.last - s.first + 1, s.pinned) for s in segments if s.song == 1] == [(1, 3, True)]
    assert played(segments)[5] == 1


def test_pins_win_over_min_pages_and_rest() -> None:
    """A person may set what the rules would not allow."""
    a = np.zeros((8, 3), np.float32)
    pins = {3: 0, 4: 1, 5: 0, 6: 2}
    songs = played(plan_segments(a, Options(min_pages=4, rest=3), pins=pins))
    assert all(songs[page] == song for page, song in pins.items())


def test_min_pages_gives_way_only_as_far_as_pins_need_it() -> None:
    """Song 2 has two pages between its neighbours' pins, song 0 has two after its own; song 1 has room for four."""
    a = scores([1] * 10, [0] * 10, [0] * 10)
    segments = plan_segments(a, Options(min_pages=4, smoothing=0), pins={4: 1, 6: 2, 8: 0})
    assert [(s.pages, s.song) for s in segments] == [("1-5", 1), ("6-7", 2), ("8-10", 0)]


def test_a_banned_song_never_plays_and_is_no_runner_up() -> None:
    segments = plan_segments(book(5, 40, 6), bans=[0, 3])
    assert {0, 3}.isdisjoint(played(segments))
    assert all({0, 3}.isdisjoint(other.song for other in s.runners_up) for s in segments)


def test_a_segment_says_why() -> None:
    a = scores([3, 3, 3, 3], [1, 1, 1, 1], [2, 2, 2, 2], [0, 0, 0, 0], [2, 2, 2, 2])
    (segment,) = plan_segments(a)
    assert (segment.first, segment.last, segment.song, segment.pages) == (0, 3, 0, "1-4")
    assert (segment.score, segment.margin, segment.pinned) == (3, 1, False)
    assert [(other.song, other.score) for other in segment.runners_up] == [(2, 2), (4, 2), (1, 1)]


def test_a_single_song_has_no_runner_up() -> None:
    (segment,) = plan_segments(scores([1, 2]))
    assert (segment.margin, segment.runners_up) == (None, ())


def test_a_pin_against_a_better_song_has_a_negative_margin() -> None:
    assert plan_segments(scores([1, 1], [0, 0]), pins={0: 1, 1: 1})[0].margin == -1


# -- wrong use -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pins", "bans", "message"),
    [
        ({0: 1}, [1], "page 1 is pinned to song 1, which is banned"),
        ({}, [0, 1], r"all songs \(2\) are banned"),
        ({9: 0}, [], "page 10 is pinned, the book has 3"),
        ({0: 2}, [], "there is no song 2, there are 2"),
        ({}, [-1], "there is no song -1"),
    ],
)
def test_wishes_that_cannot_be(pins: dict[int, int], bans: list[int], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        plan_segments(np.zeros((3, 2), np.float32), pins=pins, bans=bans)
    assert caught.value.hint


def test_one_song_and_pins_of_several_cannot_be() -> None:
    with pytest.raises(UsageError, match="pages are pinned to several"):
        plan_segments(np.zeros((3, 2), np.float32), Options(one_song=True), pins={0: 0, 2: 1})


@pytest.mark.parametrize(
    ("affinity", "message"),
    [
        (np.zeros((0, 2)), "not those of a book"),
        (np.zeros((2, 0)), "no songs to choose from"),
        (np.zeros(3), "not those of a book"),
        (np.array([[np.nan]]), "must be finite"),
    ],
)
def test_affinities_that_cannot_be(affinity: NDArray[np.float64], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_segments(affinity)


@pytest.mark.parametrize(
    "wrong",
    [
        {"change": 1.1},
        {"change": float("nan")},
        {"min_pages": 0},
        {"rest": -1},
        {"smoothing": 1},
        {"min_seconds": -1},
        {"skim_seconds": float("inf")},
    ],
)
def test_options_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError) as caught:
        Options(**wrong)  # type: ignore[arg-type]
    assert caught.value.hint
