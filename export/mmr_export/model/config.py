"""The sizes of a model: one frozen dataclass per tower, and the presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from mmr_runtime.errors import CheckpointError

ImageKind = Literal["modified_resnet", "mobilenet_v2"]
MAX_SIZE = 1 << 20
"""Largest number a config may hold: a config comes from a file, and nothing real is near it."""


class _Config:
    """Reading and checking that the config dataclasses share."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a config from plain values, as `dataclasses.asdict` or JSON give them; absent fields keep defaults.

        Raises:
            CheckpointError: a field is unknown, missing, or of the wrong type.
        """
        if not isinstance(values, Mapping):
            raise CheckpointError(f"{cls.__name__} must be an object, not {type(values).__name__}", _HINT)
        unknown = sorted(set(values) - {f.name for f in fields(cls)})  # type: ignore[arg-type]
        if unknown:
            raise CheckpointError(f"{cls.__name__} has no field {', '.join(unknown[:5])}", _HINT)
        try:
            return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
        except TypeError as error:
            raise CheckpointError(f"{cls.__name__}: {error}", _HINT) from None

    def _check_sizes(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            for item in value if isinstance(value, tuple) else (value,):
                if not isinstance(item, int) or isinstance(item, bool) or not 0 < item <= MAX_SIZE:
                    message = f"{type(self).__name__}.{name} must be positive and whole, not {item!r}"
                    raise CheckpointError(message, _HINT)

    def _require(self, condition: bool, what: str) -> None:
        if not condition:
            raise CheckpointError(f"{type(self).__name__}: {what}", _HINT)


_HINT = "see mmr_export.model.config for the fields"


@dataclass(frozen=True)
class ImageConfig(_Config):
    """The image tower.

    Attributes:
        kind: `modified_resnet`: CLIP's ResNet with an attention pool; `mobilenet_v2`: MobileNetV2 1.0.
        height: rows of the input, in pixels.
        width: columns of the input.
        channels: of the first stage; `modified_resnet` only.
        layers: bottlenecks per stage; `modified_resnet` only.
    """

    kind: ImageKind = "modified_resnet"
    height: int = 224
    width: int = 224
    channels: int = 64
    layers: tuple[int, ...] = (3, 4, 6, 3)

    def __post_init__(self) -> None:
        self._require(self.kind in get_args(ImageKind), f"unknown kind {self.kind!r}")
        self._check_sizes("height", "width", "channels", "layers")
        self._require(self.height >= 32 and self.width >= 32, "height and width must be at least 32")
        if self.kind == "modified_resnet":
            self._require(len(self.layers) == 4, "four stages")
            self._require(self.channels % 2 == 0, "channels must be even")
            # The attention pool has one position per cell, so the map must divide evenly.
            self._require(self.height % 32 == 0 and self.width % 32 == 0, "height and width must be multiples of 32")


@dataclass(frozen=True)
class TextConfig(_Config):
    """The text tower: `layers` pre-norm transformer blocks of `width` with `heads` heads, `context` tokens at most."""

    context: int = 77
    vocab: int = 49408
    width: int = 512
    heads: int = 8
    layers: int = 12

    def __post_init__(self) -> None:
        self._check_sizes("context", "vocab", "width", "heads", "layers")
        self._require(self.width % self.heads == 0, "heads must divide width")


@dataclass(frozen=True)
class AudioConfig(_Config):
    """The audio tower: fbsp front end, then a ResNeXt with attention gates.

    Attributes:
        n_fft: samples of one frame, zero-padded; n_fft // 2 + 1 filters.
        win_length: samples of the window in its middle.
        hop: samples between frames.
        stem: channels of the first convolution.
        planes: of the four stages; a stage puts out 4 x planes.
        layers: blocks per stage.
        groups: of the 3 x 3 convolutions.
        base_width: a block's middle has planes * base_width // 64 * groups channels.
        floor_db: lowest value of the dB image; None: AudioCLIP's own clamp of the power at 1e-18.
        db_offset: added to the dB image inside the tower, as its first step.
        db_scale: then multiplied with it.
    """

    n_fft: int = 2048
    win_length: int = 1654
    hop: int = 561
    stem: int = 64
    planes: tuple[int, ...] = (64, 128, 256, 512)
    layers: tuple[int, ...] = (3, 4, 6, 3)
    groups: int = 32
    base_width: int = 4
    floor_db: float | None = None
    db_offset: float = 0.0
    db_scale: float = 1.0

    def __post_init__(self) -> None:
        self._check_sizes("n_fft", "win_length", "hop", "stem", "planes", "layers", "groups", "base_width")
        self._require(self.win_length <= self.n_fft, "win_length must not exceed n_fft")
        self._require(self.n_fft % 2 == 0 and self.bands_height > 0, "n_fft must be even and at least 4")
        self._require(len(self.planes) == len(self.layers) == 4, "four stages")
        self._require(all(p * self.base_width >= 64 for p in self.planes), "planes * base_width must be at least 64")
        for name in ("floor_db", "db_offset", "db_scale"):
            value = getattr(self, name)
            real = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e6
            self._require(real or (name == "floor_db" and value is None), f"{name} must be a number")

    @property
    def bins(self) -> int:
        """Filters of the front end (1025)."""
        return self.n_fft // 2 + 1

    @property
    def bands_height(self) -> int:
        """Rows of each of the three bands of the dB image (341)."""
        return self.bins // 3


@dataclass(frozen=True)
class ModelConfig(_Config):
    """All three towers and the size of the space they share."""

    embedding_size: int = 1024
    image: ImageConfig = ImageConfig()
    text: TextConfig = TextConfig()
    audio: AudioConfig = AudioConfig()

    def __post_init__(self) -> None:
        self._check_sizes("embedding_size")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build the config of a model from nested plain values.

        Raises:
            CheckpointError: a field is unknown or its value cannot be.
        """
        towers: dict[str, type[_Config]] = {"image": ImageConfig, "text": TextConfig, "audio": AudioConfig}
        if not isinstance(values, Mapping):
            raise CheckpointError(f"the model config must be an object, not {type(values).__name__}", _HINT)
        return super().from_dict({k: towers[k].from_dict(v) if k in towers else v for k, v in values.items()})


SMALL = ModelConfig(
    embedding_size=256,
    image=ImageConfig(kind="mobilenet_v2", height=640, width=448),
    text=TextConfig(width=96, heads=4, layers=4),
    audio=AudioConfig(
        stem=24,
        planes=(24, 48, 96, 192),
        layers=(1, 2, 2, 2),
        groups=8,
        base_width=8,
        floor_db=-90.0,
        db_offset=65.0,
        db_scale=0.05,
    ),
)
"""The shipped model's sizes. Music at int16 scale, floored at -90 dB, has mean -65 dB and spread 21 dB."""

PRESETS: dict[str, ModelConfig] = {"audioclip": ModelConfig(), "small": SMALL}
