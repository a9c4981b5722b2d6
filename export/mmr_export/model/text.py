"""CLIP's text transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import TextConfig


class Attention(nn.Module):
    """Multi-head self-attention with the packed weights of the checkpoint (rows in order q, k, v)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Attend within float (n, length, width) under an additive mask (length, length)."""
        n, length, width = x.shape
        packed = nn.functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = packed.view(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + mask
        y: Tensor = self.out_proj((weights.softmax(-1) @ v).transpose(1, 2).reshape(n, length, width))
        return y


class Mlp(nn.Module):
    """Two linear layers with QuickGELU (x * sigmoid(1.702 x)) between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map float (..., width) to the same shape."""
        x = self.c_fc(x)
        y: Tensor = self.c_proj(x * torch.sigmoid(1.702 * x))
        return y


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = Mlp(width)
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map float (n, length, width) to the same shape."""
        x = x + self.attn(self.ln_1(x), mask)
        y: Tensor = x + self.mlp(self.ln_2(x))
        return y


class Transformer(nn.Module):
    """The blocks of the text tower; embedding and projection are AudioCLIP's own, as the weights' names demand."""

    mask: Tensor

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.layers))
        future = torch.full((config.context, config.context), float("-inf")).triu(1)
        self.register_buffer("mask", future, persistent=False)
        self._initialise(config)

    def _initialise(self, config: TextConfig) -> None:
        narrow, residual = config.width**-0.5, (2 * config.layers) ** -0.5
        for block in self.resblocks:
            assert isinstance(block, Block)
            nn.init.normal_(block.attn.in_proj_weight, std=narrow)
            nn.init.normal_(block.attn.out_proj.weight, std=narrow * residual)
            nn.init.zeros_(block.attn.out_proj.bias)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * config.width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=narrow * residual)

    def forward(self, x: Tensor) -> Tensor:
        """Map float (n, length, width) to the same shape, length at most the context; no row sees a later one."""
        length = x.shape[1]
        mask = self.mask[:length, :length]
        for block in self.resblocks:
            x = block(x, mask)
        return x
