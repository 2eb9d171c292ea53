"""Training: one loop for all models, its settings, batches, devices, state and checkpoints (05, 06)."""

from lart_mini.training.batches import Batch, Batches, BucketSampler, whole
from lart_mini.training.checkpoints import Kept, load_checkpoint, save_checkpoint
from lart_mini.training.config import TrainConfig, schedule
from lart_mini.training.devices import choose_fabric
from lart_mini.training.graphs import recorded
from lart_mini.training.loop import History, fit
from lart_mini.training.metrics import Metrics

__all__ = [
    "Batch",
    "Batches",
    "BucketSampler",
    "History",
    "Kept",
    "Metrics",
    "TrainConfig",
    "choose_fabric",
    "fit",
    "load_checkpoint",
    "recorded",
    "save_checkpoint",
    "schedule",
    "whole",
]
