"""The length of an MP3, read from its frame headers.

An MP3 states its length only in a Xing, Info or VBRI header. Without one libsndfile guesses it from the bit rate of the
first frame, and then reads no further than its guess: of a file with variable bit rate it may hear a quarter. Here the
frames are counted, and the file is handed on with a Xing header in front.

Source: the frame header of ISO/IEC 11172-3 and 13818-3 (layer III), the Xing and VBRI tags as encoders write them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from mmap import mmap

from mmr_runtime.errors import AudioError

Bytes = bytes | mmap

_KBPS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_SEARCH_BYTES = 2**17
"""How far into the file (after an ID3 tag) the first frame may lie; players search about as far."""
_LEAST_SHARE = 0.9
"""A file that holds less than this of what its header promises was cut off."""


@dataclass(frozen=True)
class _Frame:
    version: int
    rate: int
    size: int
    mono: bool

    @property
    def tag_offset(self) -> int:
        """Where a Xing tag stands in the frame: after the header and the side information."""
        if self.version == 3:
            return 4 + (17 if self.mono else 32)
        return 4 + (9 if self.mono else 17)


def with_length(data: Bytes, name: str) -> bytes | None:
    """The same sound with its number of frames stated in front, or None where that is not needed.

    Args:
        data: the whole file.
        name: what to call the file in errors.

    Returns:
        bytes of an MP3 that starts with a Xing header, or None: the file states its length itself, or its frames have
        the free bit rate, which cannot be counted this way.

    Raises:
        AudioError: no MP3 frame was found, or far fewer bytes than the header promises.
    """
    start = _first_frame(data)
    if start is None:
        raise AudioError(f"{name} is not an MP3 file", "it holds no MP3 frame; convert it again, or leave it out")
    frame = _parse(data, start)
    if frame is None:
        return None
    tag = data[start + frame.tag_offset : start + frame.tag_offset + 16]
    if tag[:4] in (b"Xing", b"Info"):
        _check_bytes(tag, len(data) - start, name)
        return None
    if data[start + 36 : start + 40] == b"VBRI":
        return None
    return _xing(data[start : start + 4], frame, _count(data, start)) + data[start:]


def _check_bytes(tag: bytes, have: int, name: str) -> None:
    flags = struct.unpack(">I", tag[4:8])[0] if len(tag) == 16 else 0
    if flags & 3 == 3:  # frames and bytes are both stated
        stated = struct.unpack(">I", tag[12:16])[0]
        if have < _LEAST_SHARE * stated:
            raise AudioError(
                f"{name} is cut off: it holds {have} of {stated} bytes", "get the file again, or leave it out"
            )


def _first_frame(data: Bytes) -> int | None:
    """Offset of the first header that another header follows at the right distance, or that ends the file."""
    at = _after_id3(data)
    end = min(len(data) - 4, at + _SEARCH_BYTES)
    while (at := data.find(b"\xff", at, end + 1)) >= 0:
        frame = _parse(data, at)
        if frame is not None and (_parse(data, at + frame.size) is not None or at + frame.size == len(data)):
            return at
        if frame is None and _is_free(data, at):
            return at
        at += 1
    return None


def _after_id3(data: Bytes) -> int:
    at = 0
    while data[at : at + 3] == b"ID3" and len(data) >= at + 10:
        a, b, c, d = data[at + 6 : at + 10]
        at += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if data[at + 5] & 0x10 else 0)
    return at


def _is_free(data: Bytes, at: int) -> bool:
    """A layer III header of free bit rate, whose twin (all but padding) stands within the longest frame."""
    head = data[at : at + 3]
    if len(head) < 3 or head[1] & 0xE6 != 0xE2 or head[2] >> 4 != 0 or head[2] >> 2 & 3 == 3 or head[1] >> 3 & 3 == 1:
        return False
    return data.find(head[:2] + bytes([head[2] & 0xFD]), at + 48, at + 4096) > 0


def _parse(data: Bytes, at: int) -> _Frame | None:
    """The layer III header at this offset, or None where there is none."""
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE6 != 0xE2:
        return None
    version, third = data[at + 1] >> 3 & 3, data[at + 2]
    bit_rate, rate = third >> 4, third >> 2 & 3
    if version == 1 or bit_rate in (0, 15) or rate == 3:
        return None
    hz = _RATES[version][rate]
    kbps = (_KBPS_1 if version == 3 else _KBPS_2)[bit_rate]
    size = (144000 if version == 3 else 72000) * kbps // hz + (third >> 1 & 1)
    return _Frame(version, hz, size, data[at + 3] >> 6 == 3)


def _count(data: Bytes, at: int) -> int:
    """Frames from here on; damaged stretches are jumped over."""
    frames = 0
    while at < len(data) - 4:
        frame = _parse(data, at)
        if frame is not None:
            frames += 1
            at += frame.size
        elif (at := data.find(b"\xff", at + 1)) < 0:
            break
    return frames


def _xing(header: bytes, frame: _Frame, count: int) -> bytes:
    """A silent frame that says how many frames follow."""
    # Unprotected and of the tenth bit rate: long enough for the tag at every sample rate.
    own = bytes([header[0], header[1] | 1, 0x90 | header[2] & 0x0C, header[3]])
    parsed = _parse(own, 0)
    assert parsed is not None
    body = own.ljust(frame.tag_offset, b"\0") + b"Xing" + struct.pack(">II", 1, count)
    return body.ljust(parsed.size, b"\0")
