"""AVA v2.2: its 80 classes and its clock.

Gu et al., "AVA: A Video Dataset of Spatio-temporally Localized Atomic Visual Actions".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lart_mini.files import BadInput

FRAMES_PER_SECOND = 30
FIRST_SECOND = 902
LAST_SECOND = 1798
CLASS_COUNT = 80

Category = Literal["PM", "OM", "PI"]
CATEGORIES: dict[str, str] = {
    "PM": "person movement",
    "OM": "object manipulation",
    "PI": "person interaction",
}

_PERSON_MOVEMENT = (
    "bend/bow (at the waist)", "crawl", "crouch/kneel", "dance", "fall down", "get up", "jump/leap",
    "lie/sleep", "martial art", "run/jog", "sit", "stand", "swim", "walk",
)  # fmt: skip
_OBJECT_MANIPULATION = (
    "answer phone", "brush teeth", "carry/hold (an object)", "catch (an object)", "chop",
    "climb (e.g., a mountain)", "clink glass", "close (e.g., a door, a box)", "cook", "cut", "dig",
    "dress/put on clothing", "drink", "drive (e.g., a car, a truck)", "eat", "enter", "exit", "extract",
    "fishing", "hit (an object)", "kick (an object)", "lift/pick up", "listen (e.g., to music)",
    "open (e.g., a window, a car door)", "paint", "play board game", "play musical instrument",
    "play with pets", "point to (an object)", "press", "pull (an object)", "push (an object)", "put down",
    "read", "ride (e.g., a bike, a car, a horse)", "row boat", "sail boat", "shoot", "shovel", "smoke",
    "stir", "take a photo", "text on/look at a cellphone", "throw", "touch (an object)",
    "turn (e.g., a screwdriver)", "watch (e.g., TV)", "work on a computer", "write",
)  # fmt: skip
_PERSON_INTERACTION = (
    "fight/hit (a person)", "give/serve (an object) to (a person)", "grab (a person)", "hand clap",
    "hand shake", "hand wave", "hug (a person)", "kick (a person)", "kiss (a person)", "lift (a person)",
    "listen to (a person)", "play with kids", "push (another person)",
    "sing to (e.g., self, a person, a group)", "take (an object) from (a person)",
    "talk to (e.g., self, a person, a group)", "watch (a person)",
)  # fmt: skip
# Classes with fewer than 25 boxes in validation or test, which the benchmark leaves out.
_NOT_EVALUATED = frozenset((2, 16, 18, 19, 21, 23, 25, 31, 32, 33, 35, 39, 40, 42, 44, 50, 53, 55, 71, 75))


@dataclass(frozen=True)
class ActionClass:
    """One of AVA's 80 atomic actions."""

    id: int  # 1..80, as in the CSV files
    name: str
    category: Category
    evaluated: bool  # one of the 60 that count for mAP


def _class_table() -> tuple[ActionClass, ...]:
    named: list[tuple[str, Category]] = [(name, "PM") for name in _PERSON_MOVEMENT]
    named += [(name, "OM") for name in _OBJECT_MANIPULATION]
    named += [(name, "PI") for name in _PERSON_INTERACTION]
    return tuple(
        ActionClass(number, name, category, number not in _NOT_EVALUATED)
        for number, (name, category) in enumerate(named, start=1)
    )


CLASSES = _class_table()
EVALUATED = tuple(action.id for action in CLASSES if action.evaluated)
NAMES = {action.id: action.name for action in CLASSES}


def keyframe(second: int) -> int:
    """Frame number of the key frame at `second`, counted at 30 frames per second from second 900."""
    return (second - 900) * FRAMES_PER_SECOND


def second(frame: int) -> int:
    """Second of the key frame `frame`; raises BadInput where no second begins at that frame."""
    if frame % FRAMES_PER_SECOND:
        raise BadInput("key frame", "frame", f"a multiple of {FRAMES_PER_SECOND}", frame)
    return 900 + frame // FRAMES_PER_SECOND


def nearest_keyframe(frame: np.ndarray) -> np.ndarray:
    """The key frame nearest to each of `frame` (N,): its labels hold for the second about it (section 4)."""
    return (frame + FRAMES_PER_SECOND // 2) // FRAMES_PER_SECOND * FRAMES_PER_SECOND


def to_evaluated(labels: np.ndarray) -> np.ndarray:
    """Columns of the 60 evaluated classes, ascending by id: (…, 80) or (…, 81) -> (…, 60).

    Column k of 80 is class k + 1; 81 columns carry an unused column 0, so that column k is class k.
    Raises BadInput for any other number of columns.
    """
    columns = labels.shape[-1] if labels.ndim else 0
    if columns not in (CLASS_COUNT, CLASS_COUNT + 1):
        raise BadInput("labels", "columns", "80 (class id - 1) or 81 (class id)", columns)
    return labels[..., np.array(EVALUATED) - (CLASS_COUNT + 1 - columns)]


def to_all(scores: np.ndarray) -> np.ndarray:
    """Scores of the 60 evaluated classes put at column id - 1: (…, 60) -> (…, 80), zeros elsewhere.

    Raises BadInput where there are not 60 columns.
    """
    columns = scores.shape[-1] if scores.ndim else 0
    if columns != len(EVALUATED):
        raise BadInput("scores", "columns", f"{len(EVALUATED)} (the evaluated classes)", columns)
    everything = np.zeros((*scores.shape[:-1], CLASS_COUNT), scores.dtype)
    everything[..., np.array(EVALUATED) - 1] = scores
    return everything
