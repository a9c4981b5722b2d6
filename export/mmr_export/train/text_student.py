"""The text tower learns to place texts where the sentence teacher's head places them.

The teacher is read for free on any text, so the corpus is made larger than what is labelled: the collection's texts,
their lines and pieces of them, and every word that the tokenizer holds as one token, alone and mixed. A student that
has met each word's direction can read sentences that it never saw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mmr_export.model.audioclip import AudioCLIP
from mmr_export.train.losses import direction_loss
from mmr_export.train.stages import Course
from mmr_runtime.text import END, START, Tokenizer

MAX_WORDS = 40


@dataclass(frozen=True)
class TextOptions:
    """The recipe of the text student; `phrases` and `mixes` are counts of made texts."""

    epochs: int = 12
    batch: int = 256
    rate: float = 2e-3
    weight_decay: float = 0.01
    phrases: int = 20000
    mixes: int = 15000
    seed: int = 0


def make_corpus(texts: Sequence[str], words: Sequence[str], options: TextOptions) -> list[str]:
    """Texts for the teacher to read, without repetitions: all of `texts` and `words`, and mixtures of them."""
    rng = np.random.default_rng(options.seed)
    split = [text.split() for text in texts]
    made = []
    for _ in range(options.phrases):
        source = split[rng.integers(len(split))]
        length = int(rng.integers(2, 13))
        start = int(rng.integers(0, max(1, len(source) - length + 1)))
        made.append(" ".join(source[start : start + length]))
    for _ in range(options.mixes):
        if rng.random() < 0.5:  # two texts in a row, as dialogue has them
            a, b = rng.integers(0, len(texts), 2)
            made.append(" ".join((split[a] + split[b])[:MAX_WORDS]))
        else:
            picked = rng.integers(0, len(words), int(rng.integers(2, 7)))
            made.append(" ".join(words[i] for i in picked))
    return list(dict.fromkeys([*texts, *words, *made]))


def train_text(
    model: AudioCLIP,
    tokenizer: Tokenizer,
    corpus: Sequence[str],
    targets: NDArray[np.float32],
    options: TextOptions,
    report: Callable[[str], None],
    course: Path | None = None,
) -> None:
    """Train the text tower of `model` in place.

    Args:
        model: its text tower is trained, nothing else.
        tokenizer: CLIP's.
        corpus: n texts.
        targets: float32 (n, d), unit rows.
        options: the recipe.
        report: gets a line an epoch.
        course: where an interrupted run is kept.
    """
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    context = model.config.text.context
    tokens = [tokenizer.encode(text)[: context - 2] for text in corpus]
    lengths = np.array([len(t) for t in tokens])
    parameters = [
        *model.transformer.parameters(),
        *model.token_embedding.parameters(),
        *model.ln_final.parameters(),
        model.positional_embedding,
        model.text_projection,
    ]
    optimizer = torch.optim.AdamW(parameters, lr=options.rate, weight_decay=options.weight_decay)
    steps = options.epochs * (len(corpus) // options.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.rate, total_steps=steps, pct_start=0.1)
    model.train()
    progress = Course(course, rng, model=model, optimizer=optimizer, schedule=schedule)
    for epoch in range(progress.resume(), options.epochs):
        # Batches of like length: padding costs as much as text does.
        order = np.argsort(lengths + rng.random(len(lengths)) * 4, kind="stable")
        batches = np.array_split(order[: len(order) // options.batch * options.batch], len(order) // options.batch)
        total = 0.0
        for i in rng.permutation(len(batches)):
            rows = batches[i]
            ids = _padded([tokens[r] for r in rows])
            loss = direction_loss(model.encode_text(ids), torch.from_numpy(targets[rows]))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        progress.keep(epoch + 1)
        report(f"text epoch {epoch + 1}/{options.epochs}: 1 - cosine {total / len(batches):.4f}")
    model.eval()


def _padded(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    ids = torch.zeros(len(rows), max(len(r) for r in rows) + 2, dtype=torch.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row) + 2] = torch.tensor([START, *row, END])
    return ids
