"""Every cap of the runtime in one table. Inputs beyond them are refused by name, never cut in silence."""

from __future__ import annotations

MAX_IMAGE_PIXELS = 100_000_000
"""Pixels of one page before decoding; about 10,000 x 10,000, four times a 600 dpi A4 scan in grey."""

MAX_IMAGE_BYTES = 256 * 2**20
"""Bytes of one image file."""

MIN_IMAGE_SIDE = 8
"""Pixels; anything smaller is a tracking pixel, not a page."""

MAX_SONG_SECONDS = 24 * 3600.0
"""Seconds of one song; longer files are refused as not being songs."""

MIN_SONG_SECONDS = 0.1
"""Seconds; below this a file holds no music to hear."""

MAX_TEXT_CHARS = 100_000
"""Characters of one query text."""

MAX_MANIFEST_BYTES = 4 * 2**20
"""Bytes of a bundle's manifest.json."""

MAX_GRAPH_BYTES = 2**31 - 1
"""Bytes of one ONNX graph: protobuf's own limit."""

MAX_LIBRARY_FILES = 1_000_000
"""Files of one library scan."""

MAX_ERROR_NAMES = 12
"""Names listed in one error message; the rest is a count."""
