"""UPS: one model and one decoder for four pose tasks, which answers in words (12)."""

from lart_mini.ups.vocabulary import (
    AXES,
    EMBEDDINGS,
    END_OF,
    ENDS,
    TASKS,
    Vocabulary,
    action_names,
    load_vocabulary,
)

__all__ = [
    "AXES",
    "EMBEDDINGS",
    "ENDS",
    "END_OF",
    "TASKS",
    "Vocabulary",
    "action_names",
    "load_vocabulary",
]
