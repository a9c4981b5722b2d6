"""The bundle's reader: what it accepts, and how each kind of damage is refused."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr_runtime import known_files
from mmr_runtime.bundle import (
    SCHEMA,
    AudioSpec,
    Bundle,
    FileFacts,
    GraphFile,
    ImageSpec,
    LabelSet,
    Manifest,
    RankSpec,
    TextSpec,
    default_folder,
    manifest_from_json,
    manifest_to_json,
)
from mmr_runtime.errors import BundleError
from mmr_runtime.limits import MAX_MANIFEST_BYTES
from mmr_runtime.moods import MOOD_PROMPTS, MOODS
from mmr_runtime.onnx_scan import has_external_data

SIZE = 4


def message(number: int, *content: bytes) -> bytes:
    """A protobuf field that holds bytes."""
    body = b"".join(content)
    assert len(body) < 128
    key = number << 3 | 2
    return (bytes([key]) if key < 128 else bytes([key & 127 | 128, key >> 7])) + bytes([len(body)]) + body


def varint(number: int, value: int) -> bytes:
    return bytes([number << 3, value])


WEIGHTS = message(1, b"\x01\x02") + varint(2, 1) + message(9, b"raw")
GRAPH = varint(1, 9) + message(7, message(1, message(4, b"Relu")), message(5, WEIGHTS))
"""ModelProto of IR version 9: a node and a tensor."""


def manifest(**changes: Any) -> Manifest:
    graph = {"fp32": GraphFile("image.fp32.onnx", "pixels", "vector")}
    whole = Manifest(
        id="test-1",
        embedding_size=SIZE,
        licence="none",
        image=ImageSpec(),
        text=TextSpec(),
        audio=AudioSpec(floor_db=-90.0),
        logit_scales={"image_text": 100.0, "audio_image": 24.5, "audio_text": 54.6},
        graphs={"image": graph},
        labels={"mood": LabelSet(MOODS, MOOD_PROMPTS)},
        rank=RankSpec(form="blend"),
        quality={"proof": {"image": 1e-9}},
    )
    return replace(whole, **changes)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda *_, **__: str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound bundle of one tower."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "image.fp32.onnx").write_bytes(GRAPH)
    save_labels(folder)
    write_manifest(folder)
    return folder


def save_labels(folder: Path, **changes: Any) -> None:
    arrays = {
        "mood": np.eye(7, SIZE, dtype=np.float32),
        "calibration_image": np.ones((2, 7), np.float32),
        "reference_image": np.ones((3, SIZE), np.float32),
    } | changes
    np.savez(folder / "labels.npz", **{name: array for name, array in arrays.items() if array is not None})


def write_manifest(folder: Path, **changes: Any) -> None:
    files = {path.name: FileFacts.of(path) for path in folder.iterdir() if path.name != "manifest.json"}
    (folder / "manifest.json").write_text(manifest_to_json(manifest(**{"files": files, **changes})), encoding="utf-8")


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


# -- the sound bundle -------------------------------------------------------------------------------------------------


def test_a_sound_bundle_opens_and_gives_its_files(folder: Path) -> None:
    bundle = Bundle.open(folder)
    assert bundle.manifest.id == "test-1"
    assert bundle.path("image.fp32.onnx") == folder / "image.fp32.onnx"
    assert bundle.graph("image", "fp32") == folder / "image.fp32.onnx"
    assert set(bundle.labels()) == {"mood", "calibration_image", "reference_image"}


def test_a_manifest_survives_the_way_through_json(folder: Path) -> None:
    original = manifest(files=Bundle.open(folder).manifest.files)
    assert manifest_from_json(manifest_to_json(original)) == original


def test_equal_manifests_give_equal_text() -> None:
    assert manifest_to_json(manifest()) == manifest_to_json(manifest())


def test_a_bundle_without_labels_has_none(folder: Path) -> None:
    (folder / "labels.npz").unlink()
    write_manifest(folder, labels={})
    assert Bundle.open(folder).labels() == {}


def test_default_is_the_shipped_bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert default_folder().parts[-2:] == ("models", "default")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "default").mkdir()  # a folder of that name here is not what is meant
    monkeypatch.setattr("mmr_runtime.bundle.default_folder", lambda: tmp_path / "shipped")
    with pytest.raises(BundleError, match="shipped"):
        Bundle.open("default")


def test_opening_loads_no_numeric_package(folder: Path) -> None:
    program = (
        "import sys; from mmr_runtime.bundle import Bundle; "
        f"Bundle.open({str(folder)!r}).path('image.fp32.onnx'); "
        "sys.exit(bool({'numpy', 'onnx', 'onnxruntime', 'torch'} & set(sys.modules)))"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "XDG_CACHE_HOME": str(folder.parent / "cache"),
    }
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0


# -- no bundle, or a damaged one --------------------------------------------------------------------------------------


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nowhere is not a folder") as caught:
        Bundle.open(tmp_path / "nowhere")
    assert caught.value.exit_code == 4
    assert "mmr-export" in caught.value.hint


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no manifest\.json"):
        Bundle.open(tmp_path)


@pytest.mark.parametrize("name", ["image.fp32.onnx", "labels.npz"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"lacks its file {name}"):
        Bundle.open(folder)


def test_a_file_of_another_size_is_named(folder: Path) -> None:
    (folder / "image.fp32.onnx").write_bytes(GRAPH + b"!")
    with pytest.raises(BundleError, match=rf"image.fp32.onnx has {len(GRAPH) + 1} bytes instead of {len(GRAPH)}"):
        Bundle.open(folder)


def test_a_folder_in_the_place_of_a_file_is_refused(folder: Path) -> None:
    (folder / "image.fp32.onnx").unlink()
    (folder / "image.fp32.onnx").mkdir()
    with pytest.raises(BundleError, match="is not a file"):
        Bundle.open(folder)


def test_a_changed_byte_is_found_when_the_file_is_used(folder: Path) -> None:
    damaged = bytearray(GRAPH)
    damaged[-1] ^= 1
    (folder / "image.fp32.onnx").write_bytes(damaged)
    bundle = Bundle.open(folder)
    with pytest.raises(BundleError, match=r"image\.fp32\.onnx is damaged"):
        bundle.path("image.fp32.onnx")


def test_a_file_that_is_not_listed_is_not_given(folder: Path) -> None:
    (folder / "other.onnx").write_bytes(GRAPH)
    with pytest.raises(BundleError, match=r"has no file 'other\.onnx'"):
        Bundle.open(folder).path("other.onnx")


def test_a_precision_that_is_not_there_is_refused_with_those_that_are(folder: Path) -> None:
    with pytest.raises(BundleError, match="no int8 graph of the image tower") as caught:
        Bundle.open(folder).graph("image", "int8")
    assert "fp32" in caught.value.hint
    with pytest.raises(BundleError, match="no fp32 graph of the audio tower"):
        Bundle.open(folder).graph("audio", "fp32")


@pytest.mark.parametrize("name", ["../secret.onnx", "/etc/passwd", "a/b.onnx", "..", "C:\\x.onnx", "", "manifest.json"])
def test_a_name_that_leaves_the_folder_is_refused(folder: Path, name: str) -> None:
    edit(folder, lambda content: content["files"].update({name: {"bytes": 1, "sha256": "0" * 64}}))
    with pytest.raises(BundleError, match="would leave its folder"):
        Bundle.open(folder)


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.onnx"
    outside.write_bytes(GRAPH)
    (folder / "image.fp32.onnx").unlink()
    (folder / "image.fp32.onnx").symlink_to(outside)
    with pytest.raises(BundleError, match="link to a file outside"):
        Bundle.open(folder)


def test_a_link_made_after_opening_is_refused_too(folder: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(folder)
    outside = tmp_path / "outside.onnx"
    outside.write_bytes(GRAPH)
    (folder / "image.fp32.onnx").unlink()
    (folder / "image.fp32.onnx").symlink_to(outside)
    with pytest.raises(BundleError, match="link to a file outside"):
        bundle.path("image.fp32.onnx")


def test_a_bundle_reached_through_a_link_opens(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    assert Bundle.open(tmp_path / "link").path("labels.npz").is_file()


# -- the manifest -----------------------------------------------------------------------------------------------------


def test_a_newer_schema_is_refused_by_number(folder: Path) -> None:
    edit(folder, lambda content: content.update(schema=SCHEMA + 1, unheard_of=1))
    with pytest.raises(BundleError, match=f"of schema {SCHEMA + 1}") as caught:
        Bundle.open(folder)
    assert "upgrade" in caught.value.hint


@pytest.mark.parametrize("schema", [None, 0, -1, True, "1", 1.0])
def test_a_schema_that_is_none_is_refused(folder: Path, schema: Any) -> None:
    edit(folder, lambda content: content.update(schema=schema))
    with pytest.raises(BundleError, match="says no schema"):
        Bundle.open(folder)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "says no schema"),
        ('{"schema": 1, "schema": 1}', "stands there twice"),
        ('{"schema": NaN}', "NaN is no number"),
    ],
)
def test_text_that_is_no_manifest_is_refused(folder: Path, text: str, problem: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=problem):
        Bundle.open(folder)


def test_bytes_that_are_no_text_are_refused(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(BundleError, match="not UTF-8"):
        Bundle.open(folder)


def test_a_huge_manifest_is_not_read(folder: Path) -> None:
    with (folder / "manifest.json").open("wb") as file:
        file.truncate(MAX_MANIFEST_BYTES + 1)
    with pytest.raises(BundleError, match="larger than"):
        Bundle.open(folder)


@pytest.mark.parametrize("key", ["id", "image", "graphs", "rank", "files"])
def test_a_missing_key_is_named(folder: Path, key: str) -> None:
    edit(folder, lambda content: content.pop(key))
    with pytest.raises(BundleError, match=f"lacks {key}"):
        Bundle.open(folder)


def test_a_missing_inner_key_is_named_with_its_place(folder: Path) -> None:
    edit(folder, lambda content: content["audio"].pop("hop"))
    with pytest.raises(BundleError, match=r"lacks audio\.hop"):
        Bundle.open(folder)


def test_an_unknown_key_is_named(folder: Path) -> None:
    edit(folder, lambda content: content["image"].update(colour="red"))
    with pytest.raises(BundleError, match=r"unknown image\.colour"):
        Bundle.open(folder)


WRONG = {
    "embedding_size must be a whole number": lambda c: c.update(embedding_size="4"),
    "embedding_size must be a whole number, not True": lambda c: c.update(embedding_size=True),
    "id must be a text": lambda c: c.update(id=7),
    "image must be an object": lambda c: c.update(image=[]),
    r"image\.mean must hold 3 values": lambda c: c["image"].update(mean=[0.5, 0.5]),
    r"image\.mean\[1\] must be a number": lambda c: c["image"].update(mean=[0.5, "x", 0.5]),
    r"image\.grey must be true or false": lambda c: c["image"].update(grey=1),
    r"image\.resize must be one of pil": lambda c: c["image"].update(resize="nearest"),
    r"audio\.floor_db must be a number": lambda c: c["audio"].update(floor_db="-90"),
    r"labels\.mood\.names must be a list": lambda c: c["labels"]["mood"].update(names="Happy"),
    r"graphs\.image\.fp32\.input must be a text": lambda c: c["graphs"]["image"]["fp32"].update(input=None),
    "a size is not positive": lambda c: c["audio"].update(hop=0),
    "a std not positive": lambda c: c["image"].update(std=[0.2, 0.0, 0.2]),
    "logit_scales must name": lambda c: c["logit_scales"].pop("audio_text"),
    "weight of rank": lambda c: c["rank"].update(text_weight=1.5),
    "tower 'smell' is unknown": lambda c: c["graphs"].update(smell=c["graphs"]["image"]),
    "precision not among": lambda c: c["graphs"]["image"].update(fp8=c["graphs"]["image"]["fp32"]),
    "has no graph": lambda c: c["graphs"].update(image={}),
    "lacks a name or prompt": lambda c: c["labels"]["mood"]["prompts"].pop(),
    "the id is empty": lambda c: c.update(id="a\nb"),
    "SHA-256 of labels.npz is none": lambda c: c["files"]["labels.npz"].update(sha256="xyz"),
    "size of labels.npz is beyond": lambda c: c["files"]["labels.npz"].update(bytes=-1),
    "does not list labels.npz": lambda c: c["files"].pop("labels.npz"),
    "does not list frontend.npz": lambda c: c["graphs"].update(audio=c["graphs"]["image"]),
    "does not list merges.txt.gz": lambda c: c["graphs"].update(text=c["graphs"]["image"]),
    "does not list x.onnx": lambda c: c["graphs"]["image"]["fp32"].update(file="x.onnx"),
}


@pytest.mark.parametrize("problem", WRONG)
def test_a_value_that_cannot_be_is_named(folder: Path, problem: str) -> None:
    edit(folder, WRONG[problem])
    with pytest.raises(BundleError, match=problem):
        Bundle.open(folder)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.data())
def test_any_value_in_any_place_is_read_or_refused_by_name(data: st.DataObject) -> None:
    content = copy.deepcopy(PLAIN)
    place: Any = content
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        place = inner
    place[key] = data.draw(JSON_VALUES)
    try:
        read = manifest_from_json(json.dumps(content))
    except BundleError:  # any other error would be a fault
        return
    assert manifest_from_json(manifest_to_json(read)) == read


FACTS = FileFacts(1, "0" * 64)
PLAIN = json.loads(manifest_to_json(manifest(files={"image.fp32.onnx": FACTS, "labels.npz": FACTS})))


# -- hashes once ------------------------------------------------------------------------------------------------------


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read to be hashed, in order."""
    names: list[str] = []
    original = FileFacts.of.__func__  # type: ignore[attr-defined]

    def of(cls: type[FileFacts], path: Path) -> FileFacts:
        names.append(path.name)
        facts: FileFacts = original(cls, path)
        return facts

    monkeypatch.setattr(FileFacts, "of", classmethod(of))
    return names


def test_only_files_that_are_used_are_hashed_and_only_once(folder: Path, hashed: list[str]) -> None:
    bundle = Bundle.open(folder)
    assert hashed == []
    bundle.path("image.fp32.onnx")
    bundle.path("image.fp32.onnx")
    Bundle.open(folder).path("image.fp32.onnx")
    assert hashed == ["image.fp32.onnx"]


def test_a_file_with_another_time_is_hashed_again(folder: Path, hashed: list[str]) -> None:
    Bundle.open(folder).path("image.fp32.onnx")
    os.utime(folder / "image.fp32.onnx", ns=(1, 1))
    Bundle.open(folder).path("image.fp32.onnx")
    assert hashed == ["image.fp32.onnx"] * 2


def test_another_expected_hash_is_never_taken_from_the_cache(folder: Path) -> None:
    Bundle.open(folder).path("image.fp32.onnx")
    edit(folder, lambda content: content["files"]["image.fp32.onnx"].update(sha256="0" * 64))
    with pytest.raises(BundleError, match="is damaged"):
        Bundle.open(folder).path("image.fp32.onnx")


def test_without_a_writable_cache_every_opening_hashes(folder: Path, cache: Path, hashed: list[str]) -> None:
    cache.write_text("a file where the folder should be")
    for _ in range(2):
        Bundle.open(folder).path("image.fp32.onnx")
    assert hashed == ["image.fp32.onnx"] * 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"image.fp32.onnx": 1}', "\udcff"])
def test_a_damaged_cache_is_ignored_and_mended(folder: Path, cache: Path, hashed: list[str], content: str) -> None:
    Bundle.open(folder).path("image.fp32.onnx")
    (stored,) = (cache / "verified").iterdir()
    stored.write_text(content, encoding="utf-8", errors="surrogateescape")
    Bundle.open(folder).path("image.fp32.onnx")
    Bundle.open(folder).path("image.fp32.onnx")
    assert hashed == ["image.fp32.onnx"] * 2


def test_the_cache_is_per_bundle(folder: Path, tmp_path: Path) -> None:
    known_files.KnownFiles(folder).add("image.fp32.onnx", folder / "image.fp32.onnx", "a")
    other = known_files.KnownFiles(tmp_path)
    assert not other.has("image.fp32.onnx", folder / "image.fp32.onnx", "a")


# -- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"mood": np.zeros((6, SIZE), np.float32)}, "mood is not float32"),
        ({"mood": np.zeros((7, SIZE))}, "mood is not float32"),
        ({"mood": np.full((7, SIZE), np.nan, np.float32)}, "mood is not float32"),
        ({"calibration_image": np.zeros((2, 6), np.float32)}, "calibration_image is not"),
        ({"directions_image": np.zeros((6, SIZE), np.float32)}, "directions_image is not"),
        ({"reference_image": np.zeros((3, SIZE + 1), np.float32)}, "reference_image is not"),
        ({"mood": None}, "lacks the label set mood"),
        ({"mood": np.array([{}], object)}, "cannot read"),
        ({"mood": np.float32(1)}, "mood is not float32"),
    ],
)
def test_labels_that_do_not_fit_are_refused(folder: Path, changes: dict[str, Any], problem: str) -> None:
    save_labels(folder, **changes)
    write_manifest(folder)
    with pytest.raises(BundleError, match=problem):
        Bundle.open(folder).labels()


def test_a_label_file_that_is_no_archive_is_refused(folder: Path) -> None:
    (folder / "labels.npz").write_bytes(b"PK\x03\x04 but not really")
    write_manifest(folder)
    with pytest.raises(BundleError, match="cannot read"):
        Bundle.open(folder).labels()


# -- graphs with data elsewhere ---------------------------------------------------------------------------------------

EXTERNAL = {
    "a weight": message(7, message(5, WEIGHTS, varint(14, 1))),
    "a weight that only names a file": message(7, message(5, message(13, b"path"))),
    "a constant": message(7, message(1, message(5, message(5, varint(14, 1))))),
    "a list of constants": message(7, message(1, message(5, message(10, varint(14, 1))))),
    "a branch": message(7, message(1, message(5, message(6, message(5, varint(14, 1)))))),
    "one of several branches": message(7, message(1, message(5, message(11, message(5, varint(14, 1)))))),
    "a sparse weight": message(7, message(15, message(1, varint(14, 1)))),
    "a function": GRAPH + message(25, message(7, message(5, message(5, varint(14, 1))))),
}


@pytest.mark.parametrize("place", EXTERNAL)
def test_a_graph_with_data_in_another_file_is_refused(folder: Path, place: str) -> None:
    (folder / "image.fp32.onnx").write_bytes(EXTERNAL[place])
    write_manifest(folder)
    with pytest.raises(BundleError, match="keeps weights in another file"):
        Bundle.open(folder).path("image.fp32.onnx")


def test_a_graph_of_its_own_data_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "g.onnx").write_bytes(GRAPH)
    assert has_external_data(tmp_path / "g.onnx") is False


@pytest.mark.parametrize("content", [b"", b"\x08\x09", b"no protobuf", GRAPH[:-1], b"\x3a\xff", b"\x3a" + b"\xff" * 11])
def test_what_is_no_graph_is_refused(folder: Path, content: bytes) -> None:
    (folder / "image.fp32.onnx").write_bytes(content)
    write_manifest(folder)
    with pytest.raises(BundleError, match="is not an ONNX graph"):
        Bundle.open(folder).path("image.fp32.onnx")


@given(content=st.binary(max_size=64))
def test_any_bytes_are_scanned_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / hashlib.sha256(content).hexdigest()
    path.write_bytes(content)
    with contextlib.suppress(ValueError):  # any other error would be a fault
        assert has_external_data(path) in (True, False)
    path.unlink()
