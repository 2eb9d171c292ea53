"""LART: a transformer over the person-vectors of a track and its neighbours (section 3, supplement C).

From top to bottom: where a token stands (the encoding), who attends to whom and which tokens are worth
computing (section C.2), the layers, and the model. What can be chosen stands in config.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lart_mini.files import BadInput
from lart_mini.lart.config import LARTConfig
from lart_mini.lart.tokens import JOINTS_WIDTH, TokenBatch
from lart_mini.tracklets.tracklet import VECTOR_WIDTH

RAREST = 1e-3  # share of a class from which the head starts at least


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


# --------------------------------------------------------- who attends to whom, and what is computed at all


def roles(batch: TokenBatch, gaps_attended: bool = True) -> tuple[Tensor, Tensor]:
    """Which tokens attend, and which are attended to, each (B, P, T) bool; the latter are among the former.

    Training (`batch.masked` given): undetected tokens neither attend nor are attended to (mask 1), masked
    ones attend but are not attended to, by themselves neither (mask 2). Test: only absent people's slots are
    blocked, and missing detections are not attended to unless `gaps_attended`.
    """
    if batch.masked is not None:
        return batch.detected, batch.detected & ~batch.masked
    present = batch.present[:, :, None].expand_as(batch.detected)
    return present, present if gaps_attended else present & batch.detected


def attention_mask(batch: TokenBatch) -> Tensor:
    """(B, N, N) bool, True where row may attend to column; N = P * T, token t of person i at t + i * T.

    As in the paper, where gaps are attended to at test. Whoever may attend to nothing attends to itself, so
    that every row has a softmax.
    """
    return pairs(*(role.flatten(1) for role in roles(batch)))


def pairs(attends: Tensor, attended: Tensor) -> Tensor:
    """attention_mask from flat roles, (B, N) each."""
    allowed = attends[:, :, None] & attended[:, None, :]
    return allowed | torch.diag_embed(~allowed.any(dim=-1))


def rows(x: Tensor, index: Tensor) -> Tensor:
    """Of each sample the rows that index (B, L) names: x (B, N) or (B, N, W) -> (B, L) or (B, L, W)."""
    if x.ndim == 2:
        return x.gather(1, index)
    return x.flatten(0, 1).index_select(0, _in_batch(index, x.shape[1])).unflatten(0, index.shape)


def _in_batch(index: Tensor, count: int) -> Tensor:
    """Numbers (B·L,) in the whole batch's rows of the rows (B, L) of samples of `count` each."""
    return (index + count * torch.arange(len(index), device=index.device)[:, None]).flatten()


def token_likeness(states: Tensor, real: Tensor) -> Tensor:
    """Mean cosine of two different tokens of a sample: states (..., B, N, D), real (B, N) bool -> (...).

    Only real tokens count. 1: all tokens are one vector, whatever the people do.
    """
    x = F.normalize(states, dim=-1) * real[..., None]
    count = real.sum(dim=-1)
    pairs = (x.sum(dim=-2).square().sum(dim=-1) - count) / (count * (count - 1)).clamp(min=1)
    return pairs.mean(dim=-1)


@dataclass(frozen=True, eq=False)
class Plan:
    """Which tokens a forward pass computes, and which of them each attends to."""

    tokens: Tensor | None = None  # (B, L) numbers of those computed; None: all N, in order
    real: Tensor | None = None  # (B, L) bool, False where a sample with fewer tokens is filled up; None: all
    mask: Tensor | None = None  # (B, 1, L or 1, K <= L) bool: row may attend to column; None: all to all
    uniform: Tensor | None = None  # (B, L) bool: rows that attend to all columns alike

    def take(self, x: Tensor) -> Tensor:
        """(B, N) or (B, N, W) -> (B, L) or (B, L, W): the tokens that are computed."""
        if self.tokens is None:
            return x
        return rows(x, self.tokens)

    def spread(self, x: Tensor, count: int) -> Tensor:
        """(B, L, C) -> (B, N, C): back to their places, with zeros where nothing was computed."""
        if self.tokens is None:
            return x
        if self.real is not None:
            x = x.masked_fill(~self.real[..., None], 0)
        places = _in_batch(self.tokens, count)
        whole = x.new_zeros(len(x) * count, x.shape[-1]).index_copy(0, places, x.flatten(0, 1))
        return whole.unflatten(0, (len(x), count))


def pack(attends: Tensor, attended: Tensor) -> Plan:
    """Only tokens that attend are computed, those attended to first: keys and values are the first K of L.

    attends, attended: (B, N) bool, the latter among the former. L and K are those of the fullest sample;
    where samples differ they are rounded up to a multiple of 8, which suits the kernels.
    """
    count = attends.shape[1]
    keys = attended.sum(dim=1)
    length, most, fewest = torch.stack([attends.sum(dim=1).max(), keys.max(), keys.min()]).tolist()
    if fewest == count:
        return Plan()
    order = (attends.int() + attended.int()).argsort(dim=1, descending=True, stable=True)
    if fewest == length > 0:
        return Plan(order[:, :length])
    length, most = _rounded(length, count), _rounded(most, count)
    tokens = order[:, :length]
    real = attends.gather(1, tokens)
    if fewest == 0:  # some sample has nobody to attend to but oneself
        return Plan(tokens, real, pairs(real, attended.gather(1, tokens))[:, None])
    return Plan(tokens, real, attended.gather(1, tokens[:, :most])[:, None, None])


def _rounded(size: int, count: int) -> int:
    """The next multiple of 8, at least 8 and at most `count`."""
    return min(8 * math.ceil(max(1, size) / 8), count)


def every_token(attends: Tensor, attended: Tensor) -> Plan:
    """All tokens are computed, useful or not; who may attend to nothing attends to itself."""
    return Plan(mask=pairs(attends, attended)[:, None])


def every_token_as_released(attends: Tensor, attended: Tensor) -> Plan:
    """All tokens are computed; who may attend to nothing attends to everything alike.

    The released code writes -1000 over scores instead of leaving them out of the softmax: the same, unless
    a row has nothing else.
    """
    allowed = attends[:, :, None] & attended[:, None, :]
    uniform = ~allowed.any(dim=-1)
    return Plan(mask=(allowed | uniform[:, :, None])[:, None], uniform=uniform)


def flat(x: Tensor, config: LARTConfig) -> Tensor:
    """(B, P, T, …) -> (B, N, …) in the order of the tokens."""
    return (x.transpose(1, 2) if config.token_order == "time" else x).flatten(1, 2)


def plan_ahead(loaded: dict[str, Tensor], config: LARTConfig) -> dict[str, Tensor]:
    """A training batch's tensors with the plan among them, as `computed`, `real` and `attended`.

    It takes `detected` and `masked`, and is the plan that forward would make. Made ahead of the step on a
    CPU, its sizes are known there. Nothing is added where all tokens are computed in any case.
    """
    if config.undetected == "computed":
        return loaded
    detected, masked = flat(loaded["detected"], config), flat(loaded["masked"], config)
    plan = pack(detected, detected & ~masked)
    tokens = plan.tokens
    if tokens is None:  # all of them: said, so that forward does not look
        tokens = torch.arange(detected.shape[1]).repeat(len(detected), 1)
    parts = {"computed": tokens, "real": plan.real, "attended": plan.mask}
    return loaded | {name: part for name, part in parts.items() if part is not None}


# --------------------------------------------------------------------------------------------------- layers


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers of these widths with ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def keep_variance(encoder: nn.Module) -> None:
    """Start an encoder's weights so that, of input of variance 1, what it gives has about that variance, too.

    He et al. 2015: variance 2 / fan-in before a ReLU, which halves it, else 1 / fan-in; biases 0.
    """
    linear = [layer for layer in encoder.modules() if isinstance(layer, nn.Linear)]
    for layer in linear:
        gain = 1.0 if layer is linear[-1] else 2.0
        nn.init.normal_(layer.weight, std=math.sqrt(gain / layer.in_features))
        nn.init.zeros_(layer.bias)


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
        self.drop_path = 0.0  # chance that training skips a branch of a sample; see LART.set_drop_path
        self.post = config.norm == "post"

    def forward(self, x: Tensor, mask: Tensor | None = None, uniform: Tensor | None = None) -> Tensor:
        """(B, L, D) -> (B, L, D); mask and uniform as in Attention."""
        if self.post:
            x = self._normed(self.norm1, x, self.branch(self.attention(x, mask, uniform)))
            return self._normed(self.norm2, x, self.branch(self.mlp(x)))
        x = x + self.branch(self.attention(self.norm1(x), mask, uniform))
        return x + self.branch(self.mlp(self.norm2(x)))

    @staticmethod
    def _normed(norm: nn.Module, x: Tensor, branch: Tensor) -> Tensor:
        # In mixed precision a norm gives float32; its input is of size 1, so that the branch's bf16 will do.
        return norm(x + branch).to(branch.dtype)

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
        self._start()

    @torch.no_grad()
    def _start(self) -> None:
        """The starts of deep models (config.DEEP_STARTS); PyTorch's stay where nothing else is chosen."""
        if self.config.encoder_start == "variance kept":
            for encoder in (self.pose_encoder, self.joints_encoder, self.appearance_encoder, self.project):
                if encoder is not None:
                    keep_variance(encoder)
        if self.config.branch_start == "by depth":
            for block in self.blocks:
                assert isinstance(block, Block)
                for last in (block.attention.out, block.mlp[-1]):
                    last.weight.mul_((2 * self.config.depth) ** -0.5)  # type: ignore[operator]

    @torch.no_grad()
    def start_head(self, shares: Tensor) -> None:
        """Start the head's bias at the log-odds of `shares` (classes,), each in 0–1."""
        self.head.bias.copy_(torch.logit(shares.to(self.head.bias), eps=RAREST))

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
        return flat(x, self.config)

    def plan(self, batch: TokenBatch, every: bool = False) -> Plan:
        """What forward computes: `every` token, or only those of which something can be read."""
        if batch.computed is not None and not every:  # so that nothing waits for a GPU to say a size
            return Plan(batch.computed, batch.real, batch.attended)
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
        plan, states = self.plan(batch, every=True), self.states(batch)
        maps = []
        for block, x in zip(self.blocks, states, strict=False):
            assert isinstance(block, Block)
            maps.append(block.weights(x, plan.mask, plan.uniform))
        return torch.stack(maps)

    @torch.no_grad()
    def states(self, batch: TokenBatch) -> Tensor:
        """What arrives at each block, and at the head (depth + 1, B, N, D). Call `eval()` before."""
        self.check(batch)
        plan = self.plan(batch, every=True)
        states = [self.tokens(batch, plan)]
        for block in self.blocks:
            states.append(block(states[-1], plan.mask, plan.uniform))
        return torch.stack(states)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """torch.compile of the blocks, where nearly all of the time goes: one code for all of them."""
        for block in self.blocks:
            block.compile(*args, **kwargs)

    def set_drop_path(self, chance: float) -> None:
        """Set the chance of every block's drop path: pre-training and fine-tuning differ in it (Table 7)."""
        for block in self.blocks:
            assert isinstance(block, Block)
            block.drop_path = chance


def _hidden(widths: tuple[int, ...] | None, width: int) -> tuple[int, ...]:
    return (width, width) if widths is None else widths
