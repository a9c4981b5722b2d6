"""Writes a bundle from a checkpoint: whole and proven, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

import mmr_runtime
from mmr_runtime.bundle import (
    FRONT_END,
    LABELS,
    MANIFEST,
    MERGES,
    PRECISIONS,
    PROJECTIONS,
    SCALES,
    TOWERS,
    AudioSpec,
    FileFacts,
    ImageSpec,
    LabelSet,
    Manifest,
    RankSpec,
    TextSpec,
    Tower,
    manifest_from_json,
    manifest_to_json,
)
from mmr_runtime.engine import Engine, unit_rows
from mmr_runtime.errors import CheckpointError, ExportError, UsageError
from mmr_runtime.frontend import FrontEnd
from mmr_runtime.sessions import Session
from mmr_runtime.text import Tokenizer

from . import merges
from .card import model_card
from .checkpoint import AnyCheckpoint, ProjectionsCheckpoint, build
from .graphs import Model, encode, graph_file, tower_graph
from .labels import DEFAULT_LABELS, parse_labels
from .model import AudioCLIP
from .quality import (
    COUNTS,
    EVIDENCE,
    Evidence,
    Fitting,
    GateSet,
    add_moods,
    end_to_end,
    quantized_fp16,
    quantized_int8,
    require_passed,
)
from .samples import FITTED_USES, Sources, Spread

Arrays = dict[str, NDArray[Any]]
Progress = Callable[[int, int, str], None]
"""Called before each step with its number from 0, how many there are, and what it does."""

MAX_DIFFERENCE = 1e-6
"""1 - cosine of a float32 graph and its PyTorch encoder; more is a fault of the export."""
MAX_FRONT_END_DIFFERENCE = 1e-3
"""1 - cosine of the two whole audio paths: quiet bins hold the rounding of another order of summation."""
_PROOFS = 6
_TEXTS_MORE = 4  # times as many texts as pages and windows: they take no time, and a short one shows little
CARD, NOTICE = "MODEL_CARD.md", "MERGES_NOTICE.txt"


@dataclass(frozen=True)
class ExportOptions:
    """What the user may choose.

    Attributes:
        precisions: graphs to make of each tower, of `fp32`, `int8` and `fp16`.
        amplitude: scale of the samples that the weights were trained on; None: as the checkpoint's metadata says.
        resize: how pages are brought to size; None: as the checkpoint's metadata says.
        labels: label sets beside, or instead of, the default ones.
        calibration: folder of pages and songs, or features, for int8; None: generated ones.
        gate: folders of the like that quantized graphs are judged by, beside generated ones; none: what the
            calibration leaves of its folder.
        card: text of MODEL_CARD.md; None: the checkpoint's metadata's, else a generic one.
        allow_degraded: write a bundle whose quantized graphs do not pass the gate, and say so in it.
        force: replace an existing bundle.
    """

    precisions: tuple[str, ...] = ("fp32",)
    amplitude: Literal["int16", "unit"] | None = None
    resize: Literal["pil", "tensor", "page"] | None = None
    labels: Mapping[str, LabelSet] = field(default_factory=dict)
    calibration: Path | None = None
    gate: tuple[Path, ...] = ()
    card: str | None = None
    allow_degraded: bool = False
    force: bool = False


def write_bundle(
    checkpoint: AnyCheckpoint,
    output: str | Path,
    options: ExportOptions = ExportOptions(),
    progress: Progress | None = None,
) -> Manifest:
    """Write the bundle of a checkpoint; the same checkpoint and options give the same bytes on the same machine.

    Everything is made in a new folder beside `output`, proven, flushed to disk and then renamed, so that `output` is
    at no moment half a bundle.

    Args:
        checkpoint: the weights, of encoders or of projections; towers that it lacks are left out.
        output: folder to make.
        options: what to choose.
        progress: told of each step.

    Returns:
        the manifest that was written; its `quality` holds the proof.

    Raises:
        UsageError: the output exists, or an option cannot be.
        ExportError: a graph differs from its encoder, or does not pass the gate, or the disk refuses.
    """
    output = Path(output).absolute()
    _check_options(options)
    _check_output(output, options.force)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with _folder_beside(output) as folder:
            manifest = _Writer(checkpoint, options, folder, progress).write()
            _flush(folder)
            _replace(folder, output)
    except OSError as error:
        raise ExportError(
            f"{output} cannot be written: {error.strerror or error}", "check space and permissions"
        ) from error
    return manifest


class _Writer:
    """One export: makes the files of a bundle in a folder."""

    def __init__(
        self, checkpoint: AnyCheckpoint, options: ExportOptions, folder: Path, progress: Progress | None
    ) -> None:
        self.checkpoint = checkpoint
        self.options = options
        self.folder = folder
        self.model: Model = build(checkpoint)
        self.towers = [tower for tower in TOWERS if tower in checkpoint.parts]
        self.image, self.audio, self.text = _specs(checkpoint, options)
        self.id = _model_id(checkpoint, self.image, self.audio)
        self.labels = self._label_sets()
        self.quality: dict[str, Any] = {"proof": {}}
        self._progress = progress
        self.evidence: Evidence = {}
        self._quantized = [precision for precision in options.precisions if precision != "fp32"]
        self._steps = 2 + len(self.towers) * (1 + len(self._quantized))
        self._step = 0

    def write(self) -> Manifest:
        """Make all files, the manifest last."""
        self._tell("front end and tokenizer")
        sources = self._inputs()
        for tower in self.towers:
            self._tell(f"{tower} tower, fp32")
            self._fp32(tower, sources)
            if self._quantized:
                self._quantize(tower, sources)
        self._tell("labels and manifest")
        if self.labels:
            _save_npz(self.folder / LABELS, self._label_arrays(sources.tokenizer))
        if self.evidence:
            _save_npz(self.folder / EVIDENCE, {name: _compact(array) for name, array in self.evidence.items()})
        card = model_card(self._manifest(), self.options.card or self.checkpoint.metadata.get("card"))
        (self.folder / CARD).write_text(card, encoding="utf-8")
        files = _measured(self.folder)
        manifest = self._write_manifest(files)
        if not self.evidence:
            return manifest
        for precision in self._quantized:
            self.quality.setdefault("end_to_end", {})[precision] = end_to_end(self.evidence, precision)
        if "mood" in self.labels:
            with Engine.open(self.folder, device="cpu") as engine:  # moods as the finished bundle tells them
                add_moods(self.quality, self.evidence, engine)
        return self._write_manifest(files)

    def _write_manifest(self, files: dict[str, FileFacts]) -> Manifest:
        manifest = replace(self._manifest(), files=files)
        text = manifest_to_json(manifest)
        manifest_from_json(text)  # what the reader would refuse must not be written
        (self.folder / MANIFEST).write_text(text, encoding="utf-8")
        return manifest

    def _tell(self, what: str) -> None:
        if self._progress:
            self._progress(self._step, self._steps, what)
        self._step += 1

    def _inputs(self) -> Sources:
        if "text" in self.towers:
            shutil.copyfile(merges.MERGES, self.folder / MERGES)
            shutil.copyfile(merges.NOTICE, self.folder / NOTICE)
        front_end = None
        if isinstance(self.model, AudioCLIP) and "audio" in self.towers:
            arrays = self.model.audio.front_end_arrays()
            _save_npz(self.folder / FRONT_END, arrays)
            front_end = FrontEnd.from_arrays(arrays, self.audio)
            self.quality["front_end"] = {"form": front_end.form, "error_db": _rounded(front_end.error_db)}
        features: dict[Tower, Spread] = {t: _spread(self.model, t) for t in PROJECTIONS if t in self.towers}
        return Sources(self.image, self.audio, self.text, front_end, Tokenizer.load(merges.MERGES), features)

    def _fp32(self, tower: Tower, sources: Sources) -> None:
        path = self.folder / graph_file(tower, "fp32").file
        graph = tower_graph(self.model, tower, frames=self.audio.frames, model_id=self.id)
        path.write_bytes(graph.SerializeToString(deterministic=True))
        self.quality["proof"][tower] = prove(self.model, tower, path, sources)

    def _quantize(self, tower: Tower, sources: Sources) -> None:
        """Make the graphs of a tower in other precisions, judge them, and keep what was seen."""
        source = self.folder / graph_file(tower, "fp32").file
        graph = onnx.load(source)
        folder = self.options.calibration
        count = {use: number * (_TEXTS_MORE if tower == "text" else 1) for use, number in COUNTS.items()}
        fitting = Fitting(*(sources.rows(tower, use, count[use], folder) for use in FITTED_USES))
        gate = self._gate(graph, tower, sources, count["gate"])
        makers = {"int8": partial(quantized_int8, graph, tower), "fp16": partial(quantized_fp16, graph)}
        for precision in self._quantized:
            self._tell(f"{tower} tower, {precision}")
            result = makers[precision](fitting, gate)
            if not self.options.allow_degraded:
                require_passed(tower, precision, result.report)
            target = self.folder / graph_file(tower, precision).file
            target.write_bytes(result.graph.SerializeToString(deterministic=True))
            self.quality.setdefault(precision, {})[tower] = result.report
            for name, vectors in result.vectors.items():
                self.evidence[f"{name}.{tower}.{precision}"] = unit_rows(vectors)
        for name, inputs in gate.items():
            self.evidence[f"{name}.{tower}.fp32"] = unit_rows(inputs.reference)
            self.evidence[f"{name}.{tower}.names"] = np.array(inputs.names)
        if "fp32" not in self.options.precisions:
            source.unlink()

    def _gate(self, graph: onnx.ModelProto, tower: Tower, sources: Sources, count: int) -> dict[str, GateSet]:
        """Generated inputs, and those of the folders that calibration has not seen."""
        made = sources.rows(tower, "gate", count)
        sets = {"generated": GateSet.of(graph, [str(i) for i in range(len(made))], made)}
        calibration = self.options.calibration
        folders = self.options.gate or (() if calibration is None else (calibration,))
        names, rows = sources.gate_files(tower, folders, calibration)
        if rows:
            sets["files"] = GateSet.of(graph, names, rows)
        return sets

    def _label_sets(self) -> dict[str, LabelSet]:
        if "text" not in self.towers:
            if self.options.labels:
                raise UsageError("the checkpoint has no text tower to embed labels with", "leave --labels out")
            return {}
        own = parse_labels(self.checkpoint.metadata.get("labels", {}), "the checkpoint's metadata")
        return {**DEFAULT_LABELS, **own, **self.options.labels}

    def _label_arrays(self, tokenizer: Tokenizer) -> Arrays:
        arrays: Arrays = {}
        for name, labels in self.labels.items():
            tokens = [tokenizer.tokens([prompt], self.text.context) for prompt in labels.prompts]
            rows = np.concatenate([encode(self.model, "text", torch.from_numpy(t)).numpy() for t in tokens])
            arrays[name] = unit_rows(rows)
        size = self.checkpoint.config.embedding_size
        for kind, shape in (("calibration", (2, 7)), ("directions", (7, size)), ("reference", (-1, size))):
            for modality, values in _section(self.checkpoint, kind).items():
                arrays[f"{kind}_{modality}"] = _float_array(values, shape, f"{kind}.{modality}")
        return arrays

    def _manifest(self) -> Manifest:
        metadata, config, model = self.checkpoint.metadata, self.checkpoint.config, self.model
        scales = {name: scale.item() for name, scale in model.scales().items()} if isinstance(model, AudioCLIP) else {}
        return Manifest(
            id=self.id,
            embedding_size=config.embedding_size,
            licence=str(metadata.get("licence", "that of the checkpoint, which does not state one")),
            image=self.image,
            text=self.text,
            audio=self.audio,
            logit_scales=dict.fromkeys(SCALES, 1.0) | scales,
            graphs={t: {p: graph_file(t, p) for p in self.options.precisions} for t in self.towers},
            labels=self.labels,
            rank=_rank_spec(_section(self.checkpoint, "rank")),
            model=config.to_dict(),
            quality=self.quality,
            source={"sha256": self.checkpoint.sha256, "notes": list(self.checkpoint.notes)},
            versions={"mmr": mmr_runtime.__version__}
            | {name: importlib.metadata.version(name) for name in ("torch", "onnx", "onnxruntime")},
        )


def prove(model: Model, tower: Tower, path: Path, sources: Sources) -> dict[str, Any]:
    """Compare a float32 graph with its PyTorch encoder on generated inputs.

    Returns:
        `inputs`: how many; `one_minus_cosine`: the largest; for sound also `end_to_end`, from samples on.

    Raises:
        ExportError: they differ by more than rounding.
    """
    session = Session(path)
    rows = sources.rows(tower, "proof", _PROOFS)
    worst = max(one_minus_cosine(session.run(x), encode(model, tower, torch.from_numpy(x)).numpy()) for x in rows)
    _require_close(worst, MAX_DIFFERENCE, f"the {tower} graph")
    report: dict[str, Any] = {"inputs": len(rows), "one_minus_cosine": _rounded(worst)}
    if isinstance(model, AudioCLIP) and tower == "audio":
        scale = np.float32(32768 if sources.audio.amplitude == "int16" else 1)
        with torch.inference_mode():
            sounds = list(sources.sounds("proof", _PROOFS))[1:]  # silence is nothing but rounding
            wanted = [model.encode_audio(torch.from_numpy(s[None] * scale)).numpy() for s in sounds]
        worst = max(one_minus_cosine(session.run(x), y) for x, y in zip(rows[1:], wanted, strict=True))
        _require_close(worst, MAX_FRONT_END_DIFFERENCE, "the front end with the audio graph")
        report["end_to_end"] = _rounded(worst)
    return report


def one_minus_cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    """1 - cosine of two vectors, computed in float64; never below 0."""
    x, y = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return max(0.0, 1.0 - float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y))))


def _require_close(difference: float, limit: float, what: str) -> None:
    if not difference <= limit:  # a NaN fails, too
        raise ExportError(
            f"{what} differs from PyTorch: 1 - cosine {difference:.2g}, more than {limit:g}",
            "are the weights finite and trained? Otherwise report it with the versions used",
        )


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


# -- what the checkpoint and the options say --------------------------------------------------------------------------


def _check_options(options: ExportOptions) -> None:
    if not options.precisions or not set(options.precisions) <= set(PRECISIONS):
        raise UsageError(
            f"unknown precision in {', '.join(options.precisions) or 'none'}", f"any of {', '.join(PRECISIONS)}"
        )
    for folder in (options.calibration, *options.gate):
        if folder is not None and not folder.is_dir():
            raise UsageError(f"{folder} is not a folder", "give a folder of pages and songs")


def _spread(model: Model, tower: Tower) -> Spread:
    branch = model.get_submodule(tower)
    return Spread(branch.get_buffer("mean").numpy(), branch.get_buffer("std").numpy())


def _specs(checkpoint: AnyCheckpoint, options: ExportOptions) -> tuple[ImageSpec, AudioSpec, TextSpec]:
    """How inputs are prepared; for projections, which prepare nothing, the defaults."""
    if isinstance(checkpoint, ProjectionsCheckpoint):
        if options.resize or options.amplitude:
            raise UsageError("features are taken as they are", "leave --resize and --amplitude out")
        return ImageSpec(), AudioSpec(), TextSpec()
    image, audio = checkpoint.image_spec(), checkpoint.audio_spec()
    if options.resize:
        image = replace(image, resize=options.resize)
    if options.amplitude:
        audio = replace(audio, amplitude=options.amplitude)
    return image, audio, TextSpec(checkpoint.config.text.context)


def _model_id(checkpoint: AnyCheckpoint, image: ImageSpec, audio: AudioSpec) -> str:
    """A name, and a hash of all that decides the vectors: weights and how inputs are prepared."""
    name = str(checkpoint.metadata.get("id", "audioclip"))
    content = json.dumps([checkpoint.sha256, asdict(image), asdict(audio)], sort_keys=True)
    return f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def _section(checkpoint: AnyCheckpoint, name: str) -> dict[str, Any]:
    section = checkpoint.metadata.get(name, {})
    if not isinstance(section, dict):
        raise CheckpointError(f"the metadata's `{name}` must be an object", "mend the JSON file beside the checkpoint")
    return section


def _rank_spec(values: dict[str, Any]) -> RankSpec:
    try:
        return RankSpec(**values)
    except TypeError as error:
        raise CheckpointError(
            f"the metadata's `rank` cannot be: {error}", "it may hold the fields of RankSpec"
        ) from None


def _float_array(values: Any, shape: tuple[int, int], name: str) -> NDArray[np.float32]:
    try:
        array = np.array(values, np.float32).reshape(shape)
    except (TypeError, ValueError):
        array = np.full((1, 1), np.nan, np.float32)
    if not np.isfinite(array).all():
        hint = "mend the JSON file beside the checkpoint"
        raise CheckpointError(f"the metadata's `{name}` is not an array of {shape} numbers", hint)
    return array


# -- files ------------------------------------------------------------------------------------------------------------


def _compact(array: NDArray[Any]) -> NDArray[Any]:
    """Vectors in half precision: the plots of a report need no more."""
    return array.astype(np.float16) if array.dtype == np.float32 else array


def _save_npz(path: Path, arrays: Arrays) -> None:
    """Uncompressed: the runtime reads it at every start, and weights hardly shrink."""
    np.savez(path, **arrays)  # type: ignore[arg-type]


def _measured(folder: Path) -> dict[str, FileFacts]:
    return {path.name: FileFacts.of(path) for path in sorted(folder.iterdir())}


def _check_output(output: Path, force: bool) -> None:
    if not output.exists() and not output.is_symlink():
        return
    if not force:
        raise UsageError(f"{output} exists already", "choose another folder, or replace it with --force")
    if not (output / MANIFEST).is_file():
        raise UsageError(f"{output} is not a bundle, and is not replaced", "choose another folder")


@contextlib.contextmanager
def _folder_beside(output: Path) -> Iterator[Path]:
    """A new folder on the same file system; gone afterwards, unless it was renamed."""
    folder = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
    try:
        folder.chmod(0o755)  # mkdtemp makes it private
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Bring files and folder to the disk, so that the rename cannot survive a power cut that they do not."""
    for path in [*folder.iterdir(), folder]:
        if os.name == "nt" and path == folder:
            continue  # Windows has no handles of folders
        handle = os.open(path, os.O_RDONLY if path == folder else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _replace(folder: Path, output: Path) -> None:
    """Put the finished folder in its place; an old bundle is moved aside first, and comes back if that fails."""
    if not output.exists():
        folder.rename(output)
        return
    old = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}.old."))
    aside = old / output.name
    output.rename(aside)
    try:
        folder.rename(output)
    except OSError:
        aside.rename(output)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
