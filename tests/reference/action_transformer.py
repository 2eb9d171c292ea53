"""The Video Action Transformer slowly and literally: loops over cells, samples, boxes, heads (section 3)."""

from __future__ import annotations

import math

import numpy as np

Weights = dict[str, np.ndarray]


def bilinear(plane: np.ndarray, x: float, y: float) -> float:
    """The value at a place of a plane (H,W), in cells from its corner; beyond the edge's middles, theirs."""
    high, wide = plane.shape
    x, y = min(max(x - 0.5, 0), wide - 1), min(max(y - 0.5, 0), high - 1)
    left, top = int(x), int(y)
    right, low = min(left + 1, wide - 1), min(top + 1, high - 1)
    across, down = x - left, y - top
    upper = plane[top, left] * (1 - across) + plane[top, right] * across
    lower = plane[low, left] * (1 - across) + plane[low, right] * across
    return float(upper * (1 - down) + lower * down)


def roi_pool(x: np.ndarray, box: np.ndarray) -> np.ndarray:
    """x (C,H,W), a box in fractions -> (C,7,7): 14 x 14 samples, then the largest of each four."""
    channels, high, wide = x.shape
    found = np.full((channels, 7, 7), -np.inf)
    for c in range(channels):
        for i in range(14):
            for j in range(14):
                across = (box[0] + (j + 0.5) / 14 * (box[2] - box[0])) * wide
                down = (box[1] + (i + 0.5) / 14 * (box[3] - box[1])) * high
                found[c, i // 2, j // 2] = max(found[c, i // 2, j // 2], bilinear(x[c], across, down))
    return found


def linear(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    bias = weights.get(f"{name}.bias")
    return weights[f"{name}.weight"] @ x + (0 if bias is None else bias)


def layer_norm(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def placed(x: np.ndarray, weights: Weights, cells: tuple[int, int, int]) -> np.ndarray:
    """Cell by cell the location embedding beside the features: x (C,T,H,W) -> (C+2·width,T,H,W)."""
    _, frames, high, wide = x.shape
    rows = []
    for t in range(frames):
        for i in range(high):
            for j in range(wide):
                where = np.array(
                    [(i - (high - 1) / 2) / (cells[1] / 2), (j - (wide - 1) / 2) / (cells[2] / 2)]
                )
                when = np.array([(t - frames // 2) / (cells[0] / 2)])
                told = [x[:, t, i, j]]
                for name, own in (("space", where), ("time", when)):
                    hidden = np.maximum(linear(own, weights, f"{name}.0"), 0)
                    told.append(linear(hidden, weights, f"{name}.2"))
                rows.append(np.concatenate(told))
    return np.stack(rows, axis=1).reshape(-1, frames, high, wide)


def tx_unit(
    query: np.ndarray, memory: np.ndarray, weights: Weights, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """One person's query (D,) and the cells (M,C): Q'' (D,) and the attention (M,), key by key."""
    likes = np.array(
        [query @ linear(cell, weights, f"{name}.key") / math.sqrt(len(query)) for cell in memory]
    )
    a = np.exp(likes - likes.max())
    a /= a.sum()
    found = np.zeros(len(query))
    for share, cell in zip(a, memory, strict=True):
        found += share * linear(cell, weights, f"{name}.value")
    query = layer_norm(query + found, weights, f"{name}.norm1")
    hidden = np.maximum(linear(query, weights, f"{name}.ffn.0"), 0)
    return layer_norm(query + linear(hidden, weights, f"{name}.ffn.2"), weights, f"{name}.norm2"), a


def tx_head(x: np.ndarray, box: np.ndarray, weights: Weights, layers: int, heads: int) -> np.ndarray:
    """One clip's placed map (C,T,H,W) and one box -> (heads·D,), HighRes."""
    pooled = roi_pool(x[:, x.shape[1] // 2], box)
    reduce, bias = weights["query.reduce.weight"][:, :, 0, 0], weights["query.reduce.bias"]
    few = np.einsum("oc,cij->oij", reduce, pooled) + bias[:, None, None]
    found = linear(few.reshape(-1), weights, "query.linear")
    memory = x.reshape(len(x), -1).T
    for layer in range(layers):
        outs = []
        for head in range(heads):
            name = f"units.{layer}.{head}"
            query = linear(found, weights, f"{name}.query") if layer else found
            outs.append(tx_unit(query, memory, weights, name)[0])
        found = np.concatenate(outs)
    return found


# -------------------------------------------------------------------------------------------------- proposals


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2."""
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - wide * high
    return wide * high / union if union > 0 else 0.0


def nms(boxes: np.ndarray, scores: np.ndarray, threshold: float, most: int) -> list[int]:
    """Take the best that is left, drop all that overlap it by more, until nothing is left."""
    left, kept = sorted(range(len(boxes)), key=lambda i: (-scores[i], i)), []
    while left and len(kept) < most:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if overlap(boxes[i], boxes[best]) <= threshold]
    return kept


def encode(box: np.ndarray, anchor: np.ndarray) -> list[float]:
    """Faster R-CNN's four numbers (Ren et al., equation 2), scaled by 10, 10, 5, 5."""
    width, height = anchor[2] - anchor[0], anchor[3] - anchor[1]
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    x_a, y_a = (anchor[0] + anchor[2]) / 2, (anchor[1] + anchor[3]) / 2
    return [
        10 * (x - x_a) / width,
        10 * (y - y_a) / height,
        5 * math.log((box[2] - box[0]) / width),
        5 * math.log((box[3] - box[1]) / height),
    ]


def anchors(cells: tuple[int, int], shapes: list[tuple[float, float]]) -> list[list[float]]:
    """Row by row, cell by cell, shape by shape: x1, y1, x2, y2."""
    found = []
    for i in range(cells[0]):
        for j in range(cells[1]):
            x, y = (j + 0.5) / cells[1], (i + 0.5) / cells[0]
            for width, height in shapes:
                found.append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    return found
