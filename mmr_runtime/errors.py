"""Every error that mmr raises on purpose: what happened, what to do about it, and the exit code of the command line."""

from __future__ import annotations


class MmrError(Exception):
    """Root of all errors of this project.

    Args:
        message: what happened, naming the file or value; one line, no full stop.
        hint: what the user can do about it; one line.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(MmrError, ValueError):
    """An argument or option that cannot be."""

    exit_code = 2


class InputError(MmrError, ValueError):
    """An input file or value that cannot be used."""

    exit_code = 3


class ImageError(InputError):
    """An image that cannot be read, or is beyond the limits."""


class AudioError(InputError):
    """A song that cannot be decoded, or holds no usable sound."""


class TextError(InputError):
    """A text that the tokenizer cannot take."""


class BookError(InputError):
    """A book (folder, archive, PDF) that cannot be read."""


class BundleError(MmrError, ValueError):
    """A model bundle that is missing, damaged, or made for another version."""

    exit_code = 4


class CheckpointError(MmrError, ValueError):
    """Weights that do not fit the model, by name or by shape."""

    exit_code = 4


class ExportError(MmrError, RuntimeError):
    """An export that could not be finished or did not pass its proof."""

    exit_code = 4


class DeviceError(MmrError, RuntimeError):
    """A device or execution provider that was asked for and cannot be had."""

    exit_code = 5


class LibraryError(MmrError, RuntimeError):
    """A library index that cannot be opened, read or written."""

    exit_code = 6


class CancelledError(MmrError):
    """Work that the caller asked to stop."""

    exit_code = 130


class MissingFileError(InputError, FileNotFoundError):
    """A path that does not exist."""

    def __str__(self) -> str:  # OSError would print its errno form
        return MmrError.__str__(self)
