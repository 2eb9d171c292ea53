"""Training: one loop for all models, its settings, batches, state and checkpoints (05, 06)."""

from lart_mini.training.batches import BucketSampler
from lart_mini.training.checkpoints import load_checkpoint, save_checkpoint
from lart_mini.training.config import TrainConfig, parameter_groups, schedule
from lart_mini.training.loop import History, choose_fabric, fit, masked_bce

__all__ = [
    "BucketSampler",
    "History",
    "TrainConfig",
    "choose_fabric",
    "fit",
    "load_checkpoint",
    "masked_bce",
    "parameter_groups",
    "save_checkpoint",
    "schedule",
]
