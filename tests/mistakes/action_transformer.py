"""Mistakes in the blanks of 10_action_transformer."""

from __future__ import annotations

MISTAKES: dict[str, list[tuple[str, str, str]]] = {
    "roi_cells": [
        ("(torch.arange(14) + 0.5) / 14", "torch.linspace(0, 1, 14)", "on the edges of the parts"),
        ("max_pool2d", "avg_pool2d", "RoIPool takes the largest"),
        (
            "[across.expand(14, -1), down[:, None].expand(-1, 14)]",
            "[down[:, None].expand(-1, 14), across.expand(14, -1)]",
            "changed places",
        ),
        ("box[1] + share * (box[3] - box[1])", "share", "differ"),
    ],
    "high_query": [
        ("few.flatten()", "few.T.flatten()", "channel by channel"),
        ("few.flatten()", "few.relu().flatten()", "none is in the paper"),
        ("few.flatten()", "few.mean(1).repeat_interleave(49)", "that is LowRes"),
    ],
    "ask_the_clip": [
        (" / math.sqrt(Q.shape[1])", "", "square root of D"),
        ("softmax(-1)", "softmax(0)", "over people"),
        ("a @ V", "a @ K", "keys say where"),
    ],
    "updated": [
        ("layer_norm(Q + A)", "layer_norm(A)", "it is added to it"),
        (".relu()", "", "ReLU between"),
        ("layer_norm(Q + (Q", "layer_norm((Q", "second residual"),
    ],
    "box_code": [
        ("10 * dx / w_a, 10 * dy / h_a", "10 * dx / w, 10 * dy / h", "the anchor's size"),
        ("5 * math.log(w / w_a), 5 * math.log(h / h_a)", "5 * w / w_a, 5 * h / h_a", "take its logarithm"),
        (
            "(x1 + x2) / 2 - (a1 + a2) / 2, (y1 + y2) / 2 - (b1 + b2) / 2",
            "x1 - a1, y1 - b1",
            "move the centre",
        ),
        (
            "10 * dx / w_a, 10 * dy / h_a, 5 * math.log(w / w_a), 5",
            "dx / w_a, dy / h_a, math.log(w / w_a), 1",
            "are missing",
        ),
    ],
    "suppress": [
        ("descending=True", "descending=False", "the worst comes first"),
        ("for other in kept", "for other in order[: order.index(box)]", "only those that are kept"),
        (
            "scores.argsort(descending=True, stable=True).tolist()",
            "list(range(len(scores)))",
            "order of the list",
        ),
    ],
}
