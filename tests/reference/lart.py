"""LART once more, token by token and head by head in plain Python and float64: slow, and without cleverness.

It shares nothing with lart_mini.lart.model but the names of the weights. `weights` is a model's state_dict as
numpy arrays; a sample is one element of a batch, so that batching itself is under test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Sample:
    """One sample: pose (P, T, 229), present (P,), detected, masked (P, T), joints, appearance (P, T, …)."""

    pose: np.ndarray
    present: np.ndarray
    detected: np.ndarray
    masked: np.ndarray | None
    joints: np.ndarray | None = None
    appearance: np.ndarray | None = None


def position(t: int, i: int, width: int) -> np.ndarray:
    """PE(t, i, :) of section 3.1, one number at a time."""
    code = np.zeros(width)
    for r in range(width // 4):
        code[2 * r] = math.sin(t / 10000 ** (4 * r / width))
        code[2 * r + 1] = math.cos(t / 10000 ** (4 * r / width))
    for s in range(width // 4):
        code[2 * s + width // 2] = math.sin(i / 10000 ** (4 * s / width))
        code[2 * s + 1 + width // 2] = math.cos(i / 10000 ** (4 * s / width))
    return code


def linear(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    return weights[f"{name}.weight"] @ x + weights.get(f"{name}.bias", 0)


def layer_norm(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    spread = math.sqrt(((x - x.mean()) ** 2).mean() + 1e-5)
    return (x - x.mean()) / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def encoder(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    """Linear layers numbered 0, 2, … with ReLU between; the paper has two hidden ones (C.2.1)."""
    last = max(int(key.split(".")[1]) for key in weights if key.startswith(f"{name}."))
    for layer in range(0, last, 2):
        x = np.maximum(linear(weights, f"{name}.{layer}", x), 0)
    return linear(weights, f"{name}.{last}", x)


def gelu(x: float) -> float:
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def token(weights: Weights, config: Any, sample: Sample, i: int, t: int) -> np.ndarray:
    """Person i at time t, ready for the first block (equation 6)."""
    unseen = not sample.detected[i, t]
    if sample.masked is not None and sample.masked[i, t]:
        unseen = True
    if unseen:
        content = weights["mask_token"]
    else:
        content = encoder(weights, "pose_encoder", sample.pose[i, t])
        for name in ("joints", "appearance"):
            if (extra := getattr(sample, name)) is not None:
                content = np.concatenate([content, encoder(weights, f"{name}_encoder", extra[i, t])])
        if "project.weight" in weights:
            content = linear(weights, "project", content)
    if config.encoding_trained:
        return content + weights["encoding"][i, t]
    place = position(t, i, config.width)
    if config.encoding_order == "person first":
        place = np.roll(place, config.width // 2)
    return content + place


def may_attend(config: Any, sample: Sample, query: tuple[int, int], key: tuple[int, int]) -> bool:
    """The two masks of section C.2 in training; at test only slots without a person are shut out."""
    if sample.masked is not None:
        if not sample.detected[query] or not sample.detected[key]:
            return False
        return not sample.masked[key]
    if not sample.present[query[0]] or not sample.present[key[0]]:
        return False
    return bool(config.gaps_attended or sample.detected[key])


def attention(
    weights: Weights, name: str, config: Any, sample: Sample, tokens: dict[tuple[int, int], np.ndarray]
) -> dict[tuple[int, int], np.ndarray]:
    """Self-attention, the softmax written out for each head and each token."""
    size = config.head_width or config.width // config.heads
    projected = {where: linear(weights, f"{name}.qkv", x) for where, x in tokens.items()}
    output = {}
    for query in tokens:
        keys = [key for key in tokens if may_attend(config, sample, query, key)] or [query]
        heads = []
        for head in range(config.heads):
            q, k, v = (slice((part * config.heads + head) * size, None) for part in range(3))
            asked = projected[query][q][:size]
            exponents = [math.exp(asked @ projected[key][k][:size] / math.sqrt(size)) for key in keys]
            total = sum(exponents)
            mixed = np.zeros(size)
            for exponent, key in zip(exponents, keys, strict=True):
                mixed = mixed + exponent / total * projected[key][v][:size]
            heads.append(mixed)
        output[query] = linear(weights, f"{name}.out", np.concatenate(heads))
    return output


def feed_forward(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    hidden = np.array([gelu(value) for value in linear(weights, f"{name}.0", x)])
    return linear(weights, f"{name}.2", hidden)


def lart(weights: Weights, config: Any, sample: Sample) -> np.ndarray:
    """Logits (P, T, classes) of one sample."""
    people, frames = sample.detected.shape
    x = {(i, t): token(weights, config, sample, i, t) for i in range(people) for t in range(frames)}
    for layer in range(config.depth):
        name = f"blocks.{layer}"
        if config.norm == "post":
            mixed = attention(weights, f"{name}.attention", config, sample, x)
            x = {at: layer_norm(weights, f"{name}.norm1", x[at] + mixed[at]) for at in x}
            x = {
                at: layer_norm(weights, f"{name}.norm2", x[at] + feed_forward(weights, f"{name}.mlp", x[at]))
                for at in x
            }
        else:
            normed = {at: layer_norm(weights, f"{name}.norm1", x[at]) for at in x}
            mixed = attention(weights, f"{name}.attention", config, sample, normed)
            x = {at: x[at] + mixed[at] for at in x}
            x = {
                at: x[at] + feed_forward(weights, f"{name}.mlp", layer_norm(weights, f"{name}.norm2", x[at]))
                for at in x
            }
    logits = np.zeros((people, frames, config.classes))
    for at in x:
        logits[at] = linear(weights, "head", x[at])
    return logits
