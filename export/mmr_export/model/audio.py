"""The audio tower: samples -> fbsp spectrogram in dB -> ResNeXt with attention gates (ESResNeXt-fbsp)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mmr_export.frontend_fit import fit
from mmr_runtime.frontend import frame_count

from .config import AudioConfig
from .fbsp import Fbsp

EXPANSION = 4
SILENT_POWER = 1e-18
WINDOW_TERMS = (0.35875, -0.48829, 0.14128, -0.01168)
GATE_KERNELS = ((3, 1), (1, 5), (3, 1), (1, 5), (3, 5))
"""Frequency x time of the depth-wise convolution of att1..att5."""


def blackman_harris(length: int) -> Tensor:
    """Periodic four-term Blackman-Harris window, float32 (length,)."""
    k = np.arange(length) * (2 * math.pi / length)
    values = sum(a * np.cos(i * k) for i, a in enumerate(WINDOW_TERMS))
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def axis_pool(size: int, target: int) -> tuple[int, int, int]:
    """Kernel, stride and padding of the fixed max-pool that equals an adaptive one from `size` to `target` cells.

    Raises:
        ValueError: there is none; it exists for target = size, ceil(size / 2) and 1.
    """
    if target == size:
        return 1, 1, 0
    if size == 2 * target:
        return 2, 2, 0
    if size == 2 * target - 1:
        return 3, 2, 1
    if target == 1:
        return size, 1, 0
    raise ValueError(f"no fixed max-pool takes {size} cells to {target}")


def pool_to(x: Tensor, target: Tensor) -> Tensor:
    """Max-pool x (n, c, h, w) to the height and width of `target`, exactly as an adaptive pool would.

    The sizes are taken as plain integers, so that an exported graph holds an ordinary MaxPool.
    """
    rows, columns = (axis_pool(int(a), int(b)) for a, b in zip(x.shape[-2:], target.shape[-2:], strict=True))
    if rows[0] == columns[0] == 1:
        return x
    kernel, stride, padding = zip(rows, columns, strict=True)
    return F.max_pool2d(x, kernel, stride, padding)


class Bottleneck(nn.Module):
    """ResNeXt's residual block; the 3 x 3 convolution is grouped and carries the stride."""

    def __init__(self, inputs: int, planes: int, stride: int, config: AudioConfig) -> None:
        super().__init__()
        width, outputs = planes * config.base_width // 64 * config.groups, planes * EXPANSION
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, groups=config.groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map float (n, inputs, h, w) to (n, 4 * planes, ceil(h / stride), ceil(w / stride))."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Gate(nn.Module):
    """Attention: what went into a stage decides, in 0..1, how much of each cell of its output passes."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.conv_depth = nn.Conv2d(inputs, inputs, kernel, padding=padding, groups=inputs)
        self.conv_point = nn.Conv2d(inputs, outputs, 1)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """The gate (n, outputs, h', w') for `target` of that shape, from its stage's input x (n, inputs, h, w)."""
        return torch.sigmoid(self.bn(self.conv_point(self.conv_depth(pool_to(x, target)))))


class AudioTower(nn.Module):
    """Embeds sound. Input samples are 44.1 kHz at int16 scale (-32768..32767), any length.

    `db_image` is the front end, `encode_db` the network behind it (the part that is exported), `forward` both.
    """

    window: Tensor

    def __init__(self, config: AudioConfig, embedding_size: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("window", blackman_harris(config.win_length))
        self.conv1 = nn.Conv2d(3, config.stem, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(config.stem)
        inputs = config.stem
        for stage, (planes, blocks) in enumerate(zip(config.planes, config.layers, strict=True)):
            layer, outputs = nn.Sequential(), planes * EXPANSION
            for i in range(blocks):
                layer.append(Bottleneck(outputs if i else inputs, planes, 2 if stage and not i else 1, config))
            self.add_module(f"layer{stage + 1}", layer)
            self.add_module(f"att{stage + 1}", Gate(inputs, outputs, GATE_KERNELS[stage]))
            inputs = outputs
        self.att5 = Gate(inputs, inputs, GATE_KERNELS[4])
        self.fc = nn.Linear(inputs, embedding_size)
        self.fbsp = Fbsp(config.n_fft)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def frames(self, samples: Tensor) -> Tensor:
        """Cut float (n, t) at int16 scale into windowed frames (n, frames, win_length); zeros fill up both ends."""
        config = self.config
        scaled = ((samples + 32768.0) * 2.0) / 65535.0 - 1.0
        count = frame_count(scaled.shape[-1], config.win_length, config.hop)
        missing = (count - 1) * config.hop + config.win_length - scaled.shape[-1]
        padded = F.pad(scaled, (missing // 2, missing - missing // 2))
        return padded.unfold(-1, config.win_length, config.hop) * self.window

    def db_image(self, samples: Tensor, kernel: Tensor | None = None) -> Tensor:
        """The spectrogram in dB of float (n, t), floored at `floor_db` where the config has one.

        Args:
            samples: at int16 scale, t at least 1.
            kernel: the filters, when the caller has them already.

        Returns:
            float32 (n, 3, rows, frames), low frequencies at row 0 of channel 0; the uppermost bins are not used.
        """
        config = self.config
        if kernel is None:
            kernel = self.fbsp.kernel()
        rows, left = 3 * config.bands_height, (config.n_fft - config.win_length) // 2
        # The frames are padded to the kernel's length, although the outer taps then meet only zeros: with the
        # original's order of summation even digital silence, which is nothing but rounding, comes out the same.
        frames = F.pad(self.frames(samples), (left, config.n_fft - config.win_length - left))
        power = (frames @ kernel[:rows, :, 0].T) ** 2 + (frames @ kernel[:rows, :, 1].T) ** 2
        power = torch.where(power > 0, power, torch.full_like(power, SILENT_POWER))
        db = 10.0 * torch.log10(power)
        if config.floor_db is not None:
            db = db.clamp_min(config.floor_db)
        return db.transpose(1, 2).reshape(len(db), 3, config.bands_height, -1)

    def front_end_arrays(self) -> dict[str, NDArray[Any]]:
        """The front end with these filters as the runtime reads it (frontend.npz, see `mmr_export.frontend_fit`).

        With a floor the quietest bins, where the DFT form differs most, say nothing: there 1.25 dB is allowed.
        """
        m, fb, fc = (p.detach().numpy() for p in (self.fbsp.m, self.fbsp.fb, self.fbsp.fc))
        return fit(m, fb, fc, self.window.numpy(), max_error_db=0.1 if self.config.floor_db is None else 1.25)

    def pooled(self, db: Tensor) -> Tensor:
        """Features (n, 4 * planes[-1]) of dB images, float (n, 3, rows, frames)."""
        config = self.config
        if (config.db_offset, config.db_scale) != (0.0, 1.0):
            db = (db + config.db_offset) * config.db_scale
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(db))), 3, 2, padding=1)
        for stage in (1, 2, 3, 4):
            y = self.get_submodule(f"layer{stage}")(x)
            x = y * self.get_submodule(f"att{stage}")(x, y)
        y = x.mean((2, 3), keepdim=True)
        gate: Tensor = self.att5(x, y)
        return (y * gate).flatten(1)

    def encode_db(self, db: Tensor) -> Tensor:
        """Embed dB images of one audio channel each, float (n, 3, rows, frames), as (n, embedding_size)."""
        y: Tensor = self.fc(self.pooled(db))
        return y

    def forward(self, samples: Tensor, kernel: Tensor | None = None) -> Tensor:
        """Embed sound as (n, embedding_size); the features of several channels are summed, as the original does.

        Args:
            samples: float (n, channels, t) at int16 scale.
            kernel: the filters, when the caller has them already.
        """
        n, channels = samples.shape[:2]
        features = self.pooled(self.db_image(samples.flatten(0, 1), kernel))
        y: Tensor = self.fc(features.view(n, channels, -1).sum(1))
        return y
