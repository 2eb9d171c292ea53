"""Mistakes in the blanks of 11_skeletr."""

from __future__ import annotations

MISTAKES: dict[str, list[tuple[str, str, str]]] = {
    "graph_convolution": [
        ("A[k, v, w]", "A[k, w, v]", "turned round"),
        ("W[k]", "W[0]", "weights of its own"),
        (" + b[k]", "", "the biases are missing"),
        (".relu()", "", "negative numbers are left"),
    ],
    "dilated": [
        ("(j - 1) * dilation", "j * dilation", "at t and ahead only"),
        ("(j - 1) * dilation", "(j - 1)", "`dilation` frames away"),
        ("range(0, T, stride)", "range(T)", "every other frame"),
        ("x[at]", "x[t]", "first at"),
    ],
    "link": [
        ("found[t], last = best, boxes[t][best]", "found[t] = best", "the box found last"),
        (
            "    last = boxes[half][row]\n",
            "    last = last if found[0] >= 0 else boxes[half][row]\n",
            "both begin",
        ),
        (">= least", ">= -1", "hardly overlap"),
    ],
    "mix_pooling": [
        ("[whole, frames, limbs]", "[whole, limbs, frames]", "parts stand before frames"),
        ("[whole, frames, limbs]", "[frames, limbs, whole]", "the whole comes last"),
        ("mean(dim=(1, 2))[None]", "sum(dim=(1, 2))[None]", "sums instead of means"),
        ("list(part)].mean(dim=(1, 2))", "list(part)].mean(dim=2)[:, 0]", "over the frames, too"),
    ],
    "look_across": [
        (" / math.sqrt(d)", "", "square root of d"),
        ("repeat_interleave(L)", "repeat(L)", "side by side"),
        ("masked_fill(~columns, -math.inf)", "clone()", "absent sequences are looked at"),
        ("~columns,", "~columns[:, None],", "whole rows are masked"),
    ],
    "fuse": [
        (
            "weights[0] * first.get(key, 0) + weights[1]",
            "weights[1] * first.get(key, 0) + weights[0]",
            "changed places",
        ),
        (" / sum(weights)", "", "a sum instead of a mean"),
        ("weights[1] * second", "second", "wrong in example 3"),
        ("first | second", "first.keys() & second.keys()", "only one model scores"),
    ],
}
