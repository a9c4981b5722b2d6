"""Ranking: what a score is, how hubs are corrected, how ties fall."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr_runtime.engine import Engine, unit_rows
from mmr_runtime.errors import UsageError
from mmr_runtime.moods import MOODS
from mmr_runtime.rank import Query, Ranker, query_moods, reasons, standardise, top

SCALES = {"image_text": 10.0, "audio_image": 20.0, "audio_text": 5.0}


def unit(seed: int, n: int, d: int = 12) -> Any:
    return unit_rows(np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32))


def make_engine(arrays: dict[str, Any] | None = None, **rank: Any) -> Engine:
    """An engine whose mood prompts are the first seven axes; no graph is ever opened."""
    from mmr_runtime.bundle import RankSpec

    labels = {"mood": np.eye(7, 12, dtype=np.float32), **(arrays or {})}
    manifest = SimpleNamespace(logit_scales=SCALES, labels={"mood": None}, rank=replace(RankSpec(), **rank))
    bundle: Any = SimpleNamespace(manifest=manifest, labels=lambda: labels)
    return Engine(bundle, device="cpu", precision="auto", threads=1)


def test_direct_is_the_scaled_cosine() -> None:
    songs, page = unit(0, 5), unit(1, 1)
    scores = Ranker(make_engine(), songs, "audio").scores(Query("image", page))
    np.testing.assert_allclose(scores, 20 * songs @ page[0], rtol=1e-5)


def test_a_text_query_takes_the_scale_of_its_pair() -> None:
    songs, words = unit(0, 5), unit(1, 1)
    scores = Ranker(make_engine(), songs, "audio").scores(Query("text", words))
    np.testing.assert_allclose(scores, 5 * songs @ words[0], rtol=1e-5)


def test_text_form_weighs_the_songs_moods_by_the_pages_shares() -> None:
    engine, songs, page = make_engine(form="text"), unit(0, 5), unit(1, 1)
    scores = Ranker(engine, songs, "audio").scores(Query("image", page))
    expected = standardise(engine.mood_scores(songs, "audio").astype(float)) @ engine.moods(page, "image")[0]
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    shares = engine.moods(page, "image")
    many = Ranker(engine, songs, "audio").affinities(page, shares, "image")
    np.testing.assert_allclose(many[0], scores, rtol=1e-5)


def test_blend_is_the_weighted_sum() -> None:
    songs, query = unit(0, 5), Query("image", unit(1, 1))
    parts = [Ranker(make_engine(form=form), songs, "audio").scores(query) for form in ("direct", "text")]
    blend = Ranker(make_engine(form="blend", direct_weight=0.25), songs, "audio").scores(query)
    np.testing.assert_allclose(blend, 0.25 * parts[0] + 0.75 * parts[1], rtol=1e-5)
    ranker = Ranker(make_engine(form="blend", direct_weight=0.25), songs, "audio")
    shares = make_engine().moods(query.vectors, "image")
    np.testing.assert_allclose(ranker.affinities(query.vectors, shares, "image")[0], blend, rtol=1e-4)


def test_correction_takes_a_hub_down() -> None:
    """A song near the middle of all pages wins nearly everywhere; corrected, far less often."""
    pages = unit_rows(unit(2, 60) + 1.5 * unit(3, 1))
    hub = unit_rows(pages.mean(axis=0, keepdims=True))
    songs = np.concatenate([hub, pages[:3]])
    plain = Ranker(make_engine(), songs, "audio")
    corrected = Ranker(make_engine({"reference_image": pages}, hub_correction=1.0), songs, "audio")

    def wins(ranker: Ranker) -> int:
        return sum(int(ranker.scores(Query("image", page[None])).argmax() == 0) for page in pages[6:])

    assert wins(plain) > 40
    assert wins(corrected) < wins(plain) / 2


def test_without_a_reference_set_nothing_is_corrected() -> None:
    songs, query = unit(0, 5), Query("image", unit(1, 1))
    plain, asked = (Ranker(make_engine(hub_correction=c), songs, "audio").scores(query) for c in (0.0, 1.0))
    np.testing.assert_array_equal(plain, asked)


def test_dialogue_moves_the_moods_of_a_page() -> None:
    engine = make_engine(text_weight=0.5)
    page, words = np.eye(12, dtype=np.float32)[[0]], np.eye(12, dtype=np.float32)[[6]]
    alone, fused = query_moods(engine, Query("image", page)), query_moods(engine, Query("image", page, words))
    assert MOODS[int(alone.argmax())] == "Happy"
    assert fused[6] > alone[6]
    assert fused.sum() == pytest.approx(1, abs=1e-6)


def test_no_items_have_no_scores() -> None:
    none = np.zeros((0, 12), np.float32)
    assert Ranker(make_engine(form="blend"), none, "audio").scores(Query("image", unit(1, 1))).shape == (0,)


def test_a_query_needs_a_vector() -> None:
    with pytest.raises(UsageError, match="at least one vector"):
        Query("image", np.zeros((0, 12), np.float32))


def test_calibration_standardises_moods() -> None:
    calibration = np.stack([np.full(7, 0.2), np.full(7, 0.1)]).astype(np.float32)
    engine, rows = make_engine({"calibration_image": calibration}), unit(4, 3)
    np.testing.assert_allclose(engine.mood_scores(rows, "image"), (rows[:, :7] - 0.2) / 0.1, rtol=1e-4, atol=1e-5)


def test_a_source_may_have_directions_of_its_own() -> None:
    turned = np.eye(7, 12, dtype=np.float32)[::-1].copy()
    engine, rows = make_engine({"directions_image": turned}), unit(5, 3)
    np.testing.assert_allclose(engine.mood_scores(rows, "image"), 10 * rows[:, 6::-1], rtol=1e-5)
    np.testing.assert_allclose(engine.mood_scores(rows, "text"), 10 * rows[:, :7], rtol=1e-5)


def test_dialogue_is_read_along_directions_of_its_own() -> None:
    """A bundle without them reads dialogue as any text."""
    turned = np.eye(7, 12, dtype=np.float32)[::-1].copy()
    words = np.eye(12, dtype=np.float32)[[0]]
    assert int(make_engine().mood_scores(words, "dialogue")[0].argmax()) == 0
    engine = make_engine({"directions_dialogue": turned})
    assert int(engine.mood_scores(words, "dialogue")[0].argmax()) == 6
    assert int(engine.mood_scores(words, "text")[0].argmax()) == 0


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(0, 40))
def test_top_is_the_head_of_the_full_order(values: list[int], k: int) -> None:
    keys = [f"song {i * 7 % 31:02d}" for i in range(len(values))]
    order = sorted(range(len(values)), key=lambda i: (-values[i], keys[i]))
    assert top(np.array(values, np.float32), keys, k).tolist() == order[:k]


def test_reasons_are_the_moods_in_common() -> None:
    page = np.array([0.3, 0.0, 0.4, 0.3, 0.0, 0.0, 0.0], np.float32)
    song = np.array([0.2, 0.5, 0.3, 0.0, 0.0, 0.0, 0.0], np.float32)
    assert reasons(page, song) == ("sad", "happy")
    assert reasons(page, np.eye(7, dtype=np.float32)[6]) == ()
