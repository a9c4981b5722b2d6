"""Pairs of precomputed features: read once, the odd ones left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmr_export.data import features
from mmr_runtime.errors import InputError, MissingFileError
from tests.export.miniatures import make_features


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_features(tmp_path, pairs=8)


def test_an_item_is_a_pair_of_files(folder: Path) -> None:
    dataset = features.read(folder)
    assert dataset.modality == "features"
    assert dataset.classes == ()
    assert len(dataset.items) == 8
    item = dataset.items[3]
    assert (item.key, item.group, item.side) == ("pair0003", "pair0003", None)
    assert (item.path, item.partner) == (folder / "audio" / "pair0003.npy", folder / "video" / "pair0003.npy")


def test_sides_come_from_the_second_column(tmp_path: Path) -> None:
    sides = [item.side for item in features.read(make_features(tmp_path, pairs=4, sides=True)).items]
    assert sides == ["train", "train", "train", "validation"]


def test_the_header_may_be_left_out(folder: Path) -> None:
    (folder / "ids.csv").write_text("pair0002\npair0001\n")
    assert [item.key for item in features.read(folder).items] == ["pair0001", "pair0002"]


def test_odd_pairs_are_left_out_with_reasons_that_can_be_counted(folder: Path) -> None:
    (folder / "audio" / "pair0000.npy").unlink()
    np.save(folder / "audio" / "pair0001.npy", np.ones(9))
    np.save(folder / "video" / "pair0002.npy", np.full(8, np.nan))
    np.save(folder / "video" / "pair0003.npy", np.ones((2, 2, 2)))
    (folder / "video" / "pair0004.npy").write_bytes(b"damaged")
    np.save(folder / "video" / "pair0005.npy", np.array([{}], dtype=object), allow_pickle=True)
    dataset = features.read(folder)
    assert [item.key for item in dataset.items] == ["pair0006", "pair0007"]
    assert dict(dataset.skipped) == {
        "pair0000": "audio: the file is missing",
        "pair0001": "audio: 9 features, not 10",
        "pair0002": "video: holds values that are not finite",
        "pair0003": "video: has the shape (2, 2, 2), neither features nor frames of features",
        "pair0004": "video: is no NumPy array that can be read",
        "pair0005": "video: is no NumPy array that can be read",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id\na\na\n", "line 3 names 'a' again"),
        ("id\n../a\n", "line 2: '../a.npy' is no file below"),
        ("id,split\na,dev\n", "line 2: no side is named 'dev'"),
    ],
)
def test_a_bad_list_is_an_error(folder: Path, content: str, message: str) -> None:
    (folder / "ids.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        features.read(folder)


def test_the_list_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no ids\.csv"):
        features.read(tmp_path)
