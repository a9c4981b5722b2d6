"""Two branches of fully connected layers that bring precomputed features of music and of pictures into one space.

VM-NET (Hong, Im and Yang 2017, arXiv 1704.06761): linear layers with ReLU and dropout between them, then batch
normalisation; vectors are compared by cosine. Sizes, initial weights and the constants of the normalisation are those
of the published code, whose training script leaves the ReLU out (`is_linear`), so that each of its branches is one
linear map. Added here: features are standardised first, so that any extractor's will do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn, ones, zeros

from .config import _Config

_NORM_EPS, _NORM_MOMENTUM = 1e-3, 0.01


@dataclass(frozen=True)
class ProjectionsConfig(_Config):
    """The sizes of both branches.

    Attributes:
        audio_features: numbers that a piece of music is described by.
        image_features: numbers that a picture or video is described by.
        embedding_size: length of a joint vector.
        audio_hidden: widths of the layers between, for music.
        image_hidden: likewise for pictures.
    """

    audio_features: int
    image_features: int
    embedding_size: int = 512
    audio_hidden: tuple[int, ...] = (2048, 1024)
    image_hidden: tuple[int, ...] = (2048,)

    def __post_init__(self) -> None:
        for hidden in (self.audio_hidden, self.image_hidden):
            self._require(isinstance(hidden, tuple), "audio_hidden and image_hidden must be lists of sizes")
        self._check_sizes("audio_features", "image_features", "embedding_size", "audio_hidden", "image_hidden")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` reads them back."""
        return asdict(self)


class Branch(nn.Module):
    """Features of one modality to joint vectors.

    Buffers `mean` and `std` (f,) standardise the features; 0 and 1 until training sets them.

    Args:
        inputs: width f of the features.
        hidden: widths of the layers between.
        outputs: length d of a joint vector.
        dropout: share of the hidden values that training leaves out.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int, dropout: float) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", zeros(inputs))
        self.register_buffer("std", ones(inputs))
        layers = [nn.Linear(a, b) for a, b in pairwise((inputs, *hidden, outputs))]
        for layer in layers:
            nn.init.trunc_normal_(layer.weight, std=math.sqrt(2 / layer.in_features))
            nn.init.zeros_(layer.bias)
        self.layers = nn.ModuleList(layers)
        self.norm = nn.BatchNorm1d(outputs, eps=_NORM_EPS, momentum=_NORM_MOMENTUM)
        self.dropout = nn.Dropout(dropout)

    def standardised(self, features: Tensor) -> Tensor:
        """Features (n, f) with the mean 0 and the deviation 1 over the training set."""
        return (features - self.mean) / self.std

    def forward(self, features: Tensor) -> Tensor:
        """Vectors (n, d) of features (n, f), not normalised."""
        x = self.standardised(features)
        for i, layer in enumerate(self.layers):
            x = layer(self.dropout(F.relu(x)) if i else x)
        y: Tensor = self.norm(x)
        return y


class Projections(nn.Module):
    """Both branches; they are named as the graphs that they become.

    Args:
        config: sizes.
        dropout: in training.
    """

    def __init__(self, config: ProjectionsConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        size = config.embedding_size
        self.audio_features = Branch(config.audio_features, config.audio_hidden, size, dropout)
        self.image_features = Branch(config.image_features, config.image_hidden, size, dropout)
