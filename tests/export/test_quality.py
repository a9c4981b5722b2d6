"""The gate: what agreement means, what it is measured on, and what happens where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from mmr_export import bundle as bundle_module
from mmr_export import quality, quantize
from mmr_export.bundle import ExportOptions, write_bundle
from mmr_export.checkpoint import Checkpoint
from mmr_export.merges import MERGES
from mmr_export.quality import (
    EVIDENCE,
    Agreement,
    Fitting,
    GateSet,
    Quantized,
    agreement,
    end_to_end,
    quantized_int8,
    require_passed,
)
from mmr_export.quantize import weighted_nodes
from mmr_export.samples import USES, Sources
from mmr_runtime.bundle import AudioSpec, Bundle, ImageSpec, TextSpec, Tower
from mmr_runtime.engine import Engine
from mmr_runtime.errors import ExportError
from mmr_runtime.text import Tokenizer

Graphs = dict[Tower, onnx.ModelProto]
FEW = {"calibration": 6, "selection": 12, "gate": 14}


def test_agreement_of_equal_vectors_is_perfect() -> None:
    vectors = np.random.default_rng(0).normal(0, 1, (30, 8)).astype(np.float32)
    found = agreement(2 * vectors, vectors)
    assert (found.mean_cosine, found.top10_overlap) == (pytest.approx(1), 1)
    assert found.noise == pytest.approx(0, abs=1e-9)
    assert found.passes()


def test_agreement_of_strangers_is_chance() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (2, 200, 64)).astype(np.float32)
    found = agreement(a, b)
    assert abs(found.mean_cosine) < 0.05
    assert found.top10_overlap == pytest.approx(10 / 199, abs=0.03)
    assert found.min_cosine <= found.p1_cosine <= found.mean_cosine
    assert not found.passes()


def test_a_turn_of_the_whole_space_keeps_neighbours_but_not_cosines() -> None:
    vectors = np.random.default_rng(0).normal(0, 1, (30, 8)).astype(np.float32)
    found = agreement(vectors[:, ::-1].copy(), vectors)
    assert found.top10_overlap == 1
    assert not found.passes()


@pytest.mark.parametrize(("cosine", "overlap", "passes"), [(0.99, 0.9, True), (0.9899, 1, False), (1, 0.899, False)])
def test_both_bounds_count(cosine: float, overlap: float, passes: bool) -> None:
    assert Agreement(cosine, cosine, cosine, overlap, 0).passes() is passes


# -- inputs -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small sets of inputs: these tests are about the way, not about the figures."""
    monkeypatch.setattr(bundle_module, "COUNTS", FEW)
    monkeypatch.setattr(bundle_module, "_TEXTS_MORE", 1)
    monkeypatch.setattr(quality, "_SENSITIVITY_ROWS", 3)


@pytest.fixture
def sources() -> Sources:
    return Sources(ImageSpec(32, 32), AudioSpec(8000, 4000, 40), TextSpec(), None, Tokenizer.load(MERGES))


def draw(folder: Path, count: int, step: int = 20) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new("L", (64, 64), step * i).save(folder / f"{i}.png")


def test_no_two_uses_share_an_input(sources: Sources) -> None:
    for tower, count in (("image", 6), ("text", 256)):
        seen = {use: {x.tobytes() for x in sources.rows(tower, use, count)} for use in USES[1:]}  # type: ignore[arg-type]
        assert all(len(inputs) == count for inputs in seen.values())
        assert not seen["gate"] & (seen["calibration"] | seen["selection"])
        assert not seen["selection"] & seen["calibration"]


def test_a_folder_is_shared_out_and_filled_up(sources: Sources, tmp_path: Path) -> None:
    draw(tmp_path, 9)
    shares = {use: [float(x.max()) for x in sources.rows("image", use, 6, tmp_path)] for use in USES}
    assert all(len(values) == 6 for values in shares.values())
    first = [values[0] for values in shares.values()]
    assert first == sorted(first)
    assert len(set(first)) == len(USES)


def test_the_gate_takes_no_file_that_calibration_or_selection_saw_not_even_a_copy(
    sources: Sources, tmp_path: Path
) -> None:
    draw(tmp_path / "mine", 8)
    draw(tmp_path / "copies", 8)
    names, rows = sources.gate_files("image", [tmp_path / "mine", tmp_path / "copies"], tmp_path / "mine")
    fitted = [x for use in ("calibration", "selection") for x in sources.rows("image", use, 2, tmp_path / "mine")]
    assert names == [f"{folder}/{i}.png" for folder in ("mine", "copies") for i in (0, 3, 4, 7)]
    assert not {x.tobytes() for x in rows} & {x.tobytes() for x in fitted}


def test_many_files_are_thinned_out_evenly(sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmr_export.samples.GATE_FILES", 3)
    draw(tmp_path / "pages", 9)
    assert sources.gate_files("image", [tmp_path / "pages"], None)[0] == ["pages/0.png", "pages/4.png", "pages/8.png"]


def test_texts_have_no_files(sources: Sources, tmp_path: Path) -> None:
    draw(tmp_path, 2)
    assert sources.gate_files("text", [tmp_path], None) == ([], [])


# -- the verdict ------------------------------------------------------------------------------------------------------


def judged(graph: onnx.ModelProto, sources: Sources) -> Quantized:
    """The text tower in int8."""
    rows = {use: sources.rows("text", use, count) for use, count in FEW.items()}  # type: ignore[arg-type]
    gate = {"generated": GateSet.of(graph, [str(i) for i in range(14)], rows["gate"])}
    return quantized_int8(graph, "text", Fitting(rows["calibration"], rows["selection"]), gate)


def test_a_tower_that_passes_tells_what_it_was_fitted_on_and_judged_by(
    few: None, tiny_graphs: Graphs, sources: Sources
) -> None:
    result = judged(tiny_graphs["text"], sources)
    report = result.report
    assert report["passed"]
    assert report["sets"]["generated"]["mean_cosine"] >= 0.99
    assert report["sets"]["generated"]["count"] == len(result.vectors["generated"]) == 14
    assert report["method"] == "dynamic"
    assert report["inputs"] == {"calibration": 6, "selection": 12}
    require_passed("text", "int8", report)
    onnx.checker.check_model(result.graph)


def spoiled(monkeypatch: pytest.MonkeyPatch, wrong: Callable[[str], bool]) -> None:
    """Let weights of the nodes that `wrong` picks be stored wrongly."""
    original = quantize._int8_product

    def product(node: onnx.NodeProto, graph: onnx.ModelProto, *others: Any) -> list[onnx.NodeProto]:
        made = original(node, graph, *others)
        if wrong(node.output[0]):
            tensor = next(t for t in graph.graph.initializer if t.name == f"{node.output[0]}_weight")
            noise = np.random.default_rng(0).integers(-64, 65, tuple(tensor.dims)).astype(np.int8)
            tensor.CopyFrom(numpy_helper.from_array(noise, tensor.name))
        return made

    monkeypatch.setattr(quantize, "_int8_product", product)


def test_the_node_that_costs_most_goes_back_to_float(
    few: None, tiny_graphs: Graphs, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    culprit = weighted_nodes(tiny_graphs["text"])[-1]
    spoiled(monkeypatch, lambda name: name == culprit)
    report = judged(tiny_graphs["text"], sources).report
    assert report["float_nodes"] == [culprit]
    assert report["passed"]


def test_a_tower_that_cannot_pass_keeps_half_of_its_nodes_and_says_so(
    few: None, tiny_graphs: Graphs, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled(monkeypatch, lambda _: True)
    report = judged(tiny_graphs["text"], sources).report
    assert report["passed"] is False
    assert len(report["float_nodes"]) <= len(weighted_nodes(tiny_graphs["text"])) / 2


def test_every_set_must_pass() -> None:
    good, bad = {"mean_cosine": 0.999, "top10_overlap": 0.97}, {"mean_cosine": 0.995, "top10_overlap": 0.85}
    report = {"passed": False, "sets": {"generated": good, "files": bad}}
    with pytest.raises(
        ExportError, match=r"image tower in int8 does not pass the gate on the files inputs: .* overlap 0\.850"
    ) as caught:
        require_passed("image", "int8", report)
    assert "--allow-degraded" in caught.value.hint


# -- whole bundles ----------------------------------------------------------------------------------------------------


def test_a_bundle_that_does_not_pass_is_not_written(
    few: None, made_graphs: None, tiny: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "MIN_COSINE", 1.01)
    with pytest.raises(ExportError, match="does not pass the gate"):
        write_bundle(tiny, tmp_path / "out", ExportOptions(precisions=("int8",)))
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the bundle of all precisions is written once."""
    return tmp_path_factory.mktemp("whole") / "out"


@pytest.fixture
def everything(few: None, made_graphs: None, tiny: Checkpoint, whole: Path) -> Path:
    """A bundle of all precisions, judged by pages of a folder, too."""
    if not whole.exists():
        draw(whole.parent / "pages", 12)
        options = ExportOptions(("fp32", "int8", "fp16"), gate=(whole.parent / "pages",), allow_degraded=True)
        write_bundle(tiny, whole, options)
    return whole


def test_a_bundle_of_all_precisions_runs_in_each(everything: Path) -> None:
    vectors = {}
    for precision in ("fp32", "int8", "fp16"):
        with Engine.open(everything, device="cpu", precision=precision, threads=1) as engine:
            vectors[precision] = engine.embed_texts(["a stormy night", "tea in the garden"])
    for precision, least in (("int8", 0.99), ("fp16", 0.99999)):
        assert (vectors["fp32"] * vectors[precision]).sum(axis=1).min() > least
        assert not np.array_equal(vectors["fp32"], vectors[precision])


def test_a_bundle_brings_the_evidence_that_its_figures_come_from(everything: Path) -> None:
    bundle = Bundle.open(everything)
    with np.load(bundle.path(EVIDENCE)) as evidence:
        assert evidence["files.image.names"].tolist() == [f"pages/{i}.png" for i in sorted(range(12), key=str)]
        for precision in ("int8", "fp16"):
            for tower, report in bundle.manifest.quality[precision].items():
                assert set(report["sets"]) == ({"generated", "files"} if tower == "image" else {"generated"})
                for name, figures in report["sets"].items():
                    found = agreement(evidence[f"{name}.{tower}.{precision}"], evidence[f"{name}.{tower}.fp32"])
                    assert found.mean_cosine == pytest.approx(figures["mean_cosine"], abs=1e-3)
                    assert 0 <= figures["first_mood_kept"] <= 1
                    assert 0 <= figures["mood_change"] < 0.2


def test_a_bundle_tells_what_becomes_of_the_songs_that_a_page_ranks(everything: Path) -> None:
    found = Bundle.open(everything).manifest.quality["end_to_end"]
    assert list(found) == ["int8", "fp16"]  # in the order that was asked for: equal exports, equal bytes
    assert found["fp16"]["generated"]["pages"] == found["fp16"]["generated"]["songs"] == 14
    assert found["fp16"]["generated"]["top10_overlap"] > 0.95
    assert found["fp16"]["generated"]["score_change"] < found["int8"]["generated"]["score_change"]
    assert "files" not in found["int8"]  # no song was given


def test_songs_that_trade_places_are_counted() -> None:
    pages, songs = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    evidence = {
        "files.image.fp32": pages,
        "files.audio.fp32": songs,
        "files.image.int8": pages,
        "files.audio.int8": songs[[1, 0, 2]],
    }
    found = end_to_end(evidence, "int8")["files"]
    assert found["first_song_kept"] == pytest.approx(1 / 3, abs=1e-5)
    assert found["top10_overlap"] == 1
    assert found["score_change"] > 0


def test_a_bundle_of_int8_alone_keeps_no_float_graph(
    few: None, made_graphs: None, tiny: Checkpoint, tmp_path: Path
) -> None:
    write_bundle(tiny, tmp_path / "out", ExportOptions(precisions=("int8",), allow_degraded=True))
    assert not list((tmp_path / "out").glob("*.fp32.onnx"))
    bundle = Bundle.open(tmp_path / "out")
    assert {precision for graphs in bundle.manifest.graphs.values() for precision in graphs} == {"int8"}
    assert bundle.manifest.quality["proof"]["image"]["one_minus_cosine"] < 1e-6
