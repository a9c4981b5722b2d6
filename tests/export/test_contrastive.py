"""Contrastive training by recipes: what learns, what is kept; an interruption or a second process change nothing."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from mmr_export.checkpoint import load_checkpoint
from mmr_export.data.catalogue import read_dataset
from mmr_export.data.datasets import Dataset, Item
from mmr_export.data.splits import split_dataset
from mmr_export.model.audioclip import contrastive_loss
from mmr_export.train.command import train
from mmr_export.train.contrastive import Start, Where, rate_at, train_contrastive
from mmr_export.train.inputs import overlaps
from mmr_export.train.losses import label_aware_loss
from mmr_export.train.pair import Pair
from mmr_export.train.recipe import (
    FOLDER,
    PARTS,
    ContrastiveRecipe,
    OptimizerOptions,
    ScheduleOptions,
    SoundVariation,
    decode,
    read_toml,
    recipe_path,
)
from mmr_runtime.errors import DeviceError, ExportError, InputError, MissingFileError
from tests.export.miniatures import make_audioset, make_esc50, make_manga109, make_urbansound8k

FAST = OptimizerOptions("adamw", rate=1e-3)
HEARS = ContrastiveRecipe(
    "audioset", ("audio.", "logit_scale_at"), epochs=2, batch=4, share=0.25, optimizer=FAST, save_steps=1
)
SEES = replace(HEARS, data="manga109", train=("visual.", "logit_scale"))


@pytest.fixture
def clips(tmp_path: Path) -> Dataset:
    return read_dataset("audioset", make_audioset(tmp_path / "audioset"))


@pytest.fixture
def pages(tmp_path: Path) -> Dataset:
    return read_dataset("manga109", make_manga109(tmp_path / "manga109"))


def run(
    recipe: ContrastiveRecipe, dataset: Dataset, checkpoint: Path, output: Path, **where: Any
) -> dict[str, torch.Tensor]:
    """Train, and give the best weights."""
    split = split_dataset(dataset, recipe.split, share=recipe.share, seed=recipe.seed, fold=recipe.fold)
    start = Start.of(load_checkpoint(checkpoint), recipe)
    place = Where(torch.device("cpu"), cache=output.parent / "cache", report=lambda _: None, **where)
    train_contrastive(recipe, dataset, split, start, output, place)
    return weights(output)


def weights(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
    return state


def epochs(output: Path) -> list[dict[str, str]]:
    with output.with_suffix(".log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


# -- what learns ------------------------------------------------------------------------------------------------------


def test_only_what_the_recipe_names_learns(tiny_checkpoint: Path, clips: Dataset, tmp_path: Path) -> None:
    after = run(HEARS, clips, tiny_checkpoint, tmp_path / "out" / "best.pt")
    names = changed(weights(tiny_checkpoint), after)
    assert "audio.fc.weight" in names
    assert "audio.bn1.running_mean" in names
    assert "audio.fbsp.fc" in names
    assert all(name.startswith("audio.") or name == "logit_scale_at" for name in names)


def test_frozen_batch_norm_keeps_its_statistics(tiny_checkpoint: Path, pages: Dataset, tmp_path: Path) -> None:
    after = run(replace(SEES, batch_norm="frozen"), pages, tiny_checkpoint, tmp_path / "best.pt")
    names = changed(weights(tiny_checkpoint), after)
    assert "visual.bn1.weight" in names
    assert not any("running" in name or "tracked" in name for name in names)


def test_training_brings_items_to_what_is_said_of_them(tiny_checkpoint: Path, clips: Dataset, tmp_path: Path) -> None:
    recipe = replace(HEARS, epochs=8, sound=SoundVariation(scale=1.0, noise=0.0))
    run(recipe, clips, tiny_checkpoint, tmp_path / "best.pt")
    rows = epochs(tmp_path / "best.pt")
    assert len(rows) == 8
    assert float(rows[-1]["train_loss"]) < 0.8 * float(rows[0]["train_loss"])


def test_the_scales_can_learn_from_their_bound(tiny_model: Any) -> None:
    model = Start.of(None, replace(HEARS, preset="small")).model
    pair = Pair(model, "audio", ["logit_scale_at", "audio.fc."])
    scale = model.logit_scale_at.exp().clamp(1, 100)
    scale.backward()  # type: ignore[no-untyped-call]
    assert pair.model.logit_scale_at.grad is not None
    assert pair.model.logit_scale_at.grad > 0


def test_masks_change_what_is_heard_and_nothing_else() -> None:
    model = Start.of(None, replace(HEARS, preset="small")).model.eval()
    pair, said = Pair(model, "audio", ["audio."]), torch.eye(2, 256)
    samples = 1000 * torch.randn(2, 9000, generator=torch.Generator().manual_seed(0))
    rows, frames = 3 * model.config.audio.bands_height, model.audio.frames(samples).shape[1]
    whole = torch.ones(2, rows, frames, dtype=torch.bool)
    masked = whole.clone()
    masked[0, :, 3:7] = False
    plain, open_, covered = (pair(samples, said, kept).rows for kept in (None, whole, masked))
    assert torch.equal(plain, open_)
    assert not torch.allclose(plain[0], covered[0])
    assert torch.equal(plain[1], covered[1])


@pytest.mark.parametrize("name", ["visual.", "audio.layer9.", "audio", "logit_scale_ai"])
def test_what_cannot_learn_from_these_pairs_is_refused(name: str) -> None:
    model = Start.of(None, replace(HEARS, preset="small")).model
    with pytest.raises(InputError, match=re.escape(repr(name))):
        Pair(model, "audio", ["audio.fc.", name])


# -- what is kept -----------------------------------------------------------------------------------------------------


def test_the_checkpoint_goes_through_the_export_and_says_where_it_comes_from(
    tiny_checkpoint: Path, clips: Dataset, tmp_path: Path
) -> None:
    output = tmp_path / "out" / "best.pt"
    run(HEARS, clips, tiny_checkpoint, output)
    loaded = load_checkpoint(output)
    assert loaded.audio_spec() == load_checkpoint(tiny_checkpoint).audio_spec()
    training = loaded.metadata["training"]
    assert training["recipe"]["optimizer"]["name"] == "adamw"
    assert training["split"]["kind"] == "group"
    assert training["start"]["sha256"] == load_checkpoint(tiny_checkpoint).sha256
    assert training["metrics"]["validation_loss"] == min(float(row["validation_loss"]) for row in epochs(output))
    written = {path.name for path in output.parent.iterdir()} - {"cache"}
    assert written == {
        "best.pt",
        "best.json",
        "best.split.json",
        "best.log.csv",
        "best.log.svg",
        "best.log.png",
        "last.pt",
    }


def test_no_video_is_on_both_sides(tiny_checkpoint: Path, clips: Dataset, tmp_path: Path) -> None:
    run(HEARS, clips, tiny_checkpoint, tmp_path / "best.pt")
    split = json.loads((tmp_path / "best.split.json").read_text())
    assert not set(split["train"]) & set(split["validation"])


def test_a_tower_that_does_not_learn_is_run_once(tiny_checkpoint: Path, pages: Dataset, tmp_path: Path) -> None:
    """The second run finds the vectors of pictures whose content is gone."""
    recipe = replace(SEES, train=("text_projection", "ln_final."))
    first = run(recipe, pages, tiny_checkpoint, tmp_path / "1" / "best.pt")
    (tmp_path / "2").mkdir()
    (tmp_path / "1" / "cache").rename(tmp_path / "2" / "cache")
    for item in pages.items:
        times = item.path.stat()
        item.path.write_bytes(b"\0" * times.st_size)
        os.utime(item.path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not changed(first, run(recipe, pages, tiny_checkpoint, tmp_path / "2" / "best.pt"))


# -- interruption -----------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
import torch
from dataclasses import replace
from pathlib import Path
from tests.export.test_contrastive import HEARS, run
from mmr_export.data.catalogue import read_dataset

folder, checkpoint, output, step = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
seen = 0

def count(done, total):
    global seen
    seen += 1
    if seen == step:
        os.kill(os.getpid(), signal.SIGKILL)

torch.set_num_threads(1)
run(HEARS, read_dataset("audioset", folder), checkpoint, output, steps=count)
"""


def test_a_killed_run_goes_on_to_the_same_weights(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = make_audioset(tmp_path / "audioset")

    def start(output: Path, step: int) -> int:
        command = [sys.executable, "-c", KILLED, str(folder), str(tiny_checkpoint), str(output), str(step)]
        return subprocess.run(command, cwd=Path(__file__).parents[2], check=False).returncode

    whole, broken = tmp_path / "whole" / "best.pt", tmp_path / "broken" / "best.pt"
    assert start(whole, 0) == 0
    assert start(broken, 2) == -signal.SIGKILL  # in the first epoch
    assert start(broken, 3) == -signal.SIGKILL  # in the second
    assert start(broken, 0) == 0
    assert not changed(weights(whole), weights(broken))
    last = [torch.load(path.with_name("last.pt"), weights_only=True) for path in (whole, broken)]
    for a, b in zip(*(part["parts"]["optimizer"]["state"].values() for part in last), strict=True):
        assert all(torch.equal(a[key], b[key]) for key in ("exp_avg", "exp_avg_sq"))


def test_the_state_of_another_run_is_refused(tiny_checkpoint: Path, clips: Dataset, tmp_path: Path) -> None:
    run(HEARS, clips, tiny_checkpoint, tmp_path / "best.pt")
    with pytest.raises(InputError, match="belongs to another run"):
        run(replace(HEARS, seed=1), clips, tiny_checkpoint, tmp_path / "best.pt")


def test_a_finished_run_is_finished(tiny_checkpoint: Path, clips: Dataset, tmp_path: Path) -> None:
    run(HEARS, clips, tiny_checkpoint, tmp_path / "best.pt")
    before = (tmp_path / "best.pt").stat().st_mtime_ns
    run(HEARS, clips, tiny_checkpoint, tmp_path / "best.pt")
    assert (tmp_path / "best.pt").stat().st_mtime_ns == before


# -- several processes ------------------------------------------------------------------------------------------------

SHARED = """
import sys
import torch
from dataclasses import replace
from pathlib import Path
from tests.export.test_contrastive import HEARS, run
from mmr_export.data.catalogue import read_dataset
from mmr_export.train.recipe import OptimizerOptions

slow = OptimizerOptions("sgd", rate=1e-4)
recipe = replace(HEARS, batch=12, accumulate=2, batch_norm="frozen", optimizer=slow, epochs=1)
run(recipe, read_dataset("audioset", Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]))
"""


def test_two_processes_train_as_one(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder, script = make_audioset(tmp_path / "audioset"), tmp_path / "shared.py"
    script.write_text(SHARED)
    outputs = [tmp_path / name / "best.pt" for name in ("one", "two")]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    for how, output in zip(([], torchrun), outputs, strict=True):
        command = [sys.executable, *how, str(script), str(folder), str(tiny_checkpoint), str(output)]
        root = Path(__file__).parents[2]
        environment = {"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
        result = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
    before, one, two = map(weights, (tiny_checkpoint, *outputs))
    assert {"audio.fbsp.m", "audio.conv1.weight", "logit_scale_at"} <= changed(before, one)
    for name, value in one.items():  # after one step: later ones amplify the rounding
        moved, apart = (value - before[name]).float().norm(), (two[name] - value).float().norm()
        assert apart <= 1e-3 * moved + 1e-4, name


# -- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_batch(
    tiny_checkpoint: Path, clips: Dataset, tmp_path: Path
) -> None:
    wild = replace(HEARS, optimizer=OptimizerOptions("sgd", rate=1e30), epochs=3, normalise_filters=False)
    with pytest.raises(ExportError, match=r"the loss is (nan|inf) in epoch \d, step \d; the batch: ") as caught:
        run(wild, clips, tiny_checkpoint, tmp_path / "best.pt")
    assert sum(item.key in caught.value.message for item in clips.items) >= 4


def test_too_few_items_for_a_batch_are_told(tiny_checkpoint: Path, clips: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too few for a batch of 64"):
        run(replace(HEARS, batch=64), clips, tiny_checkpoint, tmp_path / "best.pt")


def test_a_damaged_clip_is_named(tiny_checkpoint: Path, clips: Dataset, tmp_path: Path) -> None:
    for item in clips.items:
        item.path.write_bytes(b"RIFF broken")
    with pytest.raises(InputError, match="item "):
        run(HEARS, clips, tiny_checkpoint, tmp_path / "best.pt")


def test_tensorboard_that_is_missing_is_told_before_the_work(
    tiny_checkpoint: Path, clips: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(DeviceError, match="tensorboard"):
        run(HEARS, clips, tiny_checkpoint, tmp_path / "best.pt", tensorboard=tmp_path)
    assert not (tmp_path / "best.pt").exists()


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"epoch": 3}, "epoch"),
        ({"batch": 3, "accumulate": 2}, "two items|divide"),
        ({"loss": "triplet"}, "loss"),
        ({"optimizer": {"name": "lion"}}, "sgd, adam"),
        ({"optimizer": 3}, "table"),
        ({"schedule": {"gamma": 0}}, "gamma"),
        ({"epochs": "many"}, "cannot be used"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        decode(ContrastiveRecipe, {"data": "audioset", "train": ["audio."], **values}, PARTS, Path("r.toml"))


def test_an_unknown_recipe_names_those_there_are() -> None:
    with pytest.raises(MissingFileError, match="no recipe paper") as caught:
        recipe_path("paper")
    assert "paper-audio" in caught.value.hint


# -- parts ------------------------------------------------------------------------------------------------------------


def test_label_aware_loss_is_audioclips_without_labels_in_common() -> None:
    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(label_aware_loss(logits, torch.eye(6)), contrastive_loss([logits]))


def test_label_aware_loss_reaches_its_least_where_a_class_is_one_cluster() -> None:
    overlap = torch.block_diag(torch.ones(2, 2), torch.ones(3, 3))
    floor = 2 * (2 * math.log(2) + 3 * math.log(3)) / 5
    assert label_aware_loss(100 * overlap, overlap).item() == pytest.approx(floor, rel=1e-5)
    assert contrastive_loss([100 * overlap]).item() == pytest.approx(floor, rel=1e-5)
    apart = 100 * torch.eye(5)  # the plain loss wants items of a class apart
    assert contrastive_loss([apart]) < 1e-6
    assert label_aware_loss(apart, overlap) > 10


def test_items_overlap_by_their_labels_or_their_text() -> None:
    def item(text: str, *labels: str) -> Item:
        return Item(text, Path(text), text, labels, text)

    found = overlaps([item("1", "a"), item("2", "a", "b"), item("3", "c"), item("x"), item("x")])
    np.testing.assert_allclose(found[0], [1, 0.5, 0, 0, 0])
    np.testing.assert_allclose(found[3], [0, 0, 0, 1, 1])


def test_rates_fall_by_epoch_or_along_a_cosine() -> None:
    falling = [rate_at(s, 10, 30, OptimizerOptions(rate=1.0), ScheduleOptions(gamma=0.5)) for s in (0, 9, 10, 29)]
    assert falling == [1, 1, 0.5, 0.25]
    cosine = ScheduleOptions("cosine", warmup=0.1)
    rates = [rate_at(s, 10, 100, OptimizerOptions(rate=1.0), cosine) for s in range(100)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert rates[10] == 1
    assert rates == [*rates[:10], *sorted(rates[10:], reverse=True)]
    assert rates[-1] < 0.001


# -- the recipes of the package, on miniatures of the real data sets -------------------------------------------------

MAKERS = {"audioset": make_audioset, "manga109": make_manga109, "esc50": make_esc50, "urbansound8k": make_urbansound8k}
CONTRASTIVE = [p.stem for p in sorted(FOLDER.glob("*.toml")) if read_toml(p)["kind"] == "contrastive"]


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_a_recipe_runs_from_the_command_to_a_checkpoint(name: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    text = recipe_path(name).read_text()
    kind = read_toml(recipe_path(name))["data"]
    small = re.sub(r"(?m)^batch = \d+", "batch = 2", re.sub(r"(?m)^epochs = \d+", "epochs = 1", text))
    (tmp_path / "r.toml").write_text(small)
    folder = MAKERS[kind](tmp_path / kind)  # type: ignore[operator]
    output = tmp_path / "out" / "best.pt"
    command = [str(tmp_path / "r.toml"), "--data", str(folder), "--initial", str(tiny_checkpoint)]
    places = ["--output", str(output), "--cache", str(tmp_path / "cache")]
    result = CliRunner().invoke(train, [*command, *places])
    assert result.exit_code == 0, result.output
    assert "epoch 1/1" in result.stderr
    assert load_checkpoint(output).metadata["training"]["data"]["name"] == kind


def test_the_papers_split_and_half_precision_are_options(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder, output = make_manga109(tmp_path / "m"), tmp_path / "best.pt"
    (tmp_path / "r.toml").write_text(
        re.sub("epochs = 50", "epochs = 1", re.sub("batch = 64", "batch = 4", recipe_path("paper-manga").read_text()))
    )
    command = [str(tmp_path / "r.toml"), "--data", str(folder), "--initial", str(tiny_checkpoint)]
    choices = ["--paper-split", "--precision", "bf16", "--output", str(output), "--cache", str(tmp_path / "cache")]
    assert CliRunner().invoke(train, [*command, *choices]).exit_code == 0
    training = load_checkpoint(output).metadata["training"]
    assert training["split"]["kind"] == "item"
    assert training["precision"] == "bf16"
