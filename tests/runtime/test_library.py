"""A library finds songs again, forgets nothing, and answers."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmr_runtime.errors import CancelledError, InputError, MissingFileError, UsageError
from mmr_runtime.library import Library, Progress, Track, UpdateReport, indexing
from mmr_runtime.library.library import default_index
from mmr_runtime.library.roots import Roots
from mmr_runtime.library.scan import SUFFIXES, scan
from mmr_runtime.rank import Query
from tests.runtime.fake_engine import SIZE, FakeEngine, tone, unit, write_song

ACTS = st.sampled_from(["write", "move", "delete", "copy"])


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """Three songs of different pitch, one of them in a subfolder."""
    folder = tmp_path / "songs"
    write_song(folder / "low.wav", 200)
    write_song(folder / "middle.wav", 900)
    write_song(folder / "album" / "high.wav", 2500)
    return folder


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def opened(folder: Path | list[Path], engine: FakeEngine, **options: object) -> Library:
    first = folder if isinstance(folder, Path) else folder[0]
    return Library.open(folder, engine, first.parent / "index", **options)  # type: ignore[arg-type]


def update(folder: Path | list[Path], engine: FakeEngine) -> UpdateReport:
    with opened(folder, engine) as library:
        return library.update()


def counts(report: UpdateReport) -> dict[str, int]:
    values = {name: getattr(report, name) for name in ("added", "kept", "moved", "removed")}
    return {name: value for name, value in values.items() if value}


def names(library: Library) -> list[str]:
    return [track.path.name for track in library.tracks()]


# -- updating ----------------------------------------------------------------------------------------------------------


def test_only_what_changed_is_embedded(songs: Path, engine: FakeEngine) -> None:
    assert counts(update(songs, engine)) == {"added": 3}
    assert counts(update(songs, engine)) == {"kept": 3}
    assert len(engine.embedded) == 3
    write_song(songs / "new.wav", 1500)
    assert counts(update(songs, engine)) == {"added": 1, "kept": 3}
    assert engine.embedded[3:] == ["new.wav"]


def test_a_moved_song_keeps_its_vectors_and_its_place_in_the_answer(songs: Path, engine: FakeEngine) -> None:
    update(songs, engine)
    (songs / "elsewhere").mkdir()
    (songs / "low.wav").rename(songs / "elsewhere" / "deep.wav")
    with opened(songs, engine) as library:
        assert counts(library.update()) == {"kept": 2, "moved": 1}
        assert names(library) == ["high.wav", "deep.wav", "middle.wav"]
    assert len(engine.embedded) == 3


def test_a_song_that_is_gone_is_forgotten_and_its_vectors_are_not(songs: Path, engine: FakeEngine) -> None:
    update(songs, engine)
    low = (songs / "low.wav").read_bytes()
    (songs / "low.wav").unlink()
    with opened(songs, engine) as library:
        assert counts(library.update()) == {"kept": 2, "removed": 1}
        assert names(library) == ["high.wav", "middle.wav"]
    (songs / "back.wav").write_bytes(low)
    assert counts(update(songs, engine)) == {"kept": 2, "added": 1}
    assert len(engine.embedded) == 3


def test_a_changed_song_is_embedded_again(songs: Path, engine: FakeEngine) -> None:
    update(songs, engine)
    write_song(songs / "low.wav", 3000, seconds=1.5)
    assert counts(update(songs, engine)) == {"added": 1, "kept": 2}
    assert engine.embedded[-1] == "low.wav"


def test_a_new_time_stamp_alone_costs_a_hash_once(
    songs: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    update(songs, engine)
    os.utime(songs / "low.wav", ns=(1, 1))
    assert counts(update(songs, engine)) == {"kept": 3}
    monkeypatch.setattr(indexing, "content_hash", lambda path: pytest.fail(f"{path} was read again"))
    assert counts(update(songs, engine)) == {"kept": 3}
    assert len(engine.embedded) == 3


def test_files_with_equal_bytes_share_vectors_and_are_one_track(songs: Path, engine: FakeEngine) -> None:
    shutil.copy(songs / "low.wav", songs / "album" / "copy.wav")
    with opened(songs, engine) as library:
        assert counts(library.update()) == {"added": 4}
        assert len(engine.embedded) == 3
        assert len(library) == 3
        assert len(library.rank(None, text="anything")) == 3
        (songs / "album" / "copy.wav").unlink()
        assert counts(library.update()) == {"kept": 3, "removed": 1}
        assert len(library) == 3


def test_another_model_has_its_own_vectors(songs: Path, engine: FakeEngine) -> None:
    update(songs, engine)
    other = FakeEngine(model_id="other")
    with opened(songs, other) as library:
        assert len(library) == 0
        assert counts(library.update()) == {"added": 3}
        assert len(library) == 3
    assert counts(update(songs, engine)) == {"kept": 3}
    assert len(engine.embedded) == 3


def test_progress_counts_the_files_that_are_looked_into(songs: Path, engine: FakeEngine) -> None:
    seen: list[Progress] = []
    with opened(songs, engine) as library:
        library.update(seen.append)
    assert [(p.done, p.total, p.path and p.path.name) for p in seen] == [
        (0, 3, "high.wav"),
        (1, 3, "low.wav"),
        (2, 3, "middle.wav"),
        (3, 3, None),
    ]


@pytest.mark.parametrize("form", ["function", "event"])
def test_a_cancelled_update_keeps_what_is_finished(songs: Path, engine: FakeEngine, form: str) -> None:
    event = threading.Event()
    with opened(songs, engine) as library:
        with pytest.raises(CancelledError, match="after 2 of 3"):
            library.update(lambda p: event.set() if p.done == 1 else None, event if form == "event" else event.is_set)
        assert len(library) == 2
        assert counts(library.update()) == {"added": 1, "kept": 2}


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["write", "move", "delete", "copy"]), st.integers(0, 4), st.integers(0, 4)),
        max_size=8,
    )
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_to_the_files_the_library_equals_a_fresh_one(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    base = tmp_path_factory.mktemp("steps")
    folder, engine = base / "songs", FakeEngine()
    folder.mkdir()
    for step, (act, one, two) in enumerate(steps):
        source, target = folder / f"{one}.wav", folder / f"{two}.wav"
        if act == "write":
            write_song(source, 200 + 300 * two, seconds=0.2 + 0.01 * step)
        elif act == "move" and source.exists():
            source.rename(target)
        elif act == "copy" and source.exists() and source != target:
            shutil.copy(source, target)
        elif act == "delete":
            source.unlink(missing_ok=True)
        report = update(folder, engine)
        assert report.added + report.kept + report.moved == len(list(folder.iterdir()))
    with opened(folder, engine) as kept, Library.open(folder, FakeEngine(), base / "fresh") as fresh:
        fresh.update()
        answers = [[(m.track, m.start_s, round(m.score, 5)) for m in lib.rank(None, text="x")] for lib in (kept, fresh)]
    assert answers[0] == answers[1]


# -- files that cannot be used -----------------------------------------------------------------------------------------


def test_bad_files_are_skipped_named_and_not_tried_again(songs: Path, engine: FakeEngine) -> None:
    (songs / "bad.mp3").write_bytes(b"no music")
    (songs / "empty.ogg").touch()
    for tried in (2, 2):
        report = update(songs, engine)
        assert [(path.name, reason) for path, reason in report.skipped] == [
            ("bad.mp3", "is not an MP3 file"),
            ("empty.ogg", "is empty"),
        ]
        assert sum(name in ("bad.mp3", "empty.ogg") for name in engine.embedded) == tried
    soundfile.write(songs / "bad.mp3", tone(400), 8000, format="MP3")
    assert counts(update(songs, engine)) == {"added": 1, "kept": 3}


def test_a_song_that_became_bad_leaves_the_answers(songs: Path, engine: FakeEngine) -> None:
    update(songs, engine)
    (songs / "low.wav").write_bytes(b"")
    with opened(songs, engine) as library:
        assert [path.name for path, _ in library.update().skipped] == ["low.wav"]
        assert names(library) == ["high.wav", "middle.wav"]


def test_bad_files_are_tried_again_when_the_decoders_change(
    songs: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (songs / "bad.mp3").write_bytes(b"no music")
    update(songs, engine)
    monkeypatch.setattr("mmr_runtime.decoders.versions", lambda: "soundfile 99")
    update(songs, engine)
    assert engine.embedded.count("bad.mp3") == 2


def test_a_file_that_cannot_be_read_now_is_tried_the_next_time(
    songs: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path) -> bytes:
        raise indexing.PassingError("cannot be read: Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(indexing, "content_hash", refused)
        assert len(update(songs, engine).skipped) == 3
    assert counts(update(songs, engine)) == {"added": 3}


def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_time(songs: Path) -> None:
    class Racing(FakeEngine):
        def embed_audio(self, song: str | Path, *, windows: int = 8, measure: bool = False) -> object:
            embedded = super().embed_audio(song, windows=windows, measure=measure)
            if Path(song).name == "low.wav" and self.embedded.count("low.wav") == 1:
                write_song(Path(song), 777, seconds=1.0)
            return embedded

    engine = Racing()
    assert [reason for _, reason in update(songs, engine).skipped] == ["changed while it was read"]
    assert counts(update(songs, engine)) == {"added": 1, "kept": 2}


def test_a_folder_without_songs_is_no_error_and_answers_nothing(tmp_path: Path, engine: FakeEngine) -> None:
    (tmp_path / "songs").mkdir()
    (tmp_path / "songs" / "readme.txt").write_text("none")
    with opened(tmp_path / "songs", engine) as library:
        assert library.update() == UpdateReport()
        assert len(library) == 0
        assert library.rank(None, text="x") == []


# -- folders -----------------------------------------------------------------------------------------------------------


def test_hidden_and_foreign_files_are_left_out_and_endings_may_be_in_capitals(tmp_path: Path) -> None:
    wanted = ["a.FLAC", "b.Mp3", "sub/c.opus"]
    for name in [*wanted, ".hidden.mp3", ".git/d.mp3", "__MACOSX/e.mp3", "cover.jpg", "f.mp3.part", "g"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.mp3").mkdir()
    found = scan(Roots.of([tmp_path]), "songs")
    assert [os.path.relpath(file.path, tmp_path) for file in found.files] == wanted
    assert SUFFIXES["songs"].isdisjoint(SUFFIXES["pages"])


def test_links_in_circles_end_and_each_song_is_found_at_its_real_place(songs: Path) -> None:
    (songs / "a-link").symlink_to(songs / "album", target_is_directory=True)
    (songs / "album" / "up").symlink_to(songs, target_is_directory=True)
    (songs / "dangling.mp3").symlink_to(songs / "nowhere.mp3")
    found = scan(Roots.of([songs]), "songs")
    assert [os.path.relpath(file.path, songs) for file in found.files] == ["album/high.wav", "low.wav", "middle.wav"]


def test_several_folders_are_one_library_and_nested_ones_count_once(songs: Path, engine: FakeEngine) -> None:
    other = write_song(songs.parent / "more" / "x.wav", 1200).parent
    with opened([songs, songs / "album", other], engine) as library:
        assert counts(library.update()) == {"added": 4}


def test_an_index_that_serves_two_sets_of_folders_answers_from_those_asked_for(songs: Path, engine: FakeEngine) -> None:
    other = write_song(songs.parent / "more" / "x.wav", 1200).parent
    update(songs, engine)
    with opened(other, engine) as library:
        assert counts(library.update()) == {"added": 1}
        assert names(library) == ["x.wav"]
        assert [m.track.path.name for m in library.rank(None, text="x")] == ["x.wav"]
    with opened(songs, engine) as library:
        assert counts(library.update()) == {"kept": 3}
        assert len(library) == 3


def test_a_folder_that_cannot_be_reached_keeps_its_entries(songs: Path, engine: FakeEngine) -> None:
    other = write_song(songs.parent / "more" / "x.wav", 1200).parent
    update([songs, other], engine)
    songs.rename(songs.parent / "unplugged")
    with opened([songs, other], engine) as library:
        report = library.update()
        assert counts(report) == {"kept": 1}
        assert report.unreachable == (songs,)
        assert len(library) == 4
    (songs.parent / "unplugged").rename(songs)
    assert counts(update([songs, other], engine)) == {"kept": 4}


def test_an_empty_mount_point_keeps_the_entries_of_its_disk(tmp_path: Path, engine: FakeEngine) -> None:
    folder = tmp_path / "disk"
    for number in range(10):
        write_song(folder / f"{number}.wav", 200 + 100 * number, seconds=0.2)
    update(folder, engine)
    shutil.rmtree(folder)
    folder.mkdir()
    with opened(folder, engine) as library:
        report = library.update()
        assert report.unreachable == (folder,)
        assert counts(report) == {}
        assert len(library) == 10


def test_a_subfolder_that_cannot_be_listed_keeps_its_entries(
    songs: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    update(songs, engine)
    listing = os.scandir

    def refused(path: str) -> object:
        if str(path).endswith("album"):
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(os, "scandir", refused)
    report = update(songs, engine)
    assert counts(report) == {"kept": 2}
    assert report.skipped == ((songs / "album", "cannot be listed: Permission denied"),)


def test_names_that_are_not_text_are_kept(songs: Path, engine: FakeEngine) -> None:
    strange = os.fsdecode(b"\xff\xfe.wav")
    (songs / "low.wav").rename(songs / strange)
    with opened(songs, engine) as library:
        assert counts(library.update()) == {"added": 3}
        assert strange in names(library)
    assert counts(update(songs, engine)) == {"kept": 3}


def test_folders_that_cannot_be_are_refused_and_leave_nothing_behind(tmp_path: Path, engine: FakeEngine) -> None:
    song = write_song(tmp_path / "a.wav", 300)
    with pytest.raises(MissingFileError, match="no folder"):
        opened(tmp_path / "gone", engine)
    with pytest.raises(InputError, match="not a folder"):
        opened(song, engine)
    with pytest.raises(UsageError):
        Library.open([], engine)
    assert not (tmp_path / "index").exists()


def test_the_default_index_depends_on_folders_and_kind_alone() -> None:
    places = {default_index(roots, kind) for roots in [("/a",), ("/a", "/b")] for kind in ("songs", "pages")}
    assert len(places) == 4
    assert default_index(("/a",), "songs") in places
    assert default_index((os.fsdecode(b"/\xff"),), "songs") not in places


# -- answers -----------------------------------------------------------------------------------------------------------


def test_the_song_asked_with_comes_first(songs: Path, engine: FakeEngine) -> None:
    with opened(songs, engine) as library:
        library.update()
        for name in ("low.wav", "middle.wav", "album/high.wav"):
            best, *others = library.rank(songs / name)
            assert best.track.path == songs / name
            assert best.rank == 1
            assert [match.rank for match in others] == [2, 3]
            assert all(match.score <= best.score for match in others)
            assert len(best.moods) == 7
            assert sum(best.moods) == pytest.approx(1, abs=1e-5)


def test_every_form_of_query_is_understood(songs: Path, engine: FakeEngine, tmp_path: Path) -> None:
    page = Image.new("L", (40, 60), 200)
    page.save(tmp_path / "page.png")
    vector = engine.embed_images([page])[0]
    with opened(songs, engine) as library:
        library.update()
        expected = library.rank(tmp_path / "page.png")
        same = [str(tmp_path / "page.png"), [page, tmp_path / "page.png"], page, vector, vector[None]]
        for query in [*same, Query("image", vector[None])]:
            assert [m.track for m in library.rank(query)] == [m.track for m in expected]
        spoken = library.rank(page, text="a rainy farewell")
        assert spoken[0].score != expected[0].score
        assert len(library.rank(None, text="a rainy farewell", top=2)) == 2


@pytest.mark.parametrize("query", [None, [], np.zeros(SIZE + 1, np.float32)])
def test_queries_that_ask_nothing_are_wrong_use(songs: Path, engine: FakeEngine, query: object) -> None:
    with opened(songs, engine) as library:
        library.update()
        with pytest.raises(UsageError):
            library.rank(query)
        with pytest.raises(UsageError):
            library.rank(None, text="x", top=0)


def test_the_start_is_that_of_the_window_that_fits_best(tmp_path: Path, engine: FakeEngine) -> None:
    parts = [tone(hertz, 2.0) for hertz in (200, 1000, 2600, 3600)]
    (tmp_path / "songs").mkdir()
    soundfile.write(tmp_path / "songs" / "medley.wav", np.concatenate(parts), 8000)
    with opened(tmp_path / "songs", engine) as library:
        library.update()
        for number, hertz in enumerate((200, 1000, 2600, 3600)):
            (match,) = library.rank(write_song(tmp_path / "query.wav", hertz))
            assert 2 * number <= match.start_s <= 2 * number + 1
        assert match.track.seconds == pytest.approx(8.0)


def test_filters_apply_before_the_best_are_chosen(songs: Path, engine: FakeEngine) -> None:
    shutil.copy(songs / "low.wav", songs / "zz.wav")
    with opened(songs, engine) as library:
        library.update()
        (only,) = library.rank(songs / "low.wav", top=1, filters=lambda track: track.path.name == "middle.wav")
        assert only.track.path.name == "middle.wav"
        assert only.rank == 1
        # Of equal files the one that the filter keeps is named.
        (copy,) = library.rank(songs / "low.wav", filters=lambda track: track.path.name == "zz.wav")
        assert copy.track.path.name == "zz.wav"
        assert library.rank(songs / "low.wav", filters=lambda _: False) == []


def test_equal_scores_are_ordered_by_path(tmp_path: Path, engine: FakeEngine) -> None:
    for name, extra in (("c", 0), ("a", 1), ("b", 2)):
        sound = np.zeros(8000, np.float32)
        path = tmp_path / "songs" / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, sound, 8000)
        path.write_bytes(path.read_bytes() + b"LIST" + bytes([4, 0, 0, 0]) + bytes([extra]) * 4)
    with opened(tmp_path / "songs", engine) as library:
        library.update()
        assert [m.track.path.name for m in library.rank(None, text="x")] == ["a.wav", "b.wav", "c.wav"]


def test_tags_name_the_track_and_its_file_name_does_where_there_are_none(songs: Path, engine: FakeEngine) -> None:
    with soundfile.SoundFile(songs / "tagged.flac", "w", 8000, 1) as file:
        file.title, file.artist, file.album, file.genre = "Rain\nat  dusk", "The Band", "Wet", "Ambient"
        file.write(tone(1200))
    with opened(songs, engine) as library:
        library.update()
        tracks = {track.path.name: track for track in library.tracks()}
    tagged = tracks["tagged.flac"]
    assert tagged == Track(songs / "tagged.flac", "Rain at dusk", "The Band", "Wet", 2.0, "Ambient", tagged.gain_db)
    assert tagged.gain_db == pytest.approx(-12.5, abs=0.5)  # a sine of half scale on two channels: -6 LUFS
    assert tracks["low.wav"].title == "low"


def test_a_model_without_moods_still_ranks(songs: Path) -> None:
    with opened(songs, FakeEngine(has_moods=False)) as library:
        library.update()
        best = library.rank(songs / "low.wav")[0]
    assert best.track.path.name == "low.wav"
    assert best.moods == ()
    assert best.reasons == ()


def test_pages_can_be_the_library_and_a_song_the_query(songs: Path, tmp_path: Path, engine: FakeEngine) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 30), dtype=np.uint8)
        Image.fromarray(pixels).save(pages / f"{number}.png")
    (pages / "broken.jpg").write_bytes(b"\xff\xd8nothing")
    with Library.open(pages, engine, tmp_path / "page-index", kind="pages") as library:
        report = library.update()
        assert counts(report) == {"added": 3}
        assert [path.name for path, _ in report.skipped] == ["broken.jpg"]
        matches = library.rank(songs / "low.wav")
        assert [m.rank for m in matches] == [1, 2, 3]
        assert {m.start_s for m in matches} == {0.0}
        assert library.rank(pages / "1.png")[0].track.title == "1"
        vector = unit(np.ones((1, SIZE)))
        assert [m.score for m in library.rank(vector)] == [m.score for m in library.rank(Query("audio", vector))]


def test_many_threads_may_ask_at_once(songs: Path, engine: FakeEngine) -> None:
    answers: list[list[str]] = []
    with opened(songs, engine) as library:
        library.update()

        def ask() -> None:
            answers.append([m.track.path.name for m in library.rank(None, text="x")])

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(answers) == 8
    assert all(answer == answers[0] for answer in answers)


# -- what a person said ------------------------------------------------------------------------------------------------


def test_a_banned_song_never_plays_wherever_it_goes(songs: Path, engine: FakeEngine) -> None:
    with opened(songs, engine) as library:
        library.update()
        best = library.rank(None, text="x")[0].track.path
        library.ban(best)
        assert best not in [match.track.path for match in library.rank(None, text="x")]
        assert library.bans == [best]
    moved = best.rename(best.with_name("moved.wav"))
    with opened(songs, engine) as library:
        library.update()
        assert moved not in [track.path for track in library.tracks()]
        assert library.bans == [moved]
        library.unban(moved)
        assert moved in [track.path for track in library.tracks()]
        assert library.bans == []


def test_only_songs_of_the_library_can_be_banned(songs: Path, engine: FakeEngine) -> None:
    with opened(songs, engine) as library:
        library.update()
        with pytest.raises(InputError, match=r"other\.wav is not in the library"):
            library.ban(songs / "other.wav")


def test_what_is_remembered_outlives_the_library(songs: Path, engine: FakeEngine) -> None:
    with opened(songs, engine) as library:
        assert library.recall("book") is None
        library.remember("book", "one")
        library.remember("book", "two")
    with opened(songs, engine) as library:
        assert library.recall("book") == "two"


def test_contents_are_ordered_by_path_and_have_windows(songs: Path, engine: FakeEngine) -> None:
    with opened(songs, engine) as library:
        library.update()
        contents = library.contents()
        assert [track.path.name for track in contents.tracks] == ["high.wav", "low.wav", "middle.wav"]
        for track, vector, (windows, starts) in zip(
            contents.tracks, contents.vectors, library.windows(contents.ids), strict=True
        ):
            heard = engine.embed_audio(track.path)
            np.testing.assert_allclose(vector, heard.vector, atol=1e-6)
            np.testing.assert_allclose(windows, heard.windows, atol=1e-6)
            np.testing.assert_array_equal(starts, heard.starts)


@pytest.mark.parametrize("jobs", [2, 5])
def test_several_jobs_make_the_same_library(jobs: int, songs: Path, engine: FakeEngine, tmp_path: Path) -> None:
    for i in range(12):
        write_song(songs / f"s{i:02d}.wav", 300 + 150 * i)
    shutil.copy(songs / "s03.wav", songs / "copy.wav")
    (songs / "bad.mp3").write_bytes(b"no music")
    contents, reports = [], []
    for name, count in (("one", 1), ("many", jobs)):
        with Library.open(songs, engine, tmp_path / name) as library:
            reports.append(library.update(jobs=count))
            contents.append(library.contents())
    assert reports[0] == reports[1]
    assert contents[0].tracks == contents[1].tracks
    np.testing.assert_array_equal(contents[0].vectors, contents[1].vectors)


def test_several_jobs_can_be_stopped(songs: Path, engine: FakeEngine) -> None:
    for i in range(12):
        write_song(songs / f"s{i:02d}.wav", 300 + 150 * i)
    calls = iter(range(100))
    with opened(songs, engine) as library:
        with pytest.raises(CancelledError, match="stopped after 4 of 15"):
            library.update(cancel=lambda: next(calls) == 4, jobs=3)
        assert len(library) == 4
        with pytest.raises(UsageError):
            library.update(jobs=0)
