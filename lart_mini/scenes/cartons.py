"""Cartons: what was in the hands of those who lift, carry and put down, put back where it was.

The capture had a real box and kept only the body. Where the hands of a clip touch it stands in contacts.csv,
by hand; labels are not asked. Between the hands it goes as they go; before it is taken and after it is left
it stands where that was, or falls from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lart_mini.people.clips import FRAMES_PER_SECOND, Contact
from lart_mini.scenes.staging import Performance
from lart_mini.scenes.takes import Array
from lart_mini.scenes.things import Mesh, carton

HANDS = (22, 23)  # joints: left, right
GRAVITY = 9.81  # m/s²
SETTLES = 4  # frames in which a carton goes from standing into the hands, and back
PALMS = 0.03  # m of the hands' joints' gap that is not carton


@dataclass(frozen=True, eq=False)
class Carton:
    """One carton of one actor over the T frames of a scene."""

    actor: int
    mesh: Mesh  # about its centre
    centre: Array  # (T,3) m
    turn: Array  # (T,3,3)
    there: np.ndarray  # (T,) bool
    held: np.ndarray  # (T,2) bool, in the left and the right hand


def cartons(
    rng: np.random.Generator,
    actors: Sequence[Performance],
    joints: Sequence[Array],
    contacts: dict[str, tuple[Contact, ...]],
) -> list[Carton]:
    """All actors' cartons, one for each take in which hands touch one; joints: (T,24,3) of each actor."""
    found = []
    for number, (actor, points) in enumerate(zip(actors, joints, strict=True)):
        for take, name in enumerate(actor.takes):
            mirrored = name.endswith("_mirrored")
            rows = contacts.get(name.removesuffix("_mirrored"), ())
            here = actor.present & (actor.shown == take)
            touched = np.zeros((len(actor.present), 2), bool)
            for row in rows:
                inside = here & (actor.source >= row.first) & (actor.source <= row.last)
                touched[inside] |= np.array(row.hands[::-1] if mirrored else row.hands)
            if touched.any():
                found.append(_carton(rng, number, actor, points[:, HANDS], touched, rows))
    return found


def _carton(
    rng: np.random.Generator,
    number: int,
    actor: Performance,
    hands: Array,
    held: np.ndarray,
    rows: Sequence[Contact],
) -> Carton:
    """hands: (T,2,3) m · held: (T,2)."""
    across = hands[:, 0] - hands[:, 1]
    both = held.all(axis=1)
    gap = np.linalg.norm(across, axis=1)[both if both.any() else held.any(axis=1)]
    mesh, size = carton(rng, float(np.clip(np.median(gap) - PALMS, 0.18, 0.45)))
    any_hand = held.any(axis=1)
    touched = np.flatnonzero(any_hand)
    nearest = touched[np.abs(touched - np.arange(len(held))[:, None]).argmin(axis=1)]  # (T,)
    centre, turn = _between(hands, held, nearest)
    low = size[1] / 2
    centre[:, 1] = np.maximum(centre[:, 1], low)
    there = np.ones(len(held), bool)
    stands = centre.copy()
    stands[:, 1] = low
    first, last = int(touched[0]), int(touched[-1])
    taken = any(actor.source[first] == row.first and row.before == "floor" for row in rows)
    left = any(actor.source[last] == row.last and row.after == "floor" for row in rows)
    if taken:
        centre[:first] = stands[first]
        _settle(centre, stands[first], np.arange(first, min(first + SETTLES, last + 1)), first - 1)
    else:
        there[:first] = False
    if left:
        centre[last + 1 :] = stands[last]
        _settle(centre, stands[last], np.arange(max(last - SETTLES + 1, first), last + 1), last + 1)
    else:
        falling = (np.arange(last + 1, len(held)) - last) / FRAMES_PER_SECOND
        centre[last + 1 :, 1] = np.maximum(centre[last, 1] - GRAVITY / 2 * falling**2, low)
        there[last + 1 :] &= actor.present[last + 1 :]
    return Carton(number, mesh, centre, turn, there, held)


def _between(hands: Array, held: np.ndarray, nearest: np.ndarray) -> tuple[Array, Array]:
    """Centre (T,3) and turn (T,3,3) of a carton: level, its width along the line between the hands.

    In one hand it keeps the way it last had from that hand; in none it stays as at the nearest frame of
    contact.
    """
    across = hands[:, 0] - hands[:, 1]
    middle = hands.mean(axis=1)
    both = np.flatnonzero(held.all(axis=1))
    steady = nearest if len(both) == 0 else both[np.abs(both - np.arange(len(held))[:, None]).argmin(axis=1)]
    x = across[steady] * [1, 0, 1]
    x /= np.linalg.norm(x, axis=1, keepdims=True) + 1e-9
    y = np.tile(np.array([0.0, 1, 0]), (len(x), 1))
    turn = np.stack([x, y, np.cross(x, y)], axis=2)
    centre = middle.copy()
    for side in (0, 1):
        alone = held[:, side] & ~held[:, 1 - side]
        centre[alone] = hands[alone, side] + (middle - hands[:, side])[steady[alone]]
    return centre[nearest].astype(np.float32), turn[nearest].astype(np.float32)


def _settle(centre: Array, stands: Array, frames: np.ndarray, still: int) -> None:
    """Let the carton go into the hands, or out of them, in the `frames` next to `still`."""
    share = (np.abs(frames - still) / (len(frames) + 1)).astype(np.float32)[:, None]
    centre[frames] = stands * (1 - share) + centre[frames] * share
