"""Variation of training items: each step does what the paper says; every draw follows from seed, epoch and index."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmr_export.train.augment import cropped, item_rng, masks, middle, noisy, padded, scaled, vary_picture, vary_sound
from mmr_export.train.recipe import PictureVariation, SoundVariation

STILL = SoundVariation(inversion=0, scale=1, noise=0)
CLIP = np.arange(1, 101, dtype=np.float32)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 99))
def test_a_view_has_the_wanted_length(samples: int, length: int, seed: int) -> None:
    view = vary_sound(np.ones(samples, np.float32), length, SoundVariation(), item_rng(seed, 0, 0))
    assert view.shape == (length,)
    assert view.dtype == np.float32
    assert np.isfinite(view).all()


def test_inversion_turns_time_round_although_the_clip_is_mono() -> None:
    view = vary_sound(CLIP, len(CLIP), replace(STILL, inversion=1.0), item_rng(0, 0, 0))
    np.testing.assert_array_equal(view, CLIP[::-1])


def test_scaling_changes_length_and_pitch_together() -> None:
    tone = np.sin(2 * np.pi * 50 * np.arange(8000) / 8000).astype(np.float32)
    slow = scaled(tone, 2.0)
    assert len(slow) == 16000
    assert np.abs(np.fft.rfft(slow[:8000])).argmax() == 25


@given(st.integers(1, 500), st.floats(1 / 1.5, 1.5))
def test_scaling_keeps_the_first_sample_and_the_proportion(samples: int, factor: float) -> None:
    view = scaled(CLIP[0] + np.arange(samples, dtype=np.float32), factor)
    assert len(view) == max(int(samples * factor), 1)
    assert view[0] == CLIP[0]


def test_padding_repeats_the_edges_and_reaches_both_ends() -> None:
    np.testing.assert_array_equal(padded(CLIP[:3], 6, 2), [1, 1, 1, 2, 3, 3])
    starts = {
        int(np.flatnonzero(vary_sound(CLIP[:3], 5, STILL, item_rng(seed, 0, 0)) == 2)[0]) - 1 for seed in range(50)
    }
    assert starts == {0, 1, 2}  # the original never draws the last one


def test_cropping_reaches_both_ends() -> None:
    firsts = {int(vary_sound(CLIP[:5], 3, STILL, item_rng(seed, 0, 0))[0]) for seed in range(50)}
    assert firsts == {1, 2, 3}


def test_a_pause_gives_way_to_a_louder_end_of_the_clip() -> None:
    clip = np.concatenate([np.zeros(100), np.random.default_rng(0).normal(size=50)]).astype(np.float32)
    np.testing.assert_array_equal(cropped(clip, 50, 40), clip[-50:])
    np.testing.assert_array_equal(cropped(clip[::-1].copy(), 50, 60), clip[::-1][:50])
    np.testing.assert_array_equal(cropped(clip, 50, 90), clip[90:140])  # not quiet: stays


def test_noise_has_the_power_that_was_asked_for() -> None:
    clip = np.random.default_rng(1).normal(0, 1000, 200_000).astype(np.float32)
    noise = noisy(clip, 20.0, np.random.default_rng(2)) - clip
    assert 10 * np.log10(np.mean(clip**2) / np.mean(noise**2)) == pytest.approx(20, abs=0.1)


def test_evaluation_takes_the_middle() -> None:
    np.testing.assert_array_equal(middle(CLIP[:5], 3), [2, 3, 4])
    np.testing.assert_array_equal(middle(CLIP[:3], 6), [1, 1, 2, 3, 3, 3])


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 5), st.integers(0, 99))
def test_masks_cover_whole_rows_and_columns_only(rows: int, frames: int, count: int, seed: int) -> None:
    kept = masks(rows, frames, count, np.random.default_rng(seed))
    np.testing.assert_array_equal(kept, kept.any(axis=1)[:, None] & kept.any(axis=0)[None])
    assert kept.any(axis=1).sum() >= rows - count * (rows // 10)
    assert kept.any(axis=0).sum() >= frames - count * (frames // 10)


def test_masks_are_drawn_in_both_directions() -> None:
    kept = masks(1000, 1000, 3, np.random.default_rng(0))
    assert not kept.any(axis=1).all()
    assert not kept.any(axis=0).all()


def test_the_same_item_of_the_same_epoch_is_varied_alike() -> None:
    views = [vary_sound(CLIP, 50, SoundVariation(), item_rng(*key)) for key in ((0, 1, 2), (0, 1, 2), (0, 2, 2))]
    np.testing.assert_array_equal(views[0], views[1])
    assert not np.array_equal(views[0], views[2])


def test_pictures_stay_as_they_are_by_default() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 30), np.uint8))
    assert vary_picture(picture, PictureVariation(), item_rng(0, 0, 0)) is picture


def test_a_cut_keeps_proportions_and_a_flip_mirrors() -> None:
    picture = Image.fromarray(np.tile(np.arange(60, dtype=np.uint8), (80, 1)))
    cut = vary_picture(picture, PictureVariation(crop=0.5), item_rng(0, 0, 0))
    assert cut.width < 60
    assert cut.width / cut.height == pytest.approx(60 / 80, rel=0.05)
    mirrored = vary_picture(picture, PictureVariation(flip=1.0), item_rng(0, 0, 0))
    np.testing.assert_array_equal(np.asarray(mirrored), np.asarray(picture)[:, ::-1])
