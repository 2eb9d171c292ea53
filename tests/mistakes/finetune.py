"""Mistakes in the blanks of 06_finetune."""

from __future__ import annotations

MISTAKES: dict[str, list[tuple[str, str, str]]] = {
    "layer_scales": [
        ("depth + 1 - layer", "layer", "turned round"),
        ("depth + 1 - layer", "depth + 2 - layer", "the exponent"),
        ("range(depth + 2)", "range(depth + 1)", "L + 2 layers"),
    ],
    "drop_path": [
        (" / (1 - chance)", "", "scaled up"),
        ("lots < 1 - chance", "lots < chance", "turned round"),
        (" / (1 - chance)", " / chance", "divided by the chance"),
    ],
    "pool_about": [
        ("max(0, k - width // 2)", "k - width // 2", "counts from the end"),
        ("max(0, k - width // 2) : k + width // 2", "k : k + width", "half of it before"),
        ("k + width // 2", "k + width // 2 + 1", "one frame too many"),
        (".mean(axis=0)", ".sum(axis=0) / width", "divide by how many"),
    ],
}
