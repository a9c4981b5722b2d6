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

MAX_SAMPLE = 32768.0
"""Largest size of a sample where full scale is 1: a decoder may overshoot a little, but 16-bit numbers given as floats
would be off by 90 dB, and their squares may leave float32."""

MAX_TEXT_CHARS = 100_000
"""Characters of one query text."""

MAX_MANIFEST_BYTES = 4 * 2**20
"""Bytes of a bundle's manifest.json."""

MAX_ID_CHARS = 200
"""Characters of a model id: it stands in every index."""

MAX_GRAPH_BYTES = 2**31 - 1
"""Bytes of one ONNX graph: protobuf's own limit."""

MAX_LIBRARY_FILES = 1_000_000
"""Files of one library scan."""

MAX_ERROR_NAMES = 12
"""Names listed in one error message; the rest is a count."""

MIN_AUDIO_RATE = 1_000
"""Hz; a lower sample rate is a damaged header, not music."""

MAX_AUDIO_RATE = 768_000
"""Hz; the highest rate that converters are sold for."""

MAX_UNSTATED_MP3_BYTES = 512 * 2**20
"""Bytes of an MP3 that is read whole to count its frames; longer ones are taken by their header."""

MAX_TAG_CHARS = 300
"""Characters of a title, artist or album that are kept."""

MAX_LINE_BYTES = 384 * 2**20
"""Bytes of one line of the protocol: an image of the largest size in base64, and some more."""

MAX_PLAYLIST_BYTES = 32 * 2**20
"""Bytes of a playlist."""

MAX_BOOK_MEMBERS = 50_000
"""Files in one book; the longest series in one archive have some thousands."""

MAX_BOOK_BYTES = 16 * 2**30
"""Bytes of all files of one book when unpacked."""

MAX_DIRECTORY_BYTES = 32 * 2**20
"""Bytes of an archive's list of files."""

MAX_RATIO = 400
"""How many times larger a file of an archive may be than what it is packed to; images of comics pack to about 1, blank
bitmaps to some hundreds."""

FREE_RATIO_BYTES = 4 * 2**20
"""Bytes that a file may unpack to, whatever its ratio."""

MAX_NESTED_BYTES = 2**30
"""Bytes of an archive that lies in another one; it is held in memory."""

MAX_NESTING = 2
"""Archives in archives, at most so deep."""

MAX_INFO_BYTES = 2**20
"""Bytes of a ComicInfo.xml, or of another description of a book."""

MAX_DIALOGUE_BYTES = 64 * 2**20
"""Bytes of a file with the dialogue of a book; those of a page's are as many as `MAX_TEXT_CHARS`."""

MAX_PAGE_LINES = 200
"""Lines of dialogue of one page."""

MAX_STRIP_RATIO = 3.0
"""Height by width of a page; a longer one is a strip, and is seen in pieces."""

MAX_VOCABULARY_BYTES = 2**20
"""Bytes of a file with a vocabulary."""

MAX_TERMS = 2_000
"""Terms of one vocabulary; each is a run of the text tower, 8 ms with a full-size AudioCLIP in int8."""

MAX_TERM_CHARS = 200
"""Characters of one term of a vocabulary: a word or a phrase."""
