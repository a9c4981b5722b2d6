"""Speed and exactness of the audio front end: `python benchmarks/frontend.py [--name frontend] [--rounds 15]`.

One window of 5 s, one thread, all forms interleaved in one process. Milliseconds are processor time of the thread, so
that other work on the machine, which takes the core away in the middle of a long call and not of a short one, does not
bend the ratios. Errors are dB against dense, in bins within 80 dB of their frame's maximum.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import click
import numpy as np
from host import store
from numpy.typing import NDArray
from scipy.fft import rfft

from mmr_export.bench.host import fingerprint
from mmr_export.frontend_fit import fit
from mmr_runtime.bundle import AudioSpec
from mmr_runtime.frontend import HOP, WIN_LENGTH, FrontEnd

BINS = 1025
AVX512_CORE = "SKYLAKEX"
"""The name under which OpenBLAS keeps its kernels for AVX-512; it takes older ones on processors it does not know."""
ORDERS = (0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 2.0)
Work = dict[str, Callable[[], object]]
Parameters = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


@click.command()
@click.option("--name", default="frontend", show_default=True, help="Name of the result file.")
@click.option("--rounds", default=15, show_default=True)
@click.option("--product", is_flag=True, hidden=True, help="Only the matrix product, for another OpenBLAS.")
def main(name: str, rounds: int, product: bool) -> None:
    """Measure and store results/NAME.json."""
    if product:
        click.echo(json.dumps(timed(product_work(), rounds)))
        return
    figures = measure(rounds)
    path = store(name, figures)
    click.echo(json.dumps(figures, indent=1))
    click.echo(f"stored {path}", err=True)


def measure(rounds: int) -> dict[str, Any]:
    """All figures."""
    sound = music()
    window = blackman_harris()
    work: Work = {"bare STFT (scipy)": lambda: rfft(frames(sound) * window, 2048)}
    work["bare STFT (NumPy)"] = lambda: np.fft.rfft(frames(sound) * window, 2048)
    choices = {}
    for bank, parameters in banks().items():
        forms: dict[str, dict[str, Any]] = {
            "dense": {"form": "dense"},
            "auto, 0.1 dB": {},
            "auto, 1.25 dB": {"max_error_db": 1.25},
        }
        if bank == "initial":
            forms["fft"] = {"form": "fft"}
        for form, options in forms.items():
            arrays = fit(*parameters, window, **options)
            choices[f"{bank}: {form}"] = choice(arrays)
            front_end = FrontEnd.from_arrays(arrays, AudioSpec())
            work[f"{bank}: {form}"] = lambda f=front_end: f(sound)  # type: ignore[misc]
    work |= torch_work(sound) | product_work()
    times = timed(work, rounds)
    other = other_product(rounds)
    if other:
        times["product: NumPy, AVX-512 kernels of OpenBLAS"] = other
    dense, bare = times["initial: dense"]["median"], times["bare STFT (scipy)"]["median"]
    cheap = times["initial: auto, 1.25 dB"]["median"]
    ratios = {
        "m = 0: this / bare STFT": cheap / bare,
        "m = 0: dense / this": dense / cheap,
        "m = 0 within 0.1 dB: dense / this": dense / times["initial: auto, 0.1 dB"]["median"],
        "fb and fc drifted, 1.25 dB: dense / this": dense / times["drift of fb and fc: auto, 1.25 dB"]["median"],
        "fb and fc drifted, 0.1 dB: dense / this": dense / times["drift of fb and fc: auto, 0.1 dB"]["median"],
        "m drifted, 0.1 dB: dense / this": dense / times["drift of m, fb and fc: auto, 0.1 dB"]["median"],
        "fill-like, 0.1 dB: dense / this": dense / times["fill-like: auto, 0.1 dB"]["median"],
    }
    if "PyTorch, kernels made at each call" in times:
        ratios["PyTorch / dense"] = times["PyTorch, kernels made at each call"]["median"] / dense
    return {
        "milliseconds": times,
        "ratios": {name: round(value, 2) for name, value in ratios.items()},
        "choices": choices,
        "rows within 0.1 dB as bands, of 1023, by the m of all": orders(window),
    }


def choice(arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """What `fit` chose: rows by form, blocks, transforms, largest difference, size."""
    return {
        "dense rows": len(arrays["dense_rows"]),
        "fft rows": len(arrays["fft_rows"]),
        "banded rows": len(arrays["band_rows"]),
        "blocks": len(arrays["band_blocks"]),
        "second transform": bool(len(arrays["band_delay"])),
        "error dB": round(float(arrays["error_db"]), 4),
        "bytes": sum(a.nbytes for a in arrays.values()),
    }


def orders(window: NDArray[np.float32]) -> dict[str, int]:
    """How many filters are exact as bands if all have the order m: corners of the envelope are what prevents it."""
    rest = np.ones(BINS), np.arange(float(BINS))
    return {str(m): len(fit(np.full(BINS, m), *rest, window, form="banded")["band_rows"]) for m in ORDERS}


def banks() -> dict[str, Parameters]:
    """Filter banks (m, fb, fc): as initialised, slightly trained, and strongly jittered as the golden weights are."""
    rng = np.random.default_rng(0)
    k, noise = np.arange(float(BINS)), rng.standard_normal((3, BINS))
    m = 0.25 * np.abs(noise[0])
    m[::16], m[8::16] = 0.0, 1.0
    m[5::97] *= -0.08
    fb, fc = 1 + 0.02 * noise[1], k + 0.1 * noise[2]
    return {
        "initial": (np.zeros(BINS), np.ones(BINS), k),
        "drift of fb and fc": (np.zeros(BINS), fb, fc),
        "drift of m, fb and fc": (0.002 * noise[0], fb, fc),
        "fill-like": (m, 1 + np.clip(0.1 * noise[1], -0.5, 0.5), k + 0.3 * noise[2]),
    }


def torch_work(sound: NDArray[np.float32]) -> Work:
    """The front end in PyTorch, with kernels made at each call as the original does, and made once."""
    try:
        import torch

        from mmr_export.model.audio import AudioTower
        from mmr_export.model.config import PRESETS
    except ImportError:
        return {}
    torch.set_num_threads(1)
    preset = PRESETS["audioclip"]
    tower = AudioTower(preset.audio, preset.embedding_size)
    samples = torch.from_numpy(sound * 32768)
    with torch.inference_mode():
        kernel = tower.fbsp.kernel()

    def run(made: Any) -> Any:
        with torch.inference_mode():
            return tower.db_image(samples, made if made is not None else tower.train().fbsp.kernel())

    return {"PyTorch, kernels made at each call": lambda: run(None), "PyTorch, kernels made once": lambda: run(kernel)}


def product_work() -> Work:
    """The matrix product of the dense form alone, in NumPy and in onnxruntime."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((2 * 1023, WIN_LENGTH)).astype(np.float32)
    columns = rng.standard_normal((392, WIN_LENGTH)).astype(np.float32)
    work: Work = {"product: NumPy": lambda: matrix @ columns.T}
    try:
        import onnx
        import onnxruntime
    except ImportError:
        return work
    kind, make = onnx.TensorProto.FLOAT, onnx.helper
    graph = make.make_graph(
        [make.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [make.make_tensor_value_info("x", kind, columns.shape)],
        [make.make_tensor_value_info("y", kind, [len(columns), len(matrix)])],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(matrix.T), "w")],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return work | {"product: onnxruntime": lambda: session.run(None, {"x": columns})}


def other_product(rounds: int) -> dict[str, float] | None:
    """NumPy's product in a process where OpenBLAS is told to use AVX-512, if the processor has it."""
    if "avx512f" not in fingerprint()["instructions"]:
        return None
    environment = {**os.environ, "OPENBLAS_CORETYPE": AVX512_CORE}
    command = [sys.executable, __file__, "--product", "--rounds", str(rounds)]
    answer = subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout
    figures: dict[str, float] = json.loads(answer)["product: NumPy"]
    return figures


def timed(work: Work, rounds: int) -> dict[str, dict[str, float]]:
    """Median and 5th and 95th percentile of each, in milliseconds of the thread; rounds are interleaved."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for round_ in range(rounds + 2):
        for name, action in work.items():
            action()  # what ran before left the caches cold, which a short call would pay for more
            start = time.thread_time()
            action()
            if round_ >= 2:  # the first rounds warm up
                times[name].append((time.thread_time() - start) * 1e3)
    return {name: _summary(values) for name, values in times.items()}


def _summary(values: list[float]) -> dict[str, float]:
    low, median, high = np.percentile(values, [5, 50, 95])
    return {"median": round(float(median), 2), "p5": round(float(low), 2), "p95": round(float(high), 2)}


def frames(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """The frames of sound (1, 220500), padded as the front end pads: a view (392, 1654)."""
    line = np.pad(sound[0], (252, 253))
    return np.lib.stride_tricks.sliding_window_view(line, WIN_LENGTH)[::HOP]


def blackman_harris() -> NDArray[np.float32]:
    """AudioCLIP's window, float32 (1654,)."""
    k = np.arange(WIN_LENGTH) * (2 * np.pi / WIN_LENGTH)
    terms = enumerate((0.35875, -0.48829, 0.14128, -0.01168))
    return np.asarray(sum(a * np.cos(i * k) for i, a in terms), np.float32)


def music() -> NDArray[np.float32]:
    """A chord over noise, 5 s, float32 (1, 220500)."""
    t = np.arange(220_500) / 44_100
    chord = sum(np.sin(2 * np.pi * f * t) / 8 for f in (110.0, 277.2, 659.3, 1396.9, 2793.8, 5587.7))
    noise = 1e-3 * np.random.default_rng(0).standard_normal(len(t))
    return (chord + noise).astype(np.float32)[None]


if __name__ == "__main__":
    main()
