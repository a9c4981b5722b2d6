"""What a run tells of itself: a CSV of its epochs, plots of it, and TensorBoard where it is wished."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmr_runtime.errors import DeviceError

Row = Mapping[str, float]
PANELS = (
    ("loss", ("train_loss", "validation_loss")),
    ("first one right", ("accuracy",)),
    ("learning rate", ("rate",)),
)


class Journal:
    """Writes what is known of the epochs so far, whole each time.

    Args:
        output: the checkpoint; `best.pt` has `best.log.csv`, `best.log.svg` and `best.log.png`.
        tensorboard: folder of event files, or None.

    Raises:
        DeviceError: TensorBoard is wished and not installed.
    """

    def __init__(self, output: Path, tensorboard: Path | None = None) -> None:
        self._output = output
        self._writer: Any = None
        if tensorboard is not None:
            if importlib.util.find_spec("tensorboard") is None:
                raise DeviceError("--tensorboard needs the package tensorboard", "pip install tensorboard")
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(tensorboard))

    def write(self, rows: Sequence[Row]) -> None:
        """Tell of all epochs; the last one is new."""
        with self._output.with_suffix(".log.csv").open("w", encoding="utf-8", newline="") as f:
            writer = csv.DictWriter(f, list(rows[-1]))
            writer.writeheader()
            writer.writerows(rows)
        if importlib.util.find_spec("matplotlib") is not None:
            self._plot(rows)
        if self._writer is not None:
            for name, value in rows[-1].items():
                self._writer.add_scalar(name, value, int(rows[-1]["epoch"]))
            self._writer.flush()

    def _plot(self, rows: Sequence[Row]) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 2.8), layout="constrained")
        FigureCanvasAgg(figure)
        epochs = [row["epoch"] for row in rows]
        for axes, (title, names) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
            for name in names:
                axes.plot(epochs, [row[name] for row in rows], marker=".", label=name.replace("_", " "))
            axes.set(title=title, xlabel="epoch")
            if len(names) > 1:
                axes.legend(frameon=False)
        for suffix in (".log.svg", ".log.png"):
            figure.savefig(self._output.with_suffix(suffix), metadata={"Date": None} if suffix == ".log.svg" else None)
