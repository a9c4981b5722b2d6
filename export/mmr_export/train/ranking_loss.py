"""The two losses of VM-NET (Hong, Im and Yang 2017, arXiv 1704.06761), for batches of n pairs.

With unit rows x_i and y_i of a pair, and s their cosines,

- ranking: mean over i and over the Q largest s(x_i, y_j), j != i, of max(0, margin + s(x_i, y_j) - s(x_i, y_i)); once
  with music as x and once with videos;
- soft intra-modal structure: mean over i and j != k, both other than i, of
  (sign(s(x_i, x_j) - s(x_i, x_k)) - sign(s'_ij - s'_ik)) * (s(x_i, x_j) - s(x_i, x_k)), where s' are the cosines of the
  features before the network. It is 0 where the order of j and k seen from i is the same before and after, and twice
  the difference where it is not.

Both are means, as in the published code; the paper writes sums. That code takes the features as they are for s', and
for the structure only the first Q of a batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_PAIRS = 3
"""Fewer have no triple within a modality."""


def ranking_loss(anchors: Tensor, others: Tensor, *, margin: float, violators: int) -> Tensor:
    """How far the partner of each anchor is from being the nearest by the margin.

    Args:
        anchors: unit rows (n, d), n at least 2.
        others: unit rows (n, d); row i is the partner of anchor i.
        margin: by which the partner's cosine should exceed all others.
        violators: Q, how many of the nearest others of an anchor count; all of them where there are fewer.
    """
    cosines = anchors @ others.T
    partner = torch.eye(len(cosines), dtype=torch.bool, device=cosines.device)
    nearest = cosines.masked_fill(partner, -torch.inf).topk(min(violators, len(cosines) - 1), dim=1).values
    return F.relu(margin + nearest - cosines.diagonal()[:, None]).mean()


def structure_loss(vectors: Tensor, features: Tensor) -> Tensor:
    """How much the order of distances within a modality has changed.

    Of the n (n - 1) (n - 2) triples those count whose j and k are neighbours in the batch: since batches are drawn at
    random, their mean has the mean over all triples as its expectation.

    Args:
        vectors: unit rows (n, d) behind the network, n at least 3.
        features: (n, f), before it.
    """
    before = F.normalize(features, dim=1)
    kept, now = _differences(before @ before.T), _differences(vectors @ vectors.T)
    return ((now.sign() - kept.sign()) * now).mean()


def _differences(cosines: Tensor) -> Tensor:
    """s_ij - s_ik of the triples, (n (n - 3) + 2,), from cosines (n, n)."""
    i = torch.arange(len(cosines), device=cosines.device)
    itself = (i[:, None] == i[:-1]) | (i[:, None] == i[1:])
    return (cosines[:, :-1] - cosines[:, 1:])[~itself]
