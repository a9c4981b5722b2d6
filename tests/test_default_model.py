"""The shipped model keeps its quality on the machine that runs this test: the gate of every tower, run again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmr_export.quality import EVIDENCE, MIN_COSINE, MIN_OVERLAP, agreement
from mmr_export.samples import Rows, Sources
from mmr_runtime.bundle import ENCODERS, Bundle, Tower
from mmr_runtime.engine import Engine

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.open(device="cpu")


@pytest.fixture(scope="module")
def evidence(engine: Engine) -> dict[str, np.ndarray]:
    with np.load(engine.bundle.path(EVIDENCE)) as stored:
        return {name: stored[name] for name in stored.files}


@pytest.fixture(scope="module")
def sources(engine: Engine) -> Sources:
    return Sources.of(engine.bundle)


def rerun(engine: Engine, tower: Tower, rows: Rows) -> np.ndarray:
    return np.concatenate([engine.session(tower).run(x) for x in rows])


def require_gate(vectors: np.ndarray, reference: np.ndarray) -> None:
    found = agreement(vectors, reference.astype(np.float32))
    assert found.mean_cosine >= MIN_COSINE
    assert found.top10_overlap >= MIN_OVERLAP


@pytest.mark.parametrize("tower", ENCODERS)
def test_the_manifest_tells_what_the_evidence_shows(evidence: dict[str, np.ndarray], tower: Tower) -> None:
    report = Bundle.open().manifest.quality["int8"][tower]
    assert report["passed"]
    for name, figures in report["sets"].items():
        found = agreement(evidence[f"{name}.{tower}.int8"], evidence[f"{name}.{tower}.fp32"])
        assert found.mean_cosine == pytest.approx(figures["mean_cosine"], abs=1e-3)
        assert found.top10_overlap == pytest.approx(figures["top10_overlap"], abs=0.02)


@pytest.mark.parametrize("tower", ENCODERS)
def test_generated_inputs_pass_the_gate_here(
    engine: Engine, evidence: dict[str, np.ndarray], sources: Sources, tower: Tower
) -> None:
    reference = evidence[f"generated.{tower}.fp32"]
    require_gate(rerun(engine, tower, sources.rows(tower, "gate", len(reference))), reference)


@pytest.mark.parametrize("tower", ["image", "audio"])
def test_real_pages_and_songs_pass_the_gate_here(
    engine: Engine, evidence: dict[str, np.ndarray], sources: Sources, tower: Tower
) -> None:
    wanted = evidence[f"files.{tower}.names"].tolist()
    folders = [DATA / name for name in dict.fromkeys(name.split("/")[0] for name in wanted)]
    if not all(folder.is_dir() for folder in folders):
        pytest.skip("the development data is not here")
    names, rows = sources.gate_files(tower, folders, None)
    assert names == wanted
    require_gate(rerun(engine, tower, rows), evidence[f"files.{tower}.fp32"])
