"""Mistakes in the blanks of 08_ablations."""

from __future__ import annotations

MISTAKES: dict[str, list[tuple[str, str, str]]] = {
    "verdict": [
        ("elif low > 0:", "elif low + high > 0:", "not settled"),
        ("if not rests:", "if False:", "cannot be asked, however"),
        ("elif high < 0:", "elif high < -9:", "whole interval below 0"),
    ],
    "paired_interval": [
        ("weights.sum(axis=1)", "1", "divide by their sum"),
        ("[0.025, 0.975]", "[0.05, 0.95]", "leaves out 2.5 %"),
        ("drawn = weights @ difference", "drawn = weights @ (ours - theirs[::-1])", "part 1"),
        (
            "low, high = np.quantile(drawn, [0.025, 0.975])",
            "each = [weights @ x / weights.sum(axis=1) for x in (ours, theirs)]\n"
            "    a, b = np.quantile(each, [0.025, 0.975], axis=1).T\n"
            "    low, high = a[0] - b[1], a[1] - b[0]",
            "resampled apart",
        ),
    ],
    "hide": [
        ("kept[0, ", "kept[:, ", "row 0 alone is the ego"),
        ("max(first, 0)", "first", "counts from the end"),
        ("first + frames", "at + frames", "wrong number"),
        ("at - frames // 2", "at", "rounded down"),
    ],
}
