"""Objectives of training beside AudioCLIP's own (`mmr_export.model.audioclip.contrastive_loss`)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

SHARPNESS = 6.0
"""How fast a positive's share falls with the similarity of the mood profiles."""


def class_aware_loss(logits: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Symmetric contrastive loss whose positives are shared between items of like mood.

    The plain loss counts a second "Sad" item of a batch as a negative of the first (an irreducible error of about
    ln(items of the class) a direction); here the target of a row is a distribution over the batch in proportion to
    exp(SHARPNESS * cosine of the mood profiles). With distinct one-hot profiles and SHARPNESS -> infinity it is the
    plain loss.

    Args:
        logits: float (n, m), scaled similarities.
        rows: float (n, 7), mood profiles of the rows.
        columns: float (m, 7), mood profiles of the columns.
    """
    alike = SHARPNESS * F.normalize(rows, dim=1) @ F.normalize(columns, dim=1).T
    return _soft_loss(logits, alike.softmax(dim=1), alike.T.softmax(dim=1))


def label_aware_loss(logits: Tensor, overlap: Tensor) -> Tensor:
    """Symmetric contrastive loss whose positives are all pairs of a batch that share a label.

    The target of a row is its overlaps divided by their sum (for one label each: SupCon's, Khosla et al. 2020, with the
    logarithm outside the sum). With no labels in common it is AudioCLIP's loss for one pair of modalities.

    Args:
        logits: float (n, n), scaled similarities; the diagonal are the pairs.
        overlap: float (n, n), symmetric, at least 0, 1 on the diagonal.
    """
    shares = overlap / overlap.sum(dim=1, keepdim=True)
    return _soft_loss(logits, shares, shares)


def _soft_loss(logits: Tensor, along: Tensor, across: Tensor) -> Tensor:
    """Cross-entropies of logits (n, m) to distributions over columns (n, m), and over rows (m, n); their sum."""
    first = -(along * logits.log_softmax(dim=1)).sum(dim=1).mean()
    return first - (across * logits.T.log_softmax(dim=1)).sum(dim=1).mean()


def direction_loss(vectors: Tensor, targets: Tensor) -> Tensor:
    """Mean of 1 - cosine between rows (n, d) and unit targets (n, d)."""
    return 1 - (F.normalize(vectors, dim=1) * targets).sum(dim=1).mean()
