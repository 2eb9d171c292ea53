"""SkeleTR slowly and literally, with loops over persons, joints, branches and tokens (ICCV 2023, section 3).

Sequences are linked one by one; ST-GCN++ is summed joint by joint and branch by branch from a model's own
weights; attention is a loop over heads and tokens.
"""

from __future__ import annotations

import math

import numpy as np

from lart_mini.data.skeletons import Skeletons


def box_overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes x, y, w, h."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return float(shared / (a[2] * a[3] + b[2] * b[3] - shared))


def sequences(skeletons: Skeletons, frames: int, step: int, least: float = 0.3) -> dict[int, list[int]]:
    """Centre → numbers of the T skeletons linked to it by overlap, −1 where there is none (3.2)."""
    half, found = frames * step // 2, {}
    for centre in range(len(skeletons)):
        if skeletons.frame[centre] % half:
            continue
        chain = {half: centre}
        for direction in (-1, 1):
            last, place = centre, half + direction
            while 0 <= place < frames * step:
                best, most = -1, least
                for other in np.flatnonzero(skeletons.frame == skeletons.frame[centre] + place - half):
                    shared = box_overlap(skeletons.box[other], skeletons.box[last])
                    if shared > most or (shared == most and best < 0):
                        best, most = int(other), shared
                if best >= 0:
                    chain[place], last = best, best
                place += direction
        found[centre] = [chain.get(place, -1) for place in range(half % step, frames * step, step)]
    return found


# --------------------------------------------------------------------------------------------------- ST-GCN++

Weights = dict[str, np.ndarray]


def normed(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    """Batch norm by the kept statistics; channels come first."""
    w, b, mean, var = (
        weights[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    y = np.zeros_like(x)
    for channel in range(len(x)):
        y[channel] = (x[channel] - mean[channel]) / np.sqrt(var[channel] + 1e-5) * w[channel] + b[channel]
    return y


def pointwise(x: np.ndarray, weights: Weights, name: str, stride: int = 1) -> np.ndarray:
    """1×1 convolution with bias: x (C,T,V) -> (C',T',V)."""
    w, b = weights[f"{name}.weight"][:, :, 0, 0], weights[f"{name}.bias"]
    return np.einsum("oc,ctv->otv", w, x[:, ::stride]) + b[:, None, None]


def dilated(x: np.ndarray, weights: Weights, name: str, dilation: int, stride: int) -> np.ndarray:
    """Convolution over three frames, `dilation` apart, zeros beyond the ends: (C,T,V) -> (C',T',V)."""
    w, b = weights[f"{name}.weight"][..., 0], weights[f"{name}.bias"]
    frames = []
    for t in range(0, x.shape[1], stride):
        total = np.repeat(b[:, None], x.shape[2], axis=1)
        for tap in range(3):
            at = t + (tap - 1) * dilation
            if 0 <= at < x.shape[1]:
                total = total + w[:, :, tap] @ x[:, at]
        frames.append(total)
    return np.stack(frames, axis=1)


def largest(x: np.ndarray, stride: int) -> np.ndarray:
    """The largest of three frames: (C,T,V) -> (C,T',V)."""
    return np.stack([x[:, max(0, t - 1) : t + 2].max(axis=1) for t in range(0, x.shape[1], stride)], axis=1)


def space(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    graph, joints = weights[f"{name}.graph"], x.shape[2]
    z = pointwise(x, weights, f"{name}.conv")
    width = len(z) // 3
    y = np.zeros((width, x.shape[1], joints))
    for k in range(3):
        for w in range(joints):
            for v in range(joints):
                y[:, :, w] += z[k * width : (k + 1) * width, :, v] * graph[k, v, w]
    y = normed(y, weights, f"{name}.norm")
    if f"{name}.short.0.weight" in weights:
        x = normed(pointwise(x, weights, f"{name}.short.0"), weights, f"{name}.short.1")
    return np.maximum(y + x, 0)


def time(x: np.ndarray, weights: Weights, name: str, stride: int) -> np.ndarray:
    branches = []
    for number in range(5):
        branch = f"{name}.branches.{number}"
        y = np.maximum(normed(pointwise(x, weights, f"{branch}.0"), weights, f"{branch}.1"), 0)
        if number < 4:
            y = dilated(y, weights, f"{branch}.3", number + 1, stride)
        else:
            y = largest(y, stride)
        branches.append(y)
    branches.append(pointwise(x, weights, f"{name}.branches.5", stride))
    y = np.maximum(normed(np.concatenate(branches), weights, f"{name}.mix.0"), 0)
    return normed(pointwise(y, weights, f"{name}.mix.2"), weights, f"{name}.mix.3")


def one_person(x: np.ndarray, weights: Weights, strides: tuple[int, ...]) -> np.ndarray:
    """(T,V,C) -> (width,T',V), float64."""
    frames, joints, channels = x.shape
    flat = np.zeros((joints * channels, frames))
    for v in range(joints):
        for c in range(channels):
            flat[v * channels + c] = x[:, v, c]
    flat = normed(flat, weights, "norm")
    x = np.zeros((channels, frames, joints))
    for v in range(joints):
        for c in range(channels):
            x[c, :, v] = flat[v * channels + c]
    for number, stride in enumerate(strides):
        block = f"blocks.{number}"
        y = time(space(x, weights, f"{block}.space"), weights, f"{block}.time", stride)
        if f"{block}.residual.0.weight" in weights:
            residual = pointwise(x, weights, f"{block}.residual.0", stride)
            y = y + normed(residual, weights, f"{block}.residual.1")
        elif number:
            y = y + x
        x = np.maximum(y, 0)
    return x


def stgcnpp(x: np.ndarray, weights: Weights, strides: tuple[int, ...]) -> np.ndarray:
    """(N,M,T,V,C) -> (N,M,width,T',V): sample by sample, person by person."""
    return np.stack([np.stack([one_person(person, weights, strides) for person in sample]) for sample in x])


# ---------------------------------------------------------------------------------------------------- SkeleTR


def layer_norm(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def gelu(x: np.ndarray) -> np.ndarray:
    return x * np.array([0.5 * (1 + math.erf(one / math.sqrt(2))) for one in x])


def encoder(x: np.ndarray, there: np.ndarray, weights: Weights, heads: int) -> np.ndarray:
    """One block on one sample's features (S,d): head by head, feature by feature."""
    q, k, v = np.split(x @ weights["qkv.weight"].T, 3, axis=1)
    width, out = q.shape[1] // heads, np.zeros_like(x)
    for i in range(len(x)):
        seen = []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            likes = np.array([q[i, part] @ k[j, part] / math.sqrt(width) for j in range(len(x)) if there[j]])
            shares = np.exp(likes - likes.max()) / np.exp(likes - likes.max()).sum()
            seen.append(sum(share * one for share, one in zip(shares, v[there][:, part], strict=True)))
        y = x[i] + weights["out.weight"] @ np.concatenate(seen) + weights["out.bias"]
        y = layer_norm(y, weights, "norm1")
        hidden = gelu(weights["mlp.0.weight"] @ y + weights["mlp.0.bias"])
        out[i] = layer_norm(y + weights["mlp.2.weight"] @ hidden + weights["mlp.2.bias"], weights, "norm2")
    return out
