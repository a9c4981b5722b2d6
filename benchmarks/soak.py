"""Does memory grow, and does an idle engine rest? `python benchmarks/soak.py [--model FOLDER]` (Linux).

A thousand pages of changing sizes through one engine, then ten idle seconds. Growth is counted from the hundredth page.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np
from host import store
from PIL import Image

from mmr_export.synth.pages import generate_page
from mmr_runtime import Engine

WARM, IDLE_SECONDS = 100, 10.0


def resident_mib() -> float:
    """Resident memory of this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


@click.command()
@click.option("--model", default="default", show_default=True)
@click.option("--pages", default=1000, show_default=True)
def main(model: str, pages: int) -> None:
    """Measure and store results/soak.json."""
    rng = np.random.default_rng(0)
    drawn = [generate_page(seed, width=600, height=860).image for seed in range(20)]
    with Engine.open(model, device="cpu", threads=1) as engine:
        memory = []
        for number in range(pages):
            width = int(rng.integers(300, 1800))
            page = drawn[number % len(drawn)].resize((width, int(width * 1.43)), Image.Resampling.NEAREST)
            engine.embed_images([page])
            if number >= WARM and number % 10 == 0:
                memory.append(resident_mib())
        before = time.process_time()
        time.sleep(IDLE_SECONDS)
        idle = time.process_time() - before
        model_id = engine.model_id
    figures = {
        "model": model_id,
        "pages": pages,
        "MiB after warm-up": round(memory[0], 1),
        "MiB at the end, mean of the last tenth": round(float(np.mean(memory[-len(memory) // 10 :])), 1),
        "growth MiB": round(float(np.mean(memory[-len(memory) // 10 :])) - memory[0], 1),
        "processor seconds in ten idle ones": round(idle, 4),
    }
    path = store("soak", figures)
    click.echo(f"{figures}\nstored {path}")


if __name__ == "__main__":
    main()
