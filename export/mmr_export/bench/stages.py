"""The stages of a bundle's work, as functions without arguments, on the generated inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.audio import fill_window, read_windows
from mmr_runtime.bundle import AudioSpec
from mmr_runtime.engine import Engine
from mmr_runtime.image import load_image, preprocess
from mmr_runtime.rank import Query, Ranker, top

from .inputs import TEXT, WINDOWS, Inputs, random_vectors

Stages = dict[str, Callable[[], object]]
SLOW = frozenset({"song", "song decode"})
_BEST = 10


def labels(sizes: Mapping[str, float]) -> dict[str, str]:
    """What each stage is called in tables, in their order; `sizes` as a result tells them."""
    window = f"{sizes['window_seconds']:g} s of sound"
    minutes, seconds = divmod(sizes["song_seconds"], 60)
    song = f"{minutes:g}-minute mp3" if minutes and not seconds else f"{sizes['song_seconds']:g} s of mp3"
    return {
        "page": "page, whole",
        "page decode": "page: decode",
        "page preprocess": "page: preprocess",
        "image encoder": "page: encoder",
        "window": f"{window}, whole",
        "front end": f"{window}: front end",
        "audio encoder": f"{window}: encoder",
        "text": "one label text",
        "song": f"{song}, {WINDOWS} windows at most",
        "song decode": f"{song}: decode and resample",
        "search": f"search {sizes['searched_songs']:,} songs",
    }


def common_stages(engine: Engine, inputs: Inputs) -> Stages:
    """What no encoder takes part in, so that the precision does not matter."""
    manifest = engine.bundle.manifest
    image, audio = manifest.image, manifest.audio
    stages: Stages = {}
    if "image" in manifest.graphs:
        page = load_image(inputs.page, image)
        stages["page decode"] = lambda: load_image(inputs.page, image)
        stages["page preprocess"] = lambda: preprocess(page, image)
    if "audio" in manifest.graphs:
        front_end, window = engine.front_end(), first_window(inputs, audio)
        stages["front end"] = lambda: front_end(window)
        stages["song decode"] = lambda: read_windows(inputs.song, windows=WINDOWS, spec=audio)
    if manifest.rank.form == "direct" or "mood" in manifest.labels:
        songs = inputs.sizes.searched_songs
        ranker = Ranker(engine, random_vectors(songs, engine.embedding_size), "audio")
        query = Query("image", random_vectors(1, engine.embedding_size, seed=1))
        paths = [f"songs/{number:06}.mp3" for number in range(songs)]
        stages["search"] = lambda: top(ranker.scores(query), paths, _BEST)
    return stages


def encoder_stages(engine: Engine, inputs: Inputs) -> Stages:
    """What encoders take part in, for the towers that have a graph of the engine's precision."""
    manifest = engine.bundle.manifest
    image, audio = manifest.image, manifest.audio
    towers = {tower for tower, graphs in manifest.graphs.items() if engine.precision in graphs}
    stages: Stages = {}
    if "image" in towers:
        image_encoder, pixels = engine.session("image"), preprocess(load_image(inputs.page, image), image)
        stages["page"] = lambda: engine.embed_images([inputs.page])
        stages["image encoder"] = lambda: image_encoder.run(pixels)
    if "audio" in towers:
        audio_encoder, window = engine.session("audio"), first_window(inputs, audio)
        decibels = engine.front_end()(window)
        stages["window"] = lambda: engine.embed_samples(window)
        stages["audio encoder"] = lambda: audio_encoder.run(decibels)
        stages["song"] = lambda: engine.embed_audio(inputs.song, windows=WINDOWS)
    if "text" in towers:
        stages["text"] = lambda: engine.embed_texts([TEXT])
    return stages


def first_window(inputs: Inputs, spec: AudioSpec) -> NDArray[np.float32]:
    """One window of the song, float32 (1, window_samples)."""
    heard = read_windows(inputs.song, windows=1, spec=spec)
    return fill_window(heard.samples, spec.window_samples)
