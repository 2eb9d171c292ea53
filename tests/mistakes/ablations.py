"""Mistakes in the blanks of 08_ablations."""

from __future__ import annotations

MISTAKES: dict[str, list[tuple[str, str, str]]] = {
    "carry_labels": [
        ("frame < key + 15", "frame <= key + 15", "belongs to the next second"),
        ("frame >= key - 15", "frame >= key", "go back as well as forth"),
        ("told[second] = True", "told[second] = here.any()", "nobody did anything"),
        ("labels[second] = here", "labels[second] += 2 * here", "part 0"),
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
