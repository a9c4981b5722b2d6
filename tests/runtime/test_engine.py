"""The engine with the shipped model: equal inputs give equal outputs, and every wrong one its error."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from PIL import Image

from mmr_export.synth.pages import generate_page
from mmr_export.synth.pieces import compose
from mmr_runtime import Engine
from mmr_runtime.engine import unit_rows
from mmr_runtime.errors import AudioError, BundleError, DeviceError, ImageError, MissingFileError, TextError, UsageError
from mmr_runtime.sessions import Session

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not (ROOT / "models/default/manifest.json").exists(), reason="no default model")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine.open(device="cpu", threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages() -> list[Image.Image]:
    return [generate_page(seed, width=320, height=460).image for seed in range(3)]


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("songs") / "song.wav"
    piece = compose(3, mood="Sad", seconds=16.0)
    soundfile.write(path, piece.samples, piece.sample_rate)
    return path


def test_rows_are_unit_vectors_of_the_models_size(engine: Engine, pages: list[Image.Image], song: Path) -> None:
    heard = engine.embed_audio(song, windows=3)
    said = engine.embed_texts(["a quiet morning"])
    for rows in (engine.embed_images(pages), said, heard.windows, heard.vector[None]):
        assert rows.dtype == np.float32
        assert rows.shape[1] == engine.embedding_size
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_a_page_alone_and_among_others_is_the_same(engine: Engine, pages: list[Image.Image]) -> None:
    together = engine.embed_images(pages)
    np.testing.assert_array_equal(together[1:2], engine.embed_images(pages[1:2]))


def test_thread_count_changes_nothing_that_counts(engine: Engine, pages: list[Image.Image], song: Path) -> None:
    with Engine.open(device="cpu", threads=2) as other:
        assert 1 - (engine.embed_images(pages) * other.embed_images(pages)).sum(axis=1).min() < 1e-6
        assert 1 - engine.embed_audio(song).vector @ other.embed_audio(song).vector < 1e-6


def test_eight_threads_agree_with_one(engine: Engine, pages: list[Image.Image]) -> None:
    expected, got = engine.embed_images(pages), {}

    def work(name: int) -> None:
        got[name] = engine.embed_images(pages)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(got) == 8
    for rows in got.values():
        np.testing.assert_array_equal(rows, expected)


def test_a_spread_is_the_mean_of_its_pages(engine: Engine, pages: list[Image.Image]) -> None:
    right, left = pages[:2]
    spread = Image.new("L", (640, 460))
    spread.paste(left, (0, 0))
    spread.paste(right, (320, 0))
    halves = engine.embed_images([right, left])
    both = engine.embed_images([spread])
    assert 1 - (both @ unit_rows(halves.mean(axis=0, keepdims=True)).T).item() < 1e-3
    assert 1 - (both @ engine.embed_images([spread], spread="whole").T).item() > 1e-3


def test_a_session_that_wants_batches_gets_them(
    engine: Engine, pages: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: several pages, or windows of sound, are handed over together, and each gets its own vector."""
    handed: list[int] = []

    class Batching(Session):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.batch = 2

        def run(self, rows: NDArray[Any]) -> NDArray[np.float32]:
            handed.append(len(rows))
            return super().run(rows)

    monkeypatch.setattr("mmr_runtime.engine.Session", Batching)
    spread = Image.new("L", (640, 460), 128)
    sound = np.random.default_rng(0).uniform(-1, 1, (3, engine.bundle.manifest.audio.window_samples))
    with Engine.open(device="cpu", threads=1) as other:
        for images in ([pages[0], spread, pages[1]], pages[:2], pages[:1], []):
            np.testing.assert_array_equal(other.embed_images(images), engine.embed_images(images))
        np.testing.assert_array_equal(other.embed_samples(sound), engine.embed_samples(sound))
    assert handed == [3, 1, 2, 1, 2, 1]


def test_windows_spread_over_the_song(engine: Engine, song: Path) -> None:
    heard = engine.embed_audio(song, windows=3)
    assert heard.seconds == pytest.approx(16, abs=0.1)
    assert len(heard.starts) == len(heard.windows) == 3
    assert (np.diff(heard.starts) > 0).all()


def test_short_sound_is_padded_in_the_middle_with_its_edges(engine: Engine) -> None:
    spec = engine.bundle.manifest.audio
    short = np.linspace(0.25, -0.5, 30001, dtype=np.float32)
    missing = spec.window_samples - len(short)
    left = round(missing / 2)
    filled = np.concatenate([np.full(left, 0.25), short, np.full(missing - left, -0.5)]).astype(np.float32)
    np.testing.assert_array_equal(engine.embed_samples(short[None]), engine.embed_samples(filled[None]))


def test_more_than_a_window_is_refused(engine: Engine) -> None:
    with pytest.raises(UsageError, match="at most"):
        engine.embed_samples(np.zeros((1, engine.bundle.manifest.audio.window_samples + 1), np.float32))


def test_a_long_text_is_read_whole(engine: Engine) -> None:
    head, tail = "They laugh in the sun. " * 20, "Blood drips in the dark cellar. " * 20
    vectors = engine.embed_texts([head, head + tail])
    assert 1 - vectors[0] @ vectors[1] > 0.01


def test_moods_are_shares(engine: Engine, pages: list[Image.Image]) -> None:
    shares = engine.moods(engine.embed_images(pages), "image")
    assert shares.shape == (3, 7)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)


def test_the_moods_words_are_their_own_moods(engine: Engine) -> None:
    words = ["a happy tune", "a sad tune", "an angry tune", "a scary tune"]
    shares = engine.moods(engine.embed_texts(words), "text")
    assert shares.argmax(axis=1).tolist() == [0, 2, 5, 6]


def test_closing_gives_memory_back_and_use_loads_again(pages: list[Image.Image]) -> None:
    engine = Engine.open(device="cpu", threads=1)
    before = engine.embed_images(pages[:1])
    engine.close()
    np.testing.assert_array_equal(before, engine.embed_images(pages[:1]))


def test_a_missing_page(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        engine.embed_images([tmp_path / "absent.png"])


def test_a_broken_page(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(ImageError):
        engine.embed_images([tmp_path / "broken.png"])


def test_a_song_that_is_none(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "notes.mp3").write_text("la la la")
    with pytest.raises(AudioError):
        engine.embed_audio(tmp_path / "notes.mp3")


def test_one_text_is_not_a_list(engine: Engine) -> None:
    with pytest.raises(UsageError, match="list"):
        engine.embed_texts("sad")


def test_an_endless_text_is_refused(engine: Engine) -> None:
    with pytest.raises(TextError, match="characters"):
        engine.embed_texts(["a" * 100_001])


def test_unknown_models_devices_and_precisions(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        Engine.open(tmp_path)
    with pytest.raises(DeviceError):
        Engine.open(device="tpu").warmup()  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="fp8"):
        Engine.open(device="cpu", precision="fp8").warmup()
    with pytest.raises(UsageError, match="threads"):
        Engine.open(threads=0)
