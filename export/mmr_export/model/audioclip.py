"""AudioCLIP: image, text and audio in one space (Guzhov et al., 2021), with the original's logits and loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .audio import AudioTower
from .config import ModelConfig
from .fbsp import norm_loss
from .image import image_tower
from .text import Transformer

MAX_SCALE = 100.0


class Output(NamedTuple):
    """What one forward pass gives; None where a modality was not given.

    Attributes:
        audio: unit rows (n, embedding_size).
        image: unit rows.
        text: unit rows.
        audio_image: logits, rows = audio, columns = images.
        audio_text: logits, rows = audio.
        image_text: logits, rows = images.
        loss: scalar; None with fewer than two modalities, or with batches of different sizes.
    """

    audio: Tensor | None
    image: Tensor | None
    text: Tensor | None
    audio_image: Tensor | None
    audio_text: Tensor | None
    image_text: Tensor | None
    loss: Tensor | None


def contrastive_losses(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropies of square logits (n, n) against the diagonal, along rows and along columns; scalars."""
    target = torch.arange(len(logits), device=logits.device)
    return F.cross_entropy(logits, target), F.cross_entropy(logits.T, target)


def contrastive_loss(pairs: Sequence[Tensor]) -> Tensor:
    """The original's loss over the logits of one to three pairs: the sum of all cross-entropies, divided by pairs!."""
    terms = [term for logits in pairs for term in contrastive_losses(logits)]
    return torch.stack(terms).sum() / math.factorial(len(pairs))


class AudioCLIP(nn.Module):
    """The three encoders. A new model is in training mode and initialised as the original.

    Attributes:
        config: its sizes.
        visual: image tower.
        transformer: text tower's blocks.
        audio: audio tower.
        logit_scale: logarithm of the image-text scale; `logit_scale_ai` audio-image, `logit_scale_at` audio-text.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        text, size = config.text, config.embedding_size
        self.visual = image_tower(config.image, size)
        self.transformer = Transformer(text)
        self.token_embedding = nn.Embedding(text.vocab, text.width)
        self.positional_embedding = nn.Parameter(torch.empty(text.context, text.width))
        self.ln_final = nn.LayerNorm(text.width)
        self.text_projection = nn.Parameter(torch.empty(text.width, size))
        self.audio = AudioTower(config.audio, size)
        self.logit_scale = nn.Parameter(torch.tensor(1.0))
        self.logit_scale_ai = nn.Parameter(torch.tensor(math.log(MAX_SCALE)))
        self.logit_scale_at = nn.Parameter(torch.tensor(math.log(MAX_SCALE)))
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.text_projection, std=text.width**-0.5)

    def encode_image(self, image: Tensor) -> Tensor:
        """Embed normalised RGB, float (n, 3, height, width), as (n, embedding_size), not normalised."""
        y: Tensor = self.visual(image)
        return y

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Embed token ids, integer (n, length), as (n, embedding_size), not normalised.

        The embedding is read at the first end marker, the largest id; what follows it has no effect, so trailing
        padding may be cut off.
        """
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        x = self.transformer(x)
        x = x[torch.arange(x.shape[0], device=x.device), tokens.argmax(-1)]
        y: Tensor = self.ln_final(x) @ self.text_projection
        return y

    def encode_audio(self, samples: Tensor) -> Tensor:
        """Embed sound at int16 scale, float (n, channels, t) at 44.1 kHz, as (n, embedding_size), not normalised."""
        y: Tensor = self.audio(samples)
        return y

    def encode_db(self, db: Tensor) -> Tensor:
        """Embed dB images, float (n, 3, rows, frames), as (n, embedding_size), not normalised."""
        return self.audio.encode_db(db)

    def scales(self) -> dict[str, Tensor]:
        """Factors of the logits, each within 1..100: `image_text`, `audio_image`, `audio_text`."""
        logs = {
            "image_text": self.logit_scale,
            "audio_image": self.logit_scale_ai,
            "audio_text": self.logit_scale_at,
        }
        return {pair: log.exp().clamp(1.0, MAX_SCALE) for pair, log in logs.items()}

    def forward(
        self, *, audio: Tensor | None = None, image: Tensor | None = None, text: Tensor | None = None
    ) -> Output:
        """Embed what is given; logits and loss for every pair of modalities.

        The loss pairs row with row, so all batches must then be of one size. With audio it includes the filters' norm
        loss.

        Args:
            audio: float (n, channels, t) at int16 scale.
            image: float (n, 3, height, width).
            text: token ids, integer (n, length).
        """
        kernel = None if audio is None else self.audio.fbsp.kernel()
        a = None if audio is None else F.normalize(self.audio(audio, kernel), dim=-1)
        i = None if image is None else F.normalize(self.encode_image(image), dim=-1)
        t = None if text is None else F.normalize(self.encode_text(text), dim=-1)
        scales = self.scales()
        ai = None if a is None or i is None else scales["audio_image"] * a @ i.T
        at = None if a is None or t is None else scales["audio_text"] * a @ t.T
        it = None if i is None or t is None else scales["image_text"] * i @ t.T
        pairs = [logits for logits in (ai, at, it) if logits is not None]
        loss = contrastive_loss(pairs) if pairs and all(p.shape[0] == p.shape[1] for p in pairs) else None
        if loss is not None and kernel is not None:
            loss = loss + norm_loss(kernel)
        return Output(a, i, t, ai, at, it, loss)
