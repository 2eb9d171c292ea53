"""The forward pass of LART's released code, written out in numpy and float64 from a description of it.

It reads the weights under the names of the published file (without `encoder.`), and shares nothing with
lart_mini. Tokens stand time-major, t * P + p; what must not be attended to gets the score -1000.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

Weights = Mapping[str, np.ndarray]

BLOCKED = -1e3


def linear(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    y = x @ weights[f"{name}.weight"].T
    return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y


def layer_norm(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    return centred / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def encoder(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    """Linear layers numbered 0, 2, 4, … with ReLU between."""
    layer = 0
    x = linear(weights, f"{name}.0", x)
    while f"{name}.{layer + 2}.weight" in weights:
        layer += 2
        x = linear(weights, f"{name}.{layer}", np.maximum(x, 0))
    return x


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def attention(
    weights: Weights, layer: str, x: np.ndarray, seen: np.ndarray, hidden: np.ndarray, heads: int
) -> np.ndarray:
    """x (N, D); seen, hidden (N,): score (i, j) counts if both are seen, and column j is not hidden."""
    projected = linear(weights, f"{layer}.fn.to_qkv", x)
    inner = projected.shape[1] // 3
    width = inner // heads
    outputs = []
    for head in range(heads):
        query, key, value = (
            projected[:, part * inner + head * width : part * inner + (head + 1) * width] for part in range(3)
        )
        scores = query @ key.T / math.sqrt(width)
        for i in range(len(x)):
            for j in range(len(x)):
                if not (seen[i] and seen[j]) or hidden[j]:
                    scores[i, j] = BLOCKED
        likeness = np.exp(scores - scores.max(axis=1, keepdims=True))
        outputs.append(likeness / likeness.sum(axis=1, keepdims=True) @ value)
    return linear(weights, f"{layer}.fn.to_out.0", np.concatenate(outputs, axis=1))


def scores(
    weights: Weights,
    heads: int,
    pose: np.ndarray,
    detected: np.ndarray,
    masked: np.ndarray | None,
    joints: np.ndarray | None = None,
    appearance: np.ndarray | None = None,
) -> np.ndarray:
    """Logits (T, P, classes) of one sample from pose (T, P, 229) and so on; masked None: as at test.

    In training the drawn tokens are hidden behind the mask token, and what is not detected keeps its content.
    At test all that is not detected is hidden, and everything counts as seen.
    """
    frames, people = detected.shape
    hidden = ~detected if masked is None else masked
    seen = np.ones_like(detected) if masked is None else detected
    parts = [encoder(weights, "pose_shape_encoder", pose)]
    if joints is not None:
        parts.append(encoder(weights, "joint_encoder", joints))
    if appearance is not None:
        parts.append(encoder(weights, "apperance_encoder", appearance))
    x = np.concatenate(parts, axis=-1)  # (T, P, D)
    for t in range(frames):
        for p in range(people):
            content = weights["mask_token"] if hidden[t, p] else x[t, p]
            x[t, p] = content + weights["pos_embedding"][:, t, p]
    x = x.reshape(frames * people, -1)
    layer = 0
    while f"transformer.layers.{layer}.0.norm.weight" in weights:
        name = f"transformer.layers.{layer}"
        normed = layer_norm(weights, f"{name}.0.norm", x)
        x = x + attention(weights, f"{name}.0", normed, seen.reshape(-1), hidden.reshape(-1), heads)
        normed = layer_norm(weights, f"{name}.1.norm", x)
        x = x + linear(weights, f"{name}.1.fn.net.3", gelu(linear(weights, f"{name}.1.fn.net.0", normed)))
        layer += 1
    return linear(weights, "action_head_ava.0.0", x).reshape(frames, people, -1)
