"""Page moods in the light of their book, and how songs fit them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmr_runtime.bundle import RankSpec
from mmr_runtime.engine import Engine, unit_rows
from mmr_runtime.errors import UsageError
from mmr_runtime.moods import MOODS
from mmr_runtime.rank import Ranker, standardise
from mmr_runtime.soundtrack.affinity import affinities, page_moods

SIZE = 12


def engine(form: Any = "text") -> Engine:
    """The first seven axes are the mood prompts; dialogue reads them in reverse."""
    prompts = np.eye(7, SIZE, dtype=np.float32)
    plain = np.stack([np.zeros(7), np.ones(7)]).astype(np.float32)
    labels = {
        "mood": prompts,
        "directions_dialogue": prompts[::-1].copy(),
        "calibration_image": plain,
        "calibration_audio": plain,
        "calibration_dialogue": plain,
        "calibration_text": plain,
        "genre": np.stack([*prompts, -prompts[0]]),
    }
    manifest = SimpleNamespace(
        logit_scales={"audio_image": 10.0}, labels={"mood": None, "genre": None}, rank=RankSpec(form=form)
    )
    bundle: Any = SimpleNamespace(manifest=manifest, labels=lambda: labels)
    return Engine(bundle, device="cpu", precision="auto", threads=1)


def axis(i: int) -> Any:
    return np.eye(SIZE, dtype=np.float32)[[i]]


def rows(seed: int, n: int) -> Any:
    return unit_rows(np.random.default_rng(seed).standard_normal((n, SIZE)).astype(np.float32))


def test_a_long_book_has_mean_0_and_spread_1_whatever_its_hand() -> None:
    scores = np.random.default_rng(0).normal(3, 5, (2000, 7))
    own = standardise(scores)
    np.testing.assert_allclose(own.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(own.std(axis=0), 1, atol=0.03)


def test_a_single_page_is_read_against_the_reference() -> None:
    score = np.full((1, 7), 1.0)
    assert 0.85 < standardise(score)[0, 0] < 1
    np.testing.assert_array_equal(standardise(score, prior=1e9).round(6), score)


def test_reference_like_scores_stay_as_they_are() -> None:
    scores = np.array([[1.0], [-1.0]] * 10)
    np.testing.assert_allclose(standardise(scores), scores)


def test_equal_scores_are_no_fault() -> None:
    assert np.isfinite(standardise(np.full((50, 7), 2.0), prior=0)).all()


def test_what_all_pages_share_is_not_mood() -> None:
    """Every page looks scary; the one that looks a little less so, and happier, reads as happy."""
    pages = unit_rows(np.repeat(axis(6), 40, axis=0) + 0.05 * rows(1, 40))
    pages[20] = unit_rows(axis(6) + 0.5 * axis(0))[0]
    assert MOODS[int(engine().moods(pages[20:21], "image")[0].argmax())] == "Scary"
    assert MOODS[int(page_moods(engine(), pages, neighbour_weight=0)[20].argmax())] == "Happy"


def test_against_other_books_a_sad_book_stays_sad() -> None:
    sad = unit_rows(np.repeat(axis(2), 40, axis=0) + 0.1 * rows(4, 40))
    alone = page_moods(engine(), sad, neighbour_weight=0)
    beside = page_moods(engine(), sad, others=rows(5, 200), neighbour_weight=0)
    assert beside.shape == alone.shape == (40, 7)
    assert beside[:, 2].mean() > 2 * alone[:, 2].mean() > 0


def test_dialogue_has_directions_of_its_own() -> None:
    pages = rows(2, 6)
    silent = page_moods(engine(), pages, neighbour_weight=0)
    spoken = page_moods(engine(), pages, [axis(0), None, *[None] * 4], neighbour_weight=0)
    assert int((spoken[0] - silent[0]).argmax()) == 6
    np.testing.assert_array_equal(spoken[1:], silent[1:])
    said = np.zeros((0, SIZE), np.float32)
    np.testing.assert_array_equal(page_moods(engine(), pages, [said] * 6, neighbour_weight=0), silent)


def test_neighbours_weigh_half() -> None:
    alone = page_moods(engine(), rows(3, 5), neighbour_weight=0)
    together = page_moods(engine(), rows(3, 5))
    np.testing.assert_allclose(together[2], alone[2] + (alone[1] + alone[3]) / 2)
    np.testing.assert_allclose(together[0], alone[0] * 1.5 + alone[1] / 2)


def test_songs_are_compared_with_each_other() -> None:
    """In a library that is sad throughout, the song that is least so fits a happy page best."""
    songs = unit_rows(np.concatenate([axis(2) + 0.1 * axis(i) for i in (0, 1, 5)]))
    fit = affinities(Ranker(engine("text"), songs, "audio"), rows(6, 2), 3 * np.eye(7)[[0, 1]])
    assert fit.shape == (2, 3)
    assert fit.argmax(axis=1).tolist() == [0, 1]


def test_the_direct_part_takes_neighbours_in() -> None:
    pages = np.concatenate([axis(8), axis(9), axis(10)])
    songs = np.concatenate([axis(9), axis(10)])
    alone = affinities(Ranker(engine("direct"), songs, "audio"), pages, np.zeros((3, 7)), neighbour_weight=0)
    together = affinities(Ranker(engine("direct"), songs, "audio"), pages, np.zeros((3, 7)))
    assert alone[1].tolist() == [10, 0]
    assert together[1, 0] > together[1, 1] > 0


def test_a_book_without_pages_has_no_moods() -> None:
    assert page_moods(engine(), np.zeros((0, SIZE), np.float32)).shape == (0, 7)


def test_dialogues_must_fit_the_pages() -> None:
    with pytest.raises(UsageError, match="2 dialogues do not fit 3 pages"):
        page_moods(engine(), rows(0, 3), [None, None])


def test_what_a_book_is_about_moves_every_page_alike() -> None:
    pages = rows(3, 9)
    plain = page_moods(engine(), pages)
    scary = page_moods(engine(), pages, about=np.concatenate([axis(6), axis(6)]))
    moved = scary - plain
    np.testing.assert_allclose(moved, np.tile(moved[0], (9, 1)), atol=1e-9)
    assert moved[0].argmax() == 6
    np.testing.assert_array_equal(page_moods(engine(), pages, about=axis(6)[:0]), plain)
    np.testing.assert_array_equal(page_moods(engine(), pages, about=axis(6), about_weight=0), plain)
