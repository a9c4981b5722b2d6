"""Projections of precomputed features: losses, training, and the way from the checkpoint to `Engine.project`."""

from __future__ import annotations

import csv
import importlib.util
import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmr_export.bundle import ExportOptions, write_bundle
from mmr_export.checkpoint import build, load, load_checkpoint, load_projections
from mmr_export.cli import main
from mmr_export.data.catalogue import read_dataset
from mmr_export.data.datasets import Dataset
from mmr_export.data.splits import split_dataset
from mmr_export.model.projection import Projections, ProjectionsConfig
from mmr_export.train.command import train
from mmr_export.train.contrastive import Where
from mmr_export.train.features_recipe import FeaturesRecipe, train_features
from mmr_export.train.journal import Journal
from mmr_export.train.ranking_loss import ranking_loss, structure_loss
from mmr_export.train.recipe import PARTS, OptimizerOptions, decode, read_toml, recipe_path
from mmr_runtime import Engine
from mmr_runtime.bundle import PROJECTIONS, Bundle
from mmr_runtime.cli.doctor import examine
from mmr_runtime.errors import CheckpointError, ExportError, InputError, UsageError
from tests.export.miniatures import make_esc50, make_features

RECIPE = FeaturesRecipe(
    epochs=10,
    batch=40,
    share=0.25,
    embedding_size=16,
    audio_hidden=(32, 32),
    image_hidden=(32,),
    violators=10,
    optimizer=OptimizerOptions("adam", 1e-2, weight_decay=0.0),
)
PAIRS = 200
AUDIO, VIDEO = 10, 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_features(tmp_path_factory.mktemp("features"), PAIRS, AUDIO, VIDEO)


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Dataset:
    return read_dataset("features", folder)


def run(recipe: FeaturesRecipe, dataset: Dataset, output: Path, **where: Any) -> dict[str, Tensor]:
    """Train, and give the best weights; without plots, which take longer than all else."""
    find = importlib.util.find_spec
    split = split_dataset(dataset, recipe.split, share=recipe.share, seed=recipe.seed)
    place = Where(torch.device("cpu"), **{"report": lambda _: None, **where})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == "matplotlib" else find(name, *_))
        train_features(recipe, dataset, split, output, place)
    state: dict[str, Tensor] = torch.load(output, weights_only=True)
    return state


def epochs(output: Path) -> list[dict[str, float]]:
    with output.with_suffix(".log.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def trained(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained checkpoint; copy what is to be changed."""
    output = tmp_path_factory.mktemp("trained") / "best.pt"
    run(RECIPE, dataset, output)
    return output


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots take far longer than epochs of so few pairs."""
    monkeypatch.setattr(Journal, "_plot", lambda *_: None)


@pytest.fixture(scope="module")
def bundle(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("bundle") / "projections"
    result = CliRunner().invoke(main, ["--checkpoint", str(trained), "--output", str(output)])
    assert result.exit_code == 0, result.output
    return output


# -- losses -----------------------------------------------------------------------------------------------------------


def sign(x: float) -> int:
    return (x > 0) - (x < 0)


def slow_ranking(x: Sequence[Sequence[float]], y: Sequence[Sequence[float]], margin: float, violators: int) -> float:
    hinges = []
    for i, anchor in enumerate(x):
        cosines = [sum(a * b for a, b in zip(anchor, other, strict=True)) for other in y]
        nearest = sorted((c for j, c in enumerate(cosines) if j != i), reverse=True)[:violators]
        hinges += [max(0.0, margin + c - cosines[i]) for c in nearest]
    return sum(hinges) / len(hinges)


def slow_structure(after: Sequence[Sequence[float]], before: Sequence[Sequence[float]], *, all_triples: bool) -> float:
    def cosine(a: Sequence[float], b: Sequence[float]) -> float:
        products = [sum(p * q for p, q in zip(u, v, strict=True)) for u, v in ((a, b), (a, a), (b, b))]
        return products[0] / (products[1] * products[2]) ** 0.5

    terms = []
    for i, j, k in itertools.permutations(range(len(after)), 3):
        if not all_triples and k != j + 1:
            continue
        now = cosine(after[i], after[j]) - cosine(after[i], after[k])
        then = cosine(before[i], before[j]) - cosine(before[i], before[k])
        terms.append((sign(now) - sign(then)) * now)
    return sum(terms) / len(terms)


def batch(seed: int, n: int, size: int) -> Tensor:
    return torch.randn(n, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 7), st.integers(1, 9), st.floats(0, 1))
def test_ranking_loss_is_what_its_formula_says(seed: int, n: int, violators: int, margin: float) -> None:
    x, y = (F.normalize(batch(s, n, 3), dim=1) for s in (seed, seed + 1))
    expected = slow_ranking(x.tolist(), y.tolist(), margin, violators)
    assert float(ranking_loss(x, y, margin=margin, violators=violators)) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 7))
def test_structure_loss_is_what_its_formula_says(seed: int, n: int) -> None:
    after, before = F.normalize(batch(seed, n, 3), dim=1), batch(seed + 1, n, 5)
    expected = slow_structure(after.tolist(), before.tolist(), all_triples=False)
    assert float(structure_loss(after, before)) == pytest.approx(expected, abs=1e-12)


def test_structure_loss_is_that_of_all_triples_on_average_over_the_orders_of_a_batch() -> None:
    after, before = F.normalize(batch(0, 5, 3), dim=1), batch(1, 5, 4)
    orders = [list(order) for order in itertools.permutations(range(5))]
    mean = sum(float(structure_loss(after[order], before[order])) for order in orders) / len(orders)
    assert mean == pytest.approx(slow_structure(after.tolist(), before.tolist(), all_triples=True), abs=1e-12)


def test_ranking_loss_is_0_where_partners_are_nearest_by_the_margin() -> None:
    x = torch.eye(4)
    assert float(ranking_loss(x, x, margin=1.0, violators=3)) == 0
    assert float(ranking_loss(x, x, margin=1.5, violators=3)) == 0.5


def test_structure_loss_is_0_for_the_features_themselves_and_whatever_keeps_their_order() -> None:
    before = batch(0, 8, 4)
    rows = F.normalize(before, dim=1)
    assert float(structure_loss(rows, before)) == 0
    assert float(structure_loss(rows.flip(0), before)) > 0.1


def test_both_losses_have_gradients() -> None:
    x, y = (F.normalize(batch(seed, 6, 3), dim=1).requires_grad_() for seed in (0, 1))
    (ranking_loss(x, y, margin=0.1, violators=2) + structure_loss(x, batch(2, 6, 4))).backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert y.grad is not None
    assert bool(x.grad.abs().sum() > 0)
    assert bool(y.grad.abs().sum() > 0)


# -- training ---------------------------------------------------------------------------------------------------------


def test_training_finds_partners_far_better_than_chance(trained: Path) -> None:
    """50 pairs validate: chance is 0.02."""
    rows = epochs(trained)
    assert len(rows) == RECIPE.epochs
    assert max(row["accuracy"] for row in rows) > 0.5
    assert rows[-1]["train_loss"] < 0.5 * rows[0]["train_loss"]


def test_the_structure_loss_keeps_more_of_the_order_of_distances(
    dataset: Dataset, tmp_path: Path, no_plots: None
) -> None:
    changes = []
    for weight in (0.0, 5.0):
        output = tmp_path / f"{weight}" / "best.pt"
        run(replace(RECIPE, structure_weight=weight), dataset, output)
        model = build(load_projections(output))
        features = torch.from_numpy(np.stack([np.load(item.path) for item in dataset.items]))
        with torch.inference_mode():
            rows = F.normalize(model.audio_features(features), dim=1)
            changes.append(float(structure_loss(rows, model.audio_features.standardised(features))))
    assert changes[1] < 0.7 * changes[0]


def test_the_sidecar_says_where_the_weights_come_from(trained: Path) -> None:
    sidecar = json.loads(trained.with_suffix(".json").read_text())
    assert sidecar["kind"] == "features"
    training = sidecar["training"]
    assert training["recipe"]["margin"] == RECIPE.margin
    assert training["split"] == {"kind": "group", "train": 150, "validation": 50}
    assert training["metrics"]["validation_loss"] == min(row["validation_loss"] for row in epochs(trained))
    written = {path.suffix if path.stem == "best" else path.name for path in trained.parent.iterdir()}
    assert written == {".pt", ".json", "best.split.json", "best.log.csv", "last.pt"}


def test_a_branch_may_be_a_single_layer() -> None:
    model = Projections(ProjectionsConfig(3, 2, 4, (), ()))
    assert model.audio_features(torch.zeros(2, 3)).shape == (2, 4)


def test_features_are_standardised_by_the_training_side(trained: Path, dataset: Dataset) -> None:
    model, split = build(load_projections(trained)), json.loads(trained.with_suffix(".split.json").read_text())
    train = [np.load(item.path) for item in dataset.items if item.key in split["train"]]
    rows = model.audio_features.standardised(torch.from_numpy(np.stack(train)))
    torch.testing.assert_close(rows.mean(dim=0), torch.zeros(AUDIO), atol=1e-5, rtol=0)
    torch.testing.assert_close(rows.std(dim=0, correction=0), torch.ones(AUDIO), atol=1e-5, rtol=0)


def test_a_feature_that_never_changes_does_no_harm(tmp_path: Path) -> None:
    folder = make_features(tmp_path / "constant", 40)
    for path in (folder / "audio").iterdir():
        np.save(path, np.append(np.load(path), np.float32(7)))
    state = run(replace(RECIPE, batch=10, epochs=1), read_dataset("features", folder), tmp_path / "best.pt")
    assert state["audio_features.std"][-1] == 1


class _InterruptedError(Exception):
    pass


def test_an_interrupted_run_goes_on_to_the_same_weights(dataset: Dataset, tmp_path: Path, no_plots: None) -> None:
    recipe = replace(RECIPE, epochs=4)
    whole = run(recipe, dataset, tmp_path / "whole" / "best.pt")
    steps = 0

    def interrupt(_done: int, total: int) -> None:
        nonlocal steps
        steps += 1
        if steps == 2 * total + 1:
            raise _InterruptedError

    broken = tmp_path / "broken" / "best.pt"
    with pytest.raises(_InterruptedError):
        run(recipe, dataset, broken, steps=interrupt)
    assert all(torch.equal(value, whole[name]) for name, value in run(recipe, dataset, broken).items())
    assert [row["train_loss"] for row in epochs(broken)] == [
        row["train_loss"] for row in epochs(tmp_path / "whole" / "best.pt")
    ]


def test_the_state_of_another_run_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    run(replace(RECIPE, epochs=1), dataset, tmp_path / "best.pt")
    with pytest.raises(InputError, match="belongs to another run"):
        run(replace(RECIPE, epochs=1, margin=0.2), dataset, tmp_path / "best.pt")


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_batch(dataset: Dataset, tmp_path: Path) -> None:
    wild = replace(RECIPE, optimizer=OptimizerOptions("sgd", rate=1e30))
    with pytest.raises(ExportError, match=r"the loss is (nan|inf) in epoch \d+, step \d; of its batch: pair"):
        run(wild, dataset, tmp_path / "best.pt")


def test_too_few_pairs_for_a_batch_are_told(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="150 pairs train and 50 validate: too few for a batch of 1000"):
        run(replace(RECIPE, batch=1000), dataset, tmp_path / "best.pt")


def test_other_data_and_other_precisions_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    clips = read_dataset("esc50", make_esc50(tmp_path / "esc50"))
    with pytest.raises(InputError, match="holds no features"):
        run(RECIPE, clips, tmp_path / "best.pt")
    with pytest.raises(UsageError, match="fp32"):
        run(RECIPE, dataset, tmp_path / "best.pt", precision="bf16")


def test_pairs_of_other_widths_are_refused_by_both_numbers(tmp_path: Path) -> None:
    folder = make_features(tmp_path / "odd", 40)
    data = read_dataset("features", folder)
    np.save(data.items[3].path, np.zeros(11, np.float32))
    with pytest.raises(InputError, match=r"(holds 11 features, and .* 10|holds 10 features, and .* 11)"):
        run(replace(RECIPE, batch=10), data, tmp_path / "best.pt")


def test_the_recipe_of_the_package_is_the_published_one() -> None:
    path = recipe_path("features")
    recipe = decode(FeaturesRecipe, read_toml(path), PARTS, path)
    assert recipe == FeaturesRecipe()
    assert recipe.optimizer.rate == 3e-4
    assert (recipe.audio_weight, recipe.image_weight, recipe.structure_weight) == (3, 1, 0.2)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"bach": 3}, "bach"),
        ({"batch": 2}, "3 pairs"),
        ({"dropout": 1.0}, "dropout"),
        ({"split": "fold"}, "split"),
        ({"margin": -0.1}, "margin"),
        ({"data": "esc50"}, "features"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        decode(FeaturesRecipe, values, PARTS, Path("r.toml"))


# -- mmr train --------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_recipe(tmp_path: Path) -> Path:
    """The recipe of the package, for few pairs."""
    text = recipe_path("features").read_text()
    for name, value in (("epochs", 1), ("batch", 10), ("audio_hidden", "[8]"), ("image_hidden", "[8]")):
        text, found = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
        assert found == 1
    (tmp_path / "small.toml").write_text(text)
    return tmp_path / "small.toml"


def test_mmr_train_writes_what_mmr_export_takes(small_recipe: Path, tmp_path: Path) -> None:
    folder, output = make_features(tmp_path / "features", 40), tmp_path / "out" / "best.pt"
    (folder / "audio" / "pair0007.npy").unlink()
    trained = CliRunner().invoke(train, [str(small_recipe), "--data", str(folder), "--output", str(output)])
    assert trained.exit_code == 0, trained.output
    assert "left out: pair0007" in trained.stderr
    assert "31 pairs train, 8 validate" in trained.stderr
    assert "epoch 1/1" in trained.stderr
    assert output.with_suffix(".log.png").is_file() == (importlib.util.find_spec("matplotlib") is not None)
    exported = CliRunner().invoke(main, ["--checkpoint", str(output), "--output", str(tmp_path / "bundle")])
    assert exported.exit_code == 0, exported.output
    with Engine.open(tmp_path / "bundle", device="cpu") as engine:
        assert engine.project(np.zeros((3, AUDIO), np.float32), "audio_features").shape == (3, 512)


def test_options_of_mmr_train_without_meaning_are_refused(small_recipe: Path, folder: Path, tmp_path: Path) -> None:
    command = [str(small_recipe), "--data", str(folder), "--output", str(tmp_path / "best.pt")]
    for option, problem in (
        (["--initial", "best.pt"], "--initial has no meaning"),
        (["--fold", "1"], "--fold has no meaning"),
        (["--precision", "bf16"], "fp32"),
    ):
        result = CliRunner().invoke(train, [*command, *option])
        assert result.exit_code == UsageError.exit_code
        assert problem in result.output
    several = CliRunner().invoke(train, command, env={"RANK": "1"})
    assert several.exit_code == UsageError.exit_code
    assert "one process" in several.output
    assert not (tmp_path / "best.pt").exists()


def test_the_papers_split_is_one_by_pairs(small_recipe: Path, folder: Path, tmp_path: Path) -> None:
    command = [str(small_recipe), "--data", str(folder), "--output", str(tmp_path / "best.pt"), "--paper-split"]
    assert CliRunner().invoke(train, command).exit_code == 0
    assert json.loads((tmp_path / "best.json").read_text())["training"]["split"]["kind"] == "item"


# -- the checkpoint ---------------------------------------------------------------------------------------------------


def changed(
    trained: Path, folder: Path, state: dict[str, Tensor] | None = None, sidecar: dict[str, Any] | None = None
) -> Path:
    """A copy of the checkpoint with other weights or another sidecar."""
    weights = torch.load(trained, weights_only=True) | (state or {})
    torch.save({name: value for name, value in weights.items() if value is not None}, folder / "best.pt")
    content = json.loads(trained.with_suffix(".json").read_text()) | (sidecar or {})
    (folder / "best.json").write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    return folder / "best.pt"


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"image_features.std": None}, "1 missing: image_features.std"),
        ({"audio_features.more": torch.zeros(1)}, "1 unexpected: audio_features.more"),
        ({"audio_features.mean": torch.zeros(11)}, "audio_features.mean 11 instead of 10"),
        ({"audio_features.mean": torch.full((10,), torch.nan)}, "1 tensors hold NaN"),
        ({"image_features.std": torch.zeros(8)}, "image_features.std must be above 0"),
    ],
)
def test_weights_that_do_not_fit_are_named(trained: Path, tmp_path: Path, state: dict[str, Any], problem: str) -> None:
    with pytest.raises(CheckpointError, match=re.escape(problem)):
        load(changed(trained, tmp_path, state))


@pytest.mark.parametrize(
    ("sidecar", "problem"),
    [
        ({"config": None}, "does not describe projections"),
        ({"config": {"audio_features": 10}}, "image_features"),
        ({"config": {"audio_features": 10, "image_features": 8, "audio_hidden": 32}}, "audio_hidden"),
        ({"config": {"audio_features": 10, "image_features": 0}}, "positive and whole"),
        ({"kind": "faces"}, "unknown kind 'faces'"),
        ({"kind": None}, "fit a known model|has no field"),
    ],
)
def test_a_sidecar_that_does_not_fit_is_refused(
    trained: Path, tmp_path: Path, sidecar: dict[str, Any], problem: str
) -> None:
    with pytest.raises(CheckpointError, match=problem):
        load(changed(trained, tmp_path, sidecar=sidecar))


def test_projections_are_no_encoders_and_the_reverse(trained: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds projections of features, not encoders"):
        load_checkpoint(trained)
    with pytest.raises(CheckpointError, match="does not describe projections"):
        load_projections(tiny_checkpoint)
    with pytest.raises(CheckpointError, match="no such file"):
        load(tmp_path / "none.pt")


# -- the bundle -------------------------------------------------------------------------------------------------------


def features_of(dataset: Dataset) -> dict[str, np.ndarray]:
    partners = [item.partner for item in dataset.items if item.partner]
    return {
        "audio_features": np.stack([np.load(item.path) for item in dataset.items]),
        "image_features": np.stack([np.load(path) for path in partners]),
    }


def test_the_bundle_computes_what_pytorch_does(trained: Path, bundle: Path, dataset: Dataset) -> None:
    model = build(load_projections(trained))
    with Engine.open(bundle, device="cpu") as engine:
        for tower, features in features_of(dataset).items():
            with torch.inference_mode():
                expected = F.normalize(model.get_submodule(tower)(torch.from_numpy(features)), dim=1).numpy()
            np.testing.assert_allclose(engine.project(features, tower), expected, atol=1e-6)  # type: ignore[arg-type]


def test_the_bundle_finds_partners(bundle: Path, dataset: Dataset) -> None:
    features = features_of(dataset)
    with Engine.open(bundle, device="cpu") as engine:
        music, video = (engine.project(features[tower], tower) for tower in PROJECTIONS)
    assert ((music @ video.T).argmax(axis=1) == np.arange(PAIRS)).mean() > 0.4  # chance: 0.005


def test_the_manifest_says_what_the_projections_take(bundle: Path) -> None:
    manifest = Bundle.open(bundle).manifest
    assert list(manifest.graphs) == list(PROJECTIONS)
    assert manifest.model == asdict(ProjectionsConfig(AUDIO, VIDEO, 16, (32, 32), (32,))) | {
        "audio_hidden": [32, 32],
        "image_hidden": [32],
    }
    assert all(proof["one_minus_cosine"] < 1e-6 for proof in manifest.quality["proof"].values())
    assert set(manifest.files) == {"audio_features.fp32.onnx", "image_features.fp32.onnx", "MODEL_CARD.md"}
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "`audio_features`: 10 numbers" in card
    assert "pixels" not in card


def test_the_same_checkpoint_gives_the_same_bytes(trained: Path, bundle: Path, tmp_path: Path) -> None:
    write_bundle(load(trained), tmp_path / "again")
    for path in bundle.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_doctor_finds_the_bundle_in_order(bundle: Path) -> None:
    assert next(check for check in examine(str(bundle)) if check.name == "model").state == "ok"


@pytest.mark.parametrize("option", [["--amplitude", "unit"], ["--resize", "page"]])
def test_options_of_encoders_have_no_meaning(trained: Path, tmp_path: Path, option: list[str]) -> None:
    arguments = ["--checkpoint", str(trained), "--output", str(tmp_path / "out"), *option]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == UsageError.exit_code
    assert "features are taken as they are" in result.output
    assert not (tmp_path / "out").exists()


# -- other precisions -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quantized(trained: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("quantized") / "out"
    options = ["--precision", "fp32,int8,fp16", "--calibration", str(folder)]
    result = CliRunner().invoke(main, ["--checkpoint", str(trained), "--output", str(output), *options])
    assert result.exit_code == 0, result.output
    return output


def test_int8_and_fp16_pass_the_gate(quantized: Path, dataset: Dataset) -> None:
    quality = Bundle.open(quantized).manifest.quality
    for precision in ("int8", "fp16"):
        for tower in PROJECTIONS:
            report = quality[precision][tower]
            assert report["passed"]
            assert set(report["sets"]) == {"generated", "files"}
        assert quality["end_to_end"][precision]["files"]["top10_overlap"] > 0.9
    features = features_of(dataset)["audio_features"]
    vectors = []
    for precision in ("fp32", "int8"):
        with Engine.open(quantized, device="cpu", precision=precision) as engine:
            vectors.append(engine.project(features, "audio_features"))
    assert (vectors[0] * vectors[1]).sum(axis=1).mean() > 0.99


def test_features_of_another_width_cannot_calibrate(trained: Path, tmp_path: Path) -> None:
    folder = make_features(tmp_path / "wide", 8, audio=12)
    options = ExportOptions(("fp32", "int8"), calibration=folder)
    with pytest.raises(InputError, match="holds 12 features, not 10"):
        write_bundle(load(trained), tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_the_quality_report_tells_of_projections(quantized: Path) -> None:
    pytest.importorskip("matplotlib")
    from mmr_export.report.document import report_html
    from mmr_export.report.latency import measure_latencies

    opened = Bundle.open(quantized)
    latencies = measure_latencies(opened)
    assert set(latencies) == set(PROJECTIONS)
    assert "audio_features" in report_html(opened, latencies)
