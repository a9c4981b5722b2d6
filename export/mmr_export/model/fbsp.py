"""The frequency B-spline filter bank of the audio tower (Guzhov et al., ESResNe(X)t-fbsp), learnable.

Everything here follows the original's float32 arithmetic step by step: quiet bins of the dB image consist of the
rounding of these arguments, so a more exact formula gives other embeddings.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mmr_export.frontend_fit import time_grid

EPS = 1e-8


def fbsp_kernel(m: Tensor, fb: Tensor, fc: Tensor, t: Tensor) -> Tensor:
    """The complex filters sqrt(fb / n) * sinc(fb t / (m + eps))^m * exp(-i fc t), with gradients for m, fb and fc.

    Args:
        m: order of each filter, float32 (bins,); any real number.
        fb: bandwidth, float32 (bins,), not negative.
        fc: centre frequency in cycles per frame, float32 (bins,).
        t: the grid, float32 (n,).

    Returns:
        float32 (bins, n, 2): real and imaginary part.
    """
    m, fb, fc = m[:, None], fb[:, None], fc[:, None]
    x = fb * t / (m + EPS)
    safe = torch.where(x == 0, torch.ones_like(x), x)  # keeps 0 / 0 out of the gradient, too
    sinc = torch.where(x == 0, torch.ones_like(x), torch.sin(safe) / safe)
    # The principal complex power: negative side lobes have the argument pi.
    size = (sinc * sinc) ** (m / 2)
    angle = torch.where(sinc < 0, math.pi * m, torch.zeros_like(sinc))
    envelope_re, envelope_im = size * torch.cos(angle), size * torch.sin(angle)
    carrier_re, carrier_im = torch.cos(fc * t), -torch.sin(fc * t)
    re = envelope_re * carrier_re - envelope_im * carrier_im
    im = envelope_re * carrier_im + envelope_im * carrier_re
    # The amplitude comes last: with this order of products the kernel equals the original's bit for bit.
    kernel: Tensor = torch.sqrt(fb)[..., None] * torch.stack((re, im), dim=-1) / math.sqrt(t.shape[0])
    return kernel


def norm_loss(kernel: Tensor) -> Tensor:
    """Mean over the filters of (L2 norm - 1)^2, a scalar; kernel float (bins, n, 2)."""
    norms: Tensor = torch.linalg.vector_norm(kernel.flatten(1), dim=1)
    return (norms - 1).square().mean()


class Fbsp(nn.Module):
    """The parameters of the filter bank and the kernel made of them.

    `bias` is empty and has no effect; the published weights hold it.
    """

    t: Tensor

    def __init__(self, n_fft: int) -> None:
        super().__init__()
        bins = n_fft // 2 + 1
        self.m = nn.Parameter(torch.zeros(bins))
        self.fb = nn.Parameter(torch.ones(bins))
        self.fc = nn.Parameter(torch.arange(bins, dtype=torch.float32))
        self.bias = nn.Parameter(torch.empty(0))
        self.register_buffer("t", torch.from_numpy(time_grid(n_fft)), persistent=False)
        self._cache: tuple[Tensor, Tensor] | None = None

    def train(self, mode: bool = True) -> Fbsp:
        """Set training or evaluation mode; either way the next kernel is made anew."""
        self._cache = None
        super().train(mode)
        return self

    def _parameters_now(self) -> Tensor:
        return torch.stack((self.m, self.fb, self.fc)).detach()

    def kernel(self) -> Tensor:
        """The filters, float32 (bins, n_fft, 2).

        In evaluation without gradients they are made once and kept for as long as the parameters stay what they are.
        """
        learns = torch.is_grad_enabled() and any(p.requires_grad for p in (self.m, self.fb, self.fc))
        if self.training or learns:
            return fbsp_kernel(self.m, self.fb, self.fc, self.t)
        # Compared by value: versions and addresses of tensors miss changes made through `.data`.
        now = self._parameters_now()
        if self._cache is None or self._cache[0].device != now.device or not torch.equal(self._cache[0], now):
            with torch.inference_mode(False), torch.no_grad():  # a tensor that later calls may use in any mode
                self._cache = (now.clone(), fbsp_kernel(self.m, self.fb, self.fc, self.t))
        return self._cache[1]


def normalise_gradients(fbsp: Fbsp) -> None:
    """Divide the gradients of m, fb and fc each by its largest entry (+ 1e-8), in place, as the original does.

    The original does it by hooks, in the middle of the backward pass. Here it comes behind: gradients of several parts
    of a batch, or of several processes, are whole only then.
    """
    for parameter in (fbsp.m, fbsp.fb, fbsp.fc):
        if parameter.grad is not None:
            parameter.grad /= parameter.grad.abs().max() + EPS
