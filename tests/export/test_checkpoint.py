"""Weights from files: what is accepted, and how everything else is refused."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mmr_export.checkpoint import build, load_checkpoint
from mmr_export.model import PRESETS, AudioCLIP, AudioConfig, ImageConfig, ModelConfig, TextConfig
from mmr_runtime.errors import CheckpointError
from mmr_runtime.limits import MAX_ERROR_NAMES

TINY = ModelConfig(
    embedding_size=12,
    image=ImageConfig(height=32, width=32, channels=8, layers=(1, 1, 1, 1)),
    text=TextConfig(context=9, vocab=40, width=16, heads=2, layers=2),
    audio=AudioConfig(
        n_fft=64, win_length=50, hop=17, stem=6, planes=(8, 8, 16, 16), layers=(1, 1, 1, 1), groups=2, base_width=8
    ),
)
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    torch.manual_seed(0)
    return dict(AudioCLIP(TINY).state_dict())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which `best.*` is described as a tiny model."""
    describe(tmp_path, config=TINY.to_dict())
    return tmp_path


def describe(folder: Path, **metadata: Any) -> None:
    (folder / "best.json").write_text(json.dumps(metadata))


def save(content: Any, folder: Path, name: str = "best.pt") -> Path:
    path = folder / name
    torch.save(content, path)
    return path


def image_and_text(state: State) -> State:
    return {k: v for k, v in state.items() if not k.startswith(("audio.", "logit_scale_"))}


def audio_only(state: State) -> State:
    return {k.removeprefix("audio."): v for k, v in state.items() if k.startswith("audio.")}


def same(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


def save_archive(state: State, path: Path) -> None:
    """Write a TorchScript archive with this state, the form in which OpenAI publishes CLIP."""
    root = nn.Module()
    for name, value in state.items():
        *parents, leaf = name.split(".")
        module = root
        for part in parents:
            if part not in dict(module.named_children()):
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        module.register_buffer(leaf, value)
    root.forward = lambda x: x
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(root, torch.zeros(1)), path)  # type: ignore[no-untyped-call]


# ----- accepted -----

WRAPPERS: dict[str, Callable[[State], Any]] = {
    "raw": lambda s: s,
    "data parallel": lambda s: {f"module.{k}": v for k, v in s.items()},
    "state_dict": lambda s: {"state_dict": s, "epoch": 3, "optimizer": {"lr": 0.1}},
    "model": lambda s: {"model": {f"module.{k}": v for k, v in s.items()}, "step": torch.tensor(4)},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_state_dict_in_any_wrapper(folder: Path, state: State, wrapper: str) -> None:
    path = save(WRAPPERS[wrapper](state), folder)
    checkpoint = load_checkpoint(path)
    assert same(checkpoint.state, state)
    assert checkpoint.parts == {"image", "text", "audio"}
    assert checkpoint.config == TINY
    assert checkpoint.notes == ()
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    model = build(checkpoint)
    assert not model.training
    assert same(dict(model.state_dict()), state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_float32(folder: Path, state: State, dtype: torch.dtype) -> None:
    cast = {k: v.to(dtype) for k, v in state.items()}  # the batch counters, too
    checkpoint = load_checkpoint(save(cast, folder))
    assert same(checkpoint.state, {k: v.to(state[k].dtype) for k, v in cast.items()})


def test_safetensors_whatever_its_suffix(folder: Path, state: State) -> None:
    for name in ("best.safetensors", "best.pt"):
        save_file(state, folder / name)
        assert same(load_checkpoint(folder / name).state, state)


def test_legacy_pytorch_file(folder: Path, state: State) -> None:
    torch.save(state, folder / "best.pt", _use_new_zipfile_serialization=False)
    assert same(load_checkpoint(folder / "best.pt").state, state)


@pytest.mark.parametrize("form", ["plain", "archive"])
def test_clip_gives_image_and_text(folder: Path, state: State, form: str) -> None:
    extras = {name: torch.tensor(7) for name in ("input_resolution", "context_length", "vocab_size")}
    clip = image_and_text(state) | extras
    path = folder / "best.pt"
    if form == "plain":
        torch.save(clip | {"context_length": 77}, path)
    else:
        save_archive(clip, path)
    checkpoint = load_checkpoint(path)
    assert checkpoint.parts == {"image", "text"}
    assert same({k: checkpoint.state[k] for k in image_and_text(state)}, image_and_text(state))
    assert len(checkpoint.notes) == 2  # the two audio scales
    built = build(checkpoint).state_dict()
    assert torch.equal(built["text_projection"], state["text_projection"])


def test_published_clip_is_recognised_without_description(tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = image_and_text(dict(AudioCLIP(PRESETS["audioclip"]).state_dict()))
    half = {k: torch.ones((), dtype=torch.float16).expand(v.shape) for k, v in shapes.items()}  # tiny on disk
    checkpoint = load_checkpoint(save(half, tmp_path))
    assert checkpoint.config == PRESETS["audioclip"]
    assert checkpoint.parts == {"image", "text"}
    assert checkpoint.image_spec().resize == "pil"


def test_esresnext_gives_audio(folder: Path, state: State) -> None:
    checkpoint = load_checkpoint(save(audio_only(state), folder))
    assert checkpoint.parts == {"audio"}
    assert torch.equal(build(checkpoint).audio.fc.weight, state["audio.fc.weight"])


def test_esresnext_classifier_keeps_its_outputs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AudioCLIP(replace(PRESETS["small"], embedding_size=50))
    weights = dict(model.audio.state_dict())
    checkpoint = load_checkpoint(save(weights, tmp_path))
    assert checkpoint.config == replace(PRESETS["small"], embedding_size=50)
    samples = torch.randn(1, 1, 20000) * 1000
    with torch.no_grad():
        torch.testing.assert_close(build(checkpoint).encode_audio(samples), model.eval().encode_audio(samples))


def test_small_preset_is_recognised_by_its_shapes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    checkpoint = load_checkpoint(save(dict(AudioCLIP(PRESETS["small"]).state_dict()), tmp_path))
    assert checkpoint.config == PRESETS["small"]
    assert checkpoint.metadata == {}
    image = checkpoint.image_spec()
    small = PRESETS["small"].image
    assert (image.height, image.width, image.resize, image.mean) == (small.height, small.width, "page", (0.5, 0.5, 0.5))
    assert checkpoint.audio_spec().floor_db == PRESETS["small"].audio.floor_db
    assert checkpoint.audio_spec().frames == 392


def test_missing_counters_and_scales_get_defaults_with_a_note(folder: Path, state: State) -> None:
    less = {k: v for k, v in state.items() if "num_batches_tracked" not in k and not k.startswith("logit_scale")}
    checkpoint = load_checkpoint(save(less, folder))
    counters = sum("num_batches_tracked" in k for k in state)
    assert checkpoint.notes[0] == f"{counters} batch counters were missing and are 0"
    assert [note.split()[0] for note in checkpoint.notes[1:]] == ["logit_scale", "logit_scale_ai", "logit_scale_at"]
    assert checkpoint.state["logit_scale_at"].item() == pytest.approx(math.log(100))
    assert checkpoint.state["audio.bn1.num_batches_tracked"].dtype == torch.int64


def test_description_beside_the_checkpoint(tmp_path: Path, state: State) -> None:
    image = {"resize": "tensor", "mean": [0.1, 0.2, 0.3], "grey": True}
    describe(tmp_path, config=TINY.to_dict(), id="mine", image=image, audio={"amplitude": "unit", "floor_db": -80})
    checkpoint = load_checkpoint(save(state, tmp_path))
    assert checkpoint.metadata["id"] == "mine"
    spec = checkpoint.image_spec()
    assert (spec.resize, spec.mean, spec.grey, spec.height) == ("tensor", (0.1, 0.2, 0.3), True, 32)
    audio = checkpoint.audio_spec()
    assert (audio.amplitude, audio.floor_db, audio.hop) == ("unit", -80, 17)


# ----- refused -----


def refusal(path: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return caught.value


def test_no_such_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "best.pt").message


NOT_CHECKPOINTS = [b"", b"hello, world, this is a text", b"\x80\x02junk", b"\x10" + bytes(7) + b"{" + bytes(40)]


@pytest.mark.parametrize("content", NOT_CHECKPOINTS)
def test_not_a_checkpoint(folder: Path, content: bytes) -> None:
    (folder / "best.pt").write_bytes(content)
    assert "best.pt" in refusal(folder / "best.pt").message


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_truncated(folder: Path, state: State, kind: str, share: float) -> None:
    path = folder / "best.pt"
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    refusal(path)


class Trap:
    """What a hostile pickle does when it is opened."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_code_in_a_pickle_is_not_run(folder: Path, state: State, form: str) -> None:
    sprung, path = folder / "sprung", folder / "best.pt"
    if form == "torch":
        torch.save(state | {"trap": Trap(sprung)}, path)
    else:
        path.write_bytes(pickle.dumps(Trap(sprung), protocol=2))
    assert "Python objects" in refusal(path).message
    assert not sprung.exists()


def test_pickled_model_object_is_refused_with_the_way_out(folder: Path) -> None:
    torch.save(nn.Linear(2, 2), folder / "best.pt")
    assert "state_dict()" in refusal(folder / "best.pt").hint


def test_missing_and_unexpected_names_are_listed(folder: Path, state: State) -> None:
    wrong = {k: v for k, v in state.items() if k != "audio.fc.bias"} | {"visual.extra": torch.zeros(2)}
    message = refusal(save(wrong, folder)).message
    assert "1 missing: audio.fc.bias" in message
    assert "1 unexpected: visual.extra" in message


def test_a_foreign_prefix_loads_nothing_in_silence(folder: Path, state: State) -> None:
    message = refusal(save({f"net.{k}": v for k, v in state.items()}, folder)).message
    assert f"{len(state)} unexpected" in message
    assert message.count("net.") == MAX_ERROR_NAMES
    assert f"and {len(state) - MAX_ERROR_NAMES} more" in message


@pytest.mark.parametrize("lost", ["transformer.", "visual."])
def test_a_lost_tower_is_missing(folder: Path, state: State, lost: str) -> None:
    names = [k for k in state if k.startswith(lost) and "num_batches_tracked" not in k]
    less = {k: v for k, v in state.items() if not k.startswith(lost)}
    assert f"{len(names)} missing: {lost}" in refusal(save(less, folder)).message


def test_wrong_shape_says_both(folder: Path, state: State) -> None:
    message = refusal(save(state | {"ln_final.bias": torch.zeros(3, 5)}, folder)).message
    assert "1 wrong shape: ln_final.bias 3x5 instead of 16" in message


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64])
def test_wrong_type_is_named(folder: Path, state: State, dtype: torch.dtype) -> None:
    message = refusal(save(state | {"ln_final.bias": torch.zeros(16, dtype=dtype)}, folder)).message
    assert f"ln_final.bias {str(dtype).removeprefix('torch.')}" in message


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_named(folder: Path, state: State, value: float) -> None:
    broken = state["audio.conv1.weight"].clone()
    broken[0, 0, 0, 0] = value
    assert (
        "1 tensors hold NaN or infinity: audio.conv1.weight"
        in refusal(save(state | {"audio.conv1.weight": broken}, folder)).message
    )


def test_negative_bandwidth_would_make_nan(folder: Path, state: State) -> None:
    assert "audio.fbsp.fb" in refusal(save(state | {"audio.fbsp.fb": -state["audio.fbsp.fb"]}, folder)).message


@pytest.mark.parametrize("content", [[1, 2], {}, {"state_dict": {}}, {1: torch.zeros(2)}, torch.zeros(3)])
def test_a_file_without_names(folder: Path, content: Any) -> None:
    assert "no weights by name" in refusal(save(content, folder)).message


def test_values_that_are_no_tensors_are_named(folder: Path, state: State) -> None:
    assert "not tensors: epoch" in refusal(save(state | {"epoch": 3}, folder)).message


def test_unknown_sizes_ask_for_a_description(tmp_path: Path, state: State) -> None:
    error = refusal(save(state, tmp_path))
    assert "known model" in error.message
    assert "best.json" in error.hint


@pytest.mark.parametrize(
    "text",
    [
        "{", "[1]", "\ud800", '{"config": {"image": 3}}', '{"config": {"embedding_size": "many"}}',
        '{"image": {"colour": 1}}', '{"image": [1]}', '{"image": {"height": "tall"}}', '{"audio": {"floor_db": "x"}}',
    ],
)  # fmt: skip
def test_a_wrong_description_is_refused(tmp_path: Path, state: State, text: str) -> None:
    path = save(state, tmp_path)
    values = text if text[:2] != '{"' or "config" in text else text[:-1] + f', "config": {json.dumps(TINY.to_dict())}}}'
    (tmp_path / "best.json").write_text(values, encoding="utf-8", errors="surrogatepass")
    refusal(path)
