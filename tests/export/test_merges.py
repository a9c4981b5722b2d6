"""The tokenizer's merges: the stored table is the known one, and the script takes nothing else."""

from __future__ import annotations

import gzip
import hashlib
import zipfile
from pathlib import Path

import pytest

from mmr_export import merges
from mmr_runtime.errors import ExportError


def test_the_stored_table_is_the_known_one() -> None:
    table = gzip.decompress(merges.MERGES.read_bytes())
    assert hashlib.sha256(table).hexdigest() == merges.MERGES_SHA256
    assert len(table.splitlines()) == merges.COUNT
    assert table.startswith(b"i n\nt h\na n\n")


def test_the_notice_credits_the_source() -> None:
    notice = merges.NOTICE.read_text(encoding="utf-8")
    assert "MIT License" in notice
    assert "Copyright (c) 2021 OpenAI" in notice
    assert merges.SOURCE_SHA256 in notice


def wheel(tmp_path: Path, name: str, content: bytes) -> Path:
    path = tmp_path / "open_clip_torch.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, content)
    return path


def test_a_source_is_trimmed_the_same_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = gzip.decompress(merges.MERGES.read_bytes())
    published = gzip.compress(b"#version: 0.2\n" + lines + b"never used</w>\n" * 9)
    monkeypatch.setattr(merges, "SOURCE_SHA256", hashlib.sha256(published).hexdigest())
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        monkeypatch.setattr(merges, "ASSETS", tmp_path / folder)
        monkeypatch.setattr(merges, "MERGES", tmp_path / folder / "merges.txt.gz")
        monkeypatch.setattr(merges, "NOTICE", tmp_path / folder / "MERGES_NOTICE.txt")
        merges.main([str(wheel(tmp_path, merges.SOURCE, published))])
    first, second = (tmp_path / f / "merges.txt.gz" for f in ("one", "two"))
    assert gzip.decompress(first.read_bytes()) == lines
    assert first.read_bytes() == second.read_bytes()


def test_another_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="SHA-256"):
        merges.read_source(wheel(tmp_path, merges.SOURCE, b"another"))
    with pytest.raises(ExportError, match="cannot read"):
        merges.read_source(wheel(tmp_path, "elsewhere.txt.gz", b""))
    with pytest.raises(ExportError, match="SHA-256"):
        merges.trim(gzip.compress(b"#version\na b\n"))
    with pytest.raises(SystemExit, match="cannot read"):
        merges.main([str(tmp_path / "nothing.whl")])
