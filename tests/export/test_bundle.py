"""A checkpoint becomes a bundle: whole, proven, the same each time, or not at all."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmr_export import bundle as export_bundle
from mmr_export.bundle import ExportOptions, one_minus_cosine, write_bundle
from mmr_export.checkpoint import Checkpoint, load_checkpoint
from mmr_export.labels import read_labels
from mmr_runtime.bundle import Bundle, LabelSet, Manifest, RankSpec
from mmr_runtime.engine import Engine
from mmr_runtime.errors import BundleError, CheckpointError, ExportError, UsageError
from mmr_runtime.moods import GENRES, MOODS

FILES = {
    "MERGES_NOTICE.txt",
    "MODEL_CARD.md",
    "audio.fp32.onnx",
    "frontend.npz",
    "image.fp32.onnx",
    "labels.npz",
    "manifest.json",
    "merges.txt.gz",
    "text.fp32.onnx",
}

pytestmark = pytest.mark.usefixtures("made_graphs")


def with_metadata(checkpoint: Checkpoint, **metadata: Any) -> Checkpoint:
    return replace(checkpoint, metadata={**checkpoint.metadata, **metadata})


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def written(tiny: Checkpoint, tmp_path: Path) -> Path:
    write_bundle(tiny, tmp_path / "out")
    return tmp_path / "out"


# -- what is written --------------------------------------------------------------------------------------------------


def test_the_bundle_holds_exactly_what_its_manifest_lists(written: Path) -> None:
    bundle = Bundle.open(written)
    assert set(content(written)) == FILES == {*bundle.manifest.files, "manifest.json"}
    for name in bundle.manifest.files:
        bundle.path(name)  # verifies the hash


def test_the_manifest_says_what_the_model_is(written: Path, tiny: Checkpoint) -> None:
    manifest = Bundle.open(written).manifest
    assert manifest.embedding_size == 12
    assert manifest.model == tiny.config.to_dict() | json.loads(json.dumps(tiny.config.to_dict()))
    assert manifest.image == tiny.image_spec()
    assert manifest.audio == tiny.audio_spec()
    assert manifest.logit_scales["audio_text"] == pytest.approx(100)
    assert manifest.source["sha256"] == tiny.sha256
    assert set(manifest.graphs) == {"image", "text", "audio"}
    assert all(set(graphs) == {"fp32"} for graphs in manifest.graphs.values())
    assert {"mmr", "torch", "onnx", "onnxruntime"} == set(manifest.versions)


def test_every_graph_is_proven_against_pytorch(written: Path) -> None:
    proof = Bundle.open(written).manifest.quality["proof"]
    assert set(proof) == {"image", "text", "audio"}
    assert all(0 <= tower["one_minus_cosine"] < 1e-6 and tower["inputs"] == 6 for tower in proof.values())
    assert proof["audio"]["end_to_end"] < 1e-3


def test_labels_are_what_the_engine_says_of_their_prompts(written: Path) -> None:
    with Engine.open(written, device="cpu", threads=1) as engine:
        labels = engine.bundle.manifest.labels
        assert labels["mood"].names == MOODS
        assert labels["genre"].names == GENRES
        for name in ("mood", "genre"):
            wanted = engine.embed_texts(labels[name].prompts)
            assert max(map(one_minus_cosine, engine.label_vectors(name), wanted)) < 1e-6


def test_the_engine_embeds_with_all_three_towers(written: Path) -> None:
    with Engine.open(written, device="cpu", threads=1) as engine:
        page = engine.embed_images([np.zeros((64, 48), np.uint8)])
        sound = engine.embed_samples(np.zeros((1, 4000), np.float32))
    assert page.shape == sound.shape == (1, 12)


def test_the_same_checkpoint_gives_the_same_bytes(written: Path, tiny: Checkpoint, tmp_path: Path) -> None:
    write_bundle(tiny, tmp_path / "again")
    assert content(tmp_path / "again") == content(written)


def test_progress_is_told_step_by_step(tiny: Checkpoint, tmp_path: Path) -> None:
    steps: list[tuple[int, int, str]] = []
    write_bundle(tiny, tmp_path / "out", progress=lambda *step: steps.append(step))
    assert [step[0] for step in steps] == list(range(5))
    assert {step[1] for step in steps} == {5}
    assert "audio tower, fp32" in [step[2] for step in steps]


def test_the_merges_table_lies_beside_its_notice(written: Path) -> None:
    assert gzip.decompress((written / "merges.txt.gz").read_bytes()).count(b"\n") == 48_894
    assert "MIT License" in (written / "MERGES_NOTICE.txt").read_text()


# -- parts of a model -------------------------------------------------------------------------------------------------


def part(checkpoint: Checkpoint, *towers: str) -> Checkpoint:
    return replace(checkpoint, parts=frozenset(towers))


def test_image_and_text_alone_make_a_bundle_without_front_end(tiny: Checkpoint, tmp_path: Path) -> None:
    manifest = write_bundle(part(tiny, "image", "text"), tmp_path / "out")
    assert set(manifest.graphs) == {"image", "text"}
    assert "frontend.npz" not in manifest.files
    with Engine.open(tmp_path / "out", device="cpu") as engine, pytest.raises(BundleError, match="no audio tower"):
        engine.embed_samples(np.zeros((1, 4000), np.float32))


def test_audio_alone_makes_a_bundle_without_labels_and_merges(tiny: Checkpoint, tmp_path: Path) -> None:
    manifest = write_bundle(part(tiny, "audio"), tmp_path / "out")
    assert set(content(tmp_path / "out")) == {"MODEL_CARD.md", "audio.fp32.onnx", "frontend.npz", "manifest.json"}
    assert manifest.labels == {}
    assert Bundle.open(tmp_path / "out").labels() == {}


def test_labels_need_a_text_tower(tiny: Checkpoint, tmp_path: Path) -> None:
    options = ExportOptions(labels={"weather": LabelSet(("rain",), ("rain",))})
    with pytest.raises(UsageError, match="no text tower"):
        write_bundle(part(tiny, "audio"), tmp_path / "out", options)


# -- choices ----------------------------------------------------------------------------------------------------------


def test_conventions_can_be_chosen_and_change_the_id(written: Path, tiny: Checkpoint, tmp_path: Path) -> None:
    options = ExportOptions(amplitude="unit", resize="tensor")
    manifest = write_bundle(tiny, tmp_path / "other", options)
    assert (manifest.audio.amplitude, manifest.image.resize) == ("unit", "tensor")
    assert manifest.id != Bundle.open(written).manifest.id
    assert manifest.quality["proof"]["audio"]["end_to_end"] < 1e-3  # the proof follows the convention


def test_own_labels_join_the_default_ones(tiny: Checkpoint, tmp_path: Path) -> None:
    weather = LabelSet(("rain", "snow"), ("rainy day music", "snow"))
    manifest = write_bundle(tiny, tmp_path / "out", ExportOptions(labels={"weather": weather}))
    assert set(manifest.labels) == {"mood", "genre", "weather"}
    assert Bundle.open(tmp_path / "out").labels()["weather"].shape == (2, 12)


METADATA: dict[str, Any] = {
    "id": "mine",
    "licence": "CC0-1.0",
    "card": "# Mine\nIt was trained on nothing.",
    "image": {"resize": "tensor"},
    "rank": {"form": "blend", "temperature": 2.5},
    "calibration": {"image": [[0.1] * 7, [0.2] * 7]},
    "reference": {"image": [[1.0] + [0.0] * 11] * 3},
    "labels": {"weather": ["rain"]},
}


def test_a_trained_checkpoint_needs_no_flags(tiny: Checkpoint, tmp_path: Path) -> None:
    manifest = write_bundle(with_metadata(tiny, **METADATA), tmp_path / "out")
    assert manifest.id.startswith("mine-")
    assert manifest.licence == "CC0-1.0"
    assert manifest.image.resize == "tensor"
    assert manifest.rank == RankSpec(form="blend", temperature=2.5)
    assert (tmp_path / "out" / "MODEL_CARD.md").read_text() == METADATA["card"] + "\n"
    labels = Bundle.open(tmp_path / "out").labels()
    assert np.allclose(labels["calibration_image"], [[0.1] * 7, [0.2] * 7])
    assert labels["reference_image"].shape == (3, 12)
    assert labels["weather"].shape == (1, 12)


@pytest.mark.parametrize(
    ("metadata", "error", "problem"),
    [
        ({"rank": {"colour": 1}}, CheckpointError, "`rank` cannot be"),
        ({"rank": {"form": "best"}}, BundleError, "rank.form must be one of"),
        ({"rank": []}, CheckpointError, "`rank` must be an object"),
        ({"calibration": {"image": [[1, 2]]}}, CheckpointError, "`calibration.image` is not an array"),
        ({"calibration": {"image": "x"}}, CheckpointError, "`calibration.image` is not an array"),
        ({"reference": {"image": [[1, 2, 3]]}}, CheckpointError, "`reference.image` is not an array"),
        ({"card": 3}, CheckpointError, "`card` is no text"),
        ({"labels": []}, UsageError, "must hold label sets"),
    ],
)
def test_metadata_that_cannot_be_is_refused(
    tiny: Checkpoint, tmp_path: Path, metadata: dict[str, Any], error: type[Exception], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        write_bundle(with_metadata(tiny, **metadata), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precisions", [(), ("fp8",), ("fp32", "")])
def test_an_unknown_precision_is_refused(tiny: Checkpoint, tmp_path: Path, precisions: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="unknown precision"):
        write_bundle(tiny, tmp_path / "out", ExportOptions(precisions=precisions))


def test_a_calibration_folder_must_be_one(tiny: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        write_bundle(tiny, tmp_path / "out", ExportOptions(calibration=tmp_path / "none"))


# -- label files ------------------------------------------------------------------------------------------------------


def test_labels_come_from_toml_and_json(tmp_path: Path) -> None:
    (tmp_path / "l.toml").write_text('place = ["sea", "town"]\n[weather]\nrain = "rainy day music"\n')
    (tmp_path / "l.json").write_text('{"place": ["sea", "town"], "weather": {"rain": "rainy day music"}}')
    wanted = {
        "place": LabelSet(("sea", "town"), ("sea", "town")),
        "weather": LabelSet(("rain",), ("rainy day music",)),
    }
    assert read_labels(tmp_path / "l.toml") == read_labels(tmp_path / "l.json") == wanted


def test_moods_may_get_other_prompts_but_stay_the_seven_in_their_order(tmp_path: Path) -> None:
    prompts = {mood: f"{mood} tune" for mood in reversed(MOODS)}
    (tmp_path / "l.json").write_text(json.dumps({"mood": prompts}))
    assert read_labels(tmp_path / "l.json")["mood"].names == MOODS
    assert read_labels(tmp_path / "l.json")["mood"].prompts[0] == "Happy tune"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not JSON"),
        ("[1]", "must hold label sets"),
        ('{"Weather!": ["rain"]}', "cannot be the name"),
        ('{"calibration_image": ["rain"]}', "cannot be the name"),
        ('{"weather": []}', "holds no names"),
        ('{"weather": "rain"}', "holds no names"),
        ('{"weather": {"rain": 1}}', "no name with a prompt"),
        ('{"weather": {" ": "rain"}}', "no name with a prompt"),
        ('{"mood": ["Happy"]}', "must have exactly"),
    ],
)
def test_a_label_file_that_cannot_be_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "l.json").write_text(text)
    with pytest.raises(UsageError, match=problem):
        read_labels(tmp_path / "l.json")


def test_a_missing_label_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"l\.toml cannot be read"):
        read_labels(tmp_path / "l.toml")


# -- whole or not at all ----------------------------------------------------------------------------------------------


def test_an_existing_bundle_is_kept(written: Path, tiny: Checkpoint) -> None:
    before = content(written)
    with pytest.raises(UsageError, match="exists already") as caught:
        write_bundle(tiny, written)
    assert "--force" in caught.value.hint
    assert content(written) == before


def test_force_replaces_a_bundle_and_leaves_nothing_else(written: Path, tiny: Checkpoint) -> None:
    (written / "audio.fp32.onnx").write_bytes(b"broken")
    write_bundle(tiny, written, ExportOptions(force=True))
    Bundle.open(written).path("audio.fp32.onnx")
    assert [path.name for path in written.parent.iterdir()] == [written.name]


def test_force_never_replaces_what_is_no_bundle(tiny: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is not a bundle"):
        write_bundle(tiny, tmp_path / "thesis", ExportOptions(force=True))
    assert (tmp_path / "thesis" / "chapter1.txt").is_file()


@pytest.mark.parametrize(
    "failure", [KeyboardInterrupt(), ExportError("no", "hint"), OSError(errno.ENOSPC, "disk full")]
)
def test_a_failure_in_the_middle_leaves_nothing(
    tiny: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(export_bundle, "_flush", fail)
    with pytest.raises(ExportError if isinstance(failure, OSError) else type(failure)):
        write_bundle(tiny, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_in_the_last_rename_brings_the_old_bundle_back(
    written: Path, tiny: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, rename = content(written), Path.rename

    def fail(self: Path, target: Path) -> Path:
        if Path(target) == written and self.name != written.name:
            raise OSError(errno.EIO, "input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(ExportError, match="input/output error"):
        write_bundle(tiny, written, ExportOptions(force=True))
    assert content(written) == before
    assert [path.name for path in written.parent.iterdir()] == [written.name]


def test_everything_is_on_the_disk_before_the_rename(
    tiny: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    fsync = os.fsync

    def spy(handle: int) -> None:
        assert not (tmp_path / "out").exists()
        flushed.append(Path(f"/proc/self/fd/{handle}").resolve().name)
        fsync(handle)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("names of open files are read from /proc")
    monkeypatch.setattr(os, "fsync", spy)
    write_bundle(tiny, tmp_path / "out")
    assert set(flushed) >= FILES


def test_a_graph_that_differs_from_pytorch_is_not_written(
    tiny: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = export_bundle.encode

    def off(model: Any, tower: Any, x: torch.Tensor) -> torch.Tensor:
        vectors = encode(model, tower, x)
        return vectors + 0.01 * vectors.abs().max() * torch.arange(vectors.shape[1]) if tower == "text" else vectors

    monkeypatch.setattr(export_bundle, "encode", off)
    with pytest.raises(ExportError, match="the text graph differs from PyTorch"):
        write_bundle(tiny, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tiny: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        write_bundle(tiny, tmp_path / "file" / "out")


# -- the golden vectors -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden_bundle(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The bundle of the full-size stand-in weights; takes most of a minute and 1 GB of disk."""
    folder = tmp_path_factory.mktemp("golden")
    spec: dict[str, Any] = {"__name__": "fill"}
    exec(compile((golden / "fill.py").read_text(), "fill.py", "exec"), spec)
    arrays = spec["fill"](0, spec["read_tsv"](golden / "state_dict.tsv"))
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, folder / "best.pt")
    # Not through the fixture of ready graphs: these are made.
    with pytest.MonkeyPatch.context() as patch:
        from mmr_export.graphs import tower_graph

        patch.setattr(export_bundle, "tower_graph", tower_graph)
        manifest = write_bundle(load_checkpoint(folder / "best.pt"), folder / "out")
    (folder / "best.pt").unlink()
    with Engine.open(folder / "out", device="cpu", threads=1) as engine:
        yield engine, manifest
    shutil.rmtree(folder)


def worst(got: np.ndarray, wanted: np.ndarray) -> float:
    return max(map(one_minus_cosine, got, wanted))


def test_golden_pages_keep_their_vectors(golden: Path, golden_bundle: tuple[Engine, Manifest]) -> None:
    stored = np.load(golden / "images.npz")
    pages = [golden / "inputs" / f"{name}.png" for name in stored["names"]]
    assert worst(golden_bundle[0].embed_images(pages, spread="whole"), stored["image_embedding"]) < 1e-9


def test_golden_texts_keep_their_vectors(golden: Path, golden_bundle: tuple[Engine, Manifest]) -> None:
    stored = np.load(golden / "text.npz")["text_embedding"]
    texts = json.loads((golden / "inputs" / "texts.json").read_text(encoding="utf-8"))[: len(stored)]
    assert worst(golden_bundle[0].embed_texts(texts), stored) < 1e-9


def test_golden_sounds_keep_their_vectors(golden: Path, golden_bundle: tuple[Engine, Manifest]) -> None:
    import soundfile

    stored = np.load(golden / "audio.npz")["audio_embedding_int16"]
    # Clips 2 and 5 hold digital silence, whose quiet bins are rounding: the golden vectors' own bound.
    for clip, bound in ((0, 2e-5), (1, 2e-5), (2, 1e-2), (5, 1e-2)):
        (path,) = (golden / "inputs").glob(f"clip{clip}_*.wav")
        samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
        vector = golden_bundle[0].embed_samples(samples.mean(axis=1)[None])
        assert one_minus_cosine(vector, stored[clip]) < bound


def test_golden_scales_are_clamped_as_the_original_does(golden_bundle: tuple[Engine, Manifest]) -> None:
    scales = golden_bundle[1].logit_scales
    assert scales == pytest.approx({"image_text": 100.0, "audio_image": 24.5325, "audio_text": 54.5982}, rel=1e-5)
