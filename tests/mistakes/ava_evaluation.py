"""Mistakes in the blanks of 07_ava_evaluation."""

from __future__ import annotations

MISTAKES: dict[str, list[tuple[str, str, str]]] = {
    "intersection_over_union": [
        ("both = max(width, 0) * max(height, 0)", "both = width * height", "cut both at 0"),
        ("max(height, 0)", "height", "cut both at 0"),
        ("max(width, 0)", "width", "cut both at 0"),
        ("max(a[0], b[0])", "b[0]", "wrong in example 6"),
        (" - both)", ")", "counted twice in the union"),
        (
            "(a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])",
            "a[2] * a[3] + b[2] * b[3]",
            "not width and height",
        ),
        (" + (b[2] - b[0]) * (b[3] - b[1]) - both", "", "not the area of one"),
    ],
    "right_rows": [
        (" and best not in claimed", "", "given away twice"),
        ("np.argsort(-scores)", "range(len(rows))", "highest score comes first"),
        ("argsort(-scores)", "argsort(scores)", "argsort goes upwards"),
        (">= 0.5", "> 0.5", "exactly 0.5 is enough"),
        (
            "best = int(np.argmax(overlaps[row]))",
            "best = max((c for c in range(len(true_boxes)) if c not in claimed), "
            "key=lambda c: overlaps[row, c], default=0)",
            "its second best",
        ),
        (
            "            right[row] = True\n            claimed.add(best)",
            "            right[row] = True\n        claimed.add(best)",
            "leaves it free",
        ),
    ],
    "average_precision": [
        ("hits / true_count", "hits / max(1, right.sum())", "no row has found"),
        ("precision[k:].max()", "precision[k]", "not raised to its envelope"),
        ("precision[k:].max()", "precision[: k + 1].max()", "looks back"),
        ("np.diff(recall, prepend=0)", "np.diff(recall)", "raises ValueError"),
    ],
}
