"""Sound files opened for reading at any place, whatever library reads them.

libsndfile (wav, flac, ogg, opus, mp3, aiff...) comes with the package; m4a, aac, wma, webm need PyAV, the `m4a` extra.
"""

from __future__ import annotations

import io
import mmap
import os
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray

from mmr_runtime import mp3
from mmr_runtime.errors import AudioError, MissingFileError
from mmr_runtime.limits import MAX_AUDIO_RATE, MAX_SONG_SECONDS, MAX_UNSTATED_MP3_BYTES, MIN_AUDIO_RATE

if TYPE_CHECKING:
    from fractions import Fraction

Floats = NDArray[np.float32]

_READABLE = "wav, flac, ogg, opus and mp3 can be read, m4a, aac and wma with: pip install 'mmr-runtime[m4a]'"
_AV_GAP_SECONDS = 0.05
"""Time stamps farther than this from the end of the frame before are a gap in the sound."""

_AV_PREROLL_SECONDS = 0.25
"""Codecs of the AAC family need a few packets before their output is right."""


_MP3_PREROLL_FRAMES = 20 * 1152
"""After a jump the frames of an MP3 lack the bits that earlier ones hold for them: in quiet files of low rate the first
4,400 samples were measured to be wrong. Twenty frames of the longest kind are decoded before and thrown away."""


class DecodeFaultError(Exception):
    """This stretch cannot be decoded; others of the same file may."""


class Source(Protocol):
    """A sound file, open.

    Attributes:
        rate: Hz.
        channels: how many.
        frames: length as the file claims it; it may be wrong.
        claims: the file itself states its length, so that falling short means that it was cut off.
    """

    rate: int
    channels: int
    frames: int
    claims: bool

    def read(self, start: int, count: int) -> Floats:
        """Mono float32 (n,), the mean of the channels; n < count where the sound ends before.

        Raises:
            DecodeFaultError: not readable at this place.
            AudioError: a sample is NaN or infinite.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_source(path: Path) -> Source:
    """Open a sound file by what it holds, whatever its name ends in.

    Raises:
        MissingFileError: there is no such file.
        AudioError: it is no sound file, or one that needs an extra.
    """
    try:
        if path.is_dir():
            raise AudioError(f"{path} is a folder, not a sound file", "give it as the library, or name a file in it")
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no file {path}", "check the path") from error
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror}", "check its permissions") from error
    if not head:
        raise AudioError(f"{path} is empty", "get the file again, or leave it out")
    container = _av_container(head, path)
    source: Source = _AvSource(path, container) if container else _SoundFileSource(path, head)
    if not MIN_AUDIO_RATE <= source.rate <= MAX_AUDIO_RATE:
        raise AudioError(
            f"{path} has a sample rate of {source.rate} Hz", f"{MIN_AUDIO_RATE} to {MAX_AUDIO_RATE} Hz can be read"
        )
    if source.frames > MAX_SONG_SECONDS * source.rate:
        raise AudioError(
            f"{path} is {source.frames / source.rate / 3600:.0f} hours long", "leave it out: that is no song"
        )
    return source


def versions() -> str:
    """What decodes here, in one line: files that could not be read are worth another try once it changes."""
    found = []
    for name in ("soundfile", "av"):
        with suppress(metadata.PackageNotFoundError):
            found.append(f"{name} {metadata.version(name)}")
    return ", ".join(found)


def _av_container(head: bytes, path: Path) -> str | None:
    """FFmpeg's name of a container that libsndfile cannot read, by its first bytes; None for all others."""
    if head[4:8] == b"ftyp":
        return "mp4"
    if head[:4] == b"\x30\x26\xb2\x75":
        return "asf"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    is_adts = head[0] == 0xFF and len(head) > 1 and head[1] & 0xF6 == 0xF0
    if is_adts or (head[:3] == b"ID3" and path.suffix.lower() == ".aac"):
        return "aac"
    return None


def _looks_like_mp3(head: bytes, path: Path) -> bool:
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"FORM", b"caff", b".snd", b"riff"):
        return False
    is_frame = head[0] == 0xFF and len(head) > 1 and head[1] & 0xE6 == 0xE2
    return is_frame or path.suffix.lower() == ".mp3"


def _mono(block: Floats, path: Path) -> Floats:
    """Mean over the channels of float32 (n, channels)."""
    if not np.isfinite(block).all():
        raise AudioError(f"{path} holds samples that are not numbers", "it was written wrongly; convert it again")
    return block[:, 0].copy() if block.shape[1] == 1 else cast("Floats", block.mean(axis=1, dtype=np.float32))


class _SoundFileSource:
    """A file that libsndfile reads."""

    def __init__(self, path: Path, head: bytes) -> None:
        self._path = path
        self._bytes: bytes | None = None
        is_mp3 = _looks_like_mp3(head, path)
        if is_mp3 and path.stat().st_size <= MAX_UNSTATED_MP3_BYTES:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                self._bytes = mp3.with_length(data, str(path))
        self._file = self._open()
        self.rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        self.frames = int(self._file.frames)
        self._preroll = _MP3_PREROLL_FRAMES if self._file.format == "MP3" else 0
        self.claims = self._file.format == "FLAC" or (is_mp3 and self._bytes is None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, start: int, count: int) -> Floats:
        try:
            early = min(start, self._preroll)
            self._file.seek(start - early)
            block = self._file.read(early + count, dtype="float32", always_2d=True)[early:]
        except RuntimeError as error:
            # A handle that failed may go on failing where a new one does not.
            self._file.close()
            self._file = self._open()
            raise DecodeFaultError(str(error)) from error
        return _mono(block, self._path)

    def _open(self) -> Any:
        import soundfile

        # As bytes, a name need not be valid text.
        name = str(self._path) if sys.platform == "win32" else os.fsencode(self._path)
        try:
            return soundfile.SoundFile(io.BytesIO(self._bytes) if self._bytes else name)
        except (RuntimeError, TypeError, ValueError) as error:
            raise AudioError(f"{self._path} is not a sound file that can be read", _READABLE) from error


class _AvSource:
    """A file that FFmpeg reads, through PyAV."""

    claims = False

    def __init__(self, path: Path, container: str) -> None:
        try:
            import av
        except ImportError as error:
            raise AudioError(
                f"{path} needs a decoder that is not installed", "pip install 'mmr-runtime[m4a]'"
            ) from error
        self._av = av
        self._path = path
        try:
            # Tags that are no UTF-8 are no error. From PyAV 19 on they never are, and the argument is gone.
            lenient = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "ignore"}
            # The container is named, so that no playlist format is tried, which could open other files.
            self._container: Any = av.open(str(path), format=container, **lenient)
        except (av.error.FFmpegError, ValueError) as error:
            raise AudioError(f"{path} is not a sound file that can be read", _READABLE) from error
        if not self._container.streams.audio:
            self._container.close()
            raise AudioError(f"{path} holds no sound", "leave it out")
        self._stream = self._container.streams.audio[0]
        self._base: Fraction = self._stream.time_base
        self._first = int(self._stream.start_time or 0)
        self.rate = int(self._stream.rate)
        self.channels = int(self._stream.channels)
        # The end is as blurred as the time stamps are; a little before it there is sound for certain.
        self.frames = max(1, self._claimed_frames() - int(_AV_GAP_SECONDS * self.rate))

    def _claimed_frames(self) -> int:
        if self._stream.duration is not None:
            return int(self._stream.duration * self._base * self.rate)
        if self._container.duration is not None:
            return int(self._container.duration * self.rate // self._av.time_base)
        raise AudioError(f"{self._path} does not say how long it is", "convert it to ogg or flac")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def read(self, start: int, count: int) -> Floats:
        out = np.zeros(count, np.float32)
        filled = 0
        resampler = self._av.AudioResampler(format="fltp")
        try:
            early = max(0.0, start / self.rate - _AV_PREROLL_SECONDS)
            self._container.seek(self._first + int(early / self._base), stream=self._stream, backward=True)
            at: int | None = None
            for frame in self._container.decode(self._stream):
                at = self._place(frame, start, at)
                for part in resampler.resample(frame):
                    block = _mono(part.to_ndarray().T, self._path)
                    a, b = max(0, at), min(count, at + len(block))
                    if a < b:
                        out[a:b] = block[a - at : b - at]
                        filled = b
                    at += len(block)
                if at >= count:
                    break
        except (self._av.error.FFmpegError, ValueError) as error:
            raise DecodeFaultError(str(error)) from error
        return out[:filled]

    def _place(self, frame: Any, start: int, expected: int | None) -> int:
        """Where a frame goes, in samples from `start`: after the one before, unless its time stamp says otherwise."""
        if frame.pts is None:
            return expected or 0
        stamped = round(float((frame.pts - self._first) * frame.time_base) * self.rate) - start
        # Some containers round time stamps to milliseconds; following them would put clicks between frames.
        if expected is not None and abs(stamped - expected) <= _AV_GAP_SECONDS * self.rate:
            return expected
        return stamped
