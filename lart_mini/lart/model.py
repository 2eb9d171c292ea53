"""LART: a transformer over the person-vectors of a track and its neighbours (section 3, supplement C).

One class, two profiles: `LARTConfig.paper` is the text, `LARTConfig.released` what made the published
weights. Every field of the config is a size, or one point in which the two differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lart_mini.files import BadInput
from lart_mini.lart.packing import Plan, every_token, every_token_as_released, pack, roles, rows
from lart_mini.lart.tokens import JOINTS_WIDTH, TokenBatch
from lart_mini.tracklets.tracklet import VECTOR_WIDTH


@dataclass(frozen=True)
class LARTConfig:
    """What decides the model's shape and behaviour. Raises ValueError where fields do not fit together."""

    people: int = 5  # most people in a sample, the ego first
    frames: int = 128  # most frames in a sample
    width: int = 128  # of a token, D; divisible by 4 (encoding)
    depth: int = 4  # transformer blocks
    heads: int = 4  # of self-attention in each block
    head_width: int = 0  # of a head's queries, keys and values; 0: width / heads
    qkv_bias: bool = True  # have queries, keys and values a bias (released code: no)
    mlp_ratio: float = 4.0  # hidden width of a block's MLP / width
    pose_width: int = 128  # what the pose encoder gives
    pose_hidden: tuple[int, ...] | None = None  # its hidden widths; None: two of pose_width (C.2.1)
    joints_width: int = 0  # what the joints encoder gives; 0: joints are no input (the paper)
    joints_hidden: tuple[int, ...] | None = None  # its hidden widths; None: two of joints_width
    appearance: int = 0  # width of the appearance vectors; 0: pose only
    appearance_width: int = 0  # what the appearance encoder gives
    appearance_hidden: tuple[int, ...] | None = None  # its hidden widths; None: two of appearance_width
    classes: int = 60  # evaluated AVA classes
    dropout: float = 0.1  # after the encoding and after each half of a block
    inner_dropout: bool = False  # on attention weights and after GELU, not after the encoding (released)
    drop_path: float = 0.0  # chance that training skips a residual branch of a sample, same in all blocks
    norm: Literal["post", "pre"] = "post"  # LayerNorm after each half (paper) or before it (released code)
    encoding_order: Literal["time first", "person first"] = "time first"  # of D's halves (released: second)
    encoding_trained: bool = False  # is the encoding a weight that starts as the waves (released code)
    token_order: Literal["person", "time"] = "person"  # token t + i * T (paper) or t * P + i (released code)
    gaps_attended: bool = True  # at test missing detections are attended to (paper) or not (released code)
    undetected: Literal["skipped", "computed"] = "skipped"  # tokens nobody reads: left out, or not (released)

    def __post_init__(self) -> None:
        if self.width % 4 or (self.width % self.heads and not self.head_width):
            raise ValueError(f"width {self.width} must be divisible by 4 and by heads ({self.heads})")
        for field, hint in get_type_hints(type(self)).items():
            if get_origin(hint) is Literal and getattr(self, field) not in get_args(hint):
                choices = " or ".join(map(repr, get_args(hint)))
                raise ValueError(f"{field} must be {choices}, not {getattr(self, field)!r}")
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

    @classmethod
    def released(cls, **changes: Any) -> LARTConfig:
        """The released code's default: joints as a third input, appearance from Hiera, narrow blocks."""
        default = cls(
            people=5,
            frames=125,
            width=512,
            pose_width=128,
            pose_hidden=(VECTOR_WIDTH,),
            joints_width=128,
            joints_hidden=(256, 256),
            appearance=2048,
            appearance_width=256,
            appearance_hidden=(512, 512),
            encoding_order="person first",
            encoding_trained=True,
            token_order="time",
            depth=16,
            heads=16,
            head_width=64,
            qkv_bias=False,
            mlp_ratio=1.0,
            inner_dropout=True,
            drop_path=0.4,
            norm="pre",
            gaps_attended=False,
            undetected="computed",
        )
        return replace(default, **changes)


def positional_encoding(people: int, frames: int, width: int, order: str = "time first") -> Tensor:
    """The fixed encoding (P, T, D) of section 3.1: first half of D the time t, second half the track i.

    PE(t, i, 2r) = sin(t / 10000^(4r/D)), PE(t, i, 2r + 1) = cos(t / 10000^(4r/D)), 0 <= r < D/4; i likewise.
    With the order "person first" the halves change places (released code).
    """
    frequency = 10000.0 ** (-4 * torch.arange(width // 4, dtype=torch.float64) / width)  # (D/4,)

    def waves(count: int) -> Tensor:
        angle = torch.arange(count, dtype=torch.float64)[:, None] * frequency
        return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)  # (count, D/2), sin and cos in turn

    time = waves(frames)[None].expand(people, -1, -1)
    track = waves(people)[:, None].expand(-1, frames, -1)
    return torch.cat([time, track] if order == "time first" else [track, time], dim=-1).float()


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers of these widths with ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, config: LARTConfig) -> None:
        super().__init__()
        self.heads = config.heads
        inner = config.heads * (config.head_width or config.width // config.heads)
        self.qkv = nn.Linear(config.width, 3 * inner, bias=config.qkv_bias)
        self.out = nn.Linear(inner, config.width)
        self.dropout = config.dropout if config.inner_dropout else 0.0

    def split(self, x: Tensor, keys: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """(B, L, D) -> query (B, heads, L, head width), and key, value of the first `keys` tokens only."""
        inner = self.out.in_features
        weights = self.qkv.weight.split([inner, 2 * inner])
        biases = (None, None) if self.qkv.bias is None else self.qkv.bias.split([inner, 2 * inner])
        query = F.linear(x, weights[0], biases[0])
        pair = F.linear(x[:, :keys], weights[1], biases[1])
        key, value = pair.chunk(2, dim=-1)
        return self._by_head(query), self._by_head(key), self._by_head(value)

    def _by_head(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, mask: Tensor | None = None, uniform: Tensor | None = None) -> Tensor:
        """(B, L, D) -> (B, L, D).

        mask (B, 1, L or 1, K) bool, True where a row may attend to a column, the columns being the first K
        tokens; None: all. Rows marked in uniform (B, L) attend to all columns alike, whatever they hold.
        """
        query, key, value = self.split(x, None if mask is None else mask.shape[-1])
        if uniform is not None:
            query = query.masked_fill(uniform[:, None, :, None], 0)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def weights(self, x: Tensor, mask: Tensor | None = None, uniform: Tensor | None = None) -> Tensor:
        """The softmax itself (B, heads, L, K), for drawing: rows sum to 1."""
        query, key, _ = self.split(x, None if mask is None else mask.shape[-1])
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        if uniform is not None:
            scores = scores.masked_fill(uniform[:, None, :, None], 0)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        return scores.softmax(dim=-1)


class Block(nn.Module):
    """Attention, then a 2-layer MLP; each with a residual and a LayerNorm after (post) or before it (pre)."""

    def __init__(self, config: LARTConfig) -> None:
        super().__init__()
        hidden = round(config.width * config.mlp_ratio)
        self.attention = Attention(config)
        activation = nn.Sequential(nn.GELU(), nn.Dropout(config.dropout if config.inner_dropout else 0.0))
        self.mlp = nn.Sequential(nn.Linear(config.width, hidden), activation, nn.Linear(hidden, config.width))
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.drop_path = config.drop_path
        self.post = config.norm == "post"

    def forward(self, x: Tensor, mask: Tensor | None = None, uniform: Tensor | None = None) -> Tensor:
        """(B, L, D) -> (B, L, D); mask and uniform as in Attention."""
        if self.post:
            x = self.norm1(x + self.branch(self.attention(x, mask, uniform)))
            return self.norm2(x + self.branch(self.mlp(x)))
        x = x + self.branch(self.attention(self.norm1(x), mask, uniform))
        return x + self.branch(self.mlp(self.norm2(x)))

    def branch(self, x: Tensor) -> Tensor:
        """Dropout, and drop path: by chance a sample's whole branch is left out, the others scaled up."""
        x = self.dropout(x)
        if not self.training or self.drop_path == 0:
            return x
        keep = 1 - self.drop_path
        return x * (torch.rand(len(x), 1, 1, device=x.device) < keep) / keep

    def weights(self, x: Tensor, mask: Tensor | None = None, uniform: Tensor | None = None) -> Tensor:
        """Attention weights (B, heads, L, K) that forward would use."""
        return self.attention.weights(x if self.post else self.norm1(x), mask, uniform)


class LART(nn.Module):
    """Lagrangian Action Recognition with Tracking: a TokenBatch -> logits (B, P, T, classes)."""

    encoding: Tensor

    def __init__(self, config: LARTConfig) -> None:
        super().__init__()
        self.config = config
        pose, joints, appearance = config.pose_width, config.joints_width, config.appearance_width
        self.pose_encoder = mlp(VECTOR_WIDTH, *_hidden(config.pose_hidden, pose), pose)
        self.joints_encoder = self.appearance_encoder = None
        if joints:
            self.joints_encoder = mlp(JOINTS_WIDTH, *_hidden(config.joints_hidden, joints), joints)
        if appearance:
            hidden = _hidden(config.appearance_hidden, appearance)
            self.appearance_encoder = mlp(config.appearance, *hidden, appearance)
        together = pose + joints + appearance
        self.project = nn.Identity() if together == config.width else nn.Linear(together, config.width)
        self.mask_token = nn.Parameter(torch.randn(config.width) * 0.02)
        encoding = positional_encoding(config.people, config.frames, config.width, config.encoding_order)
        if config.encoding_trained:
            self.encoding = nn.Parameter(encoding)
        else:
            self.register_buffer("encoding", encoding, persistent=False)
        self.dropout = nn.Dropout(0.0 if config.inner_dropout else config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.head = nn.Linear(config.width, config.classes)
        # Actions are rare: starting near 1 % spares training the time to learn that.
        nn.init.constant_(self.head.bias, -4.6)

    def forward(self, batch: TokenBatch) -> Tensor:
        """Logits (B, P, T, classes).

        `batch.masked` given: training semantics, and logits of undetected tokens mean nothing; None: test,
        and those of absent people's slots mean nothing. Tokens that are skipped get logits 0.
        Raises BadInput for a batch that does not fit the config.
        """
        self.check(batch)
        plan = self.plan(batch)
        x = self.tokens(batch, plan)
        for block in self.blocks:
            x = block(x, plan.mask, plan.uniform)
        _, people, frames = batch.detected.shape
        logits = plan.spread(self.head(x), people * frames)
        if self.config.token_order == "time":
            return logits.unflatten(1, (frames, people)).transpose(1, 2)
        return logits.unflatten(1, (people, frames))

    def flat(self, x: Tensor) -> Tensor:
        """(B, P, T, …) -> (B, N, …) in the order of the tokens."""
        return (x.transpose(1, 2) if self.config.token_order == "time" else x).flatten(1, 2)

    @torch.compiler.disable  # its sizes depend on the data
    def plan(self, batch: TokenBatch, every: bool = False) -> Plan:
        """What forward computes: `every` token, or only those of which something can be read."""
        attends, attended = (self.flat(role) for role in roles(batch, self.config.gaps_attended))
        if self.config.undetected == "skipped":
            return every_token(attends, attended) if every else pack(attends, attended)
        if batch.masked is None:
            attends = torch.ones_like(attends)
        return every_token_as_released(attends, attended)

    def tokens(self, batch: TokenBatch, plan: Plan) -> Tensor:
        """Equation 6 (B, L, D): encoded person-vectors, or the mask token where they are hidden, plus PE."""
        hidden = plan.take(self.flat(~batch.detected if batch.masked is None else batch.masked))
        _, people, frames = batch.detected.shape
        places = self.flat(self.encoding[None, :people, :frames])[0]  # (N, D)
        encoded = self.encode(batch, plan)
        x = torch.where(hidden[..., None], self.mask_token.to(encoded.dtype), encoded)
        return self.dropout(x + (places if plan.tokens is None else places[plan.tokens]))

    def encode(self, batch: TokenBatch, plan: Plan) -> Tensor:
        """(B, L, D) of what the person-vectors hold, before masks and positions."""
        parts = [self.pose_encoder(plan.take(self.flat(batch.pose)))]
        if self.joints_encoder is not None and batch.joints is not None:
            parts.append(self.joints_encoder(plan.take(self.flat(batch.joints))))
        if self.appearance_encoder is not None:
            parts.append(self._encode_appearance(self.appearance_encoder, batch, plan))
        return self.project(torch.cat(parts, dim=-1))

    def _encode_appearance(self, encoder: nn.Module, batch: TokenBatch, plan: Plan) -> Tensor:
        vectors, index = batch.appearance, batch.appearance_index
        assert vectors is not None
        if index is None:
            return encoder(plan.take(self.flat(vectors)))
        # Each vector is encoded once, then handed out; one of zeros behind the last serves index -1.
        size, people, count, width = vectors.shape
        none = encoder(vectors.new_zeros(width)).expand(size, 1, -1)
        encoded = torch.cat([encoder(vectors.flatten(1, 2)), none], dim=1)  # (B, P * K + 1, appearance width)
        first = count * torch.arange(people, device=index.device)[:, None]
        index = torch.where(index < 0, people * count, index + first).long()
        return rows(encoded, plan.take(self.flat(index)))

    def check(self, batch: TokenBatch) -> None:
        """Raise BadInput, one line, where the batch does not fit the config."""
        config, (_, people, frames) = self.config, batch.detected.shape
        if people > config.people or frames > config.frames:
            most = f"at most {config.people} people in {config.frames} frames"
            raise BadInput("batch", "size", most, f"{people} in {frames}")
        widths: list[tuple[str, Tensor | None, int]] = [("pose", batch.pose, VECTOR_WIDTH)]
        if config.joints_width:
            widths.append(("joints", batch.joints, JOINTS_WIDTH))
        if config.appearance:
            widths.append(("appearance", batch.appearance, config.appearance))
        if batch.masked is not None:
            widths.append(("labels", batch.labels, config.classes))
        for field, tensor, width in widths:
            if tensor is None or tensor.shape[-1] != width:
                found = "none" if tensor is None else f"width {tensor.shape[-1]}"
                raise BadInput("batch", field, f"width {width}", found)

    @torch.no_grad()
    def attention_maps(self, batch: TokenBatch) -> Tensor:
        """Attention weights (depth, B, heads, N, N), N = P * T; rows sum to 1. Call `eval()` before."""
        self.check(batch)
        plan = self.plan(batch, every=True)
        x, maps = self.tokens(batch, plan), []
        for block in self.blocks:
            assert isinstance(block, Block)
            maps.append(block.weights(x, plan.mask, plan.uniform))
            x = block(x, plan.mask, plan.uniform)
        return torch.stack(maps)

    def set_drop_path(self, chance: float) -> None:
        """Set the chance of every block's drop path: pre-training and fine-tuning differ in it (Table 7)."""
        for block in self.blocks:
            assert isinstance(block, Block)
            block.drop_path = chance


def _hidden(widths: tuple[int, ...] | None, width: int) -> tuple[int, ...]:
    return (width, width) if widths is None else widths
