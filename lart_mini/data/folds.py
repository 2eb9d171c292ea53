"""Leave-takes-out folds: every take is held out once, together with its siblings.

A fold is another assignment of the library's takes to training and validation; captured-once takes, which the
single split parts in time, and other performers are pooled in whole. `mini_ava(…, fold=(k, K))` composes one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lart_mini import ava
from lart_mini.files import BadInput, whole_number
from lart_mini.people.clips import Clip, load_library
from lart_mini.scenes.takes import segments

LEAST_TAKES, LEAST_SOURCES = 3, 2  # that a class of the headline rests on


def assign(library: dict[str, Clip], folds: int) -> dict[str, int]:
    """Take → number of the fold that holds it out, from 0 on; takes without labels are in none.

    Deterministic and balanced: class after class, the one with fewest takes first, each of its takes goes to
    the fold with the fewest takes of the class; of equal folds to the one with the fewest frames. Raises
    BadInput for fewer than two folds, and for more than there are takes.
    """
    shown = _frames(library)
    whole_number("folds", "number of folds", folds, 2, len(shown))
    count = Counter(action for actions in shown.values() for action in actions)
    fold_of: dict[str, int] = {}
    for action in sorted(count, key=lambda action: (count[action], action)):
        # Long takes first: short ones even out the frames.
        takes = [take for take in shown if action in shown[take] and take not in fold_of]
        for take in sorted(takes, key=lambda take: (-sum(shown[take].values()), take)):
            fold_of[take] = min(range(folds), key=lambda fold: (*_load(shown, fold_of, fold, action), fold))
    return {take: fold_of[take] for take in shown}


def _load(shown: dict[str, Counter[int]], fold_of: dict[str, int], fold: int, action: int) -> tuple[int, int]:
    """Takes of `action` in a fold, and labelled frames of all actions."""
    takes = [take for take, number in fold_of.items() if number == fold]
    return sum(action in shown[take] for take in takes), sum(sum(shown[take].values()) for take in takes)


def _frames(library: dict[str, Clip]) -> dict[str, Counter[int]]:
    """Take → evaluated action → frames in which the take's clips show it; without takes that show none."""
    shown: dict[str, Counter[int]] = {}
    for segment in segments({name: replace(clip, split="train") for name, clip in library.items()}, "train"):
        labels = segment.clip.labels[segment.first : segment.last].sum(axis=0)
        for action in sorted(segment.actions & set(ava.EVALUATED)):
            shown.setdefault(segment.clip.take, Counter())[action] += int(labels[action - 1])
    return shown


def split_by_fold(library: dict[str, Clip], fold: Sequence[int]) -> dict[str, Clip]:
    """The library with the takes of fold k of K, `fold` = (k, K), for validation, all others to learn.

    Raises BadInput where K is more than the takes allow: where nothing that is held out is shown by others.
    """
    number, folds = fold
    fold_of = assign(library, folds)
    whole_number("folds", "fold", number, 0, folds - 1)
    parted = {
        name: replace(clip, split="val" if fold_of.get(clip.take) == number else "train")
        for name, clip in library.items()
    }
    if not segments(parted, "val"):
        found = f"none in fold {number} of {folds}"
        raise BadInput("folds", "number of folds", "few enough that each holds out what others show", found)
    return parted


@dataclass(frozen=True)
class Rests:
    """What a class rests on: the clips that show it, their takes and sources, and how many folds score it."""

    action: int
    clips: tuple[str, ...]
    takes: dict[str, int]  # take → fold
    sources: tuple[str, ...]

    @property
    def counts(self) -> bool:
        """Is it a class of the headline: at least three takes of two sources?"""
        return len(self.takes) >= LEAST_TAKES and len(self.sources) >= LEAST_SOURCES


def rests_on(library: dict[str, Clip], folds: int, action: int) -> Rests:
    """What an evaluated class rests on. Raises BadInput for another class, and for one that no take shows."""
    if action not in ava.EVALUATED:
        raise BadInput("folds", "class", "the id of one of AVA's 60 evaluated classes", action)
    found: Any = {name: clip for name, clip in library.items() if clip.labels[:, action - 1].any()}
    fold_of = assign(library, folds)
    takes = {clip.take: fold_of[clip.take] for clip in found.values() if clip.take in fold_of}
    if not takes:
        raise BadInput("folds", f"class {action}", "a take that shows it", f"none shows {ava.NAMES[action]}")
    return Rests(action, tuple(found), takes, tuple(sorted({clip.source for clip in found.values()})))


def takes_text(folds: int, action: int | None = None) -> str:
    """Lines to read: what each class rests on, then the takes of each fold; or one class's takes alone.

    Raises BadInput as `assign` and `rests_on` do.
    """
    library = load_library()
    if action is not None:
        rests = rests_on(library, folds, action)
        held = sorted((fold, take) for take, fold in rests.takes.items())
        return "\n".join([_told(rests, folds), "", *(f"fold {fold}  {take}" for fold, take in held)])
    fold_of = assign(library, folds)
    shown = sorted({action for counts in _frames(library).values() for action in counts})
    lines = [_told(rests_on(library, folds, action), folds) for action in shown]
    for fold in range(folds):
        takes = " ".join(sorted(take for take, number in fold_of.items() if number == fold))
        lines += ["", f"fold {fold} holds out {takes}"]
    return "\n".join(lines)


def _told(rests: Rests, folds: int) -> str:
    held = Counter(rests.takes.values())
    name, by_fold = ava.NAMES[rests.action], " ".join(str(held[fold]) for fold in range(folds))
    takes = f"{len(rests.clips):3d} clips of {len(rests.takes):2d} takes, {len(rests.sources)} sources"
    return (
        f"{rests.action:3d} {name:42s} {takes}; by fold {by_fold}; {'headline' if rests.counts else 'apart'}"
    )
