"""The audio tower learns moods from fbsp spectrograms: a teacher's moods, its features, and labels.

Three terms a batch, all on side heads that are dropped afterwards, so that the tower does not depend on the joint space
(its head there is solved in closed form, `mmr_export.train.space.follow`): 1 - cosine to the mood profile that the
music teacher's head gives; the teacher's features, richer than seven moods; and the symmetric class-aware contrastive
loss against the seven moods, by label. Sounds are heard at a random place and level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mmr_export.model.audio import AudioTower
from mmr_export.train.losses import class_aware_loss, direction_loss
from mmr_export.train.sounds import DECIBEL_STEP
from mmr_export.train.stages import Course
from mmr_runtime.engine import unit_rows
from mmr_runtime.moods import MOODS

Floats = NDArray[np.float32]
Images = NDArray[np.uint8]
TEMPERATURE = 0.1


@dataclass(frozen=True)
class AudioOptions:
    """The recipe of the audio student.

    Attributes:
        frames: width of a training crop; the pooled features do not depend on it.
        level: largest change of level, dB, either way.
        masks: time and frequency stretches blanked out a crop (SpecAugment, Park et al. 2019).
        feature_weight: of the teacher's features.
        label_weight: of the contrastive term.
        bfloat16: the network computes in bfloat16 (weights and losses stay float32): on processors that have it
            about twice as fast.
    """

    epochs: int = 12
    batch: int = 24
    rate: float = 2e-3
    weight_decay: float = 0.02
    frames: int = 392
    level: float = 8.0
    masks: int = 2
    feature_weight: float = 0.5
    label_weight: float = 0.1
    bfloat16: bool = False
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is learnt of every sound.

    Attributes:
        images: uint8 (n, 3, rows, frames), steps above the floor; may be memory-mapped.
        features: float32 (n, f), standardised: the teacher's features.
        moods: float32 (n, 7): the mood profile that the teacher's head reads in them.
        labels: float32 (n, 7): the mood profile of the label, centred.
    """

    images: Images
    features: Floats
    moods: Floats
    labels: Floats


def train_audio(
    tower: AudioTower,
    lesson: Lesson,
    rows: NDArray[np.int64],
    options: AudioOptions,
    device: torch.device,
    report: Callable[[str], None],
    course: Path | None = None,
) -> None:
    """Train the network of `tower` in place; the front end keeps its initial filters.

    Args:
        tower: is trained, without the fbsp parameters and `fc`.
        lesson: the sounds.
        rows: which of them to train on.
        options: the recipe.
        device: where; the tower is back on the CPU afterwards.
        report: gets a line an epoch.
        course: where an interrupted run is kept.
    """
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    features = nn.Linear(tower.fc.in_features, lesson.features.shape[1])
    moods = nn.Linear(tower.fc.in_features, len(MOODS))
    # Twice as fast on a CPU as rows of channels.
    tower.to(device, memory_format=torch.channels_last), features.to(device), moods.to(device)  # type: ignore[call-overload]
    kept = [p for name, p in tower.named_parameters() if not name.startswith(("fbsp.", "fc."))]
    parameters = [*kept, *features.parameters(), *moods.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=options.rate, weight_decay=options.weight_decay)
    count = len(rows) // options.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.rate, total_steps=options.epochs * count, pct_start=0.15
    )
    names = torch.eye(len(MOODS), device=device)
    profiles = unit_rows(lesson.moods)
    tower.train()
    progress = Course(course, rng, tower=tower, features=features, moods=moods, optimizer=optimizer, schedule=schedule)
    for epoch in range(progress.resume(), options.epochs):
        sums = torch.zeros(3, device=device)
        for batch in np.array_split(rng.permutation(rows)[: count * options.batch], count):
            heard = crops(lesson.images, batch, options, tower, rng).to(device, memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16, enabled=options.bfloat16):
                pooled = tower.pooled(heard).float()
            read = F.normalize(moods(pooled), dim=1)
            terms = torch.stack(
                [
                    direction_loss(read, _of(profiles, batch, device)),
                    F.mse_loss(features(pooled), _of(lesson.features, batch, device)),
                    class_aware_loss(read / TEMPERATURE, _of(lesson.labels, batch, device), names),
                ]
            )
            loss = terms[0] + options.feature_weight * terms[1] + options.label_weight * terms[2]
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()
            schedule.step()
            sums += terms.detach()
        progress.keep(epoch + 1)
        direction, feature, label = (sums / count).tolist()
        report(
            f"audio epoch {epoch + 1}/{options.epochs}: 1 - cosine {direction:.4f}, features {feature:.4f}, "
            f"labels {label:.4f}"
        )
    tower.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]


def _of(values: Floats, rows: NDArray[np.int64], device: torch.device) -> Tensor:
    return torch.from_numpy(values[rows]).to(device)


@torch.inference_mode()
def pooled_features(tower: AudioTower, images: Images, device: torch.device) -> Floats:
    """Features (n, f) behind the network, of whole images uint8 (n, 3, rows, frames)."""
    tower.to(device).eval()
    rows = [tower.pooled(decibels(image[None], tower).to(device)).cpu().numpy() for image in images]
    tower.to("cpu")
    return np.concatenate(rows)


def decibels(images: Images, tower: AudioTower) -> Tensor:
    """What `sounds.hear` stored as steps, in dB, float32 of the same shape."""
    return torch.from_numpy(images * np.float32(DECIBEL_STEP) + np.float32(_floor(tower)))


def crops(
    images: Images, rows: NDArray[np.int64], options: AudioOptions, tower: AudioTower, rng: np.random.Generator
) -> Tensor:
    """Random stretches of these images at random levels, partly masked, dB, float32 (n, 3, bins, frames)."""
    lowest = np.float32(_floor(tower))
    batch = np.empty((len(rows), *images.shape[1:3], options.frames), np.float32)
    for out, row in zip(batch, rows, strict=True):
        start = int(rng.integers(0, images.shape[3] - options.frames + 1))
        np.multiply(images[row, :, :, start : start + options.frames], np.float32(DECIBEL_STEP), out=out)
        out += np.float32(lowest + rng.uniform(-options.level, options.level))
        for _ in range(options.masks):
            a, length = int(rng.integers(0, options.frames)), int(rng.integers(1, options.frames // 10))
            out[:, :, a : a + length] = lowest
            a, length = int(rng.integers(0, out.shape[1])), int(rng.integers(1, out.shape[1] // 10))
            out[int(rng.integers(0, 3)), a : a + length] = lowest
    return torch.from_numpy(np.maximum(batch, lowest))


def _floor(tower: AudioTower) -> float:
    floor = tower.config.floor_db
    if floor is None:
        raise ValueError("images are stored as steps above the floor: the tower needs floor_db")
    return floor
