"""Blanks of 06_finetune."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lart_mini.course.check import Blank, Slip, gives
from lart_mini.evaluation.key_boxes import pooled
from lart_mini.lart.config import LARTConfig, StageConfig
from lart_mini.lart.model import LART, Block
from lart_mini.lart.recipe import parameter_groups

HERE = "06_finetune"
TINY = {"width": 8, "heads": 2, "pose_width": 8, "people": 1, "frames": 2, "dropout": 0.0}


def _layer_scales(depth: int, decay: float) -> list[float]:
    """The scales of `parameter_groups`, from the encoders up to the head."""
    groups = parameter_groups(LART(LARTConfig(depth=depth, **TINY)), StageConfig.finetune(layer_decay=decay))  # type: ignore[arg-type]
    return sorted({group["scale"] for group in groups})


def _drop_path(branch: Tensor, chance: float, seed: int) -> Tensor:
    """`Block.branch` in training, without dropout, from a generator that starts at `seed`."""
    block = Block(LARTConfig(**TINY)).train()  # type: ignore[arg-type]
    block.drop_path = chance
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return block.branch(branch)


def _lots(branch: Tensor, seed: int) -> Tensor:
    return torch.rand(len(branch), 1, 1, generator=torch.Generator().manual_seed(seed))


def _branches() -> list[tuple[Tensor, float, int]]:
    branch = torch.randn(8, 3, 2, generator=torch.Generator().manual_seed(0))
    return [(branch, 0.4, 0), (branch, 0.8, 1)]


def _scores() -> list[tuple[NDArray, int, int]]:
    """In the middle of a track, at its start, at its end."""
    scores = np.random.default_rng(0).random((40, 3))
    return [(scores, 20, 12), (scores, 2, 12), (scores, 37, 8)]


BLANKS = (
    Blank(
        "layer_scales",
        HERE,
        _layer_scales,
        lambda: [(2, 0.9), (4, 0.5)],
        (
            Slip(
                "turned round: the head learns fastest, the encoders slowest",
                gives(lambda depth, decay: _layer_scales(depth, decay)[::-1]),
            ),
            Slip(
                "the exponent: the head, layer L + 1, learns at the full rate, decay to the power 0",
                gives(lambda depth, decay: [decay * scale for scale in _layer_scales(depth, decay)]),
            ),
            Slip(
                "there are L + 2 layers: the encoders, L blocks, and the head",
                lambda got, wanted, *_: len(got) != len(wanted),
            ),
        ),
    ),
    Blank(
        "drop_path",
        HERE,
        _drop_path,
        _branches,
        (
            Slip(
                "what stays has to be scaled up by 1 / (1 - chance), or the mean falls",
                gives(lambda branch, chance, seed: _drop_path(branch, chance, seed) * (1 - chance)),
            ),
            Slip(
                "turned round: `chance` is that of being left out",
                gives(lambda branch, chance, seed: branch * (_lots(branch, seed) < chance) / (1 - chance)),
            ),
            Slip(
                "divided by the chance of being left out; what stays is 1 - chance of all",
                gives(lambda branch, chance, seed: _drop_path(branch, chance, seed) * (1 - chance) / chance),
            ),
        ),
    ),
    Blank(
        "pool_about",
        HERE,
        pooled,
        _scores,
        (
            Slip(
                "a slice that begins below 0 counts from the end: cut it at 0",
                lambda got, wanted, *_: bool(np.isnan(got).any()),  # no frames are left
            ),
            Slip(
                "the window begins at k; it has to lie about k, half of it before",
                gives(lambda scores, k, width: scores[k : k + width].mean(axis=0)),
            ),
            Slip(
                "at a track's end there are fewer frames: divide by how many there are",
                gives(
                    lambda scores, k, width: (
                        scores[max(0, k - width // 2) : k + width // 2].sum(axis=0) / width
                    )
                ),
            ),
            Slip(
                "one frame too many: the last, k + width / 2, is not in it",
                gives(
                    lambda scores, k, width: scores[max(0, k - width // 2) : k + width // 2 + 1].mean(axis=0)
                ),
            ),
        ),
    ),
)
