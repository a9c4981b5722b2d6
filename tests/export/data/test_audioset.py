"""AudioSet's moods: lists of segments, and clips under the names that people give them."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from mmr_export.data import audioset
from mmr_runtime.errors import InputError, MissingFileError
from mmr_runtime.moods import MOOD_PROMPTS
from tests.export.miniatures import MOOD_IDS, SPEECH_ID, make_audioset, video_id, write_clip, write_segments

HAPPY, FUNNY, SAD = MOOD_IDS[:3]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_audioset(tmp_path_factory.mktemp("audioset"))


def test_the_shipped_table_holds_the_seven_moods_in_order() -> None:
    lines = audioset.MOODS_TABLE.read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader((line for line in lines if line[0] != "#"), delimiter="\t"))
    assert [(row["mid"], row["name"]) for row in rows] == list(zip(MOOD_IDS, MOOD_PROMPTS, strict=True))


def test_clips_with_a_mood_are_items_with_all_their_moods(made: Path) -> None:
    dataset = audioset.read(made)
    assert dataset.classes == dataset.prompts == MOOD_PROMPTS
    assert dataset.modality == "audio"
    assert len(dataset.items) == 21
    assert not dataset.skipped
    by_key = {item.key: item for item in dataset.items}
    assert by_key[video_id(0)].labels == ("Happy music",)
    two = by_key[video_id(4)]
    assert two.labels == ("Exciting music", "Angry music")
    assert two.text == "Exciting music, Angry music"
    assert two.group == two.key
    assert two.path == made / "clips" / f"{video_id(4)}.wav"


def test_a_video_of_several_lists_is_one_item_with_the_labels_of_all(tmp_path: Path) -> None:
    write_segments(tmp_path / "sad.csv", [(video_id(0), 30.0, [SAD, SPEECH_ID])])
    write_segments(tmp_path / "happy.csv", [(video_id(0), 30.0, [HAPPY])])
    write_clip(tmp_path / f"{video_id(0)}.wav", 440)
    (item,) = audioset.read(tmp_path).items
    assert item.labels == ("Happy music", "Sad music")


def test_a_video_with_two_starts_is_left_out(tmp_path: Path) -> None:
    write_segments(tmp_path / "a.csv", [(video_id(0), 30.0, [SAD]), (video_id(1), 0.0, [SAD])])
    write_segments(tmp_path / "b.csv", [(video_id(0), 40.0, [HAPPY])])
    for i in range(2):
        write_clip(tmp_path / f"{video_id(i)}.wav", 440)
    dataset = audioset.read(tmp_path)
    assert [item.key for item in dataset.items] == [video_id(1)]
    assert dataset.skipped == ((video_id(0), "listed with different starts"),)


@pytest.mark.parametrize("video", [video_id(0), "YYYY_bcdefg", "Yabcdefghi_", "__________-"])
@pytest.mark.parametrize("form", ["{}", "Y{}", "{}_30", "{}_30.000", "{}_30000", "Y{}_30_40", "{}_30000_40000"])
@pytest.mark.parametrize("place", ["", "clips/", "clips/happy/"])
def test_clips_are_found_by_the_usual_names(tmp_path: Path, video: str, form: str, place: str) -> None:
    write_segments(tmp_path / "list.csv", [(video, 30.0, [HAPPY])])
    path = tmp_path / place / f"{form.format(video)}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"sound")
    assert [item.path for item in audioset.read(tmp_path).items] == [path]


@pytest.mark.parametrize("name", ["{}_40.wav", "{}_40_50.wav", "X{}.wav", "{}x.wav", "{}.json"])
def test_another_stretch_of_the_video_or_another_file_is_no_clip(tmp_path: Path, name: str) -> None:
    write_segments(tmp_path / "list.csv", [(video_id(0), 30.0, [HAPPY])])
    (tmp_path / name.format(video_id(0))).write_bytes(b"sound")
    with pytest.raises(MissingFileError, match="none of the 1 clips"):
        audioset.read(tmp_path)


def test_clips_that_are_missing_are_told_in_one_line_and_empty_ones_by_name(made: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(made, tmp_path / "audioset")
    for i in range(5):
        (folder / "clips" / f"{video_id(i)}.wav").unlink()
    (folder / "clips" / f"{video_id(7)}.wav").write_bytes(b"")
    dataset = audioset.read(folder)
    assert len(dataset.items) == 15
    assert dataset.skipped == (
        ("5 of 21 clips", "their files are missing"),
        (video_id(7), "the file is empty"),
    )


def test_other_tables_of_the_folder_are_no_lists(made: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(made, tmp_path / "audioset")
    (folder / "class_labels_indices.csv").write_text('index,mid,display_name\n0,/m/09x0r,"Speech"\n')
    (folder / "notes.csv").write_text("what,when\n")
    dataset = audioset.read(folder)
    assert len(dataset.items) == 21
    assert dataset.skipped == (("notes.csv", "no list of segments"),)


def test_labels_that_lost_their_quotation_marks_are_read(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"{video_id(0)},30,40,{HAPPY},{FUNNY}\n")
    write_clip(tmp_path / f"{video_id(0)}.wav", 440)
    assert audioset.read(tmp_path).items[0].labels == ("Happy music", "Funny music")


def test_a_damaged_list_and_a_folder_without_lists_are_errors(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no list of segments"):
        audioset.read(tmp_path)
    write_segments(tmp_path / "list.csv", [(video_id(0), 30.0, [HAPPY])])
    with (tmp_path / "list.csv").open("a") as file:
        file.write(f"{video_id(1)}, soon, later, {HAPPY}\n")
    with pytest.raises(InputError, match="line 5 is no segment"):
        audioset.read(tmp_path)
