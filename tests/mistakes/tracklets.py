"""Mistakes in the blanks of 01_tracklets."""

from __future__ import annotations

MISTAKES: dict[str, list[tuple[str, str, str]]] = {
    "find_gaps": [
        ("~detected", "detected", "stretches with a detection"),
        ("int(b - a)", "int(b)", "not the row where the gap ends"),
        ("int(b - a)", "int(b - a - 1)", "one too short"),
        ("[[0], ~detected, [0]]", "[[0], ~detected, ~detected[-1:]]", "argument 2 is shorter"),
        (
            "zip(starts, ends, strict=True)]",
            "zip(starts, ends, strict=True) if b < len(detected)]",
            "lasts until the end",
        ),
        ("zip(starts, ends, strict=True)]", "zip(starts, ends, strict=True) if a]", "from the first row on"),
    ],
    "into_picture": [
        ("v = focal", "v = -focal", "y points down"),
        (" + width / 2", "", "first at [0]"),
        ("height, width = frame_size", "width, height = frame_size", "have changed places"),
        (" / points[..., 2]", "", "divided by the depth"),
        ("np.stack([u, v], axis=-1)", "np.stack([u, v])", "shape"),
    ],
    "boxes_to_score": [
        (" + 900", "", "seconds count from 900"),
        ("x + w, y + h", "w, h", "no corners"),
        ("[width, height, width, height]", "[height, width, height, width]", "the height first"),
        ("/ scale, 0, 1)", "/ scale, -9, 9)", "cut at 0 and 1"),
        ("detected & ", "", "without a detection"),
        (" & (frame >= 60)", "", "second 902"),
    ],
    "spread_labels": [
        ("(number + 15)", "number", "the last key frame"),
        ("(number + 15)", "(number + 29)", "the next key frame"),
        ("(number + 15)", "(number + 14)", "half-way"),
        (
            "nearest = (number + 15) // 30 * 30",
            "nearest = min(key_labels, key=lambda key: (abs(key - number), -key))",
            "do not count",
        ),
    ],
}  # fmt: skip
