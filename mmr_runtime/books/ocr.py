"""English lettering is read off pages that nobody has written down (extra `ocr`).

RapidOCR (Apache-2.0) brings PP-OCRv4's models in its package: nothing is downloaded. It finds lines; lines of one
balloon lie close below each other and are joined. Spaces that it drops stay dropped.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.books.dialogue import is_readable
from mmr_runtime.errors import DeviceError
from mmr_runtime.limits import MAX_PAGE_LINES

if TYPE_CHECKING:
    from PIL.Image import Image

_LEAST_SCORE = 0.75
_LEAST_LETTERS = 2
_LONG_SIDE = 1600
"""Pixels; lettering of a page that is larger is still read."""

_GAP = 0.8
"""Space between lines of one balloon, at most, in heights of a line."""


class Lettering:
    """Reads pages.

    Raises:
        DeviceError: what reads is not installed.
    """

    def __init__(self, threads: int = 1) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        try:
            from rapidocr_onnxruntime import RapidOCR
        except ImportError as error:
            raise DeviceError(
                "reading lettering needs the package rapidocr-onnxruntime", "pip install 'mmr-runtime[ocr]'"
            ) from error
        self._reader: Any = RapidOCR(intra_op_num_threads=threads, inter_op_num_threads=1)

    def read(self, page: Image) -> list[str]:
        """What is lettered on a page, a text for each balloon, from above; empty where there is nothing to read."""
        image = page.convert("RGB")
        image.thumbnail((_LONG_SIDE, _LONG_SIDE))
        found, _ = self._reader(np.asarray(image)[:, :, ::-1])
        lines = [(np.asarray(box, np.float64), str(text), float(score)) for box, text, score in found or ()]
        kept = [(box, text) for box, text, score in lines if score >= _LEAST_SCORE and is_readable(text)]
        texts = [" ".join(part) for part in balloons(kept)]
        spoken = [text for text in texts if sum(c.isalpha() for c in text) >= _LEAST_LETTERS]
        return spoken[:MAX_PAGE_LINES]


def balloons(lines: list[tuple[NDArray[np.float64], str]]) -> list[list[str]]:
    """Lines by balloon: those that overlap sideways and follow closely below.

    Args:
        lines: corners (4, 2) in pixels, and the text.

    Returns:
        texts of each balloon from above; balloons by their first line, from above.
    """
    ordered = sorted(lines, key=lambda line: (line[0][:, 1].min(), line[0][:, 0].min()))
    found: list[tuple[NDArray[np.float64], list[str]]] = []
    for box, text in ordered:
        low, high = box.min(axis=0), box.max(axis=0)
        height = high[1] - low[1]
        for i, (last, texts) in enumerate(found):
            gap = low[1] - last[:, 1].max()
            beside = min(high[0], last[:, 0].max()) - max(low[0], last[:, 0].min())
            if gap < _GAP * height and gap > -height and beside > 0:
                found[i] = box, [*texts, text]
                break
        else:
            found.append((box, [text]))
    return [texts for _, texts in found]
