"""The image towers: CLIP's modified ResNet with an attention pool, and MobileNetV2 for the small preset."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import ImageConfig

EXPANSION = 4
HEAD_SIZE = 64


class Bottleneck(nn.Module):
    """Residual block in which every convolution has stride 1: average pools do the shrinking."""

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        outputs = planes * EXPANSION
        self.stride = stride
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def _shrink(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.stride) if self.stride > 1 else x

    def forward(self, x: Tensor) -> Tensor:
        """Map float (n, inputs, h, w) to (n, 4 * planes, h / stride, w / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(self._shrink(y)))
        skip = x if self.downsample is None else self.downsample(self._shrink(x))
        return F.relu(y + skip)


class AttentionPool(nn.Module):
    """Attention from the map's mean to its cells; only that one query is computed, for no other row is kept."""

    def __init__(self, cells: int, width: int, heads: int, outputs: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.randn(cells + 1, width) / width**0.5)
        self.k_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, outputs)
        for layer in (self.k_proj, self.q_proj, self.v_proj, self.c_proj):
            nn.init.normal_(layer.weight, std=width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Pool float (n, width, h, w), h * w = cells, to (n, outputs)."""
        n, width = x.shape[:2]
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(1, keepdim=True), x], dim=1) + self.positional_embedding
        split = (n, -1, self.heads, width // self.heads)
        q = self.q_proj(x[:, :1]).view(split).transpose(1, 2) * (width // self.heads) ** -0.5
        k = self.k_proj(x).view(split).permute(0, 2, 3, 1)
        v = self.v_proj(x).view(split).transpose(1, 2)
        y: Tensor = self.c_proj(((q @ k).softmax(-1) @ v).reshape(n, width))
        return y


class ModifiedResNet(nn.Module):
    """CLIP's ResNet: a stem of three convolutions, anti-aliased strides, an attention pool."""

    def __init__(self, config: ImageConfig, embedding_size: int) -> None:
        super().__init__()
        width = config.channels
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        inputs = width
        for stage, blocks in enumerate(config.layers):
            planes = width << stage
            layer = nn.Sequential()
            for i in range(blocks):
                layer.append(Bottleneck(inputs, planes, stride=2 if stage and not i else 1))
                inputs = planes * EXPANSION
            self.add_module(f"layer{stage + 1}", layer)
        cells = (config.height // 32) * (config.width // 32)
        self.attnpool = AttentionPool(cells, inputs, inputs // HEAD_SIZE, embedding_size)
        for block in self.modules():
            if isinstance(block, Bottleneck):  # each block starts as its skip connection
                nn.init.zeros_(block.bn3.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Embed normalised RGB, float (n, 3, height, width), as (n, embedding_size)."""
        # A transposed picture would put the whole tower into the channels-last layout, in which PyTorch's batch norm
        # sums its statistics a hundred times less exactly.
        x = F.relu(self.bn1(self.conv1(x.contiguous())))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.relu(self.bn3(self.conv3(x)))
        x = F.avg_pool2d(x, 2)
        for stage in (1, 2, 3, 4):
            x = self.get_submodule(f"layer{stage}")(x)
        y: Tensor = self.attnpool(x)
        return y


class SameConv(nn.Conv2d):
    """Convolution padded as TensorFlow's SAME (an odd pixel goes right or below), then clipped to 0..6 if asked."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, clip: bool
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)
        self.clip = clip
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map float (n, inputs, h, w) to (n, outputs, ceil(h / stride), ceil(w / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if kernel > 1:
            # Sizes as plain integers: an exported graph then holds constant padding.
            pads = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in map(int, x.shape[-2:])]
            x = F.pad(x, (pads[1] // 2, pads[1] - pads[1] // 2, pads[0] // 2, pads[0] - pads[0] // 2))
        y = super().forward(x)
        return F.relu6(y) if self.clip else y


class InvertedResidual(nn.Module):
    """MobileNetV2's block: widen, filter each channel, narrow; a skip where the shape stays."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self.expand = SameConv(inputs, middle, clip=True) if expansion > 1 else None
        self.depthwise = SameConv(middle, middle, 3, stride=stride, groups=middle, clip=True)
        self.project = SameConv(middle, outputs, clip=False)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map float (n, inputs, h, w) to (n, outputs, ceil(h / stride), ceil(w / stride))."""
        middle = x if self.expand is None else self.expand(x)
        y: Tensor = self.project(self.depthwise(middle))
        return x + y if self.skip else y


class MobileNetV2(nn.Module):
    """MobileNetV2 1.0 (Sandler et al. 2018) with folded batch norm, a summary of several layers, and a projection.

    The features are the mean of the last map, and mean and deviation of every channel of five inner maps: line weight,
    tone and texture, which carry mood in a drawing, live in the inner layers and not in the names of things.
    Buffers `feature_mean` and `feature_std` standardise the features; 0 and 1 until training sets them.
    """

    STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    """(expansion, channels, blocks, stride of the first block)"""
    SUMMARISED: ClassVar[dict[str, int]] = {"block02": 24, "block05": 32, "block09": 64, "block12": 96, "block16": 320}
    """Inner maps that the features summarise, with their channels."""
    HEAD = 1280
    FEATURES = 2 * sum(SUMMARISED.values()) + HEAD

    feature_mean: Tensor
    feature_std: Tensor

    def __init__(self, embedding_size: int) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 3, stride=2, clip=True)
        inputs = 32
        names: list[str] = []
        for expansion, outputs, blocks, stride in self.STAGES:
            for i in range(blocks):
                names.append(f"block{len(names):02d}")
                self.add_module(names[-1], InvertedResidual(inputs, outputs, expansion, stride if i == 0 else 1))
                inputs = outputs
        self._blocks = tuple(names)
        self.head = SameConv(inputs, self.HEAD, clip=True)
        self.register_buffer("feature_mean", torch.zeros(self.FEATURES))
        self.register_buffer("feature_std", torch.ones(self.FEATURES))
        self.proj = nn.Linear(self.FEATURES, embedding_size)

    def features(self, x: Tensor) -> Tensor:
        """Features (n, 2352) of RGB in -1..1, float (n, 3, height, width)."""
        x = self.stem(x)
        parts: list[Tensor] = []
        for name in self._blocks:
            x = self.get_submodule(name)(x)
            if name in self.SUMMARISED:
                mean = x.mean((2, 3), keepdim=True)
                deviation = (x - mean).square().mean((2, 3)).add(1e-6).sqrt()
                parts += [mean.flatten(1), deviation]
        parts.append(self.head(x).mean((2, 3)))
        return torch.cat(parts, dim=1)

    def project(self, features: Tensor) -> Tensor:
        """Embeddings (n, embedding_size) of features (n, 2352)."""
        y: Tensor = self.proj((features - self.feature_mean) / self.feature_std)
        return y

    def forward(self, x: Tensor) -> Tensor:
        """Embed RGB in -1..1, float (n, 3, height, width), as (n, embedding_size)."""
        return self.project(self.features(x))

    @torch.no_grad()
    def fold(self) -> None:
        """Move the standardisation into `proj`; the embedding stays the same."""
        self.proj.weight.div_(self.feature_std)
        self.proj.bias.sub_(self.proj.weight @ self.feature_mean)
        self.feature_mean.zero_()
        self.feature_std.fill_(1.0)


def image_tower(config: ImageConfig, embedding_size: int) -> ModifiedResNet | MobileNetV2:
    """Make the tower that the config names, freshly initialised."""
    if config.kind == "mobilenet_v2":
        return MobileNetV2(embedding_size)
    return ModifiedResNet(config, embedding_size)
