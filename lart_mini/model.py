"""LART: a transformer over the person-vectors of a track and its neighbours (section 3, supplement C)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lart_mini.tokens import JOINTS_WIDTH, TokenBatch
from lart_mini.tracklets import VECTOR_WIDTH


@dataclass(frozen=True)
class LARTConfig:
    """What decides the model's shape and behaviour. Raises ValueError where the numbers do not fit."""

    people: int = 5  # most people in a sample, the ego first
    frames: int = 128  # most frames in a sample
    width: int = 128  # of a token, D; divisible by 4 (encoding) and by heads
    depth: int = 4  # transformer blocks
    heads: int = 4  # of self-attention in each block
    mlp_ratio: float = 4.0  # hidden width of a block's MLP / width
    pose_width: int = 128  # what the pose encoder gives
    joints_width: int = 0  # what the joints encoder gives; 0: joints are no input (the paper)
    appearance: int = 0  # width of the appearance vectors; 0: pose only
    appearance_width: int = 0  # what the appearance encoder gives
    classes: int = 60  # evaluated AVA classes
    dropout: float = 0.1  # after the encoding and after each half of a block, not on attention weights
    drop_path: float = 0.0  # chance that training skips a residual branch of a sample, same in all blocks
    norm: Literal["post", "pre"] = "post"  # LayerNorm after each half (paper) or before it (released code)
    gaps_attended: bool = True  # at test missing detections are attended to (paper) or not (released code)

    def __post_init__(self) -> None:
        if self.width % 4 or self.width % self.heads:
            raise ValueError(f"width {self.width} must be divisible by 4 and by heads ({self.heads})")
        if self.norm not in ("post", "pre"):
            raise ValueError(f"norm must be 'post' or 'pre', not {self.norm!r}")
        if (self.appearance > 0) != (self.appearance_width > 0):
            raise ValueError("appearance and appearance_width must both be 0 or both above 0")

    @classmethod
    def mini(cls, **changes: Any) -> LARTConfig:
        """About 0.6 M parameters, for a laptop's CPU: shallow, and normed as the released code is.

        Depth and width were chosen on a fold of the training takes; so was the norm, which an early run
        on validation takes had favoured.
        """
        return replace(cls(width=192, pose_width=192, depth=2, mlp_ratio=1.0, norm="pre"), **changes)

    @classmethod
    def paper(cls, **changes: Any) -> LARTConfig:
        """Section 4.4: 16 layers, 16 heads, tokens of 512; the pose encoder gives 256 (C.2.1).

        Pose only, the paper says both that tokens have 512 numbers and that 256 go into the transformer: here
        a linear layer widens them. With appearance=1152, appearance_width=256 the encoders' outputs make 512.
        The hidden width of the blocks' MLP is not stated; 4 times the width is the vanilla transformer's.
        """
        return replace(cls(width=512, depth=16, heads=16, pose_width=256), **changes)


def positional_encoding(people: int, frames: int, width: int) -> Tensor:
    """The fixed encoding (P, T, D) of section 3.1: first half of D the time t, second half the track i.

    PE(t, i, 2r) = sin(t / 10000^(4r/D)), PE(t, i, 2r + 1) = cos(t / 10000^(4r/D)), 0 <= r < D/4; i likewise.
    """
    frequency = 10000.0 ** (-4 * torch.arange(width // 4, dtype=torch.float64) / width)  # (D/4,)

    def waves(count: int) -> Tensor:
        angle = torch.arange(count, dtype=torch.float64)[:, None] * frequency
        return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)  # (count, D/2), sin and cos in turn

    time = waves(frames)[None].expand(people, -1, -1)
    track = waves(people)[:, None].expand(-1, frames, -1)
    return torch.cat([time, track], dim=-1).float()


def random_mask(detected: Tensor, ratio: float, generator: torch.Generator | None = None) -> Tensor:
    """Mask 2 of section C.2: int(ratio * n) of each sample's n detected tokens, at random (B, P, T) bool."""
    flat = detected.flatten(1)  # (B, N)
    lots = torch.rand(flat.shape, generator=generator).to(flat.device)
    rank = lots.masked_fill(~flat, 2).argsort(dim=1).argsort(dim=1)
    count = (flat.sum(dim=1).double() * ratio).long()
    return (rank < count[:, None]).view_as(detected)


def attention_mask(batch: TokenBatch, gaps_attended: bool = True) -> Tensor:
    """(B, N, N) bool, True where row may attend to column; N = P * T, token t of person i at t + i * T.

    Training (`batch.masked` given): undetected tokens neither attend nor are attended to (mask 1), masked
    ones attend but are not attended to, by themselves neither (mask 2). Test: only absent people's slots are
    blocked, and missing detections are not attended to unless `gaps_attended`. Whoever may attend to nothing
    attends to itself, so that every row has a softmax.
    """
    present = batch.present[:, :, None].expand_as(batch.detected)
    if batch.masked is not None:
        attends, attended = batch.detected, batch.detected & ~batch.masked
    else:
        attends, attended = present, present if gaps_attended else batch.detected
    allowed = attends.flatten(1)[:, :, None] & attended.flatten(1)[:, None, :]
    idle = ~allowed.any(dim=-1)
    return allowed | torch.diag_embed(idle)


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers of these widths with ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, N, D) -> query, key, value, each (B, heads, N, D / heads)."""
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        return query, key, value

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, N, D) and mask (B, 1, N, N) or None -> (B, N, D)."""
        mixed = F.scaled_dot_product_attention(*self.split(x), attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def weights(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """The softmax itself (B, heads, N, N), for drawing: rows sum to 1."""
        query, key, _ = self.split(x)
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        return scores.softmax(dim=-1)


class Block(nn.Module):
    """Attention, then a 2-layer MLP; each with a residual and a LayerNorm after (post) or before it (pre)."""

    def __init__(self, config: LARTConfig) -> None:
        super().__init__()
        hidden = round(config.width * config.mlp_ratio)
        self.attention = Attention(config.width, config.heads)
        self.mlp = nn.Sequential(nn.Linear(config.width, hidden), nn.GELU(), nn.Linear(hidden, config.width))
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.drop_path = config.drop_path
        self.post = config.norm == "post"

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        if self.post:
            x = self.norm1(x + self.branch(self.attention(x, mask)))
            return self.norm2(x + self.branch(self.mlp(x)))
        x = x + self.branch(self.attention(self.norm1(x), mask))
        return x + self.branch(self.mlp(self.norm2(x)))

    def branch(self, x: Tensor) -> Tensor:
        """Dropout, and drop path: by chance a sample's whole branch is left out, the others scaled up."""
        x = self.dropout(x)
        if not self.training or self.drop_path == 0:
            return x
        keep = 1 - self.drop_path
        return x * (torch.rand(len(x), 1, 1, device=x.device) < keep) / keep

    def weights(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Attention weights (B, heads, N, N) that forward would use."""
        return self.attention.weights(x if self.post else self.norm1(x), mask)


class LART(nn.Module):
    """Lagrangian Action Recognition with Tracking: a TokenBatch -> logits (B, P, T, classes)."""

    encoding: Tensor

    def __init__(self, config: LARTConfig) -> None:
        super().__init__()
        self.config = config
        wide = config.pose_width
        self.pose_encoder = mlp(VECTOR_WIDTH, wide, wide, wide)
        self.joints_encoder = self.appearance_encoder = None
        if config.joints_width:
            self.joints_encoder = mlp(JOINTS_WIDTH, *[config.joints_width] * 3)
        if config.appearance:
            self.appearance_encoder = mlp(config.appearance, *[config.appearance_width] * 3)
        together = wide + config.joints_width + config.appearance_width
        self.project = nn.Identity() if together == config.width else nn.Linear(together, config.width)
        self.mask_token = nn.Parameter(torch.randn(config.width) * 0.02)
        encoding = positional_encoding(config.people, config.frames, config.width)
        self.register_buffer("encoding", encoding, persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.head = nn.Linear(config.width, config.classes)
        # Actions are rare: starting near 1 % spares training the time to learn that.
        nn.init.constant_(self.head.bias, -4.6)

    def forward(self, batch: TokenBatch) -> Tensor:
        """Logits (B, P, T, classes).

        `batch.masked` given: training semantics (logits of undetected tokens mean nothing); None: test.
        Raises ValueError for more people or frames than the config has, and for inputs that are missing.
        """
        x, mask = self.tokens(batch), self.blocked(batch)
        for block in self.blocks:
            x = block(x, mask)
        return self.head(x).unflatten(1, batch.detected.shape[1:])

    def tokens(self, batch: TokenBatch) -> Tensor:
        """Equation 6 (B, N, D): encoded person-vectors, or the mask token where they are hidden, plus PE."""
        _, people, frames = batch.detected.shape
        if people > self.config.people or frames > self.config.frames:
            most = f"{self.config.people} people in {self.config.frames} frames"
            raise ValueError(f"the model takes at most {most}, the batch has {people} in {frames}")
        hidden = ~batch.detected if batch.masked is None else ~batch.detected | batch.masked
        encoded = self.encode(batch)
        x = torch.where(hidden[..., None], self.mask_token.to(encoded.dtype), encoded)
        x = x + self.encoding[:people, :frames]
        return self.dropout(x.flatten(1, 2))  # person-major: token t + i * T

    def encode(self, batch: TokenBatch) -> Tensor:
        """(B, P, T, D) of what the person-vectors hold, before masks and positions."""
        parts = [self.pose_encoder(batch.pose)]
        if self.joints_encoder is not None:
            if batch.joints is None:
                raise ValueError("this model reads joints, and the batch has none")
            parts.append(self.joints_encoder(batch.joints))
        if self.appearance_encoder is not None:
            parts.append(self._encode_appearance(self.appearance_encoder, batch))
        return self.project(torch.cat(parts, dim=-1))

    def _encode_appearance(self, encoder: nn.Module, batch: TokenBatch) -> Tensor:
        appearance, index = batch.appearance, batch.appearance_index
        if appearance is None or appearance.shape[-1] != self.config.appearance:
            found = "none" if appearance is None else f"width {appearance.shape[-1]}"
            wanted = self.config.appearance
            raise ValueError(f"this model reads appearance of width {wanted}, the batch has {found}")
        if index is None:
            return encoder(appearance)
        # Each vector is encoded once, then handed out; a vector of zeros behind the last serves index -1.
        encoded = encoder(F.pad(appearance, (0, 0, 0, 1)))  # (B, P, K + 1, D)
        index = torch.where(index < 0, appearance.shape[2], index).long()
        return encoded.gather(2, index[..., None].expand(*index.shape, encoded.shape[-1]))

    def blocked(self, batch: TokenBatch) -> Tensor | None:
        """attention_mask for all heads (B, 1, N, N), or None where it blocks nothing, which is faster."""
        mask = attention_mask(batch, self.config.gaps_attended)
        return None if bool(mask.all()) else mask[:, None]

    @torch.no_grad()
    def attention_maps(self, batch: TokenBatch) -> Tensor:
        """Attention weights (depth, B, heads, N, N), N = P * T; rows sum to 1. Call `eval()` before."""
        x, mask = self.tokens(batch), self.blocked(batch)
        maps = []
        for block in self.blocks:
            assert isinstance(block, Block)
            maps.append(block.weights(x, mask))
            x = block(x, mask)
        return torch.stack(maps)

    def set_drop_path(self, chance: float) -> None:
        """Set the chance of every block's drop path: pre-training and fine-tuning differ in it (Table 7)."""
        for block in self.blocks:
            assert isinstance(block, Block)
            block.drop_path = chance
