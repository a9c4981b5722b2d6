"""AudioCLIP's own invariants: what must hold of any weights. The golden vectors are in test_model_golden.py."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mmr_export.frontend_fit import time_grid
from mmr_export.model import PRESETS, AudioCLIP, AudioConfig, AudioTower, ImageConfig, ModelConfig, TextConfig
from mmr_export.model.audio import axis_pool, pool_to
from mmr_export.model.audioclip import contrastive_loss
from mmr_export.model.fbsp import Fbsp, fbsp_kernel, norm_loss, normalise_gradients
from mmr_export.model.image import AttentionPool, MobileNetV2
from mmr_export.model.text import Block
from mmr_runtime.errors import CheckpointError
from mmr_runtime.frontend import frame_count

# Names, shapes and types of the published weights, in their order; written by running the public AudioCLIP code.
STATE_DICT = Path(__file__).parent / "data" / "state_dict.tsv"

TINY = ModelConfig(
    embedding_size=12,
    image=ImageConfig(height=64, width=32, channels=8, layers=(1, 2, 1, 1)),
    text=TextConfig(context=9, vocab=40, width=16, heads=2, layers=2),
    audio=AudioConfig(
        n_fft=64, win_length=50, hop=17, stem=6, planes=(8, 8, 16, 16), layers=(1, 2, 1, 1), groups=2, base_width=8
    ),
)


@pytest.fixture
def tiny() -> AudioCLIP:
    """A very small model with random weights, in evaluation mode."""
    torch.manual_seed(0)
    model = AudioCLIP(TINY).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bn3.weight"):
                parameter.fill_(1.0)  # else each image block is its skip connection
    return model


def tokens(rows: list[list[int]], length: int) -> Tensor:
    return torch.tensor([row + [0] * (length - len(row)) for row in rows])


# ----- names -----


def test_state_dict_is_the_published_one() -> None:
    rows = [tuple(line.split("\t")) for line in STATE_DICT.read_text().splitlines()[1:]]
    with torch.device("meta"):
        state = AudioCLIP(PRESETS["audioclip"]).state_dict()
    ours = [
        (name, "x".join(map(str, value.shape)) or "scalar", str(value.dtype).removeprefix("torch."))
        for name, value in state.items()
    ]
    assert len(ours) == 861
    assert ours == rows


def test_small_preset_fits_into_twelve_megabytes_of_int8() -> None:
    with torch.device("meta"):
        model = AudioCLIP(PRESETS["small"])
    # One byte per weight; biases and norms folded into them stay four bytes wide.
    assert sum(p.numel() * (1 if p.ndim > 1 else 4) for p in model.parameters()) < 12e6


@pytest.mark.parametrize("name", PRESETS)
def test_config_survives_json(name: str) -> None:
    config = PRESETS[name]
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"embeding_size": 3}, "embeding_size"),
        ({"image": {"kind": "vit"}}, "vit"),
        ({"image": {"height": 100}}, "multiples"),
        ({"text": {"width": 0}}, "width"),
        ({"text": {"width": 10, "heads": 3}}, "heads"),
        ({"text": {"layers": True}}, "layers"),
        ({"audio": {"planes": [64, 128]}}, "four stages"),
        ({"audio": {"planes": [8, 8, 8, 8]}}, "base_width"),
        ({"audio": {"floor_db": "low"}}, "floor_db"),
        ({"audio": {"hop": 10**9}}, "hop"),
        ({"audio": 7}, "AudioConfig"),
        ([], "object"),
    ],
)
def test_impossible_config_is_named(values: object, named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        ModelConfig.from_dict(values)  # type: ignore[arg-type]


def test_initial_weights_follow_the_original() -> None:
    torch.manual_seed(1)
    model = AudioCLIP(replace(TINY, text=replace(TINY.text, vocab=4000)))
    state = model.state_dict()
    assert model.training
    assert all(not value.any() for name, value in state.items() if name.startswith("visual.layer") and "bn3.w" in name)
    assert all(value.eq(1).all() for name, value in state.items() if name.startswith("audio.") and "bn3.w" in name)
    assert not state["audio.fbsp.m"].any()
    assert state["audio.fbsp.fb"].eq(1).all()
    assert torch.equal(state["audio.fbsp.fc"], torch.arange(33.0))
    assert state["token_embedding.weight"].std().item() == pytest.approx(0.02, rel=0.02)
    conv = state["audio.conv1.weight"]
    assert conv.std().item() == pytest.approx(math.sqrt(2 / (6 * 49)), rel=0.1)
    assert state["logit_scale"].item() == 1.0
    assert state["logit_scale_at"].item() == pytest.approx(math.log(100))


# ----- front end -----


def test_grid_rounds_once_per_point() -> None:
    t = time_grid(2048)
    exact = math.pi * np.linspace(-1, 1, 2048) + 1e-8
    assert t.dtype == np.float32
    assert t[0] == -np.float32(math.pi)
    assert t[-1] == np.float32(math.pi)
    assert np.abs(t - exact).max() < 4e-7
    assert not (t == 0).any()


def test_kernel_is_the_formula() -> None:
    rng = np.random.default_rng(0)
    m, fb, fc = rng.uniform(0, 3, 20), rng.uniform(0.5, 2, 20), rng.uniform(0, 30, 20)
    m[:3] = 0.0, 1.0, -0.1
    t = time_grid(64)
    inputs = (torch.from_numpy(v.astype(np.float32)) for v in (m, fb, fc, t))
    ours = fbsp_kernel(*inputs).numpy()
    x = fb[:, None] * t / (m[:, None] + 1e-8)
    power = (np.sin(x) / x + 0j) ** m[:, None]
    exact = np.sqrt(fb)[:, None] * power * np.exp(-1j * fc[:, None] * t) / math.sqrt(64)
    # Row 0: sinc of some 1e8 is chance, but its power 0 is 1.
    assert np.abs(ours[..., 0] + 1j * ours[..., 1] - exact).max() < 2e-6


def test_initial_filters_have_norm_one() -> None:
    kernel = Fbsp(2048).kernel()
    assert kernel.shape == (1025, 2048, 2)
    assert norm_loss(kernel).item() < 1e-12


def test_kernel_gradients_agree_with_differences() -> None:
    torch.manual_seed(0)
    t = torch.from_numpy(time_grid(32)).double()
    inputs = [torch.rand(5, dtype=torch.float64) * a + b for a, b in ((1, 0.3), (1, 0.5), (9, 0.0))]
    for value in inputs:
        value.requires_grad_()
    assert torch.autograd.gradcheck(lambda m, fb, fc: fbsp_kernel(m, fb, fc, t), inputs)


def test_gradients_stay_finite_at_the_initial_values() -> None:
    fbsp = Fbsp(64)
    norm_loss(fbsp.kernel() * 1.1).backward()  # type: ignore[no-untyped-call]
    for parameter in (fbsp.m, fbsp.fb, fbsp.fc):
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


def test_normalised_gradients_have_a_largest_entry_of_one() -> None:
    fbsp = Fbsp(64)
    (fbsp.kernel()[..., 0] * torch.rand(33, 64, generator=torch.Generator().manual_seed(0))).sum().backward()  # type: ignore[no-untyped-call]
    normalise_gradients(fbsp)
    for parameter in (fbsp.m, fbsp.fb, fbsp.fc):
        assert parameter.grad is not None
        assert parameter.grad.abs().max().item() == pytest.approx(1.0, abs=1e-3)


def test_kernel_is_kept_until_a_parameter_changes() -> None:
    fbsp = Fbsp(64).eval()
    with torch.no_grad():
        first = fbsp.kernel()
        assert fbsp.kernel() is first
        fbsp.fc.data.add_(0.5)  # past autograd's version counter
        second = fbsp.kernel()
        assert not torch.equal(first, second)
        fbsp.load_state_dict(Fbsp(64).state_dict())
        assert torch.equal(fbsp.kernel(), first)
        assert fbsp.train().kernel() is not fbsp.kernel()
    assert fbsp.eval().kernel().requires_grad  # wanted for training in evaluation mode, too


def test_kernel_kept_in_inference_mode_serves_autograd_later(tiny: AudioCLIP) -> None:
    tiny.audio.fbsp.requires_grad_(False)
    samples = torch.randn(1, 1, 200) * 1000
    with torch.inference_mode():
        tiny.encode_audio(samples)
    tiny.encode_audio(samples).sum().backward()  # type: ignore[no-untyped-call]
    assert tiny.audio.conv1.weight.grad is not None


def test_db_image_is_the_power_of_a_plain_loop(tiny: AudioCLIP) -> None:
    samples = (torch.randn(1, 131, generator=torch.Generator().manual_seed(0)) * 3000).double()
    audio, kernel = tiny.audio, tiny.audio.fbsp.kernel().detach().double().numpy()
    scaled = ((samples[0].numpy() + 32768) * 2) / 65535 - 1
    padded = np.concatenate([np.zeros(2), scaled, np.zeros(2)])  # 6 frames cover 135
    rows = []
    for k in range(6):
        frame = np.zeros(64)
        frame[7:57] = padded[17 * k : 17 * k + 50] * audio.window.numpy()
        rows.append(10 * np.log10((kernel[:33, :, 0] @ frame) ** 2 + (kernel[:33, :, 1] @ frame) ** 2))
    db = audio.db_image(samples.float()).detach().numpy()
    assert db.shape == (1, 3, 11, 6)
    assert np.abs(db[0].reshape(33, 6) - np.array(rows).T).max() < 0.05


def test_frames_cover_every_sample() -> None:
    # From the table of lengths of the original.
    known = {1: 1, 1654: 1, 1655: 2, 2215: 2, 2216: 3, 220500: 392, 220501: 392, 441000: 785, 1323000: 2357}
    assert {n: frame_count(n, 1654, 561) for n in known} == known


def test_floor_lifts_only_what_is_below_it() -> None:
    low, config = AudioTower(TINY.audio, 4).eval(), replace(TINY.audio, floor_db=-60.0)
    high = AudioTower(config, 4).eval()
    samples = torch.randn(1, 300, generator=torch.Generator().manual_seed(0))
    a, b = low.db_image(samples), high.db_image(samples)
    assert a.min() < -60.0
    assert torch.equal(b, a.clamp_min(-60.0))


def test_db_constants_act_inside_the_tower(tiny: AudioCLIP) -> None:
    other = AudioTower(replace(TINY.audio, db_offset=50.0, db_scale=0.05), 12).eval()
    other.load_state_dict(tiny.audio.state_dict())
    db = torch.randn(2, 3, 11, 20) * 20 - 50
    torch.testing.assert_close(other.encode_db(db), tiny.audio.encode_db((db + 50.0) * 0.05))


# ----- audio network -----


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from(["same", "half", "one"]))
def test_fixed_pool_equals_the_adaptive_one(height: int, width: int, rule: str) -> None:
    x = torch.randn(1, 2, height, width, generator=torch.Generator().manual_seed(height * 61 + width))
    target = {"same": (height, width), "half": (-(-height // 2), -(-width // 2)), "one": (1, 1)}[rule]
    assert torch.equal(pool_to(x, torch.empty(1, 1, *target)), F.adaptive_max_pool2d(x, target))


def test_pool_without_a_fixed_form_is_refused() -> None:
    with pytest.raises(ValueError, match="no fixed max-pool"):
        axis_pool(10, 4)


@pytest.mark.parametrize("samples", [1, 2, 49, 50, 51, 67, 68, 400, 1001])
def test_sound_of_any_length_is_embedded(tiny: AudioCLIP, samples: int) -> None:
    with torch.no_grad():
        y = tiny.encode_audio(torch.randn(2, 1, samples) * 1000)
    assert y.shape == (2, 12)
    assert y.isfinite().all()


def test_digital_silence_is_embedded(tiny: AudioCLIP) -> None:
    with torch.no_grad():
        assert tiny.encode_audio(torch.zeros(1, 1, 500)).isfinite().all()


def test_features_of_channels_are_summed(tiny: AudioCLIP) -> None:
    left, right = torch.randn(2, 1, 1, 500) * 1000
    with torch.no_grad():
        both = tiny.encode_audio(torch.cat([left, right], dim=1))
        bias = tiny.audio.fc.bias
        torch.testing.assert_close(both, tiny.encode_audio(left) + tiny.encode_audio(right) - bias)


def test_rows_of_a_batch_do_not_meet(tiny: AudioCLIP) -> None:
    samples = torch.randn(3, 2, 500) * 1000
    with torch.no_grad():
        torch.testing.assert_close(tiny.encode_audio(samples)[1:2], tiny.encode_audio(samples[1:2]))


# ----- image and text -----


def test_attention_pool_is_the_first_row_of_full_attention() -> None:
    torch.manual_seed(0)
    pool = AttentionPool(6, 128, 2, 10)
    x = torch.randn(3, 128, 2, 3)
    flat = x.flatten(2).permute(2, 0, 1)
    flat = torch.cat([flat.mean(0, keepdim=True), flat]) + pool.positional_embedding[:, None]
    projections = (pool.q_proj, pool.k_proj, pool.v_proj)
    full, _ = F.multi_head_attention_forward(
        flat, flat, flat, 128, 2, in_proj_weight=None, in_proj_bias=torch.cat([p.bias for p in projections]),
        bias_k=None, bias_v=None, add_zero_attn=False, dropout_p=0.0, out_proj_weight=pool.c_proj.weight,
        out_proj_bias=pool.c_proj.bias, use_separate_proj_weight=True, q_proj_weight=pool.q_proj.weight,
        k_proj_weight=pool.k_proj.weight, v_proj_weight=pool.v_proj.weight,
    )  # fmt: skip
    torch.testing.assert_close(pool(x), full[0])


def test_image_of_the_configs_size_is_embedded(tiny: AudioCLIP) -> None:
    x = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        y = tiny.encode_image(x)
        assert y.shape == (2, 12)
        torch.testing.assert_close(tiny.encode_image(x[1:]), y[1:])
        # A transposed view has the same picture, so it has the same embedding.
        assert torch.equal(tiny.encode_image(x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)), y)


@pytest.mark.parametrize("size", [(96, 96), (97, 131), (448, 320)])
def test_mobilenet_pads_as_tensorflow(shared: Path, size: tuple[int, int]) -> None:
    ort = pytest.importorskip("onnxruntime")
    folder = shared / "data" / "teachers" / "mobilenet_v2"
    model = MobileNetV2(8).eval()
    with np.load(folder / "weights.npz") as file:
        trunk = {k: torch.from_numpy(v.astype(np.float32)) for k, v in file.items() if not k.startswith("logits.")}
    missing = model.load_state_dict(model.state_dict() | trunk)
    assert not missing.unexpected_keys
    x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    teacher = ort.InferenceSession(folder / "mobilenet_v2.onnx", options, providers=["CPUExecutionProvider"])
    pooled = teacher.run(["pooled"], {"image": x.numpy()})[0]
    with torch.no_grad():
        assert np.abs(model.features(x)[:, -model.HEAD :].numpy() - pooled).max() < 1e-3


def test_folding_the_standardisation_keeps_the_embedding() -> None:
    torch.manual_seed(0)
    model = MobileNetV2(16).eval()
    model.feature_mean.uniform_(0, 2)
    model.feature_std.uniform_(0.5, 2)
    features = torch.rand(4, model.FEATURES) * 6
    with torch.no_grad():
        before = model.project(features)
        model.fold()
        torch.testing.assert_close(model.project(features), before, rtol=1e-4, atol=1e-4)
    assert not model.feature_mean.any()


def test_text_blocks_are_pytorchs_own_pre_norm_attention(tiny: AudioCLIP) -> None:
    block = tiny.transformer.resblocks[0]
    assert isinstance(block, Block)
    theirs = nn.MultiheadAttention(16, 2, batch_first=True).eval()
    theirs.load_state_dict(block.attn.state_dict())
    x = torch.randn(3, 9, 16)
    mask = tiny.transformer.mask
    with torch.no_grad():
        torch.testing.assert_close(block.attn(x, mask), theirs(x, x, x, attn_mask=mask, need_weights=False)[0])


def test_padding_of_a_text_may_be_cut_off(tiny: AudioCLIP) -> None:
    rows = [[38, 5, 39], [38, 7, 8, 9, 39]]
    with torch.no_grad():
        full = tiny.encode_text(tokens(rows, 9))
        torch.testing.assert_close(tiny.encode_text(tokens(rows, 5)), full, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(tiny.encode_text(tokens(rows[:1], 3)), full[:1], rtol=1e-5, atol=1e-6)


def test_text_is_read_at_its_first_end_marker(tiny: AudioCLIP) -> None:
    with torch.no_grad():
        a = tiny.encode_text(tokens([[38, 5, 39, 4, 39]], 9))
        b = tiny.encode_text(tokens([[38, 5, 39]], 9))
        c = tiny.encode_text(tokens([[38, 6, 39]], 9))
    torch.testing.assert_close(a, b)
    assert not torch.allclose(b, c)


# ----- the joint part -----


def test_scales_stay_within_one_and_a_hundred(tiny: AudioCLIP) -> None:
    with torch.no_grad():
        for parameter, value in ((tiny.logit_scale, 4.7), (tiny.logit_scale_ai, 3.2), (tiny.logit_scale_at, -1.0)):
            parameter.fill_(value)
    scales = {pair: scale.item() for pair, scale in tiny.scales().items()}
    assert scales == {"image_text": 100.0, "audio_image": pytest.approx(math.exp(3.2)), "audio_text": 1.0}


def test_loss_divides_by_the_factorial_of_the_pairs() -> None:
    logits = [torch.randn(4, 4, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    target = torch.arange(4)
    terms = [F.cross_entropy(m, target).item() + F.cross_entropy(m.T, target).item() for m in logits]
    assert contrastive_loss(logits[:1]).item() == pytest.approx(terms[0])
    assert contrastive_loss(logits[:2]).item() == pytest.approx(sum(terms[:2]) / 2)
    assert contrastive_loss(logits).item() == pytest.approx(sum(terms) / 6)


def test_output_holds_what_was_given(tiny: AudioCLIP) -> None:
    audio, image, text = torch.randn(2, 1, 500), torch.randn(2, 3, 64, 32), tokens([[38, 39], [38, 3, 39]], 4)
    everything = tiny(audio=audio, image=image, text=text)
    assert all(value is not None for value in everything)
    assert everything.audio.norm(dim=1).tolist() == pytest.approx([1, 1])
    torch.testing.assert_close(
        everything.audio_text, 100.0 * everything.audio @ everything.text.T, rtol=1e-4, atol=1e-4
    )
    pair = tiny(image=image, text=text)
    assert (pair.audio, pair.audio_text, pair.audio_image) == (None, None, None)
    assert pair.loss.item() == pytest.approx(contrastive_loss([everything.image_text]).item(), rel=1e-5)
    with_audio = tiny(audio=audio, text=text)
    norm = norm_loss(tiny.audio.fbsp.kernel())
    assert with_audio.loss.item() == pytest.approx((contrastive_loss([everything.audio_text]) + norm).item(), rel=1e-5)
    assert tiny(text=text).loss is None
    assert tiny(image=image, text=text[:1]).loss is None


def test_every_parameter_learns(tiny: AudioCLIP) -> None:
    tiny.train()
    with torch.no_grad():
        for scale in (tiny.logit_scale, tiny.logit_scale_ai, tiny.logit_scale_at):
            scale.fill_(2.0)  # at ln 100 the clamp blocks the gradient, as in the original
    text = tokens([[38, 39], [38, 3, 39], [38, 4, 5, 39]], 9)
    tiny(audio=torch.randn(3, 1, 500) * 1000, image=torch.randn(3, 3, 64, 32), text=text).loss.backward()
    still = [n for n, p in tiny.named_parameters() if p.numel() and (p.grad is None or not p.grad.any())]
    assert still == []
    assert all(p.grad is not None and p.grad.isfinite().all() for p in tiny.parameters() if p.numel())
