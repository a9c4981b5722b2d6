"""The audio tower learns moods from fbsp spectrograms: a teacher's directions, its features, and labels through text.

Three terms a batch: 1 - cosine to the music teacher's place in the joint space; the teacher's features by a side head
that is dropped afterwards (richer than seven moods); and the symmetric class-aware contrastive loss against the vectors
of the mood prompts. Clips are heard at a random place and level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mmr_export.model.audioclip import AudioCLIP
from mmr_export.train.losses import class_aware_loss, direction_loss

Floats = NDArray[np.float32]
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
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Heard:
    """Training clips.

    Attributes:
        images: float16 (n, 3, rows, frames), dB; may be memory-mapped.
        targets: float32 (n, d), unit rows: the teacher's place in the joint space.
        features: float32 (n, f), standardised: the teacher's features.
        moods: float32 (n, 7), the mood profiles, centred.
    """

    images: NDArray[np.float16]
    targets: Floats
    features: Floats
    moods: Floats


def train_audio(
    model: AudioCLIP,
    heard: Heard,
    rows: NDArray[np.int64],
    prompts: Floats,
    options: AudioOptions,
    report: Callable[[str], None],
) -> None:
    """Train the audio network of `model` in place; the front end keeps its initial filters.

    Args:
        model: its audio tower is trained, without the fbsp parameters.
        heard: the clips.
        rows: which of them to train on.
        prompts: float32 (7, d), unit rows: the mood prompts in the joint space.
        options: the recipe.
        report: gets a line an epoch.
    """
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    tower = model.audio
    side = nn.Linear(tower.fc.in_features, heard.features.shape[1])
    parameters = [p for name, p in tower.named_parameters() if not name.startswith("fbsp.")] + [*side.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=options.rate, weight_decay=options.weight_decay)
    count = len(rows) // options.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.rate, total_steps=options.epochs * count, pct_start=0.15
    )
    labels, moods = torch.from_numpy(prompts), torch.eye(7)
    tower.train()
    for epoch in range(options.epochs):
        sums = np.zeros(3)
        for batch in np.array_split(rng.permutation(rows)[: count * options.batch], count):
            pooled = tower.pooled(crops(heard.images, batch, options, tower.config.floor_db, rng))
            vectors = F.normalize(tower.fc(pooled), dim=1)
            terms = (
                direction_loss(vectors, torch.from_numpy(heard.targets[batch])),
                F.mse_loss(side(pooled), torch.from_numpy(heard.features[batch])),
                class_aware_loss(vectors @ labels.T / TEMPERATURE, torch.from_numpy(heard.moods[batch]), moods),
            )
            loss = terms[0] + options.feature_weight * terms[1] + options.label_weight * terms[2]
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()
            schedule.step()
            sums += [float(t.detach()) for t in terms]
        direction, feature, label = sums / count
        report(
            f"audio epoch {epoch + 1}/{options.epochs}: 1 - cosine {direction:.4f}, features {feature:.4f}, "
            f"labels {label:.4f}"
        )
    tower.eval()


def crops(
    images: NDArray[np.float16],
    rows: NDArray[np.int64],
    options: AudioOptions,
    floor: float | None,
    rng: np.random.Generator,
) -> Tensor:
    """Random stretches of these clips at random levels, partly masked, float32 (n, 3, bins, frames)."""
    lowest = -200.0 if floor is None else floor
    batch = np.empty((len(rows), *images.shape[1:3], options.frames), np.float32)
    for out, row in zip(batch, rows, strict=True):
        start = int(rng.integers(0, images.shape[3] - options.frames + 1))
        out[:] = images[row, :, :, start : start + options.frames]
        out += rng.uniform(-options.level, options.level)
        for _ in range(options.masks):
            a, length = int(rng.integers(0, options.frames)), int(rng.integers(1, options.frames // 10))
            out[:, :, a : a + length] = lowest
            a, length = int(rng.integers(0, out.shape[1])), int(rng.integers(1, out.shape[1] // 10))
            out[int(rng.integers(0, 3)), a : a + length] = lowest
    return torch.from_numpy(np.maximum(batch, lowest))
