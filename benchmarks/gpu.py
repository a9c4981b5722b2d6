"""The encoders on a GPU, beside PyTorch on the same card: `python benchmarks/gpu.py [--checkpoint FILE]`.

Makes its own model, graphs and inputs. Every figure is from a NumPy array in ordinary memory to a NumPy array: copies
to the card and back belong to the work. Every round runs every variant once, so that whatever slows the card down slows
all of them alike; ratios are taken within a round. Float32 is float32 on both sides: TF32 is off.

The result is stored anew after every group of figures: a run that was cut off has what it measured.
`--device cpu --preset small --seconds 1 --batches 1,2` tries the program where there is no GPU.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
import io
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import torch
from host import store
from numpy.typing import NDArray

from mmr_export.checkpoint import Checkpoint, build, load_checkpoint
from mmr_export.graphs import tower_graph
from mmr_export.half import half_graph
from mmr_export.merges import MERGES
from mmr_export.model import PRESETS, AudioCLIP
from mmr_export.synth.pages import generate_page
from mmr_export.synth.pieces import compose
from mmr_runtime import sessions
from mmr_runtime.bundle import ENCODERS, AudioSpec, Tower
from mmr_runtime.image import load_image, preprocess
from mmr_runtime.moods import GENRE_PROMPTS, MOOD_PROMPTS
from mmr_runtime.sessions import Session, load_onnxruntime
from mmr_runtime.text import Tokenizer

Rows = NDArray[Any]
Action = Callable[[Rows], NDArray[np.float32]]

INPUTS = 8
"""Different inputs of a tower; larger batches repeat them."""
WARM_UP = 3
LEAST_ROUNDS, MOST_ROUNDS = 5, 100
PLAIN_BATCHES = (1, 32)
"""Batches at which more than fp16 is measured."""
BASELINE = "PyTorch fp16"
NHWC = {"prefer_nhwc": "1"}
PAGE = (1170, 1654)


@click.command()
@click.option("--checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Weights to measure.")
@click.option("--preset", type=click.Choice(list(PRESETS)), default="audioclip", help="Sizes of random weights.")
@click.option("--seed", default=0, help="Of the random weights.")
@click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", show_default=True)
@click.option("--batches", default="1,8,32,128", show_default=True)
@click.option("--seconds", default=3.0, show_default=True, help="For one batch size of one tower.")
@click.option("--name", default="gpu", show_default=True, help="Name of the result file.")
def main(checkpoint: Path | None, preset: str, seed: int, device: Any, batches: str, seconds: float, name: str) -> None:
    """Measure and store results/NAME.json."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    weights = load_checkpoint(checkpoint) if checkpoint else _untrained(preset)
    model = build(weights) if checkpoint else _random_model(weights, seed)
    figures: dict[str, Any] = {
        "model": weights.metadata.get("id", weights.path.stem) if checkpoint else f"{preset}, random weights {seed}",
        "device": _device_facts(device),
        "times faster": f"than {BASELINE}, which reads and writes NumPy arrays, too",
        "finished": False,
    }
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(model, weights, device, Path(folder), seconds)
        for where, measured in bench.groups([int(size) for size in batches.split(",")]):
            _put(figures, where, measured)
            path = store(name, figures)
            click.echo(f"{time.perf_counter() - bench.started:6.1f} s  {' / '.join(where)}: {_in_short(measured)}")
    figures["finished"] = True
    store(name, figures)
    click.echo(f"stored {path}")


class _Bench:
    """All measurements of one model on one device."""

    def __init__(self, model: AudioCLIP, weights: Checkpoint, device: Any, folder: Path, seconds: float) -> None:
        self.started = time.perf_counter()
        self.model, self.weights, self.device, self.folder, self.seconds = model, weights, device, folder, seconds
        self.image, self.audio = weights.image_spec(), weights.audio_spec()
        self.half = copy.deepcopy(model).half().to(device)
        self.half_last = copy.deepcopy(self.half).to(memory_format=torch.channels_last)
        self.full = copy.deepcopy(model).to(device)
        self.inputs: dict[Tower, Rows] = {}
        self.reference: dict[Tower, NDArray[np.float32]] = {}
        """Vectors of the inputs by the float32 graph on the CPU."""

    def groups(self, batches: list[int]) -> Iterator[tuple[list[str], Any]]:
        """Where each group of figures belongs, and the group; one that fails does not keep the others from running."""
        for tower in ENCODERS:
            yield from self._tried(["towers", tower, "export"], lambda: self._export(tower))  # noqa: B023 (runs at once)
        for batch in batches:
            for tower in self.inputs:
                where = ["towers", tower, "batches", str(batch)]
                yield from self._tried(where, lambda: self._encoder(tower, batch))  # noqa: B023
        yield from self._tried(["page, from its JPEG"], self._page)
        yield from self._tried(["change of shape"], self._change_of_shape)

    def _tried(self, where: list[str], measure: Callable[[], Any]) -> Iterator[tuple[list[str], Any]]:
        try:
            yield where, measure()
        except Exception as error:  # whatever it is, the other figures count
            yield where, {"error": _words(error)}

    # -- graphs and inputs -------------------------------------------------------------------------------------------

    def _graph(self, tower: Tower, precision: str) -> Path:
        return self.folder / f"{tower}.{precision}.onnx"

    def _export(self, tower: Tower) -> dict[str, Any]:
        start, rows = time.perf_counter(), self._rows(tower)
        graph = tower_graph(self.model, tower, frames=self.audio.frames, model_id="benchmark")
        half = half_graph(graph, [row[None] for row in rows])
        for precision, content in (("fp32", graph), ("fp16", half.graph)):
            onnx.save(content, self._graph(tower, precision))
        self.reference[tower] = Session(self._graph(tower, "fp32"), threads=sessions.default_threads()).run(rows)
        self.inputs[tower] = rows
        return {
            "seconds to export": round(time.perf_counter() - start, 1),
            "float nodes": list(half.float_nodes),
            "largest value in float16": round(half.peak, 1),
            "weights lost": half.lost_weights,
        }

    def _rows(self, tower: Tower) -> Rows:
        """Inputs (INPUTS, ...) of a tower."""
        if tower == "image":
            pages = (generate_page(seed, width=480, height=688).image for seed in range(INPUTS))
            return np.concatenate([preprocess(load_image(page, self.image), self.image, "whole") for page in pages])
        if tower == "text":
            prompts = [*MOOD_PROMPTS, *GENRE_PROMPTS][:INPUTS]
            return Tokenizer.load(MERGES).tokens(prompts, self.model.config.text.context)
        sounds = np.stack([_sound(seed, self.audio) for seed in range(INPUTS)])
        scale = 32768.0 if self.audio.amplitude == "int16" else 1.0
        with torch.inference_mode():
            return np.concatenate(
                [self.model.audio.db_image(torch.from_numpy(s[None] * scale)).numpy() for s in sounds]
            )

    # -- variants ----------------------------------------------------------------------------------------------------

    def _by_pytorch(self, model: AudioCLIP, tower: Tower, dtype: torch.dtype) -> Action:
        encode = getattr(model, {"image": "encode_image", "text": "encode_text", "audio": "encode_db"}[tower])

        @torch.inference_mode()
        def run(rows: Rows) -> NDArray[np.float32]:
            x = torch.from_numpy(rows).to(self.device)
            y = encode(x.to(dtype) if x.is_floating_point() else x)
            vectors: NDArray[np.float32] = y.float().cpu().numpy()
            return vectors

        return run

    def _session(self, tower: Tower, precision: str, batch: int) -> Session:
        """A session that runs so many rows at once."""
        usual = sessions.GPU_BATCH
        sessions.GPU_BATCH = batch if batch > 1 else usual
        try:
            return Session(self._graph(tower, precision), device=self.device, threads=sessions.default_threads())
        finally:
            sessions.GPU_BATCH = usual

    def _sessions(self, tower: Tower, batch: int) -> tuple[dict[str, Session], dict[str, str]]:
        """The sessions that can be opened, and why others cannot."""
        wanted: dict[str, tuple[str, dict[str, str]]] = {"fp16": ("fp16", {})}
        if batch in PLAIN_BATCHES:
            wanted["fp32"] = ("fp32", {})
            if tower != "text":
                wanted["fp16, NHWC"] = ("fp16", NHWC)
        opened, failed = dict[str, Session](), dict[str, str]()
        for name, (precision, options) in wanted.items():
            try:
                with _cuda_options(options):
                    session = self._session(tower, precision, batch)
                    session.run(self._batch(tower, batch))  # the first batch opens the twin
                opened[name] = session
            except Exception as error:  # an option that this build does not know, for example
                failed[name] = _words(error)
        return opened, failed

    def _batch(self, tower: Tower, batch: int) -> Rows:
        rows = self.inputs[tower]
        return np.resize(rows, (batch, *rows.shape[1:]))

    # -- measurements ------------------------------------------------------------------------------------------------

    def _encoder(self, tower: Tower, batch: int) -> dict[str, Any]:
        """Speed of every variant at one batch size, and how far it agrees with float32 on the CPU."""
        start = time.perf_counter()
        opened, failed = self._sessions(tower, batch)
        opening = round(time.perf_counter() - start, 2)
        actions: dict[str, Action] = {name: session.run for name, session in opened.items()}
        actions[BASELINE] = self._by_pytorch(self.half, tower, torch.float16)
        if tower != "text":
            actions[f"{BASELINE}, channels last"] = self._by_pytorch(self.half_last, tower, torch.float16)
        if batch in PLAIN_BATCHES:
            actions["PyTorch fp32"] = self._by_pytorch(self.full, tower, torch.float32)
        differences = {name: self._difference(tower, batch, run) for name, run in actions.items()}
        rows = self._batch(tower, batch)
        figures = _compare({name: (lambda run=run: run(rows)) for name, run in actions.items()}, self.seconds)
        for name, figure in figures.items():
            figure["rows a second"] = round(1e3 * batch / figure["milliseconds"], 1)
            figure["1 - cosine to fp32 on the CPU"] = differences[name]
        on_cpu = {name: session.on_cpu for name, session in opened.items()}
        return {
            "variants": figures,
            "seconds to open all sessions": opening,
            "nodes on the CPU": on_cpu,
            "failed": failed,
        }

    def _difference(self, tower: Tower, batch: int, run: Action) -> dict[str, float]:
        """1 - cosine to the float32 graph on the CPU over all inputs, at most `batch` at a time."""
        inputs = self._batch(tower, max(batch, INPUTS))
        vectors = np.concatenate([run(inputs[i : i + batch]) for i in range(0, len(inputs), batch)])
        reference = np.resize(self.reference[tower], vectors.shape)
        x, y = vectors.astype(np.float64), reference.astype(np.float64)
        cosines = (x * y).sum(axis=1) / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1))
        return {"mean": _rounded(1 - cosines.mean()), "worst": _rounded(1 - cosines.min())}

    def _page(self) -> dict[str, Any]:
        """One page from its JPEG to its vector."""
        file = io.BytesIO()
        generate_page(1, width=PAGE[0], height=PAGE[1]).image.save(file, "JPEG", quality=90)

        def pixels() -> Rows:
            return preprocess(load_image(file.getvalue(), self.image), self.image, "whole")

        start = time.perf_counter()
        session = self._session("image", "fp16", 1)
        opening = round(time.perf_counter() - start, 2)
        by_pytorch = self._by_pytorch(self.half, "image", torch.float16)
        actions: dict[str, Callable[[], object]] = {
            "decode and preprocess alone": pixels,
            "fp16": lambda: session.run(pixels()),
            BASELINE: lambda: by_pytorch(pixels()),
        }
        return {"variants": _compare(actions, self.seconds), "seconds to open the session": opening}

    def _change_of_shape(self) -> dict[str, Any]:
        """What a session that is open to any batch pays when batches of 1 and of 16 alternate."""
        providers: list[Any] = [("CUDAExecutionProvider", sessions.CUDA_OPTIONS)] if self.device == "cuda" else []
        ort, path = load_onnxruntime(), str(self._graph("image", "fp16"))
        opened = [ort.InferenceSession(path, providers=[*providers, "CPUExecutionProvider"]) for _ in range(3)]
        one, many = self._batch("image", 1), self._batch("image", sessions.GPU_BATCH)
        actions: dict[str, Callable[[], object]] = {
            "one session": lambda: (opened[0].run(None, {"pixels": one}), opened[0].run(None, {"pixels": many})),
            "a session for each": lambda: (opened[1].run(None, {"pixels": one}), opened[2].run(None, {"pixels": many})),
        }
        return {"variants": _compare(actions, self.seconds, baseline="one session"), "times faster": "than one session"}


def _untrained(preset: str) -> Checkpoint:
    return Checkpoint(Path(preset), {}, PRESETS[preset], frozenset(ENCODERS), "0" * 64)


def _random_model(weights: Checkpoint, seed: int) -> AudioCLIP:
    """Random weights with batch statistics as training leaves them; residual branches, which start at zero, count."""
    torch.manual_seed(seed)
    model = AudioCLIP(weights.config).eval()
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
        for name, parameter in model.named_parameters():
            if ".bn3." in name:
                parameter.uniform_(0.1, 0.5)
    return model


def _sound(seed: int, spec: AudioSpec) -> NDArray[np.float32]:
    piece = compose(seed, seconds=spec.window_samples / spec.sample_rate + 0.1, sample_rate=spec.sample_rate)
    return piece.samples[: spec.window_samples]


def _compare(
    actions: dict[str, Callable[[], object]], seconds: float, baseline: str = BASELINE
) -> dict[str, dict[str, Any]]:
    """Times of all actions in interleaved rounds, for so many seconds; 5th and 95th percentile are the ranges."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(WARM_UP):
        for action in actions.values():
            action()
    end = time.perf_counter() + seconds
    while len(times[baseline]) < LEAST_ROUNDS or (len(times[baseline]) < MOST_ROUNDS and time.perf_counter() < end):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            times[name].append((time.perf_counter() - start) * 1e3)
    figures: dict[str, dict[str, Any]] = {}
    for name, values in times.items():
        low, median, high = np.percentile(values, [5, 50, 95])
        ratios = np.percentile(np.array(times[baseline]) / np.array(values), [5, 50, 95])
        figures[name] = {
            "milliseconds": round(float(median), 3),
            "p5": round(float(low), 3),
            "p95": round(float(high), 3),
            "times faster": round(float(ratios[1]), 2),
            "times faster, range": [round(float(ratios[0]), 2), round(float(ratios[2]), 2)],
            "rounds": len(values),
        }
    return figures


def _device_facts(device: str) -> dict[str, Any]:
    """The card, its driver, and the versions that speed depends on."""
    facts: dict[str, Any] = {"kind": device, "torch": torch.__version__, "torch CUDA": torch.version.cuda}
    for package in ("onnxruntime-gpu", "onnxruntime", "onnx", "nvidia-cudnn-cu13", "nvidia-cublas"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            facts[package] = importlib.metadata.version(package)
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        facts |= {"name": properties.name, "memory MiB": properties.total_memory >> 20}
        facts["cuDNN of torch"] = torch.backends.cudnn.version()
        command = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
            facts["driver, largest clock, power limit"] = done.stdout.strip().splitlines()[0]
    return facts


@contextlib.contextmanager
def _cuda_options(more: dict[str, str]) -> Iterator[None]:
    usual = dict(sessions.CUDA_OPTIONS)
    sessions.CUDA_OPTIONS.update(more)
    try:
        yield
    finally:
        sessions.CUDA_OPTIONS.clear()
        sessions.CUDA_OPTIONS.update(usual)


def _rounded(value: float) -> float:
    return float(f"{max(value, 0.0):.2g}")


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"


def _in_short(measured: dict[str, Any]) -> str:
    if "variants" not in measured:
        return str(measured)
    times = [f"{name} {figure['milliseconds']} ms" for name, figure in measured["variants"].items()]
    return "  ".join([*times, *(f"{name}: {why}" for name, why in measured.get("failed", {}).items())])


def _put(figures: dict[str, Any], where: list[str], measured: Any) -> None:
    for name in where[:-1]:
        figures = figures.setdefault(name, {})
    figures[where[-1]] = measured


if __name__ == "__main__":
    main()
