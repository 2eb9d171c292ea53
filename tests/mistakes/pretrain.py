"""Mistakes in the blanks of 05_pretrain."""

from __future__ import annotations

MISTAKES: dict[str, list[tuple[str, str, str]]] = {
    "masked_loss": [
        (".mean(dim=-1)", ".sum(dim=-1)", "1 / C, their mean"),
        ("weight * detected", "weight", "undetected tokens are counted"),
        ("weight * detected", "detected", "frames without a label"),
        ("(token * w).sum() / w.sum()", "(token * w).mean()", "divided by all tokens"),
        ("token = -", "token = ", "the sign is turned round"),
    ],
    "loss_at_start": [
        ("torch.sigmoid(bias)", "bias", "first the sigmoid"),
        (" + (1 - share) * torch.log(1 - s)", "", "where a class is absent"),
        (".mean()", ".sum()", "the loss is their mean"),
    ],
    "rate_at": [
        ("(s + 1) / W", "s / W", "learn nothing"),
        ("(s - W) / (S - W)", "s / S", "begin where the warm-up ends"),
        ("0.5 * (1 +", "(1 +", "the half of it is meant"),
    ],
}
