"""The bundle: a folder with everything the runtime needs of a model (DESIGN section 5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

SCHEMA = 1
TOWERS = ("image", "text", "audio")
Tower = Literal["image", "text", "audio"]


@dataclass(frozen=True)
class ImageSpec:
    """How a page becomes the image tower's input, float32 (n, 3, height, width).

    Attributes:
        height: rows of the input.
        width: columns of the input.
        mean: per channel, subtracted after scaling to [0, 1].
        std: per channel, divided by.
        resize: `pil`: shorter side to `height` by Pillow's antialiased bicubic, centre crop, then RGB (CLIP's path);
            `tensor`: the same without antialiasing, on float values (AudioCLIP's trainer and demo);
            `page`: the whole page, antialiased, stretched to height x width, nothing cut off.
        grey: convert to luminance first and repeat it three times.
    """

    height: int = 224
    width: int = 224
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    resize: Literal["pil", "tensor", "page"] = "pil"
    grey: bool = False


@dataclass(frozen=True)
class TextSpec:
    """The text tower's input, int64 (n, length), length at most `context`."""

    context: int = 77


@dataclass(frozen=True)
class AudioSpec:
    """How a window of sound becomes the audio tower's input, float32 (n, 3, bins, frames) in dB.

    Attributes:
        sample_rate: Hz.
        window_samples: length of one window at that rate; shorter ones are padded as the front end pads.
        hop: samples between frames.
        frames: frames of one window.
        amplitude: `int16`: unit samples times 32768 before the front end (what AudioCLIP was trained on);
            `unit`: as they are (what its demo did).
        floor_db: lowest value of the dB image, or None for AudioCLIP's own clamp.
    """

    sample_rate: int = 44100
    window_samples: int = 220500
    hop: int = 561
    frames: int = 392
    amplitude: Literal["int16", "unit"] = "int16"
    floor_db: float | None = None


@dataclass(frozen=True)
class GraphFile:
    """One ONNX graph of a tower; the batch dimension is named `batch`, the text length `length`."""

    file: str
    input: str
    output: str


@dataclass(frozen=True)
class LabelSet:
    """Names a user sees, and the prompts whose embeddings stand in labels.npz under the set's name."""

    names: tuple[str, ...]
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class RankSpec:
    """How scores are made (DESIGN section 9); fitted at export, read by `mmr_runtime.rank`.

    Attributes:
        form: `direct`: cosine of the vectors; `text`: agreement of the mood profiles; `blend`: both.
        direct_weight: weight of the direct part in `blend`, in 0..1, both parts standardised.
        text_weight: weight of a page's dialogue beside its image, in 0..1.
        temperature: sharpness of the mood posteriors (softmax over standardised mood scores).
        correct_hubs: subtract each song's mean over the reference set and divide by its spread.
    """

    form: Literal["direct", "text", "blend"] = "direct"
    direct_weight: float = 0.5
    text_weight: float = 0.5
    temperature: float = 1.0
    correct_hubs: bool = False


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json.

    Attributes:
        id: name of the model; vectors of different ids never meet in one index.
        logit_scales: `image_text`, `audio_image`, `audio_text`, after AudioCLIP's clamp (exp, within 1..100).
        graphs: tower -> precision (`fp32`, `int8`, `fp16`) -> graph.
        labels: `mood`, `genre` and any user set.
        files: name -> {"bytes": int, "sha256": hex} of every file but the manifest.
    """

    id: str
    embedding_size: int
    licence: str
    image: ImageSpec
    text: TextSpec
    audio: AudioSpec
    logit_scales: dict[str, float]
    graphs: dict[str, dict[str, GraphFile]]
    labels: dict[str, LabelSet]
    rank: RankSpec = field(default_factory=RankSpec)
    model: dict[str, Any] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    schema: int = SCHEMA
