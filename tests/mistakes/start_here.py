"""Mistakes in the blanks of 00_start_here."""

from __future__ import annotations

MISTAKES: dict[str, list[tuple[str, str, str]]] = {
    "share_inside": [
        ("np.abs(places - centre)", "(places - centre)", "distance has a sign"),
        ("< half", "< half / 2", "reaches that far to each side"),
        ("inside.mean()", "inside.sum()", "not their share"),
        ("< half", "> half", "outside the window"),
    ],
    "named_actions": [
        ("1 / (1 + np.exp(-logits))", "np.exp(logits) / np.exp(logits).sum()", "each is asked alone"),
        ("1 / (1 + np.exp(-logits))", "logits", "by the sigmoid first"),
        ("np.argsort(-scores)", "range(len(scores))", "the highest score comes first"),
        ("np.exp(-logits)", "np.exp(logits)", "turned round"),
    ],
    "class_shares": [
        ("labels[known]", "labels", "without ground truth are counted"),
        ("told.sum(axis=0) / len(told)", "labels.sum(axis=0) / len(told)", "are in the sum"),
        ("told.sum(axis=0) / len(told)", "told.sum(axis=0) / told.sum()", "made to add up to 1"),
        ("told.sum(axis=0) / len(told)", "told.mean(axis=1)", "over the boxes of a class"),
        (" / len(told)", "", "how often"),
    ],
}
