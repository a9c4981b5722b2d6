"""The merges table of CLIP's tokenizer: taken from the open-clip-torch wheel, checked, trimmed, stored with its notice.

`python -m mmr_export.merges` takes it from the installed package; with the path of a wheel, from that: `pip download
--no-deps open-clip-torch` brings one.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.util
import io
import sys
import zipfile
from pathlib import Path

from mmr_runtime.errors import ExportError

ASSETS = Path(__file__).parent / "assets"
MERGES = ASSETS / "merges.txt.gz"
NOTICE = ASSETS / "MERGES_NOTICE.txt"

SOURCE = "open_clip/bpe_simple_vocab_16e6.txt.gz"
SOURCE_SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
"""Of the compressed file, as it stands in the wheel and in OpenAI's repository."""
MERGES_SHA256 = "d308b7377a8ceaa9707a21614fe8c831b9196e197b7aeb69833359362907af02"
"""Of the trimmed table, uncompressed."""
COUNT = 48_894
"""Merges that CLIP uses: 49,408 entries less 2 x 256 bytes and 2 markers; the file holds 262,144."""

_NOTICE = f"""\
merges.txt.gz: the first {COUNT:,} byte-pair merges of CLIP's tokenizer, one per line, best first.

Source: {SOURCE.removeprefix("open_clip/")} of OpenAI's CLIP (https://github.com/openai/CLIP), as distributed with the
Python package open-clip-torch; SHA-256 {SOURCE_SHA256}.
Changes: the version line and the merges that CLIP does not use are left out.

MIT License

Copyright (c) 2021 OpenAI

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


def read_source(wheel: Path | None = None) -> bytes:
    """The compressed table as published, from a wheel file or else from the installed package (not imported).

    Raises:
        ExportError: it is not there, or is not the file that the tokenizer is known to need.
    """
    hint = "pip download --no-deps open-clip-torch, and give the wheel's path"
    try:
        if wheel is not None:
            with zipfile.ZipFile(wheel) as archive:
                packed = archive.read(SOURCE)
        else:
            spec = importlib.util.find_spec("open_clip")
            if spec is None or spec.origin is None:
                raise ExportError("open-clip-torch is not installed", hint)
            packed = (Path(spec.origin).parent / Path(SOURCE).name).read_bytes()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ExportError(f"cannot read {SOURCE} from {wheel or 'open-clip-torch'}: {error}", hint) from error
    _check(packed, SOURCE_SHA256, "the merges table as published")
    return packed


def trim(packed: bytes) -> bytes:
    """The merges that CLIP uses, compressed; equal input gives equal bytes.

    Raises:
        ExportError: the result is not the known table.
    """
    lines = gzip.decompress(packed).split(b"\n")[1 : COUNT + 1]
    table = b"\n".join(lines) + b"\n"
    _check(table, MERGES_SHA256, "the trimmed merges table")
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as file:
        file.write(table)
    return buffer.getvalue()


def _check(content: bytes, sha256: str, what: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ExportError(f"{what} has the SHA-256 {found}, not {sha256}", "use open-clip-torch from a package index")


def main(arguments: list[str] | None = None) -> None:
    """Write the asset and its notice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", nargs="?", type=Path, help="wheel of open-clip-torch; default: the installed package")
    try:
        table = trim(read_source(parser.parse_args(arguments).wheel))
    except ExportError as error:
        sys.exit(str(error))
    ASSETS.mkdir(exist_ok=True)
    MERGES.write_bytes(table)
    NOTICE.write_text(_NOTICE, encoding="utf-8")


if __name__ == "__main__":
    main()
