"""Vectors in Milvus and listening by Ray give the library that this process alone gives."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmr_runtime import Engine
from mmr_runtime.bundle import RankSpec
from mmr_runtime.errors import DeviceError, LibraryError, UsageError
from mmr_runtime.library import Filters, Library
from mmr_runtime.library.cluster import by_ray
from mmr_runtime.library.vectors import Milvus
from mmr_runtime.rank import Query, Ranker
from tests.runtime.fake_engine import SIZE, FakeEngine, unit, write_song

SONGS = 14


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    for i in range(SONGS):
        write_song(tmp_path / "songs" / ("a" if i % 2 else "b") / f"s{i:02d}.wav", 150 + 230 * i)
    return tmp_path / "songs"


class Rows:
    """A vector store in memory, which remembers what it was asked."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.counts: list[int] = []

    def has(self, name: str) -> bool:
        return name in self.kept

    def put(self, name: str, ids: np.ndarray, rows: np.ndarray) -> None:
        self.kept[name] = ids, rows

    def search(self, name: str, vector: np.ndarray, count: int) -> list[tuple[int, float]]:
        self.counts.append(count)
        ids, rows = self.kept[name]
        scores = rows @ vector
        order = np.argsort(-scores)[:count]
        return [(int(ids[i]), float(scores[i])) for i in order]

    def close(self) -> None: ...


class ReferencedEngine(FakeEngine):
    """With reference queries, so that hubs are corrected."""

    def reference(self, modality: str) -> Any:
        return unit(np.random.default_rng(len(modality)).normal(size=(30, SIZE)))


def engine_of(**spec: Any) -> FakeEngine:
    engine = ReferencedEngine()
    engine.bundle.manifest.rank = replace(RankSpec(), **spec)
    return engine


@pytest.mark.parametrize("form", ["direct", "text", "blend"])
@pytest.mark.parametrize("hub_correction", [0.0, 0.5])
@pytest.mark.parametrize("modality", ["image", "text"])
def test_inner_products_are_the_scores(form: str, hub_correction: float, modality: Any) -> None:
    engine = engine_of(form=form, hub_correction=hub_correction, direct_weight=0.3)
    rng = np.random.default_rng(0)
    ranker = Ranker(engine, unit(rng.normal(size=(40, SIZE))), "audio")  # type: ignore[arg-type]
    for text in (None, unit(rng.normal(size=(3, SIZE)))):
        query = Query(modality, unit(rng.normal(size=(2, SIZE))), text)
        rows = ranker.inner_products(modality)
        np.testing.assert_allclose(rows @ ranker.query_vector(query), ranker.scores(query), rtol=2e-5, atol=2e-5)


def test_a_store_answers_as_the_library_itself(songs: Path, tmp_path: Path) -> None:
    engine, rows = engine_of(form="text", hub_correction=0.5), Rows()
    index = tmp_path / "index"
    page = unit(np.random.default_rng(1).normal(size=(1, SIZE)))[0]
    half = Filters(folders=(str(songs / "a"),))
    with Library.open(songs, engine, index) as library:  # type: ignore[arg-type]
        library.update()
        expected = [library.rank(page, top=5), library.rank(page, text="x", top=5), library.rank(None, text="x", top=5)]
        filtered = library.rank(page, top=6, filters=half)
        best = expected[0][0].track.path
    with Library.open(songs, engine, index, vectors=rows) as library:  # type: ignore[arg-type]
        found = [library.rank(page, top=5), library.rank(page, text="x", top=5), library.rank(None, text="x", top=5)]
        for mine, theirs in zip(found, expected, strict=True):
            assert [m.track for m in mine] == [m.track for m in theirs]
            assert [m.start_s for m in mine] == [m.start_s for m in theirs]
            np.testing.assert_allclose([m.score for m in mine], [m.score for m in theirs], rtol=1e-4, atol=1e-5)
        assert [m.track for m in library.rank(page, top=6, filters=half)] == [m.track for m in filtered]
        assert library.rank(page, top=3, filters=lambda _: False) == []
        library.ban(best)
        assert best not in [m.track.path for m in library.rank(page, top=SONGS)]


def test_a_store_is_made_anew_when_the_library_changes(songs: Path, tmp_path: Path) -> None:
    rows = Rows()
    with Library.open(songs, FakeEngine(), tmp_path / "index", vectors=rows) as library:  # type: ignore[arg-type]
        library.update()
        library.publish()
        assert len(rows.kept) == 2
        library.publish()
        assert len(rows.kept) == 2
        write_song(songs / "new.wav", 3700)
        library.update()
        assert len(library.rank(None, text="x", top=99)) == SONGS + 1


def test_milvus_answers_as_the_library_itself(songs: Path, tmp_path: Path) -> None:
    pytest.importorskip("pymilvus", exc_type=ImportError)
    pytest.importorskip("milvus_lite", exc_type=ImportError)
    engine = FakeEngine()
    page = unit(np.random.default_rng(1).normal(size=(1, SIZE)))[0]
    address = f"milvus://{tmp_path}/vectors.db"
    with Library.open(songs, engine, tmp_path / "index") as library:  # type: ignore[arg-type]
        library.update()
        expected = library.rank(page, top=7)
    for _ in range(2):  # the second finds the collection that the first one made
        with Library.open(songs, engine, tmp_path / "index", vectors=Milvus(address)) as library:  # type: ignore[arg-type]
            found = library.rank(page, top=7)
        assert [m.track for m in found] == [m.track for m in expected]
        np.testing.assert_allclose([m.score for m in found], [m.score for m in expected], rtol=1e-4, atol=1e-4)
    write_song(songs / "new.wav", 3700)
    with Library.open(songs, engine, tmp_path / "index", vectors=Milvus(address)) as library:  # type: ignore[arg-type]
        library.update()
        assert len(library.rank(page, top=99)) == SONGS + 1


def test_an_address_that_cannot_be_is_named() -> None:
    for address in ("redis://x", "milvus://"):
        with pytest.raises(UsageError, match="milvus://host:19530"):
            Milvus(address)


def test_a_server_that_is_not_there_is_named() -> None:
    pytest.importorskip("pymilvus", exc_type=ImportError)
    with pytest.raises(LibraryError, match="cannot be used"):
        Milvus("milvus://127.0.0.1:9")


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(DeviceError, match="pymilvus"):
        Milvus(f"milvus://{tmp_path}/a.db")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DeviceError, match="ray"):
        next(by_ray([], FakeEngine(), set()))  # type: ignore[arg-type]


def test_ray_makes_the_same_library(tmp_path: Path) -> None:
    """By the command, in a process of its own: Ray forks, which a process full of other tests' threads should not."""
    pytest.importorskip("ray", exc_type=ImportError)
    for i in range(5):
        write_song(tmp_path / "songs" / f"{i}.wav", 200 + 400 * i, seconds=6.0)
    (tmp_path / "songs" / "bad.mp3").write_bytes(b"no music")
    command = [sys.executable, "-m", "mmr_runtime.cli", "index", str(tmp_path / "songs"), "--json"]
    reports, contents = [], []
    for name in ("local", "ray"):
        where = ["--index", str(tmp_path / name), "--engine", name]
        done = subprocess.run([*command, *where], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        reports.append(json.loads(done.stdout)["indexed"])
        with Engine.open() as engine, Library.open(tmp_path / "songs", engine, tmp_path / name) as library:
            contents.append(library.contents())
    assert reports[0] == reports[1]
    assert reports[0]["added"] == 5
    assert contents[0].tracks == contents[1].tracks
    np.testing.assert_allclose(contents[0].vectors, contents[1].vectors, atol=1e-5)


def test_a_ray_that_does_not_start_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise RuntimeError("The current node timed out\nwith details")

    ended: list[bool] = []
    broken = SimpleNamespace(is_initialized=lambda: False, init=refuse, shutdown=lambda: ended.append(True))
    monkeypatch.setitem(sys.modules, "ray", broken)
    write_song(tmp_path / "songs" / "a.wav", 300)
    with (
        Library.open(tmp_path / "songs", FakeEngine(), tmp_path / "index") as library,  # type: ignore[arg-type]
        pytest.raises(DeviceError, match=r"The current node timed out \(try again"),
    ):
        library.update(cluster=by_ray)
    assert ended == [True]
