"""LART's training forward pass, trainable, with everything computed that there is: the yardstick for speed.

All P * T tokens go through every layer, whether anybody is there or not; both masks are written out as
(B, N, N) and put over the scores of each head. Weights have LART's names, nothing else is shared.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

BLOCKED = -1e3


def encoder(inputs: int, width: int) -> nn.Sequential:
    """Two hidden layers, ReLU (C.2.1)."""
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
    )


def waves(count: int, width: int) -> Tensor:
    """Sine and cosine in turn (count, width) of 0 … count - 1; width is half a token's."""
    code = torch.zeros(count, width)
    for r in range(width // 2):
        angle = torch.arange(count) / 10000 ** (2 * r / width)
        code[:, 2 * r], code[:, 2 * r + 1] = angle.sin(), angle.cos()
    return code


class Attention(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, both_seen: Tensor, column_masked: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        query, key, value = (
            part.reshape(batch, tokens, self.heads, width // self.heads).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(width // self.heads)
        scores = scores.masked_fill(~both_seen[:, None], BLOCKED)
        scores = scores.masked_fill(column_masked[:, None], BLOCKED)
        mixed = torch.matmul(scores.softmax(dim=-1), value)
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))


class Block(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        hidden = round(config.width * config.mlp_ratio)
        self.attention = Attention(config)
        self.mlp = nn.Sequential(nn.Linear(config.width, hidden), nn.GELU(), nn.Linear(hidden, config.width))
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = config.norm

    def forward(self, x: Tensor, both_seen: Tensor, column_masked: Tensor) -> Tensor:
        if self.norm == "post":
            x = self.norm1(x + self.dropout(self.attention(x, both_seen, column_masked)))
            return self.norm2(x + self.dropout(self.mlp(x)))
        x = x + self.dropout(self.attention(self.norm1(x), both_seen, column_masked))
        return x + self.dropout(self.mlp(self.norm2(x)))


class DenseLART(nn.Module):
    """Of a LARTConfig of the paper's kind; joints are no input."""

    encoding: Tensor

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.pose_encoder = encoder(229, config.pose_width)
        if config.appearance:
            self.appearance_encoder = encoder(config.appearance, config.appearance_width)
        together = config.pose_width + config.appearance_width
        self.project = nn.Identity() if together == config.width else nn.Linear(together, config.width)
        self.mask_token = nn.Parameter(torch.zeros(config.width))
        time = waves(config.frames, config.width // 2)[None].expand(config.people, -1, -1)
        person = waves(config.people, config.width // 2)[:, None].expand(-1, config.frames, -1)
        self.register_buffer("encoding", torch.cat([time, person], dim=-1), persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.head = nn.Linear(config.width, config.classes)

    def forward(
        self, pose: Tensor, detected: Tensor, masked: Tensor, appearance: Tensor | None = None
    ) -> Tensor:
        """Logits (B, P, T, classes) from pose and appearance (B, P, T, …), detected and masked (B, P, T)."""
        x = self.pose_encoder(pose)
        if appearance is not None:
            x = torch.cat([x, self.appearance_encoder(appearance)], dim=-1)
        x = self.project(x)
        _, people, frames = detected.shape
        x = torch.where(masked[..., None], self.mask_token.to(x.dtype), x) + self.encoding[:people, :frames]
        x = self.dropout(x.flatten(1, 2))
        seen, hidden = detected.flatten(1), masked.flatten(1)
        both_seen = seen[:, :, None] & seen[:, None, :]  # mask 1
        column_masked = hidden[:, None, :].expand_as(both_seen)  # mask 2
        for block in self.blocks:
            x = block(x, both_seen, column_masked)
        return self.head(x).unflatten(1, (people, frames))
