"""UPS: one encoder, one decoder and one vocabulary for four tasks. Read from top to bottom (12).

A pose sequence of N frames and J joints becomes tokens S (N, J, d) by graph and temporal convolutions
(section 3.3), goes through layers of SEM (over joints) and TEM (over frames), of which each task takes one
block of H a layer (section 3.4), and a transformer decoder writes the answer word by word (section 3.3).

Shapes: B samples, N frames, J joints, d joint width, D decoder width, K words of an answer, V words of the
vocabulary, E their width, M tasks, L encoder layers, H blocks a layer, q task width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lart_mini.files import BadInput, whole_number
from lart_mini.training.batches import Batch
from lart_mini.ups.config import TREES, UPSConfig, sizes
from lart_mini.ups.vocabulary import TASKS, Vocabulary, check_task


@dataclass(frozen=True, eq=False)
class PoseBatch(Batch):
    """B samples of one task: what is observed, and the words wanted."""

    pose: Tensor  # (B, N, J, 3), zero where not observed
    seen: Tensor  # (B, N) bool
    task: Tensor  # (B,) place in TASKS, the same for all; stays on the CPU, where it chooses the way
    target: Tensor  # (B, K) words
    goal: Any = None  # (B, J, 3) the pose in metres, for networks without words; of lifting alone

    def weight(self) -> Tensor:
        """Each sample counts once (equation 3: the mean over its K words)."""
        return (self.target[:, 0] >= 0).sum().float()

    def ignored(self) -> Self:
        """The same samples with weight 0."""
        return replace(self, target=torch.full_like(self.target, -1))

    def to(self, device: torch.device | str) -> Self:
        """The same samples on `device`, their task excepted: nobody has to wait to read it."""
        return replace(super().to(device), task=self.task)

    def kind(self) -> int:
        """The task: another one is another start and, with routes, other blocks."""
        return int(self.task[0])

    def tokens(self) -> Tensor:
        """Words."""
        return self.target.new_tensor(self.target.numel()).float()


# ---------------------------------------------------------------------------------------------- the tokenizer


def adjacency(joints: int) -> Tensor:
    """(3, J, J): a joint, its neighbour towards the middle, those away; rows sum to 1 or 0."""
    a = torch.zeros(3, joints, joints)
    a[0] = torch.eye(joints)
    for joint, parent in enumerate(TREES[joints]):
        if joint != parent:
            a[1, joint, parent] = a[2, parent, joint] = 1
    return a / a.sum(-1, keepdim=True).clamp(min=1)


class GraphConvolution(nn.Module):
    """GCN block over joints: x (B, N, J, in) → ReLU(norm(Σ_k (A_k + P_k) x W_k)) + x, P_k learnt (2s-AGCN).

    CTR-GCN, which the paper names, refines A for each channel too; it is left out.
    """

    adjacency: Tensor

    def __init__(self, joints: int, inside: int, out: int) -> None:
        super().__init__()
        self.register_buffer("adjacency", adjacency(joints), persistent=False)
        self.learnt = nn.Parameter(torch.zeros(3, joints, joints))
        self.weight, self.norm = nn.Linear(inside, 3 * out), nn.LayerNorm(out)
        self.skip = nn.Identity() if inside == out else nn.Linear(inside, out)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.weight(x).unflatten(-1, (3, -1)).movedim(-2, 2)  # (B,N,3,J,out)
        mixed = ((self.adjacency + self.learnt) @ parts).sum(dim=2)
        return F.relu(self.norm(mixed)) + self.skip(x)


class TemporalGraph(nn.Module):
    """TCN–GCN layer: a graph convolution over joints, then a convolution over frames with a residual.

    x (B, N, J, in), observed (B, N, 1, 1): what is not observed is zero, also where convolutions reach it.
    """

    def __init__(self, joints: int, inside: int, out: int, kernel: int) -> None:
        super().__init__()
        self.graph, self.norm = GraphConvolution(joints, inside, out), nn.LayerNorm(out)
        self.over_frames = nn.Conv2d(out, out, (kernel, 1), padding=(kernel // 2, 0))

    def forward(self, x: Tensor, observed: Tensor) -> Tensor:
        x = self.graph(x) * observed  # (B,N,J,out)
        moved = self.over_frames(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return (x + F.relu(self.norm(moved))) * observed


# ----------------------------------------------------------------------------------- the encoder, and routes


class Attention(nn.Module):
    """Multi-head attention of queries (B, K, D) to keys and values, made apart so that these can be kept."""

    def __init__(self, width: int, heads: int, memory: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(memory or width, 2 * width)

    def keys(self, memory: Tensor) -> Tensor:
        """Memory (B, T, ·) → keys and values (2, B, heads, T, D / heads)."""
        return self.key_value(memory).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)

    def forward(self, x: Tensor, keys: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        query = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(query, keys[0], keys[1], mask, is_causal=causal)
        return self.out(mixed.transpose(1, 2).flatten(2))


class SemTem(nn.Module):
    """SEM, two graph convolutions over joints, then TEM: attention over frames of J·d numbers, and an MLP."""

    def __init__(self, config: UPSConfig) -> None:
        super().__init__()
        d, frame = config.joint_width, config.joints * config.joint_width
        self.sem = nn.Sequential(*(GraphConvolution(config.joints, d, d) for _ in range(2)))
        self.attention = Attention(frame, config.frame_heads)
        self.norm_attention, self.norm_mlp = nn.LayerNorm(frame), nn.LayerNorm(frame)
        self.mlp = nn.Sequential(nn.Linear(frame, frame), nn.GELU(), nn.Linear(frame, frame))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = self.sem(x).flatten(2)  # (B,N,J·d)
        normed = self.norm_attention(y)
        y = y + self.attention(normed, self.attention.keys(normed), mask)
        return (y + self.mlp(self.norm_mlp(y))).view_as(x)


class Encoder(nn.Module):
    """Tokenizer and L routed layers: pose (B, N, J, 3), seen (B, N), task → S_EN (B, N, J, d).

    A block that is not drawn gets a gradient of 0, so that AdamW moves it on by momentum; with fixed routes
    it gets none and stands still.
    """

    def __init__(self, config: UPSConfig) -> None:
        super().__init__()
        self.config, j, d = config, config.joints, config.joint_width
        widths = ((3, d), (d, d), (d, d))
        self.tokenizer = nn.ModuleList(TemporalGraph(j, *pair, config.kernel) for pair in widths)
        self.place = nn.Parameter(torch.randn(config.frames, j, d) * 0.1)
        self.layers = nn.ModuleList(
            nn.ModuleList(SemTem(config) for _ in range(config.blocks)) for _ in range(config.encoder_layers)
        )
        std, q = config.embedding_std, config.task_width
        self.task = nn.Parameter(torch.randn(len(TASKS), q) * std)  # τ_m
        self.block = nn.Parameter(torch.randn(config.encoder_layers, config.blocks, q) * std)  # B_{l,h}
        self.norm = nn.LayerNorm(d)

    def scores(self) -> Tensor:
        """s (M, L, H): the dot product of each task's embedding with each block's (equation 1)."""
        return torch.einsum("lhq,mq->mlh", self.block, self.task)

    def routes(self) -> list[list[int]]:
        """The block that each task takes in each layer when it is not trained, M lists of L."""
        if self.config.blocks == 1:
            return [[0] * self.config.encoder_layers for _ in TASKS]
        if self.config.routes is None:
            return self.scores().argmax(-1).tolist()
        return np.reshape(self.config.routes, (len(TASKS), -1)).tolist()

    def forward(self, pose: Tensor, seen: Tensor, task: int) -> Tensor:
        observed = seen[..., None, None]
        x = pose * observed
        for tokenize in self.tokenizer:
            x = tokenize(x, observed)
        x = x + self.place[: x.shape[1]] * observed
        mask, scores = seen[:, None, None], self.scores()[task]  # (B,1,1,N), (L,H)
        drawn = self.training and self.config.routes is None and self.config.blocks > 1
        chosen = None if drawn else self.routes()[task]
        for number, (layer, score) in enumerate(zip(self.layers, scores, strict=True)):
            blocks: Any = layer
            if chosen is not None:
                x = blocks[chosen[number]](x, mask)
                continue
            # Equation 2, straight through: every block runs, so that the scores of those left out learn too.
            gate = F.gumbel_softmax(score, self.config.temperature, hard=True)
            x = sum(share * block(x, mask) for share, block in zip(gate, blocks, strict=True))
        return self.norm(x) * observed


# ---------------------------------------------------------------------------------- the decoder, word by word


class DecoderLayer(nn.Module):
    """Self-attention over the words so far, attention to the encoder's tokens, MLP; each normed before."""

    def __init__(self, config: UPSConfig, memory: int) -> None:
        super().__init__()
        width, heads = config.width, config.heads
        self.own, self.cross = Attention(width, heads), Attention(width, heads, memory)
        self.norm_own, self.norm_cross, self.norm_mlp = (nn.LayerNorm(width) for _ in range(3))
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor, past: list[Tensor] | None) -> Tensor:
        """x (B, K, D), or one word's (B, 1, D) and the `past` words' keys, which it then joins."""
        normed = self.norm_own(x)
        keys = self.own.keys(normed)
        if past is not None:
            keys = torch.cat([*past, keys], dim=3)
            past[:] = [keys]
        x = x + self.own(normed, keys, causal=past is None)
        x = x + self.cross(self.norm_cross(x), memory, mask)
        return x + self.mlp(self.norm_mlp(x))


class UPS(nn.Module):
    """The whole model. `vocabulary`: the frozen text embeddings, part of the weights and of a checkpoint.

    Raises BadInput for a vocabulary of another size or width than the config's.
    """

    table: Tensor

    def __init__(self, config: UPSConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        for name, found in sizes(vocabulary).items():
            if getattr(config, name) != found:
                raise BadInput("ups", f"vocabulary's {name}", getattr(config, name), found)
        self.config, width = config, config.width
        self.encoder = Encoder(config)
        frame = config.joint_width * (config.joints if config.memory == "frames" else 1)
        self.frame = nn.Parameter(torch.randn(config.frames, config.place_width))
        if config.memory == "joints":
            self.joint = nn.Parameter(torch.randn(config.joints, config.place_width))
        self.start = nn.Parameter(torch.randn(len(TASKS) if config.told else 1, width) * 0.3)
        self.position = nn.Parameter(torch.randn(config.length, width) * 0.3)
        self.register_buffer("table", torch.from_numpy(vocabulary.table.copy()))  # (V,E) unit vectors
        self.read = nn.Linear(config.text_width, width)
        nn.init.normal_(self.read.weight, std=0.5)  # unit vectors of E numbers → numbers of about 0.5
        memory = frame + config.place_width * (1 if config.memory == "frames" else 2)
        self.layers = nn.ModuleList(DecoderLayer(config, memory) for _ in range(config.decoder_layers))
        self.write = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, config.text_width))
        self.scale = nn.Parameter(torch.tensor(2.0))  # exp(scale) · cosine, learnt as in CLIP

    def memory(self, pose: Tensor, seen: Tensor, task: int) -> tuple[Tensor, Tensor]:
        """What the decoder attends to (B, T, ·), and which of it is observed (B, 1, 1, T)."""
        x = self.encoder(pose, seen, task)
        frame = self.frame[: x.shape[1]].expand(len(x), -1, -1)
        if self.config.memory == "frames":
            return torch.cat([x.flatten(2), frame], dim=-1), seen[:, None, None]
        count = (-1, -1, self.config.joints, -1)
        places = [frame[:, :, None].expand(count), self.joint.expand(*x.shape[:2], -1, -1)]
        return torch.cat([x, *places], -1).flatten(1, 2), seen.repeat_interleave(count[2], 1)[:, None, None]

    def logits(self, x: Tensor) -> Tensor:
        """Decoder's output (B, K, D) → log-odds of the words (B, K, V): a scale times the cosine."""
        return self.scale.exp() * F.normalize(self.write(x), dim=-1) @ self.table.T

    def forward(self, batch: PoseBatch) -> Tensor:
        """Teacher forcing: log-odds (B, K, V) of each word, told those of the target before it."""
        check_shape(batch.pose, self.config)
        task = batch.kind()
        memory, mask = self.memory(batch.pose, batch.seen, task)
        first = self.start[task if self.config.told else 0].expand(len(batch), 1, -1)
        said = self.read(self.table[batch.target[:, :-1].clamp(min=0)])
        if self.training and self.config.word_dropout:
            kept = torch.rand(said.shape[:2], device=said.device) > self.config.word_dropout
            said = said * kept[..., None]
        x = torch.cat([first, said], dim=1) + self.position[: batch.target.shape[1]]
        layers: Any = self.layers
        for layer in layers:
            x = layer(x, layer.cross.keys(memory), mask, None)
        return self.logits(x)

    @torch.no_grad()
    def decode(
        self, pose: Tensor, seen: Tensor, task: str, words: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Greedy answers (B, K) over the whole vocabulary and their log-odds (B, K, V); keys, values kept.

        pose (B, N, J, 3), seen (B, N). Ends when each has met an end of task, or after exactly `words`, at
        most 3·J + 1.
        """
        number = TASKS.index(check_task(task))
        check_pose(pose, seen, self.config)
        most = self.config.length
        count = most if words is None else whole_number("ups", "words", words, 1, most)
        memory, mask = self.memory(pose, seen, number)
        layers: Any = self.layers
        cross = [layer.cross.keys(memory) for layer in layers]
        past: list[list[Tensor]] = [[] for _ in layers]
        x = self.start[number if self.config.told else 0].expand(len(pose), 1, -1)
        answers, scores, ended = [], [], torch.zeros(len(pose), dtype=torch.bool, device=pose.device)
        for k in range(count):
            h = x + self.position[k]
            for layer, keys, own in zip(layers, cross, past, strict=True):
                h = layer(h, keys, mask, own)
            scores.append(self.logits(h))
            answers.append(scores[-1].argmax(-1))  # (B,1)
            ended |= answers[-1][:, 0] >= self.config.words - 3
            if words is None and bool(ended.all()):
                break
            x = self.read(self.table[answers[-1]])
        return torch.cat(answers, dim=1), torch.cat(scores, dim=1)


def check_pose(pose: Tensor, seen: Tensor, config: UPSConfig) -> None:
    """Raise BadInput for poses that the model has no place for, or with coordinates that are no numbers."""
    check_shape(pose, config)
    if seen.shape != pose.shape[:2] or seen.dtype != torch.bool:
        found = f"{seen.dtype} {tuple(seen.shape)}"
        raise BadInput("ups", "seen", f"booleans {tuple(pose.shape[:2])}", found)
    if not bool(pose.isfinite().all()):
        raise BadInput("ups", "pose", "finite coordinates", "nan or infinity")
    if not bool(seen.any(dim=1).all()):
        raise BadInput("ups", "seen", "an observed frame in each sample", "none")


def check_shape(pose: Tensor, config: UPSConfig) -> None:
    """Raise BadInput for anything but (B, N, J, 3) with the config's J and at most its N."""
    fits = pose.ndim == 4 and pose.shape[2:] == (config.joints, 3) and 1 <= pose.shape[1] <= config.frames
    if not fits:
        expected = f"(B, up to {config.frames} frames, {config.joints} joints, 3)"
        raise BadInput("ups", "pose", expected, tuple(pose.shape))


def sentence_loss(logits: Tensor, batch: PoseBatch, weight: Tensor) -> Tensor:
    """Equation 3: the mean over words of −log P, and over the `weight` samples of the whole batch."""
    flat, target = logits.float().flatten(0, 1), batch.target.flatten()
    total = F.cross_entropy(flat, target, ignore_index=-1, reduction="sum")
    return total / batch.target.shape[1] / weight.clamp(min=1)
