"""Mistakes in the blanks of 04_masked_transformer."""

from __future__ import annotations

MISTAKES: dict[str, list[tuple[str, str, str]]] = {
    "encode_places": [
        ("i, t, ", "i, t, -D // 2 + ", "halves have changed places"),
        ("10000 ** (4 * r / D)", "10000 ** (2 * r / D)", "4 r / D"),
        ("math.sin(t", "math.cos(t", "first at [0, 0, 0]"),
    ],
    "may_attend": [
        (" and not masked[column]", "", "may be read by others"),
        ("not masked[column]", "not masked[column] and not masked[row]", "has to be filled in"),
        ("allowed[row, row] = True", "pass", "its own diagonal"),
        ("detected[row] and ", "", "rows and their columns"),
    ],
    "attend": [
        (" / math.sqrt(Q.shape[-1])", "", "square root of d"),
        ("scores + M", "scores", "-inf has to be added"),
        ("dim=-1) @ V", "dim=0) @ V", "each row, a query"),
        ("masked_fill(~allowed", "masked_fill(allowed", "turned round"),
        (" @ V", "", "gives shape (6, 6)"),
    ],
    "likeness": [
        (" / x[real].norm(dim=-1, keepdim=True)", "", "length 1"),
        ("x.T).sum() - n)", "x.T).sum())", "compared with itself"),
        ("n * (n - 1)", "n * n", "the number of pairs"),
        ("x[real]", "x", "not real"),
    ],
}
