"""UPS once more, slow and literal: one sample at a time, nothing kept, routes by loops over equation 1."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lart_mini.ups.model import UPS, Attention, DecoderLayer, GraphConvolution, SemTem
from lart_mini.ups.vocabulary import TASKS


def attend(layer: Attention, queries: Tensor, memory: Tensor, allowed: Tensor) -> Tensor:
    """queries (K, D), memory (T, ·), allowed (K, T): the formula, head by head."""
    width = layer.out.in_features // layer.heads
    keys, values = layer.key_value(memory).chunk(2, dim=-1)
    mixed = []
    for head in range(layer.heads):
        part = slice(head * width, (head + 1) * width)
        score = layer.query(queries)[:, part] @ keys[:, part].T / math.sqrt(width)
        mixed.append(score.masked_fill(~allowed, -math.inf).softmax(-1) @ values[:, part])
    return layer.out(torch.cat(mixed, dim=-1))


def graph(layer: GraphConvolution, x: Tensor) -> Tensor:
    """x (J, in): Σ_k (A_k + P_k) x W_k, k by k and joint by joint."""
    out = layer.norm.normalized_shape[0]
    total = torch.zeros(len(x), out)
    for k in range(3):
        weight, bias = (p[k * out : (k + 1) * out] for p in (layer.weight.weight, layer.weight.bias))
        moved = F.linear(x, weight, bias)
        for joint in range(len(x)):
            for other in range(len(x)):
                weight = layer.adjacency[k, joint, other] + layer.learnt[k, joint, other]
                total[joint] += weight * moved[other]
    return layer.norm(total).relu() + layer.skip(x)


def block(layer: SemTem, x: Tensor, seen: Tensor) -> Tensor:
    """x (N, J, d), seen (N): SEM frame by frame, then TEM."""
    y = torch.stack([graph(layer.sem[1], graph(layer.sem[0], frame)) for frame in x]).flatten(1)
    normed = layer.norm_attention(y)
    y = y + attend(layer.attention, normed, normed, seen.expand(len(x), -1))
    return (y + layer.mlp(layer.norm_mlp(y))).view_as(x)


def route(model: UPS, task: int) -> list[int]:
    """Equation 1 and the best block of each layer; the first of equals."""
    encoder, chosen = model.encoder, []
    for layer in range(model.config.encoder_layers):
        scores = [(own @ encoder.task[task]).item() for own in encoder.block[layer]]
        chosen.append(scores.index(max(scores)))
    return chosen


def encode(model: UPS, pose: Tensor, seen: Tensor, task: int) -> Tensor:
    """pose (N, J, 3), seen (N) → memory (T, ·)."""
    encoder, x = model.encoder, pose * seen[:, None, None]
    for layer in encoder.tokenizer:
        x = torch.stack([graph(layer.graph, frame) for frame in x]) * seen[:, None, None]
        kernel, half = layer.over_frames.weight[..., 0], layer.over_frames.weight.shape[2] // 2
        moved = torch.zeros_like(x)
        for frame in range(len(x)):
            moved[frame] = layer.over_frames.bias
            for step in range(-half, half + 1):
                if 0 <= frame + step < len(x):
                    moved[frame] += x[frame + step] @ kernel[:, :, step + half].T
        x = (x + layer.norm(moved).relu()) * seen[:, None, None]
    x = (x + encoder.place[: len(x)]) * seen[:, None, None]
    for layer, number in zip(encoder.layers, route(model, task), strict=True):
        x = block(layer[number], x, seen)
    x = encoder.norm(x) * seen[:, None, None]
    if model.config.memory == "frames":
        return torch.cat([x.flatten(1), model.frame[: len(x)]], dim=-1)
    rows = [
        torch.cat([x[n, j], model.frame[n], model.joint[j]]) for n in range(len(x)) for j in range(x.shape[1])
    ]
    return torch.stack(rows)


def step(layer: DecoderLayer, x: Tensor, memory: Tensor, seen: Tensor) -> Tensor:
    """x (K, D): a whole decoder layer on all words so far."""
    count = len(x)
    normed = layer.norm_own(x)
    x = x + attend(layer.own, normed, normed, torch.ones(count, count).tril().bool())
    x = x + attend(layer.cross, layer.norm_cross(x), memory, seen.expand(count, -1))
    return x + layer.mlp(layer.norm_mlp(x))


def decode(model: UPS, pose: Tensor, seen: Tensor, task: str, words: int) -> tuple[Tensor, Tensor]:
    """Batches (B, …), sample by sample and word by word, everything computed anew: answers, log-odds."""
    number = TASKS.index(task)
    answers, scores = [], []
    for one, observed in zip(pose, seen, strict=True):
        memory = encode(model, one, observed, number)
        mask = observed if model.config.memory == "frames" else observed.repeat_interleave(pose.shape[2])
        said, odds = [], []
        for _ in range(words):
            start = model.start[number if model.config.told else 0]
            rows = [start, *(model.read(model.table[word]) for word in said)]
            x = torch.stack([row + place for row, place in zip(rows, model.position, strict=False)])
            for layer in model.layers:
                x = step(layer, x, memory, mask)
            written = model.write(x[-1])
            cosine = torch.stack([written @ word / written.norm() / word.norm() for word in model.table])
            odds.append(model.scale.exp() * cosine)
            said.append(int(odds[-1].argmax()))
        answers.append(torch.tensor(said))
        scores.append(torch.stack(odds))
    return torch.stack(answers), torch.stack(scores)
