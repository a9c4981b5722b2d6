"""The follower: what plays while the next page is unknown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmr_runtime.errors import UsageError
from mmr_runtime.soundtrack import Follower, Options, Reading, plan_segments

CALM, STORM, OTHER = 0, 1, 2
PLAIN = Options(min_pages=4, min_seconds=0, smoothing=0)

# Six calm pages, then ten stormy ones.
BOOK = np.array([[2, 0, 0]] * 6 + [[0, 2, 0]] * 10, np.float32)


def follower(options: Options = PLAIN, **wishes: object) -> Follower:
    return Follower(options, spread=1, **wishes)  # type: ignore[arg-type]


def read(
    reader: Follower,
    pages: Iterable[int],
    book: NDArray[np.float32] = BOOK,
    start: Reading | None = None,
    pace: float = 10,
) -> list[Reading]:
    """All states of a reader who turns to these pages, one every `pace` seconds."""
    states = [start or Reading()]
    for page in pages:
        states.append(reader.turn(states[-1], page, book[page], states[-1].time + pace))
    return states[1:]


def songs(states: Sequence[Reading]) -> list[int | None]:
    return [state.song for state in states]


def test_the_first_page_begins_with_its_best_song() -> None:
    assert songs(read(follower(), [0])) == [CALM]
    assert songs(read(follower(bans=[CALM]), [0])) == [STORM]
    assert songs(read(follower(pins={0: OTHER}), [0])) == [OTHER]


def test_a_song_gives_way_once_another_was_better_for_long_enough() -> None:
    """A change costs 4 here: one spread on each of four pages. Two a page are more than that on the third page."""
    assert songs(read(follower(), range(16))) == [CALM] * 8 + [STORM] * 8


def test_better_by_no_more_than_the_margin_takes_longer() -> None:
    book = np.array([[2.0, 0]] * 6 + [[0, 1.0]] * 10, np.float32)
    assert songs(read(follower(), range(16), book)).index(STORM) == 6 + 4


def test_one_odd_page_changes_nothing() -> None:
    book = BOOK.copy()
    book[2] = [0, 50, 0]
    assert songs(read(follower(), range(6), book)) == [CALM] * 6


def test_change_sets_how_soon() -> None:
    at = [
        songs(read(follower(Options(change=change, min_seconds=0, smoothing=0)), range(16))).index(STORM)
        for change in (0.4, 0.5, 0.7, 1)
    ]
    assert at == sorted(at, reverse=True)
    assert at[0] > at[-1] > 6
    assert STORM not in songs(read(follower(Options(change=0, min_seconds=0)), range(16)))
    assert STORM not in songs(read(follower(Options(one_song=True, min_seconds=0)), range(16)))


def test_a_song_stays_min_pages_and_min_seconds() -> None:
    flicker = np.array([[0, 9], [9, 0]] * 10, np.float32)
    eager = Options(change=1, min_pages=2, rest=0, min_seconds=0, smoothing=0)
    changes = np.flatnonzero(np.diff(songs(read(follower(eager), range(20), flicker))))  # type: ignore[arg-type]
    assert np.diff(changes).min() >= 2
    slow = Options(min_pages=1, min_seconds=100, smoothing=0)
    assert songs(read(follower(slow), range(16))).index(STORM) == 10


def test_going_back_restores_what_played_there_and_going_on_forgets_the_detour() -> None:
    straight = read(follower(), range(16))
    there = read(follower(), range(12))
    back = read(follower(), [5, 4, 3], start=there[-1])
    assert songs(back) == [CALM] * 3
    on = read(follower(), range(4, 16), start=back[-1])
    assert songs(on) == songs(straight)[4:]
    for name in ("lead", "streak", "level"):
        np.testing.assert_array_equal(getattr(on[-1].front, name), getattr(straight[-1].front, name))


def test_a_jump_after_going_back_goes_on_with_what_plays() -> None:
    there = read(follower(), range(10))
    back = read(follower(), [2], start=there[-1])
    jumped = read(follower(), [14], start=back[-1])
    assert songs(jumped) == [CALM]


def test_skimming_freezes() -> None:
    """Pages turned faster than `skim_seconds` are not read, whatever is on them."""
    start = read(follower(), range(4))[-1]
    skimmed = read(follower(), range(4, 16), start=start, pace=1)
    assert set(songs(skimmed)) == {CALM}
    assert skimmed[-1].page == 15
    assert set(skimmed[-1].played) == {0, 1, 2, 3}
    # Skimming back over known pages changes nothing either; staying does.
    there = read(follower(), range(16))[-1]
    flicked = read(follower(), [1], start=there, pace=1)[-1]
    assert flicked.song == STORM
    assert follower().turn(flicked, 1, BOOK[1], flicked.time + 5).song == CALM


def test_staying_on_a_skimmed_page_reads_it() -> None:
    start = read(follower(pins={9: OTHER}), range(4))[-1]
    skimmed = read(follower(pins={9: OTHER}), [9], start=start, pace=1)[-1]
    assert (skimmed.song, 9 in skimmed.played) == (CALM, False)
    stayed = follower(pins={9: OTHER}).turn(skimmed, 9, BOOK[9], skimmed.time + 5)
    assert (stayed.song, stayed.played[9]) == (OTHER, OTHER)


def test_the_same_page_again_changes_nothing() -> None:
    state = read(follower(), range(7))[-1]
    again = follower().turn(state, 6, BOOK[6], state.time + 500)
    assert (again.song, again.time, again.front) == (state.song, state.time, state.front)


def test_pins_hold_at_once_and_bans_always() -> None:
    pinned = songs(read(follower(pins={3: OTHER}), range(16)))
    assert pinned[2:4] == [CALM, OTHER]
    assert STORM not in songs(read(follower(bans=[STORM]), range(16)))


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(0, 4), st.floats(0.3, 1))
def test_the_rules_of_the_plan_hold(seed: int, least: int, rest: int, change: float) -> None:
    book = np.random.default_rng(seed).normal(size=(60, 6)).astype(np.float32)
    options = Options(change=change, min_pages=least, rest=rest, min_seconds=0)
    played = np.array(songs(read(follower(options), range(60), book)), int)
    starts = [0, *(np.flatnonzero(np.diff(played)) + 1).tolist()]
    assert all(b - a >= least for a, b in pairwise(starts))
    for i, start in enumerate(starts):
        assert played[start] not in played[starts[i + 1 : i + 1 + rest]]


def test_on_clear_scenes_it_chooses_like_the_plan_a_few_pages_late() -> None:
    scenes = np.repeat(np.eye(4, 9)[[0, 1, 2, 3, 0]], 12, axis=0).astype(np.float32) * 2
    planned = [s.song for s in plan_segments(scenes, Options(smoothing=0)) for _ in range(s.first, s.last + 1)]
    followed = songs(read(follower(), range(60), scenes))
    assert planned == np.repeat([0, 1, 2, 3, 0], 12).tolist()
    assert sum(a != b for a, b in zip(planned, followed, strict=True)) <= 4 * 3


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 15), st.floats(0, 30)), max_size=40))
def test_equal_turns_give_equal_music(turns: list[tuple[int, float]]) -> None:
    """What is known is in the state alone: another follower may take over at any turn."""
    one, state, other = follower(), Reading(), Reading()
    for page, wait in turns:
        state = one.turn(state, page, BOOK[page], state.time + wait)
        other = follower().turn(other, page, BOOK[page], other.time + wait)
        assert (state.song, dict(state.played)) == (other.song, dict(other.played))
        assert state.song is not None


def test_wrong_use() -> None:
    state = read(follower(), range(3))[-1]
    for page, row, now, message in (
        (3, BOOK[3], 0.0, "time ran backwards"),
        (3, BOOK[3][:2], 99.0, "do not fit"),
        (3, np.full(3, np.nan, np.float32), 99.0, "must be finite"),
        (-1, BOOK[3], 99.0, "there is no page -1"),
    ):
        with pytest.raises(UsageError, match=message) as caught:
            follower().turn(state, page, row, now)
        assert caught.value.hint
    with pytest.raises(UsageError, match="a spread cannot be nan"):
        Follower(spread=float("nan"))
    with pytest.raises(UsageError, match="is pinned to song 1, which is banned"):
        follower(pins={0: 1}, bans=[1]).turn(Reading(), 0, BOOK[0], 0)
