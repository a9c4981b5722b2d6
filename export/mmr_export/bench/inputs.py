"""What is fed to a model while it is measured: all of it generated, equal on every machine."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from mmr_export.synth.pages import generate_page
from mmr_export.synth.pieces import compose
from mmr_runtime.bundle import Manifest
from mmr_runtime.engine import unit_rows
from mmr_runtime.library import schema

TEXT = "Tender music"
WINDOWS = 8
"""Windows of a song, as `Engine.embed_audio` takes them."""
_PIECE_SECONDS = 30.0


@dataclass(frozen=True)
class Sizes:
    """How much of everything.

    Attributes:
        page_width: pixels.
        page_height: pixels.
        song_seconds: length of the song, at most 30 s or a multiple of them.
        searched_songs: vectors that are searched in memory.
        library_songs: of the library in which whole processes rank a page.
        large_library_songs: of another one, for the costs that grow with a library.
    """

    page_width: int = 1170
    page_height: int = 1654
    song_seconds: float = 240.0
    searched_songs: int = 50_000
    library_songs: int = 100
    large_library_songs: int = 10_000


QUICK = Sizes(300, 424, 12.0, 1000, 5, 50)


@dataclass(frozen=True)
class Inputs:
    """Where they lie."""

    folder: Path
    sizes: Sizes

    @property
    def page(self) -> Path:
        """A page, JPEG."""
        return self.folder / "page.jpg"

    @property
    def song(self) -> Path:
        """A song, mp3, alone in its folder."""
        return self.folder / "song" / "song.mp3"

    def library(self, songs: int) -> Path:
        """Folder of the songs of a library."""
        return self.folder / f"library-{songs}"

    def index(self, songs: int) -> Path:
        """Folder of that library's index."""
        return self.folder / f"index-{songs}"

    def make(self, manifest: Manifest, *, libraries: bool) -> None:
        """Make page and song, and with `libraries` two libraries with an index for this model."""
        sizes = self.sizes
        drawn = generate_page(1, width=sizes.page_width, height=sizes.page_height)
        drawn.image.save(self.page, quality=90)
        piece = compose(1, seconds=min(sizes.song_seconds, _PIECE_SECONDS))
        self.song.parent.mkdir()
        repeats = max(1, round(sizes.song_seconds / _PIECE_SECONDS))
        soundfile.write(self.song, np.tile(piece.samples, repeats), piece.sample_rate)
        if libraries:
            for songs in {sizes.library_songs, sizes.large_library_songs}:
                make_library(self.library(songs), self.index(songs), songs, manifest)


def random_vectors(count: int, size: int, seed: int = 0) -> NDArray[np.float32]:
    """Unit rows, float32 (count, size), in random directions."""
    return unit_rows(np.random.default_rng(seed).standard_normal((count, size), np.float32))


def make_library(folder: Path, index: Path, songs: int, manifest: Manifest) -> None:
    """A folder of files and an index that knows them all, each with random vectors of eight windows.

    Written in one transaction, where the runtime takes one for each song and waits for the disk every time.
    """
    folder.mkdir()
    index.mkdir()
    schema.create(index / "index.db", "songs")
    starts = np.linspace(0, 235, WINDOWS)
    root = folder.resolve()
    connection = sqlite3.connect(index / "index.db")
    with connection:
        for number in range(songs):
            path = root / f"{number:05}.mp3"
            path.write_bytes(b"\0")
            status = path.stat()
            windows = random_vectors(WINDOWS, manifest.embedding_size, number)
            vector = unit_rows(windows.mean(axis=0, keepdims=True))
            content = number.to_bytes(20, "big")
            item = connection.execute(
                "INSERT INTO item (content, model, seconds, vector) VALUES (?, ?, ?, ?)",
                (content, manifest.id, 240.0, vector.astype("<f4").tobytes()),
            ).lastrowid
            connection.execute(
                "INSERT INTO window VALUES (?, ?, ?)",
                (item, starts.astype("<f8").tobytes(), windows.astype("<f4").tobytes()),
            )
            connection.execute(
                "INSERT INTO file (path, size, mtime_ns, content) VALUES (?, ?, ?, ?)",
                (bytes(path), status.st_size, status.st_mtime_ns, content),
            )
    connection.close()
