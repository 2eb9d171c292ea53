"""LART: tokens of tracked people, a masked transformer, its two stages, dense scores (02, 04-06, 09)."""

from lart_mini.lart.assembly import ASSEMBLIES, Assembly, assemble, assembly_of
from lart_mini.lart.datasets import StoreDataset, TrackletDataset, collate, group_others
from lart_mini.lart.model import LART, LARTConfig, positional_encoding
from lart_mini.lart.packing import attention_mask
from lart_mini.lart.predict import box_scores, dense_scores, samples_of
from lart_mini.lart.published import load_released, read_model
from lart_mini.lart.recipe import (
    PRESETS,
    Recipe,
    Trained,
    finetune,
    from_scratch,
    key_labels,
    labelled,
    pretrain,
    scores_of,
    shuffled_labels,
    stats_of_store,
    taught,
    train_config,
    train_on_store,
    training_set,
)
from lart_mini.lart.teacher import Teacher, fit_teacher, look, teach
from lart_mini.lart.tokens import LabelChoice, Stats, TokenBatch, load_stats, random_mask, stats_of

__all__ = [
    "ASSEMBLIES",
    "LART",
    "PRESETS",
    "Assembly",
    "LARTConfig",
    "LabelChoice",
    "Recipe",
    "Stats",
    "StoreDataset",
    "Teacher",
    "TokenBatch",
    "TrackletDataset",
    "Trained",
    "assemble",
    "assembly_of",
    "attention_mask",
    "box_scores",
    "collate",
    "dense_scores",
    "finetune",
    "fit_teacher",
    "from_scratch",
    "group_others",
    "key_labels",
    "labelled",
    "load_released",
    "load_stats",
    "look",
    "positional_encoding",
    "pretrain",
    "random_mask",
    "read_model",
    "samples_of",
    "scores_of",
    "shuffled_labels",
    "stats_of",
    "stats_of_store",
    "taught",
    "teach",
    "train_config",
    "train_on_store",
    "training_set",
]
