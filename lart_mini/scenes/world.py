"""A World: all of a scene that pixels need: clothes, a place with furniture, and what hands hold.

Its chance comes from streams of its own, so that motion, boxes and detections of a scene stay what they are.
What is drawn knows nothing of labels: a held thing makes the label carry/hold, the label never makes a
thing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lart_mini.people.clips import Contact
from lart_mini.scenes.cartons import Carton, cartons
from lart_mini.scenes.clothes import Dressed, dressed
from lart_mini.scenes.places import Place, place
from lart_mini.scenes.scene import Scene
from lart_mini.scenes.takes import Array
from lart_mini.scenes.things import (
    HANGING,
    HELD,
    INDOORS,
    OUTDOORS,
    Mesh,
    about_y,
    carton,
    furniture,
    held,
    on_post,
    standing,
)

HOLDS = 0.25  # chance that who handles no carton holds a thing in one hand: our choice, and no fact about AVA
ON_POST = 0.5  # of the things that stand about
AT_WALL = ("shelf", "sofa", "plant", "lamp")
TRIES = 60  # at a place for a piece of furniture


@dataclass(frozen=True)
class Thing:
    """What a number in the ID masks means."""

    kind: str  # one of HELD, INDOORS, OUTDOORS, or carton
    actor: int | None  # who holds or handles it; None for what stands about


@dataclass(frozen=True, eq=False)
class Piece:
    """A mesh in the world, and whose or what it is; −1 for nobody, no joint, and nothing."""

    mesh: Mesh
    person: int = -1
    joint: np.ndarray | int = -1  # (V,) of a body
    thing: int = -1


@dataclass(frozen=True, eq=False)
class InHand:
    """A thing that an actor holds in one hand, whatever it does."""

    kind: str
    side: int  # 0 left, 1 right
    mesh: Mesh
    turn: float  # radians about the vertical, for what hangs
    chance: float  # in [0, 1): it is there if this is below World's `holds`


def drawn_things(rng: np.random.Generator, people: int) -> list[InHand]:
    """A thing for each actor, be it there or not: so that a carton of one changes no other's things."""
    found = []
    for _ in range(people):
        kind, side, chance = HELD[rng.integers(len(HELD))], int(rng.integers(2)), float(rng.random())
        found.append(InHand(kind, side, held(rng, kind), float(rng.uniform(-0.5, 0.5)), chance))
    return found


class World:
    """The scene's people dressed, its place, and all things; `moving` gives what is where at a frame.

    `holds`: the chance that an actor without a carton holds something. `drawn` False leaves out what is held
    or handled, and nothing else: the audits ask what is learnt then.
    """

    def __init__(
        self,
        scene: Scene,
        contacts: dict[str, tuple[Contact, ...]],
        *,
        holds: float = HOLDS,
        drawn: bool = True,
    ) -> None:
        self.scene, self.drawn = scene, drawn
        streams = {
            name: scene.stream(name)
            for name in ("clothes", "held", "cartons", "place", "furniture", "sensor")
        }
        self.people: list[Dressed] = [
            dressed(streams["clothes"], actor, scene.body, outfit)
            for actor, outfit in zip(scene.actors, scene.outfits, strict=True)
        ]
        joints = [person.joints for person in self.people]
        self.cartons: list[Carton] = cartons(streams["cartons"], scene.actors, joints, contacts)
        busy = {one.actor for one in self.cartons}
        draws = enumerate(drawn_things(streams["held"], len(self.people)))
        self.in_hand = {k: one for k, one in draws if k not in busy and one.chance < holds}
        path = np.concatenate([actor.translation[actor.present][::5] for actor in scene.actors])
        eye = scene.camera.position
        ends = np.concatenate([path, eye[None]])
        self.place: Place = place(streams["place"], ends.min(axis=0), ends.max(axis=0))
        self.things: list[Thing] = []
        self.standing: list[Piece] = self._furniture(streams["furniture"], path)
        self._first_handled = len(self.things)
        self.things += [Thing(one.kind, actor) for actor, one in self.in_hand.items()]
        self.things += [Thing("carton", one.actor) for one in self.cartons]
        bright, *balance, grain = streams["sensor"].uniform(size=5).tolist()
        self.gain = ((0.85 + 0.3 * bright) * (0.94 + 0.12 * np.array(balance))).astype(np.float32)
        self.grain = np.float32(0.004 + 0.014 * grain)

    def _furniture(self, rng: np.random.Generator, path: Array) -> list[Piece]:
        """What stands about: furniture, cartons, and the same things that hands hold, where nobody walks."""
        kinds = OUTDOORS if self.place.outdoors else INDOORS
        pieces = [
            *rng.choice(kinds, rng.integers(3, 7)),
            *["carton"] * int(rng.integers(1, 4)),
            *rng.choice(HELD, rng.integers(4, 9)),
        ]
        if self.place.outdoors:
            pieces = [*pieces, *rng.choice(OUTDOORS[:3], 10)]  # trees and bushes further off
        taken, found = [self.scene.camera.position[[0, 2]]], []
        for kind in map(str, pieces):
            small = kind in (*HELD, "carton")
            mesh = self._one(rng, kind)
            far = 14.0 if kind in OUTDOORS else 2.0
            for _ in range(TRIES):
                to, turn = self._spot(rng, kind, far)
                apart = min(float(np.linalg.norm(to - other)) for other in taken)
                walked = np.linalg.norm(path[:, [0, 2]] - to, axis=1).min()
                if (
                    apart > 0.7
                    and walked > (0.6 if small else 1.0)
                    and not self._hides(path, to, 0.4 if small else 0.8)
                ):
                    found.append(Piece(mesh.placed(about_y(turn), (to[0], 0, to[1])), thing=len(self.things)))
                    self.things.append(Thing(kind, None))
                    taken.append(to)
                    break
        return found

    def _one(self, rng: np.random.Generator, kind: str) -> Mesh:
        if kind == "carton":
            return standing(carton(rng)[0])
        if kind not in HELD:
            return furniture(rng, kind)
        mesh, high, height = held(rng, kind), rng.random() < ON_POST, rng.uniform(0.3, 1.1)
        return on_post(rng, mesh, height) if high else standing(mesh)

    def _spot(self, rng: np.random.Generator, kind: str, far: float) -> tuple[np.ndarray, float]:
        """A place (x, z) on the floor, and how to turn there; what belongs there stands at a wall.

        `far`: m beyond where people are that something may stand in the open.
        """
        low, high = self.place.low[[0, 2]], self.place.high[[0, 2]]
        if self.place.outdoors:
            low, high = low - far, high + far
        to, turn, wall = (
            rng.uniform(low + 0.5, high - 0.5),
            float(rng.uniform(-np.pi, np.pi)),
            rng.integers(4),
        )
        if kind in AT_WALL and not self.place.outdoors:
            axis, side = divmod(int(wall), 2)
            to[axis] = high[axis] - 0.42 if side else low[axis] + 0.42
            turn = (np.pi / 2 if axis == 0 else 0.0) + (np.pi if side else 0.0)
        return to, turn

    def _hides(self, path: Array, to: np.ndarray, margin: float) -> bool:
        """Would something at `to` stand between the camera and a place of `path`, seen from above?"""
        eye = self.scene.camera.position[[0, 2]]
        rays, off = path[:, [0, 2]] - eye, to - eye
        along = np.clip((rays @ off) / (rays**2).sum(axis=1), 0, 1)
        beside = np.linalg.norm(off - along[:, None] * rays, axis=1)
        return bool(((beside < margin) & (along < 0.98)).any())

    # ------------------------------------------------------------------------------------------- at a frame

    def moving(self, t: int) -> list[Piece]:
        """People, and what they hold or handle, at frame `t`."""
        pieces = []
        for number, (actor, person) in enumerate(zip(self.scene.actors, self.people, strict=True)):
            if actor.present[t]:
                vertices, normals = person.posed(t)
                mesh = Mesh(vertices, person.faces, person.colours, normals)
                pieces.append(Piece(mesh, person=number, joint=person.joint))
        return pieces + (self._handled(t) if self.drawn else [])

    def _handled(self, t: int) -> list[Piece]:
        pieces = []
        for number, (actor, one) in enumerate(self.in_hand.items(), start=self._first_handled):
            if self.scene.actors[actor].present[t]:
                pieces.append(Piece(_in_hand(one, self.people[actor], t), thing=number))
        for number, box in enumerate(self.cartons, start=self._first_handled + len(self.in_hand)):
            if box.there[t]:
                pieces.append(Piece(box.mesh.placed(box.turn[t], box.centre[t]), thing=number))
        return pieces

    def held_by(self, actor: int, t: int) -> list[int]:
        """Numbers of the things that an actor has in hand at frame `t`, seen or not."""
        if not self.scene.actors[actor].present[t]:
            return []
        first = self._first_handled
        found = [first + k for k, one in enumerate(self.in_hand) if one == actor]
        first += len(self.in_hand)
        return found + [
            first + k for k, box in enumerate(self.cartons) if box.actor == actor and box.held[t].any()
        ]


def _in_hand(one: InHand, person: Dressed, t: int) -> Mesh:
    """A held thing at its hand: what hangs is upright, all else goes on along the hand, tipped forward."""
    wrist, hand = person.joints[t, 20 + one.side], person.joints[t, 22 + one.side]
    grip, ahead = wrist + 0.7 * (hand - wrist), person.facing[t][:, 2]
    if one.kind in HANGING:
        turn = about_y(float(np.arctan2(ahead[0], ahead[2])) + np.pi / 2 + one.turn)
    else:
        down = hand - wrist
        y = -(0.87 * down / (np.linalg.norm(down) + 1e-6) + 0.5 * ahead)
        y /= np.linalg.norm(y) + 1e-6
        x = np.cross(y, ahead)
        x /= np.linalg.norm(x) + 1e-6
        turn = np.stack([x, y, np.cross(x, y)], axis=1)
    mesh = one.mesh.placed(turn, grip)
    sunk = float(mesh.vertices[:, 1].min())
    return mesh.placed(np.eye(3), (0, max(0.0, 0.005 - sunk), 0))  # not through the floor
