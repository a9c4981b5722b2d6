"""Weights from a file, checked name by name and shape by shape; nothing is guessed.

Accepted:

- a state dict of AudioCLIP, raw, under a `state_dict` or `model` key, with `module.` before every name, in any float
  type (becomes float32), as a PyTorch file or safetensors;
- OpenAI's CLIP RN50, as a plain dict or as the TorchScript archive they publish: image and text tower;
- an ESResNeXt-fbsp file (names without `audio.`): audio tower. Its `fc` may have any number of outputs, and the model's
  embedding size then is that number: a classifier's `fc` gives class scores, which share no space with images or text,
  but no weight is dropped and none is made up;
- projections of features (`load_projections`): the JSON file beside them is of the kind `features`.

PyTorch files are read with `weights_only=True`: Python code in them is refused, not run. `torch.jit.load` is used for a
file that is recognised as a TorchScript archive, on the CPU and only for its tensors. Such an archive is not Python but
still a program: take it from its publisher alone.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from torch import Tensor

from mmr_runtime.bundle import PROJECTIONS, AudioSpec, ImageSpec, Tower
from mmr_runtime.errors import CheckpointError
from mmr_runtime.frontend import frame_count
from mmr_runtime.limits import MAX_ERROR_NAMES, MAX_MANIFEST_BYTES

from .model import PRESETS, AudioCLIP, ModelConfig
from .model.projection import Projections, ProjectionsConfig

CLIP_EXTRAS = frozenset({"input_resolution", "context_length", "vocab_size"})
TEXT_NAMES = ("positional_embedding", "text_projection", "transformer.", "token_embedding.", "ln_final.")
SCALES = ("logit_scale", "logit_scale_ai", "logit_scale_at")
DIVERGED = "the training diverged; take an earlier checkpoint"
DEFAULT_SCALE = math.log(100.0)
"""For scales that a file lacks: the value CLIP ends with and AudioCLIP starts from."""

Spec = TypeVar("Spec", ImageSpec, AudioSpec)
KINDS = "a PyTorch or safetensors file with the weights of AudioCLIP, CLIP RN50 or ESResNeXt-fbsp"
FEATURES = "features"
"""`kind` of the metadata of projections; that of encoders says none."""
_FEATURE_KINDS = "a file that the recipe features wrote, with its JSON file beside it"


@dataclass(frozen=True)
class Checkpoint:
    """Weights that fit their config.

    Attributes:
        path: the file.
        state: name -> float32 tensor (int64 for batch counters), all of the towers in `parts` and the three scales.
        config: sizes of the model.
        parts: the towers that the file holds.
        sha256: of the file, hexadecimal.
        metadata: content of the JSON file beside it (`best.pt` -> `best.json`); empty without one.
        notes: what was filled in by default, for the user to read.
    """

    path: Path
    state: dict[str, Tensor]
    config: ModelConfig
    parts: frozenset[Tower]
    sha256: str
    metadata: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def image_spec(self) -> ImageSpec:
        """How pages are prepared for this model: the image tower's own form, changed by the metadata's `image`."""
        image = self.config.image
        spec = ImageSpec(height=image.height, width=image.width)
        if image.kind == "mobilenet_v2":
            half = (0.5, 0.5, 0.5)
            spec = replace(spec, mean=half, std=half, resize="page")
        return _changed(spec, self.metadata.get("image", {}), "image")

    def audio_spec(self) -> AudioSpec:
        """How sound is prepared for this model: five seconds, changed by the metadata's `audio`."""
        audio, spec = self.config.audio, AudioSpec(floor_db=self.config.audio.floor_db, hop=self.config.audio.hop)
        spec = _changed(spec, self.metadata.get("audio", {}), "audio")
        return replace(spec, frames=frame_count(spec.window_samples, audio.win_length, audio.hop))


@dataclass(frozen=True)
class ProjectionsCheckpoint:
    """Weights of projections that fit their config.

    Attributes:
        path: the file.
        state: name -> float32 tensor (int64 for batch counters).
        config: sizes of the model.
        sha256: of the file, hexadecimal.
        metadata: content of the JSON file beside it.
        parts: both projections: neither is of use without the other.
        notes: none: nothing is filled in.
    """

    path: Path
    state: dict[str, Tensor]
    config: ProjectionsConfig
    sha256: str
    metadata: dict[str, Any]
    parts: frozenset[Tower] = frozenset(PROJECTIONS)
    notes: tuple[str, ...] = ()


AnyCheckpoint = Checkpoint | ProjectionsCheckpoint


def load(path: str | Path) -> AnyCheckpoint:
    """Read and check a checkpoint of the kind that the JSON file beside it says.

    Raises:
        CheckpointError: as `load_checkpoint` and `load_projections`.
    """
    return load_projections(path) if _sidecar(Path(path)).get("kind") == FEATURES else load_checkpoint(path)


def load_projections(path: str | Path) -> ProjectionsCheckpoint:
    """Read and check projections of features; their sizes are the `config` of the JSON file beside them.

    Raises:
        CheckpointError: no such file, not projections, damaged, names or shapes that do not fit, or values that cannot
            be.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file", f"give {_FEATURE_KINDS}")
    metadata = _sidecar(path)
    if metadata.get("kind") != FEATURES or "config" not in metadata:
        raise CheckpointError(
            f"{path.with_suffix('.json')}: does not describe projections of features", f"give {_FEATURE_KINDS}"
        )
    config = ProjectionsConfig.from_dict(metadata["config"])
    state = _tensors(_unwrapped(_read(path), path), path)
    with torch.device("meta"):
        expected = Projections(config).state_dict()
    _check_names(state, expected, path, _FEATURE_KINDS)
    state = {name: value.to(_dtype(name)).contiguous() for name, value in state.items()}
    _check_values(state, path)
    narrow = [f"{tower}.std" for tower in PROJECTIONS if not bool((state[f"{tower}.std"] > 0).all())]
    if narrow:
        raise CheckpointError(f"{path}: {_listed(narrow)} must be above 0", "train the projections again")
    return ProjectionsCheckpoint(path, state, config, _sha256(path), metadata)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read and check a checkpoint of encoders (the module's docstring says which kinds).

    The sizes come from the `config` of the JSON file beside it, or else from the preset whose shapes fit. Missing
    `num_batches_tracked` entries become 0 and missing scales ln 100, with a note.

    Raises:
        CheckpointError: no such file, not a checkpoint, damaged, names or shapes that do not fit, or values that are
            not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file", f"give {KINDS}")
    metadata = _sidecar(path)
    kind = metadata.get("kind")
    if kind is not None:
        what = "holds projections of features" if kind == FEATURES else f"is of the unknown kind {kind!r:.40}"
        hint = "give the bundle that mmr-export makes of it" if kind == FEATURES else f"give {KINDS}"
        raise CheckpointError(f"{path}: {what}, not encoders", hint)
    state = _tensors(_unwrapped(_read(path), path), path)
    if "fbsp.m" in state:
        state = {f"audio.{name}": value for name, value in state.items()}
    state = {name: value for name, value in state.items() if name not in CLIP_EXTRAS}
    parts = _parts(state)
    config = _config(state, parts, metadata, path)
    notes = _fill_defaults(state, config, parts)
    expected = {name: value for name, value in _expected(config).items() if name in SCALES or tower_of(name) in parts}
    _check_names(state, expected, path, KINDS)
    state = {name: value.to(_dtype(name)).contiguous() for name, value in state.items()}
    _check_values(state, path)
    checkpoint = Checkpoint(path, state, config, parts, _sha256(path), metadata, notes)
    checkpoint.image_spec(), checkpoint.audio_spec()  # so that wrong metadata is found now, not after hours
    return checkpoint


@overload
def build(checkpoint: Checkpoint) -> AudioCLIP: ...


@overload
def build(checkpoint: ProjectionsCheckpoint) -> Projections: ...


def build(checkpoint: AnyCheckpoint) -> AudioCLIP | Projections:
    """The model with the checkpoint's weights, in evaluation mode.

    Towers that are not in `checkpoint.parts` hold random initial values: do not use them.
    """
    config = checkpoint.config
    model = Projections(config) if isinstance(config, ProjectionsConfig) else AudioCLIP(config)
    model.load_state_dict(model.state_dict() | checkpoint.state, strict=True)
    return model.eval()


# ----- reading -----


def _read(path: Path) -> Any:
    """What the file holds, whatever its container."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
        if len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
            return _read_safetensors(path)
        if _is_torchscript(path):
            return _read_torchscript(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error) or "Unsupported" in str(error):
            reason = "holds Python objects, not only tensors; it was not opened, for that could run its code"
            hint = "save the state dict alone: torch.save(model.state_dict(), path)"
            raise CheckpointError(f"{path}: {reason}", hint) from None
        raise CheckpointError(f"{path}: not a checkpoint", f"give {KINDS}") from None
    except Exception as error:  # a damaged file makes the readers fail in any way there is
        what = str(error).strip().partition("\n")[0][:200]
        if isinstance(error, LookupError) or not what:  # the bare key says nothing to a user
            what = "its content is damaged, or not what its name says"
        raise CheckpointError(f"{path}: cannot be read: {what}", f"is it complete? Give {KINDS}") from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    state: dict[str, Tensor] = load_file(path)
    return state


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return any(name.endswith("/constants.pkl") for name in names) and any("/code/" in name for name in names)


def _read_torchscript(path: Path) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is deprecated does not help who has such a file
        module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    state: dict[str, Tensor] = module.state_dict()
    return {name: value.detach() for name, value in state.items()}


def _unwrapped(content: Any, path: Path) -> dict[str, Any]:
    """The names and values inside the wrappers that trainers put around a state dict."""
    for _ in range(3):
        inner = content.get("state_dict", content.get("model")) if isinstance(content, Mapping) else None
        if not isinstance(inner, Mapping):
            break
        content = inner
    if not isinstance(content, Mapping) or not content or not all(isinstance(name, str) for name in content):
        raise CheckpointError(f"{path}: holds no weights by name", f"give {KINDS}")
    names = dict(content)
    while all(name.startswith("module.") for name in names):
        names = {name.removeprefix("module."): value for name, value in names.items()}
    return names


def _tensors(values: dict[str, Any], path: Path) -> dict[str, Tensor]:
    others = [name for name, value in values.items() if not isinstance(value, Tensor) and name not in CLIP_EXTRAS]
    if others:
        raise CheckpointError(f"{path}: not tensors: {_listed(others)}", f"give {KINDS}")
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def _sidecar(path: Path) -> dict[str, Any]:
    """The JSON object beside the checkpoint; empty if there is no such file."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return {}
    hint = "mend the file, or move it away"
    if beside.stat().st_size > MAX_MANIFEST_BYTES:
        raise CheckpointError(f"{beside}: larger than {MAX_MANIFEST_BYTES} bytes", hint)
    try:
        metadata = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{beside}: cannot be read: {error}", hint) from None
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{beside}: must hold a JSON object", hint)
    return metadata


def _changed(spec: Spec, values: object, section: str) -> Spec:
    """The spec with the values of the metadata's section; CheckpointError if they cannot be."""
    hint = f"`{section}` beside the checkpoint may hold the fields of {type(spec).__name__}"
    known = {f.name: f for f in fields(spec)}
    if not isinstance(values, dict) or not set(values) <= set(known):
        raise CheckpointError(f"unknown values in the metadata's `{section}`", hint)
    for name, value in values.items():
        before = getattr(spec, name)
        fits = isinstance(value, type(before)) or (isinstance(before, tuple) and isinstance(value, list))
        if name == "floor_db":
            fits = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        if not fits:
            raise CheckpointError(f"metadata `{section}.{name}` cannot be {value!r}", hint)
    changes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return replace(spec, **changes)


# ----- checking -----


def tower_of(name: str) -> Tower | None:
    """The tower that a weight belongs to; None for the scales and for unknown names."""
    if name.startswith("visual."):
        return "image"
    if name.startswith("audio."):
        return "audio"
    return "text" if name.startswith(TEXT_NAMES) else None


def _parts(state: Iterable[str]) -> frozenset[Tower]:
    """The towers that the file is meant to hold: CLIP's two, the audio tower alone, or else all three."""
    found = frozenset(part for part in map(tower_of, state) if part)
    if found in ({"image", "text"}, {"audio"}):
        return found
    return frozenset({"image", "text", "audio"})


@functools.cache
def _expected(config: ModelConfig) -> Mapping[str, Tensor]:
    """Names and shapes of a model's weights, without memory for their values."""
    with torch.device("meta"):
        return dict(AudioCLIP(config).state_dict())


def _config(
    state: Mapping[str, Tensor], parts: frozenset[Tower], metadata: Mapping[str, Any], path: Path
) -> ModelConfig:
    """The sizes: as the metadata says, or of the preset that most of the shapes fit."""
    if "config" in metadata:
        return ModelConfig.from_dict(metadata["config"])
    shapes = {name: value.shape for name, value in state.items()}
    fits = {
        name: sum(shapes.get(key) == value.shape for key, value in _expected(preset).items() if tower_of(key))
        for name, preset in PRESETS.items()
    }
    best = max(fits, key=lambda name: fits[name])
    if 2 * fits[best] < len(shapes):
        names = ", ".join(PRESETS)
        message = f"{path}: {fits[best]} of its {len(shapes)} tensors fit a known model ({names})"
        raise CheckpointError(message, f"give {KINDS}, or describe the sizes in {path.with_suffix('.json').name}")
    config = PRESETS[best]
    head = state.get("audio.fc.bias")
    if parts == {"audio"} and head is not None and head.ndim == 1 and len(head):
        config = replace(config, embedding_size=len(head))
    return config


def _fill_defaults(state: dict[str, Tensor], config: ModelConfig, parts: frozenset[Tower]) -> tuple[str, ...]:
    """Add what may be missing; says what."""
    notes = []
    counters = [
        name
        for name in _expected(config)
        if name.endswith(".num_batches_tracked") and name not in state and tower_of(name) in parts
    ]
    if counters:
        state.update((name, torch.zeros((), dtype=torch.int64)) for name in counters)
        notes.append(f"{len(counters)} batch counters were missing and are 0")
    for scale in SCALES:
        if scale not in state:
            state[scale] = torch.tensor(DEFAULT_SCALE)
            notes.append(f"{scale} was missing and is ln 100")
    return tuple(notes)


def _check_names(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path, kinds: str) -> None:
    """Every expected weight is there, with its shape and a fitting type, and nothing else is."""
    shared = [name for name in expected if name in state]
    shapes = [
        f"{name} {_shape(state[name])} instead of {_shape(expected[name])}"
        for name in shared
        if state[name].shape != expected[name].shape
    ]
    types = [
        f"{name} {str(state[name].dtype).removeprefix('torch.')}"
        for name in shared
        if state[name].is_complex() or (expected[name].is_floating_point() and not state[name].is_floating_point())
    ]
    problems = {
        "missing": [name for name in expected if name not in state],
        "unexpected": [name for name in state if name not in expected],
        "wrong shape": shapes,
        "wrong type": types,
    }
    found = [f"{len(names)} {what}: {_listed(names)}" for what, names in problems.items() if names]
    if found:
        raise CheckpointError(f"{path}: the weights do not fit the model; {'; '.join(found)}", f"give {kinds}")


def _check_values(state: Mapping[str, Tensor], path: Path) -> None:
    bad = [name for name, value in state.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise CheckpointError(f"{path}: {len(bad)} tensors hold NaN or infinity: {_listed(bad)}", DIVERGED)
    bandwidth = state.get("audio.fbsp.fb")
    if bandwidth is not None and bool((bandwidth < 0).any()):
        raise CheckpointError(f"{path}: audio.fbsp.fb holds negative bandwidths", DIVERGED)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _dtype(name: str) -> torch.dtype:
    """The type of a weight in the model; who halves a whole dict halves its batch counters, too."""
    return torch.int64 if name.endswith(".num_batches_tracked") else torch.float32


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "scalar"


def _listed(names: list[str]) -> str:
    rest = len(names) - MAX_ERROR_NAMES
    return ", ".join(names[:MAX_ERROR_NAMES]) + (f" and {rest} more" if rest > 0 else "")
