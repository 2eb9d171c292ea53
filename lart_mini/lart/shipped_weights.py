"""Trained models that come with the kit: data_samples/weights/, a checkpoint and a card each.

`python -m lart_mini.build weights` trains them anew. A card says what a model was trained on, by which
commit and command, what it scores on which boxes, and what it is not good for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lart_mini.files import BadInput, shipped
from lart_mini.lart.model import LART
from lart_mini.lart.tokens import Stats
from lart_mini.lart.weights import load_model
from lart_mini.training.checkpoints import read_card

WEIGHTS: Path = shipped("data_samples") / "weights"


def load_shipped(name: str, folder: str | Path = WEIGHTS) -> tuple[LART, Stats, dict[str, Any]]:
    """A model that comes with the kit (CPU, eval mode), the statistics of its input, and its card.

    Raises BadInput for a name that none has (the line tells those there are), for weights that are not those
    of the card, and as `load_model` does.
    """
    names = sorted(path.stem for path in Path(folder).glob("*.json"))
    if name not in names:
        raise BadInput("shipped weights", "name", " | ".join(names) or "a model with a card", name)
    path = Path(folder) / f"{name}.safetensors"
    card = read_card(path)
    model, stats, _ = load_model(path)
    return model, stats, card
