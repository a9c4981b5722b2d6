"""Which files a library takes and which tracks may be chosen: patterns, playlists, filters."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mmr_runtime.errors import InputError, UsageError
from mmr_runtime.library import Filters, Library, Patterns, Track
from mmr_runtime.library.playlists import read_playlist
from tests.runtime.fake_engine import FakeEngine, write_song


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """Four songs, one of them below `talk`, and one outside the folder."""
    for name, hertz in (("a.wav", 300), ("b c.wav", 700), ("talk/d.wav", 1500), ("é#.wav", 2500)):
        write_song(tmp_path / "songs" / name, hertz)
    write_song(tmp_path / "elsewhere" / "e.wav", 3500)
    return tmp_path / "songs"


def names(library: Library) -> list[str]:
    return [track.path.name for track in library.tracks()]


def opened(*roots: Path) -> Library:
    return Library.open(list(roots), FakeEngine(), roots[0].parent / "index")


# -- playlists ---------------------------------------------------------------------------------------------------------


def write_playlist(path: Path, songs: Path) -> Path:
    """The same three songs in any form, and what is no song of this disk."""
    outside = songs.parent / "elsewhere" / "e.wav"
    uris = ["songs/b%20c.wav", (songs / "é#.wav").as_uri(), outside.as_uri(), "https://example.org/x.mp3"]
    if path.suffix == ".xspf":
        tracks = "".join(f"<track><location>{uri}</location></track>" for uri in uris)
        text = f'<playlist version="1" xmlns="http://xspf.org/ns/0/"><trackList>{tracks}</trackList></playlist>'
    elif path.suffix == ".jspf":
        text = json.dumps({"playlist": {"track": [{"location": [uri]} for uri in uris] + [{"title": "none"}]}})
    else:
        text = f"\ufeff#EXTM3U\r\n#EXTINF:3,x\r\nsongs/b c.wav\r\n{songs / 'é#.wav'}\r\n\r\n{uris[2]}\nhttp://x/y.mp3\n"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["p.m3u8", "p.m3u", "p.xspf", "p.jspf"])
def test_a_playlist_is_a_library(name: str, songs: Path) -> None:
    playlist = write_playlist(songs.parent / name, songs)
    assert [path.name for path in read_playlist(playlist)] == ["b c.wav", "é#.wav", "e.wav"]
    with opened(playlist) as library:
        assert library.update().added == 3
        assert sorted(names(library)) == sorted(["b c.wav", "é#.wav", "e.wav"])
        assert library.update().kept == 3


def test_a_playlist_beside_a_folder_adds_to_it(songs: Path) -> None:
    playlist = write_playlist(songs.parent / "p.m3u8", songs)
    with opened(songs, playlist) as library:
        library.update()
        assert sorted(names(library)) == sorted(["a.wav", "b c.wav", "d.wav", "e.wav", "é#.wav"])


def test_songs_that_leave_a_playlist_are_not_searched_and_not_lost(songs: Path) -> None:
    playlist = write_playlist(songs.parent / "p.m3u8", songs)
    engine = FakeEngine()
    index = songs.parent / "index"
    with Library.open(playlist, engine, index) as library:
        library.update()
    full = playlist.read_text(encoding="utf-8")
    playlist.write_text("songs/b c.wav\n", encoding="utf-8")
    with Library.open(playlist, engine, index) as library:
        library.update()
        assert names(library) == ["b c.wav"]
    playlist.write_text(full, encoding="utf-8")
    engine.embedded.clear()
    with Library.open(playlist, engine, index) as library:
        library.update()
        assert len(library) == 3
    assert engine.embedded == []


def test_songs_of_a_disk_that_is_away_are_kept(songs: Path) -> None:
    playlist = write_playlist(songs.parent / "p.m3u8", songs)
    with opened(playlist) as library:
        library.update()
    (songs.parent / "elsewhere").rename(songs.parent / "away")
    (songs / "b c.wav").unlink()
    with opened(playlist) as library:
        report = library.update()
        assert report.removed == 1
        assert sorted(names(library)) == sorted(["é#.wav", "e.wav"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.xspf", b"<playlist>"),
        ("a.xspf", b"<!DOCTYPE x><playlist/>"),
        ("a.jspf", b"[]"),
        ("a.jspf", b"{"),
        ("a.jspf", b'{"playlist": {"track": [3]}}'),
    ],
)
def test_a_broken_playlist_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"a\.[xj]spf") as caught:
        Library.open(tmp_path / name, FakeEngine(), tmp_path / "index")
    assert caught.value.hint


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_that_are_no_text_are_found(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.wav")
    (tmp_path / "p.m3u").write_bytes(b"\xff.wav\n")
    assert read_playlist(tmp_path / "p.m3u") == [tmp_path / name]


# -- patterns ----------------------------------------------------------------------------------------------------------


def test_patterns_are_kept_and_can_be_seen_before(songs: Path) -> None:
    with opened(songs) as library:
        library.update()
        without = library.preview(Patterns(exclude=("*/TALK/*",)))
        assert (without.kept, without.removed, len(library)) == (3, 1, 4)
        library.patterns = Patterns(exclude=("*/TALK/*",))
    with opened(songs) as library:
        assert library.update().removed == 1
        assert "d.wav" not in names(library)
        library.patterns = Patterns(include=("*/a.wav",))
        library.update()
        assert names(library) == ["a.wav"]
        library.patterns = Patterns()
        library.update()
        assert len(library) == 4


def test_a_preview_writes_nothing(songs: Path) -> None:
    with opened(songs) as library:
        assert library.preview().added == 4
        assert len(library) == 0


# -- filters -----------------------------------------------------------------------------------------------------------

SONG = Track(Path("/m/ost/rain.ogg"), "Rain", "The Band", "Film Soundtrack", 120.0, "Ambient, Gloomy")


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        (Filters(), True),
        (Filters(genres=("jazz", "gloom")), True),
        (Filters(genres=("jazz",)), False),
        (Filters(artists=("the band",)), True),
        (Filters(artists=("other",)), False),
        (Filters(folders=("/m",)), True),
        (Filters(folders=("/m/os",)), False),
        (Filters(files=frozenset({"/m/ost/rain.ogg"})), True),
        (Filters(files=frozenset()), False),
        (Filters(instrumental=True), True),
        (Filters(min_seconds=120, max_seconds=120), True),
        (Filters(min_seconds=121), False),
        (Filters(max_seconds=119), False),
        (Filters(genres=("ambient",), max_seconds=1), False),
    ],
)
def test_filters_keep_what_is_asked_for(filters: Filters, kept: bool) -> None:
    assert filters(SONG) is kept


@pytest.mark.parametrize(
    ("title", "kept"), [("Ost 3", True), ("Off Vocal", True), ("Ghost", False), ("インスト版", True)]
)
def test_instrumental_is_what_the_tags_call_so(title: str, kept: bool) -> None:
    assert Filters(instrumental=True)(Track(Path("a"), title, "x", "y", 3.0)) is kept


def test_a_length_that_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError):
        Filters(min_seconds=5, max_seconds=4)


def test_filters_come_before_the_best_are_chosen(songs: Path) -> None:
    playlist = write_playlist(songs.parent / "p.m3u8", songs)
    with opened(songs) as library:
        library.update()
        best = library.rank(None, text="x", top=1)[0].track.path
        others = library.rank(None, text="x", top=1, filters=lambda track: track.path != best)
        assert len(others) == 1
        inside = Filters.of(playlist=playlist)
        assert {m.track.path.name for m in library.rank(None, text="x", filters=inside)} == {"b c.wav", "é#.wav"}
        assert [track.path.name for track in library.contents(inside).tracks] == ["b c.wav", "é#.wav"]
        assert library.contents(Filters.of(folders=[songs / "talk"])).vectors.shape == (1, 16)
        assert library.contents(Filters(min_seconds=99)).tracks == []
