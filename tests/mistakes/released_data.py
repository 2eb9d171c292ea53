"""Mistakes in the blanks of 09_released_data."""

from __future__ import annotations

FRAMES_OUTSIDE = "for t in range(T):\n        for p in range(P):"
PEOPLE_OUTSIDE = "for p in range(P):\n        for t in range(T):"
MISTAKES: dict[str, list[tuple[str, str, str]]] = {
    "depth_unit": [
        ("place[detected], camera[detected]", "place, camera", "have a say"),
        ("place[detected], camera[detected]", "place[detected, :2], camera[detected, :2]", "equal in both"),
        ("if same", "if not same", "changed places"),
    ],
    "rows_in_window": [
        ("other_frame[-1] > window[-1]", "other_frame[-1] < window[-1] < window[0]", "as the paper would"),
        ("other_frame[-1] > window[-1]", "other_frame[-1] > ego_frame[-1]", "not at the ego's"),
        ("other_frame[0] < window[0]", "other_frame[0] <= window[0]", "both comparisons are strict"),
        ("other_frame[-1] > window[-1]", "other_frame[-1] >= window[-1]", "both comparisons are strict"),
        (" and other_frame[-1] > window[-1]", "", "wrong in example 5"),
        ("found[0]", "slot", "first at [2]"),
    ],
    "released_tokens": [
        (FRAMES_OUTSIDE, PEOPLE_OUTSIDE, "person after"),
        ("table[:, t, p]", "table[:, p, t]", "its second axis is time"),
        ("if detected[p, t] else mask_token", "", "the mask token stands for it"),
        ("token + table[:, t, p]", "token + table[:, t, p] * detected[p, t]", "only its content is hidden"),
    ],
}
