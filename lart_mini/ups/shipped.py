"""The trained UPS that comes with the kit: data_samples/ups/, a checkpoint and its card.

`python -m lart_mini.build ups` trains it anew. Its weights but the vocabulary's are kept in half precision.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lart_mini.files import shipped
from lart_mini.training.checkpoints import read_card
from lart_mini.ups.model import UPS
from lart_mini.ups.recipe import load_ups
from lart_mini.ups.vocabulary import Vocabulary

SHIPPED: Path = shipped("data_samples") / "ups"
NAME = "four-tasks"


def load_shipped(folder: str | Path = SHIPPED) -> tuple[UPS, Vocabulary, dict[str, Any]]:
    """The model of four tasks (CPU, eval mode), its vocabulary, and its card, which says what it learnt from.

    Raises BadInput for weights that are not those of the card, and as `load_ups` does.
    """
    path = Path(folder) / f"{NAME}.safetensors"
    card = read_card(path)
    model, vocabulary, _ = load_ups(path)
    return model, vocabulary, card
