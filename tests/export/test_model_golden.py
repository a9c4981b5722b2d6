"""The model against numbers computed with the public AudioCLIP code and stand-in weights (fill seed 0).

Bounds are those that the vectors' own page found fair; it measured them with other builds and summation orders.
"""

from __future__ import annotations

import importlib.util
import json
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mmr_export.frontend_fit import time_grid
from mmr_export.model import PRESETS, AudioCLIP, Output
from mmr_export.model.audioclip import contrastive_losses
from mmr_export.model.fbsp import Fbsp, norm_loss, normalise_gradients

IMAGE_BOUND = 2e-5  # relative L2
TEXT_BOUND = 5e-5
AUDIO_NETWORK_BOUND = 5e-5
MUSIC_BOUND = 2e-5  # 1 - cosine
ROUNDING_BOUND = 1e-2  # 1 - cosine, of clips that hold digital silence or constant stretches
ROUNDING_CLIPS = (2, 5)
LOGIT_BOUND = 100 * IMAGE_BOUND
LOSS_BOUND = 1e-4  # relative
AMPLITUDES = {"int16": 32768.0, "unit": 1.0}
STEPS = {"eval": 1e-2, "train": 5e-2}  # mode -> relative bound of gradient norms


@pytest.fixture(scope="module")
def weights(golden: Path) -> dict[str, Tensor]:
    spec = importlib.util.spec_from_file_location("golden_fill", golden / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    arrays = fill.fill(0, fill.read_tsv(str(golden / "state_dict.tsv")))
    return {name: torch.from_numpy(value) for name, value in arrays.items()}


@pytest.fixture(scope="module")
def model(weights: dict[str, Tensor]) -> Iterator[AudioCLIP]:
    model = AudioCLIP(PRESETS["audioclip"])
    model.load_state_dict(weights)
    with torch.no_grad():
        yield model.eval()


@pytest.fixture(scope="module")
def clips(golden: Path) -> list[NDArray[np.float32]]:
    """Six clips, float32 (channels, t), unit range."""
    clips = []
    for path in sorted((golden / "inputs").glob("*.wav")):
        with wave.open(str(path)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
        clips.append((samples.astype(np.float32) / np.float32(32768)).T)
    assert len(clips) == 6
    return clips


@pytest.fixture(scope="module")
def images(golden: Path) -> Tensor:
    """The six crops, normalised as CLIP does, float32 (6, 3, 224, 224)."""
    crops = torch.from_numpy(load(golden, "images")["crops_u8"]).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    return (crops - mean) / std


@pytest.fixture(scope="module")
def tokens(golden: Path) -> Tensor:
    text = load(golden, "text")
    return torch.from_numpy(text["tokens"][text["valid"]]).long()


@pytest.fixture(scope="module")
def embeddings(
    model: AudioCLIP, clips: list[NDArray[np.float32]], images: Tensor, tokens: Tensor
) -> dict[str, NDArray[np.float32]]:
    """Raw embeddings of all inputs by this model; audio at both amplitudes, each clip at its own length."""
    found = {"image": model.encode_image(images).numpy(), "text": model.encode_text(tokens).numpy()}
    for name, scale in AMPLITUDES.items():
        rows = [model.encode_audio(mono(clip, scale)[None])[0].numpy() for clip in clips]
        found[name] = np.stack(rows)
    return found


def load(golden: Path, name: str) -> dict[str, NDArray[np.float32]]:
    with np.load(golden / f"{name}.npz") as file:
        return dict(file)


def mono(clip: NDArray[np.float32], scale: float) -> Tensor:
    """The mean of the channels, (1, t)."""
    return torch.from_numpy(clip.mean(0, keepdims=True) * np.float32(scale))


def relative(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Largest relative L2 distance of rows."""
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    return float((np.linalg.norm(a - b, axis=-1) / np.linalg.norm(b, axis=-1)).max())


def one_minus_cosine(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    return float(1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


# ----- front end -----


def test_grid_and_window_are_exact(golden: Path, model: AudioCLIP) -> None:
    fbsp = load(golden, "fbsp")
    assert np.array_equal(time_grid(2048), fbsp["t"])
    fresh = AudioCLIP(PRESETS["small"]).audio.window
    assert np.array_equal(fresh.numpy(), fbsp["window"])


@pytest.mark.parametrize("which", ["init", "fill"])
def test_kernels(golden: Path, model: AudioCLIP, which: str) -> None:
    fbsp = load(golden, "fbsp")
    filters = Fbsp(2048).eval() if which == "init" else model.audio.fbsp
    kernel = filters.kernel().numpy()
    assert np.abs(kernel[fbsp["rows"]] - fbsp[f"kernel_{which}_rows"]).max() < 2e-7
    norms = np.linalg.norm(kernel.reshape(len(kernel), -1).astype(np.float64), axis=1)
    assert np.abs(norms - fbsp[f"{which}_norm_per_filter"]).max() < 1e-6
    if which == "fill":
        assert np.abs(np.abs(kernel).max((1, 2)) - fbsp["fill_absmax_per_filter"]).max() < 2e-7
        energy = (kernel[..., 1].astype(np.float64) ** 2).sum(1)
        assert np.abs(energy - fbsp["fill_imag_energy_per_filter"]).max() < 1e-6


@pytest.mark.parametrize("amplitude", AMPLITUDES)
def test_scaling_is_exact(golden: Path, model: AudioCLIP, clips: list[NDArray[np.float32]], amplitude: str) -> None:
    frontend = load(golden, "frontend")
    audio = model.audio
    samples = mono(clips[0], AMPLITUDES[amplitude])
    frames = audio.frames(samples)[0].numpy()
    scaled = frontend[f"fill_clip0_{amplitude}_scaled_first_2000"]
    # Frame 1 starts 561 samples on, of which 252 are padding.
    assert np.array_equal(frames[1], scaled[309 : 309 + 1654] * audio.window.numpy())


def test_first_and_last_frame(golden: Path, model: AudioCLIP, clips: list[NDArray[np.float32]]) -> None:
    frontend = load(golden, "frontend")
    frames = model.audio.frames(mono(clips[3], 32768.0))[0].numpy()
    assert np.abs(frames[0] - frontend["fill_clip3_int16_frame0_windowed"]).max() < 1e-7
    assert np.abs(frames[-1] - frontend["fill_clip3_int16_frame_last_windowed"]).max() < 1e-7


DB_IMAGES = [
    ("init", 0, "int16"), ("init", 0, "unit"), ("init", 3, "int16"), ("init", 3, "unit"), ("fill", 0, "int16"),
    ("fill", 0, "unit"), ("fill", 2, "int16"), ("fill", 2, "unit"), ("fill", 3, "int16"), ("fill", 3, "unit"),
]  # fmt: skip
STRIDES = {392: 1, 49: 8, 13: 32, 22: 1, 6: 4}  # frames kept -> every how many


@pytest.mark.parametrize(("which", "clip", "amplitude"), DB_IMAGES)
def test_db_images(
    golden: Path, model: AudioCLIP, clips: list[NDArray[np.float32]], which: str, clip: int, amplitude: str
) -> None:
    frontend = load(golden, "frontend")
    theirs = frontend[f"{which}_clip{clip}_{amplitude}_db"]
    kernel = Fbsp(2048).eval().kernel() if which == "init" else None
    whole = model.audio.db_image(mono(clips[clip], AMPLITUDES[amplitude]), kernel)[0].numpy()
    ours = whole[..., :: STRIDES[theirs.shape[-1]]]
    assert ours.shape == theirs.shape

    top = theirs.max((0, 1))
    apart, depth = np.abs(ours.astype(np.float64) - theirs), top - theirs
    amplitude_apart = np.abs(10 ** ((ours - top) / 20) - 10 ** ((theirs - top) / 20))
    assert amplitude_apart.max() <= 5e-6
    assert apart[depth <= 60].max() <= 0.01
    assert apart[depth <= 80].max() <= 0.1
    if clip not in ROUNDING_CLIPS:
        assert np.quantile(apart, 0.99) < 0.05
        stats = np.stack([f(whole.astype(np.float64), axis=(1, 2)) for f in (np.mean, np.std)], axis=1)
        assert np.abs(stats - frontend[f"{which}_clip{clip}_{amplitude}_db_stats_per_channel"][:, :2]).max() < 0.05


# ----- towers -----


def test_image_embeddings(golden: Path, embeddings: dict[str, NDArray[np.float32]]) -> None:
    assert relative(embeddings["image"], load(golden, "images")["image_embedding"]) <= IMAGE_BOUND


def test_text_embeddings(golden: Path, embeddings: dict[str, NDArray[np.float32]]) -> None:
    assert relative(embeddings["text"], load(golden, "text")["text_embedding"]) <= TEXT_BOUND


def test_text_embeddings_without_padding(golden: Path, model: AudioCLIP, tokens: Tensor) -> None:
    text = load(golden, "text")
    row = int(text["eot_position"].argmin())
    short = tokens[row : row + 1, : int(text["eot_position"][row]) + 1]
    assert relative(model.encode_text(short).numpy(), text["text_embedding"][row : row + 1]) <= TEXT_BOUND


@pytest.mark.parametrize("clip", [0, 3])
def test_audio_network_from_given_db(golden: Path, model: AudioCLIP, clip: int) -> None:
    db = torch.from_numpy(load(golden, "frontend")[f"fill_clip{clip}_int16_db"])[None]
    theirs = load(golden, "audio")["audio_embedding_int16"][clip]
    assert relative(model.encode_db(db)[0].numpy(), theirs) <= AUDIO_NETWORK_BOUND


@pytest.mark.parametrize("clip", range(6))
@pytest.mark.parametrize("amplitude", AMPLITUDES)
def test_audio_embeddings(golden: Path, embeddings: dict[str, NDArray[np.float32]], amplitude: str, clip: int) -> None:
    theirs = load(golden, "audio")[f"audio_embedding_{amplitude}"][clip]
    bound = ROUNDING_BOUND if clip in ROUNDING_CLIPS else MUSIC_BOUND
    assert one_minus_cosine(embeddings[amplitude][clip], theirs) <= bound


def test_audio_embedding_of_two_channels(golden: Path, model: AudioCLIP, clips: list[NDArray[np.float32]]) -> None:
    ours = model.encode_audio(torch.from_numpy(clips[0] * np.float32(32768))[None])[0].numpy()
    assert one_minus_cosine(ours, load(golden, "audio")["audio_embedding_clip0_stereo_int16"]) <= MUSIC_BOUND


def test_maps_between_the_layers(
    golden: Path, model: AudioCLIP, clips: list[NDArray[np.float32]], images: Tensor, tokens: Tensor
) -> None:
    """Mean, spread and largest value behind many layers: tells where a fault of a tower begins."""
    layers = load(golden, "layers")
    theirs = dict(zip(layers["names"].tolist(), layers["mean_std_absmax_shape"], strict=True))
    prefixes = {"audio[clip0,int16].": "audio.", "visual[6 images].": "visual.", "text[23].": ""}
    ours: dict[str, Tensor] = {}
    hooks = []
    for name in theirs:
        prefix = next((p for p in prefixes if name.startswith(p)), None)
        path = None if prefix is None else prefixes[prefix] + name.removeprefix(prefix)
        # The pools are functions here, and the last norm sees only the rows that are read.
        if path is None or path.endswith(("maxpool", "avgpool", "ln_final")):
            continue

        def keep(_module: object, _inputs: object, output: Tensor, name: str = name) -> None:
            ours[name] = output

        hooks.append(model.get_submodule(path).register_forward_hook(keep))
    model.encode_audio(mono(clips[0], 32768.0)[None])
    model.encode_image(images)
    model.encode_text(tokens)
    for hook in hooks:
        hook.remove()
    assert len(ours) > 40
    for name, value in ours.items():
        found = torch.stack([value.mean(), value.std(), value.abs().max()]).numpy()
        assert found == pytest.approx(theirs[name][:3], rel=1e-3, abs=1e-4), name


# ----- the joint part -----


def test_scales(golden: Path, model: AudioCLIP) -> None:
    similarity = load(golden, "similarity")
    scales = {pair: scale.item() for pair, scale in model.scales().items()}
    assert scales["audio_image"] == pytest.approx(float(similarity["scale_ai"]), rel=1e-6)
    assert scales["audio_text"] == pytest.approx(float(similarity["scale_at"]), rel=1e-6)
    assert scales["image_text"] == 100.0


@pytest.mark.parametrize("pair", ["audio_image", "audio_text", "image_text"])
def test_logits_and_softmaxes(
    golden: Path, model: AudioCLIP, embeddings: dict[str, NDArray[np.float32]], pair: str
) -> None:
    similarity = load(golden, "similarity")
    rows, columns = (
        F.normalize(torch.from_numpy(embeddings["int16" if side == "audio" else side]), dim=-1)
        for side in pair.split("_")
    )
    ours = model.scales()[pair] * rows @ columns.T
    assert np.abs(ours.numpy() - similarity[f"logits_{pair}"]).max() <= LOGIT_BOUND
    for dim in (0, 1):
        assert np.abs(ours.softmax(dim).numpy() - similarity[f"softmax_dim{dim}_{pair}"]).max() <= LOGIT_BOUND


@pytest.fixture(scope="module")
def batch(golden: Path, clips: list[NDArray[np.float32]], images: Tensor, tokens: Tensor) -> dict[str, Tensor]:
    """The batch of four of the loss vectors."""
    similarity = load(golden, "similarity")
    texts = json.loads((golden / "inputs" / "texts.json").read_text(encoding="utf-8"))
    row = {text: tokens[i] for i, text in enumerate(texts[:23])}
    start, end = tokens[0][0], tokens[0].max()
    comma = row["Happy music, Exciting music"][3]
    joined = torch.zeros_like(tokens[0])
    cat, storm = (t[(t != 0) & (t != start) & (t != end)] for t in (row["cat"], row["thunderstorm"]))
    ids = torch.cat([start[None], cat, comma[None], storm, end[None]])
    joined[: len(ids)] = ids
    row["cat, thunderstorm"] = joined
    long = mono(clips[4], 32768.0)
    audio = [mono(clips[0], 32768.0), mono(clips[1], 32768.0), long[:, :220500], long[:, 220500:441000]]
    return {
        "audio": torch.stack(audio),
        "image": images[torch.from_numpy(similarity["batch_images"])],
        "text": torch.stack([row[text] for text in similarity["batch_text"].tolist()]),
    }


@pytest.fixture(scope="module")
def steps(weights: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, tuple[AudioCLIP, Output]]:
    """Forward and backward in both modes: the model with its gradients, and its output."""
    done = {}
    for mode in STEPS:
        model = AudioCLIP(PRESETS["audioclip"])
        model.load_state_dict(weights)
        with torch.enable_grad():
            output: Output = model.train(mode == "train")(**batch)
            assert output.loss is not None
            output.loss.backward()  # type: ignore[no-untyped-call]
        normalise_gradients(model.audio.fbsp)
        done[mode] = (model, output)
    return done


@pytest.mark.parametrize("mode", STEPS)
def test_losses(golden: Path, steps: dict[str, tuple[AudioCLIP, Output]], mode: str) -> None:
    similarity = load(golden, "similarity")
    model, output = steps[mode]
    assert output.loss is not None
    assert output.loss.item() == pytest.approx(float(similarity[f"{mode}_loss_total"]), rel=LOSS_BOUND)
    logits = {"ai": output.audio_image, "at": output.audio_text, "it": output.image_text}
    found = []
    for name, ours in logits.items():
        assert ours is not None
        assert np.abs(ours.detach().numpy() - similarity[f"{mode}_logits_{name}"]).max() <= LOGIT_BOUND
        found += [loss.item() for loss in contrastive_losses(ours)]
    assert found == pytest.approx(similarity[f"{mode}_ce_ai_aiT_at_atT_it_itT"].tolist(), rel=LOSS_BOUND)
    norm = norm_loss(model.audio.fbsp.kernel()).item()
    assert norm == pytest.approx(float(similarity[f"{mode}_loss_fbsp_norm"]), rel=LOSS_BOUND)


@pytest.mark.parametrize("mode", STEPS)
def test_gradients(golden: Path, steps: dict[str, tuple[AudioCLIP, Output]], mode: str) -> None:
    similarity = load(golden, "similarity")
    model, _ = steps[mode]
    squares: dict[str, float] = {}
    for name, parameter in model.named_parameters():
        group = name if name.startswith("audio.fbsp.") or "." not in name else name.split(".")[0]
        group = {"audio": "audio (without fbsp)"}.get(group, group)
        if parameter.numel():
            assert parameter.grad is not None
            squares[group] = squares.get(group, 0.0) + parameter.grad.double().square().sum().item()
    names = similarity[f"{mode}_grad_group_names"].tolist()
    assert sorted(squares) == sorted(names)
    theirs = dict(zip(names, similarity[f"{mode}_grad_group_l2"].tolist(), strict=True))
    assert {name: value**0.5 for name, value in squares.items()} == pytest.approx(theirs, rel=STEPS[mode], abs=0)
    assert squares["logit_scale"] == 0.0  # the clamp holds it
    for name in ("m", "fb", "fc"):
        gradient = model.audio.fbsp.get_parameter(name).grad
        assert gradient is not None
        assert relative(gradient.numpy(), similarity[f"{mode}_grad_fbsp_{name}"]) <= STEPS[mode]


@pytest.mark.parametrize("left_out", ["audio", "image", "text"])
def test_losses_of_two_modalities(golden: Path, model: AudioCLIP, batch: dict[str, Tensor], left_out: str) -> None:
    kept = [name for name in ("audio", "image", "text") if name != left_out]
    theirs = float(load(golden, "similarity")[f"eval_loss_{'_'.join(kept)}_only"])
    assert model(**{name: batch[name] for name in kept}).loss.item() == pytest.approx(theirs, rel=LOSS_BOUND)


def test_batch_norm_after_one_step(golden: Path, steps: dict[str, tuple[AudioCLIP, Output]]) -> None:
    similarity = load(golden, "similarity")
    norm = steps["train"][0].audio.bn1
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    ours = np.stack([norm.running_mean[:8].numpy(), norm.running_var[:8].numpy()])
    assert ours == pytest.approx(similarity["train_bn_after_one_step"], rel=1e-4)
    assert int(norm.num_batches_tracked) == int(similarity["train_bn_batches"])
