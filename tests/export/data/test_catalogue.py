"""Data sets by name: what is wrong is said before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mmr_export.data.catalogue import DATASETS, read_dataset
from mmr_runtime.errors import InputError, MissingFileError, UsageError
from tests.export import miniatures

MAKERS: dict[str, Callable[[Path], Path]] = {
    "manga109": miniatures.make_manga109,
    "audioset": miniatures.make_audioset,
    "esc50": miniatures.make_esc50,
    "urbansound8k": miniatures.make_urbansound8k,
    "features": miniatures.make_features,
    "manifest": lambda folder: miniatures.make_manifest(folder, {"a.png": "x", "b.png": "y"}),
}


def test_every_kind_has_a_miniature() -> None:
    assert MAKERS.keys() == DATASETS.keys()


@pytest.mark.parametrize("name", DATASETS)
def test_items_are_in_order_with_keys_of_their_own_and_files_that_are_there(tmp_path: Path, name: str) -> None:
    dataset = read_dataset(name, MAKERS[name](tmp_path))
    keys = [item.key for item in dataset.items]
    assert dataset.name == name
    assert keys == sorted(set(keys))
    assert all(item.path.is_file() and item.group for item in dataset.items)
    assert len(dataset.classes) == len(dataset.prompts)
    assert {label for item in dataset.items for label in item.labels} <= set(dataset.classes)


@pytest.mark.parametrize("name", DATASETS)
def test_another_place_gives_the_same_keys(tmp_path: Path, name: str) -> None:
    a, b = (read_dataset(name, MAKERS[name](tmp_path / place)) for place in ("a", "b"))
    assert [item.key for item in a.items] == [item.key for item in b.items]


def test_options_reach_the_reader(tmp_path: Path) -> None:
    miniatures.make_manga109(tmp_path)
    assert len(read_dataset("manga109", tmp_path, unit="page").items) == 2 * len(
        read_dataset("manga109", tmp_path).items
    )


def test_unknown_kinds_and_options_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'manga'.*manga109, audioset"):
        read_dataset("manga", tmp_path)
    with pytest.raises(UsageError, match=r"manga109 has no option size .*unit"):
        read_dataset("manga109", tmp_path, size=3)
    with pytest.raises(UsageError, match=r"esc50 has no option unit .*none"):
        read_dataset("esc50", tmp_path, unit="page")


@pytest.mark.parametrize("name", DATASETS)
def test_a_folder_that_is_missing_or_empty_or_a_file_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(MissingFileError, match="no folder"):
        read_dataset(name, tmp_path / "none")
    for place in ("empty", "file"):
        with pytest.raises(InputError):
            read_dataset(name, tmp_path / place)


def test_a_data_set_of_which_nothing_can_be_used_says_why(tmp_path: Path) -> None:
    folder = miniatures.make_esc50(tmp_path)
    for i, path in enumerate(sorted((folder / "audio").iterdir())):
        path.unlink()
        if i < 2:
            path.touch()
    with pytest.raises(InputError, match="28 x the file is missing, 2 x the file is empty"):
        read_dataset("esc50", folder)
