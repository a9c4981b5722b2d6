"""One modality beside text, as one module: what a step of contrastive training computes, and which weights learn."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mmr_export.checkpoint import tower_of
from mmr_export.data.teachers import cached
from mmr_export.model.audioclip import MAX_SCALE, AudioCLIP
from mmr_export.model.fbsp import norm_loss
from mmr_export.train import distributed
from mmr_runtime.bundle import Tower
from mmr_runtime.errors import InputError

Floats = NDArray[np.float32]
Encoder = Callable[[Tensor], Tensor]
SCALE_OF = {"image": "logit_scale", "audio": "logit_scale_at"}
MAX_LOG_SCALE = math.nextafter(math.log(MAX_SCALE), 0) - 1e-6
"""A logarithm whose float32 exponential is below the bound: at the bound itself the clamp blocks the gradient."""


class Pairing(NamedTuple):
    """Unit rows of both sides (n, d), the logits' scale, and the filters' norm loss (0 where they are not run)."""

    rows: Tensor
    said: Tensor
    scale: Tensor
    norm: Tensor


class Pair(nn.Module):
    """The image or audio tower and the text tower of a model.

    Attributes:
        learns: towers with weights that learn; what goes into the others may be their vectors already.
    """

    def __init__(self, model: AudioCLIP, modality: Literal["image", "audio"], train: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.modality = modality
        names = {name for name, p in model.named_parameters() if p.numel()}
        own = {name for name in names if tower_of(name) in (modality, "text") or name == SCALE_OF[modality]}
        chosen: set[str] = set()
        for entry in train:
            found = {name for name in own if name == entry or (entry.endswith(".") and name.startswith(entry))}
            if not found:
                why = "has no such weights" if not any(n.startswith(entry) for n in names) else "is no part of it"
                raise InputError(
                    f"{entry!r} cannot learn from {modality}-text pairs: the model {why}",
                    "name a weight, or the beginning of names with its dot: visual., audio.layer4., text_projection",
                )
            chosen |= found
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in chosen)
        self.learns = {tower_of(name) for name in chosen} - {None}
        self.clamp_scale()

    def set_training(self, batch_norm: str) -> None:
        """Evaluation mode for all but the towers that learn, whose batch normalisation is as the recipe says."""
        self.model.eval()
        if "audio" in self.learns:
            self.model.audio.train()
        if "image" in self.learns:
            self.model.visual.train()
        if batch_norm == "frozen":
            for module in self.model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()

    def clamp_scale(self) -> None:
        """Keep a scale that learns where its gradient is not blocked."""
        with torch.no_grad():
            if self._log_scale.requires_grad:
                self._log_scale.clamp_(0, MAX_LOG_SCALE)

    @property
    def _log_scale(self) -> nn.Parameter:
        return self.model.get_parameter(SCALE_OF[self.modality])

    def scale(self) -> Tensor:
        """Factor of the logits, at most 100."""
        return self._log_scale.exp().clamp_max(MAX_SCALE)

    def forward(self, x: Tensor, said: Tensor, kept: Tensor | None = None) -> Pairing:
        """Embed both sides of n pairs.

        Args:
            x: pixels (n, 3, h, w) or samples (n, t); unit rows (n, d) where the tower does not learn.
            said: token ids (n, length), or unit rows where the text tower does not learn.
            kept: bool (n, rows, frames), what masks leave of the spectrograms.
        """
        rows, norm = (x, torch.zeros((), device=x.device)) if self.modality not in self.learns else self._heard(x, kept)
        said = F.normalize(self.model.encode_text(said).float(), dim=-1) if "text" in self.learns else said
        return Pairing(rows, said, self.scale(), norm)

    def _heard(self, x: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.modality == "image":
            return F.normalize(self.model.encode_image(x).float(), dim=-1), torch.zeros((), device=x.device)
        tower = self.model.audio
        with torch.autocast(x.device.type, enabled=False):  # dB images hold the rounding of float32
            kernel = tower.fbsp.kernel()
            db = tower.db_image(x, kernel)
            norm = norm_loss(kernel)
        if kept is not None:
            kept = kept.reshape(len(kept), 3, -1, kept.shape[-1])
            db = torch.where(kept, db, db.mean(dim=(1, 2, 3), keepdim=True))
        return F.normalize(tower.encode_db(db).float(), dim=-1), norm

    @torch.no_grad()
    def embed(self, x: Tensor) -> Tensor:
        """Unit rows (n, d) of pixels or samples, in evaluation."""
        encode: Encoder = self.model.encode_image if self.modality == "image" else self._samples
        return F.normalize(encode(x).float(), dim=-1)

    @torch.no_grad()
    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """Unit rows (n, d) of token ids, in evaluation."""
        return F.normalize(self.model.encode_text(tokens).float(), dim=-1)

    def _samples(self, x: Tensor) -> Tensor:
        return self.model.encode_audio(x[:, None])


def frozen_vectors(
    pair: Pair, tower: Tower, keys: Iterable[str], batches: Callable[[], Iterable[Tensor]], embed: Encoder, cache: Path
) -> Floats:
    """Vectors (n, d) of a tower that does not learn: embedded once, kept under its weights and what they were made of.

    Args:
        pair: holds the weights.
        tower: which one.
        keys: name every item with all that its input depends on.
        batches: the inputs, in the same order; not asked for when the vectors are kept already.
        embed: of the tower.
        cache: where vectors are kept.
    """
    digest = hashlib.sha256("\n".join(keys).encode())
    for name, value in sorted(pair.model.state_dict().items()):
        if tower_of(name) == tower:
            digest.update(name.encode() + value.detach().cpu().numpy().tobytes())

    def make() -> Floats:
        return np.concatenate([embed(batch).cpu().numpy() for batch in batches()])

    return np.array(distributed.first(lambda: cached(cache, f"frozen-{tower}", digest.hexdigest(), make)))
