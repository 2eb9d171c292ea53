"""Claims: the ladder and the paper's claims asked in leave-takes-out folds, with intervals (08)."""

from lart_mini.claims.answers import Answer, Judge, headline, table_of, text, write
from lart_mini.claims.augment import in_bursts, mirrored
from lart_mini.claims.direction import DIRECTED, backwards, told_right
from lart_mini.claims.experiment import POOLS, Experiment, centred_scores, hide, run
from lart_mini.claims.fold_data import Fold, FoldBoxes, named
from lart_mini.claims.inputs import INPUTS, body_vector, keypoints_2d, without
from lart_mini.claims.question import STEPS, Comparison, Question, System
from lart_mini.claims.questions import QUESTIONS, chosen
from lart_mini.claims.runner import Kept, run_all

__all__ = [
    "DIRECTED",
    "INPUTS",
    "POOLS",
    "QUESTIONS",
    "STEPS",
    "Answer",
    "Comparison",
    "Experiment",
    "Fold",
    "FoldBoxes",
    "Judge",
    "Kept",
    "Question",
    "System",
    "backwards",
    "body_vector",
    "centred_scores",
    "chosen",
    "headline",
    "hide",
    "in_bursts",
    "keypoints_2d",
    "mirrored",
    "named",
    "run",
    "run_all",
    "table_of",
    "text",
    "told_right",
    "without",
    "write",
]
