"""UrbanSound8K (Salamon et al. 2014): 8,732 clips of up to four seconds in ten classes and ten folds."""

from __future__ import annotations

from pathlib import Path

from mmr_export.data.datasets import Dataset
from mmr_export.data.folded import Layout, read_folded

LAYOUT = Layout(
    "urbansound8k",
    "metadata/UrbanSound8K.csv",
    "slice_file_name",
    "class",
    "classID",
    "fsID",
    key=lambda row: f"fold{row.whole('fold')}/{row['slice_file_name']}",
)


def read(folder: Path) -> Dataset:
    """Read `metadata/UrbanSound8K.csv` and `audio/fold1` to `fold10` (see `read_folded`)."""
    return read_folded(folder, LAYOUT)
