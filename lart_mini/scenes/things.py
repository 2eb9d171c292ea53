"""Things: what hands hold, cartons, furniture, trees; each a mesh of coloured triangles in metres, y up.

What is held has its grip at the origin and hangs down from it; all else stands on the floor about the origin.
Sizes and colours come from the same draws whether a thing is held or merely stands about (rule 2 of the
rendered scenes: that a bag is in the picture says nothing, that it is in a hand says all).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lart_mini.scenes.takes import Array

Vector = Sequence[float] | np.ndarray  # three numbers

HELD = ("bag", "case", "box", "umbrella", "guitar", "racket", "book")  # in one hand, each as often
HANGING = ("bag", "case", "box", "guitar")  # upright whatever the arm does; the others turn with the hand
INDOORS = ("table", "chair", "shelf", "sofa", "lamp", "plant", "stool")
OUTDOORS = ("tree", "tree", "bush", "bench", "rock", "lamp post")
CARDBOARD = np.array([0.66, 0.5, 0.33])
_CORNERS = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32) / 2


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles with a colour and an outward normal at each vertex."""

    vertices: Array  # (V,3) m
    faces: np.ndarray  # (F,3) int32, vertex numbers
    colours: Array  # (V,3) RGB in [0, 1]
    normals: Array  # (V,3), length 1

    def placed(self, turn: np.ndarray, to: Vector) -> Mesh:
        """Turned by a rotation (3,3) about the origin, then moved by `to` (3,)."""
        turn = np.asarray(turn, np.float32)
        moved = self.vertices @ turn.T + np.asarray(to, np.float32)
        return replace(self, vertices=moved, normals=self.normals @ turn.T)

    def scaled(self, factor: float) -> Mesh:
        """`factor` times as large."""
        return replace(self, vertices=self.vertices * np.float32(factor))


def together(parts: Sequence[Mesh]) -> Mesh:
    """One mesh of several; of none an empty one."""
    first = np.cumsum([0, *(len(part.vertices) for part in parts)])
    none = np.zeros((0, 3), np.float32)
    return Mesh(
        np.concatenate([none, *(part.vertices for part in parts)]),
        np.concatenate(
            [np.zeros((0, 3), np.int32), *(part.faces + k for part, k in zip(parts, first, strict=False))],
            dtype=np.int32,
        ),
        np.concatenate([none, *(part.colours for part in parts)]),
        np.concatenate([none, *(part.normals for part in parts)]),
    )


def about_y(angle: float) -> Array:
    """The rotation (3,3) by `angle` radians about the vertical; π/2 brings +z to +x."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]], np.float32)


def block(size: Vector, colour: Vector, centre: Vector = (0, 0, 0)) -> Mesh:
    """A box of `size` (3,) about `centre`, four vertices a side."""
    vertices, normals = [], []
    for axis in range(3):
        for side in (-0.5, 0.5):
            corners = np.zeros((4, 3), np.float32)
            corners[:, axis] = side
            corners[:, [(axis + 1) % 3, (axis + 2) % 3]] = _CORNERS
            vertices.append(corners)
            normals.append(np.tile(2 * side * np.eye(3, dtype=np.float32)[axis], (4, 1)))
    faces = np.concatenate([np.array([[0, 1, 2], [0, 2, 3]], np.int32) + 4 * k for k in range(6)])
    corners = np.concatenate(vertices) * np.asarray(size, np.float32) + np.asarray(centre, np.float32)
    return Mesh(corners, faces, _plain(colour, 24), np.concatenate(normals))


def lathe(profile: Sequence[tuple[float, float]], colour: Vector, sides: int = 10, flat: float = 1) -> Mesh:
    """A surface of revolution about the y axis, through `profile`: (height, radius) from one end to the
    other.

    `flat`: its depth (z) as a share of its width (x).
    """
    rings = np.array(profile, np.float32)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    around = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)  # (sides,2)
    vertices = np.empty((len(rings), sides, 3), np.float32)
    vertices[..., 1] = rings[:, :1]
    vertices[..., [0, 2]] = rings[:, 1, None, None] * around
    vertices[..., 2] *= flat
    slope = np.gradient(rings, axis=0)  # (heights' step, radii's step)
    steep = np.linalg.norm(slope, axis=1, keepdims=True) + 1e-9
    normals = np.empty_like(vertices)
    sign = np.sign(rings[-1, 0] - rings[0, 0]) or 1
    normals[..., [0, 2]] = sign * (slope[:, :1] / steep)[:, None] * around
    normals[..., 1] = -sign * (slope[:, 1:] / steep)
    normals[..., 2] /= flat
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    k = np.arange(len(rings) * sides).reshape(len(rings), sides)
    a, b, c, d = k[:-1], np.roll(k, -1, 1)[:-1], np.roll(k, -1, 1)[1:], k[1:]
    faces = np.stack([a, b, c, a, c, d], -1).reshape(-1, 3).astype(np.int32)
    flatly = (vertices.reshape(-1, 3), faces, _plain(colour, k.size), normals.reshape(-1, 3))
    return Mesh(*flatly)


def ball(radius: float, colour: Vector, centre: Vector = (0, 0, 0), flat: float = 1) -> Mesh:
    """A ball about `centre`; `flat`: its depth as a share of its width."""
    turns = np.linspace(-np.pi / 2, np.pi / 2, 7)
    profile = [(radius * float(np.sin(turn)), radius * float(np.cos(turn))) for turn in turns]
    return lathe(profile, colour, 10, flat).placed(np.eye(3), centre)


def _plain(colour: Vector, count: int) -> Array:
    return np.tile(np.clip(np.asarray(colour, np.float32), 0, 1), (count, 1))


# ------------------------------------------------------------------------------------------------ to be held


def any_colour(rng: np.random.Generator) -> np.ndarray:
    """RGB (3,), less bright than paint."""
    drawn = rng.uniform(0.05, 0.95, 3)
    return 0.7 * drawn + 0.3 * drawn.mean()


def held(rng: np.random.Generator, kind: str) -> Mesh:
    """A thing for one hand, of one of HELD, in any colours; its grip is the origin."""
    main, other = any_colour(rng), any_colour(rng)
    size = rng.uniform(0.85, 1.2)
    return together(_HELD[kind](main, other)).scaled(size)


def _bag(main: np.ndarray, other: np.ndarray) -> list[Mesh]:
    straps = [block((0.02, 0.17, 0.015), other, (x, -0.085, z)) for x in (-0.08, 0.08) for z in (-0.05, 0.05)]
    body = lathe([(-0.48, 0.0), (-0.48, 0.17), (-0.3, 0.18), (-0.17, 0.16), (-0.17, 0.0)], main, 12, 0.45)
    return [body, block((0.345, 0.04, 0.155), other, (0, -0.38, 0)), *straps]


def _case(main: np.ndarray, other: np.ndarray) -> list[Mesh]:
    edges = [block((0.03, 0.33, 0.135), main * 0.6, (x, -0.22, 0)) for x in (-0.215, 0.215)]
    return [
        block((0.44, 0.32, 0.13), main, (0, -0.22, 0)),
        *edges,
        block((0.13, 0.04, 0.03), other * 0.5, (0, -0.03, 0)),
    ]


def _box(main: np.ndarray, other: np.ndarray) -> list[Mesh]:
    cardboard = CARDBOARD * (0.8 + 0.5 * main[0]) if main[1] < 0.6 else main  # most are of cardboard
    return [
        block((0.30, 0.26, 0.26), cardboard, (0, -0.21, 0)),
        block((0.305, 0.265, 0.05), other, (0, -0.21, 0)),
        block((0.02, 0.08, 0.02), other, (0, -0.04, 0)),
    ]


def _umbrella(main: np.ndarray, other: np.ndarray) -> list[Mesh]:
    cloth = lathe([(-0.85, 0.008), (-0.6, 0.035), (-0.2, 0.055), (-0.08, 0.02)], main, 8)
    return [cloth, lathe([(-0.1, 0.016), (0.08, 0.018)], other * 0.6, 6)]


def _guitar(main: np.ndarray, other: np.ndarray) -> list[Mesh]:
    wood = main * 0.6 + [0.3, 0.18, 0.08]
    low, high = ball(0.19, wood, (0, -0.6, 0), 0.28), ball(0.14, wood, (0, -0.37, 0), 0.33)
    neck = [
        block((0.05, 0.5, 0.03), other * 0.5, (0, -0.05, 0.02)),
        block((0.08, 0.14, 0.03), wood, (0, 0.22, 0)),
    ]
    return [low, high, ball(0.055, (0.08, 0.06, 0.05), (0, -0.43, 0.03), 0.5), *neck]


def _racket(main: np.ndarray, other: np.ndarray) -> list[Mesh]:
    head = ball(0.145, main, (0, -0.53, 0), 0.12)
    strings = ball(0.115, (0.9, 0.9, 0.86), (0, -0.53, 0), 0.2)
    return [
        head,
        strings,
        lathe([(-0.4, 0.014), (-0.08, 0.016)], main, 6),
        lathe([(-0.1, 0.02), (0.08, 0.02)], other, 6),
    ]


def _book(main: np.ndarray, other: np.ndarray) -> list[Mesh]:
    covers = [block((0.22, 0.30, 0.008), main, (0, -0.10, z)) for z in (-0.022, 0.022)]
    return [
        *covers,
        block((0.205, 0.285, 0.038), (0.93, 0.91, 0.85), (0.005, -0.10, 0)),
        block((0.012, 0.3, 0.05), other, (-0.108, -0.1, 0)),
    ]


_HELD = {
    "bag": _bag,
    "case": _case,
    "box": _box,
    "umbrella": _umbrella,
    "guitar": _guitar,
    "racket": _racket,
    "book": _book,
}  # fmt: skip


def carton(rng: np.random.Generator, width: float | None = None) -> tuple[Mesh, Array]:
    """A carton about the origin and its size (3,); `width` between the hands that carry it, else any."""
    drawn, high, deep = rng.uniform(0.24, 0.36), rng.uniform(0.2, 0.28), rng.uniform(0.22, 0.34)
    colour = CARDBOARD * rng.uniform(0.75, 1.25) if rng.random() < 0.7 else any_colour(rng)
    size = np.array([drawn if width is None else width, high, deep], np.float32)
    tape = np.clip(colour * 1.25, 0, 1) if rng.random() < 0.5 else colour * 0.7
    strip = block((0.06, size[1] + 0.006, size[2] + 0.006), tape)
    flap = block((size[0] + 0.004, 0.004, size[2] * 0.9), colour * 0.85, (0, size[1] / 2 + 0.001, 0))
    return together([block(size, colour), flap, strip]), size


# ----------------------------------------------------------------------------------------------- to stand
# about


def standing(mesh: Mesh, height: float = 0.0) -> Mesh:
    """The thing with its lowest point at `height` m."""
    return mesh.placed(np.eye(3), (0, height - float(mesh.vertices[:, 1].min()), 0))


def on_post(rng: np.random.Generator, mesh: Mesh, height: float) -> Mesh:
    """The thing on a post of `height` m: beside a body, at the height of hands, it is in no hand yet."""
    colour = rng.uniform(0.1, 0.7, 3)
    post = lathe([(0.0, 0.11), (0.03, 0.1), (0.04, 0.025), (height, 0.025)], colour, 8)
    return together([standing(mesh, height), post])


def furniture(rng: np.random.Generator, kind: str) -> Mesh:
    """A piece of one of INDOORS or OUTDOORS, in wood or any colour."""
    wood, free = np.array([0.46, 0.31, 0.19]) * rng.uniform(0.6, 1.6), rng.uniform(0.12, 0.85, 3)
    colour = wood if rng.random() < 0.6 else free
    return together(_FURNITURE[kind](colour, free)).scaled(rng.uniform(0.92, 1.08))


def _legs(height: float, x: float, z: float, colour: np.ndarray, thick: float = 0.05) -> list[Mesh]:
    places = [(a * x, b * z) for a in (-1, 1) for b in (-1, 1)]
    return [block((thick, height, thick), colour * 0.75, (a, height / 2, b)) for a, b in places]


def _table(colour: np.ndarray, other: np.ndarray) -> list[Mesh]:
    vase = lathe([(0.745, 0.05), (0.82, 0.08), (0.9, 0.04), (0.95, 0.06)], other)
    top = [block((1.2, 0.04, 0.7), colour, (0, 0.72, 0)), block((1.1, 0.09, 0.6), colour * 0.8, (0, 0.66, 0))]
    return [*top, *_legs(0.7, 0.54, 0.29, colour), vase.placed(np.eye(3), (0.25, 0, 0.1))]


def _chair(colour: np.ndarray, other: np.ndarray) -> list[Mesh]:
    back = [block((0.04, 0.5, 0.04), colour * 0.8, (x, 0.7, -0.2)) for x in (-0.19, 0.19)]
    slats = [block((0.36, 0.07, 0.025), colour, (0, y, -0.2)) for y in (0.62, 0.76, 0.9)]
    seat = [block((0.44, 0.04, 0.44), colour, (0, 0.44, 0)), block((0.4, 0.04, 0.4), other, (0, 0.475, 0))]
    return [*seat, *back, *slats, *_legs(0.44, 0.19, 0.19, colour, 0.04)]


def _stool(colour: np.ndarray, other: np.ndarray) -> list[Mesh]:
    return [
        lathe([(0.44, 0.0), (0.44, 0.17), (0.5, 0.18), (0.5, 0.0)], other),
        *_legs(0.44, 0.11, 0.11, colour, 0.035),
    ]


def _shelf(colour: np.ndarray, other: np.ndarray) -> list[Mesh]:
    sides = [block((0.03, 1.7, 0.32), colour, (x, 0.85, 0)) for x in (-0.45, 0.45)]
    boards = [block((0.9, 0.03, 0.32), colour, (0, y, 0)) for y in (0.05, 0.45, 0.85, 1.25, 1.69)]
    tints = 0.48 + 0.37 * np.sin(np.outer(np.arange(12) + 9 * other[0], (2.1, 3.7, 5.3)))
    widths = 0.05 + 0.06 * tints[:, 0]
    books = [
        block(
            (widths[k], 0.2 + 0.1 * tint[1], 0.2),
            tint,
            (-0.33 + 0.17 * (k % 4), y + 0.12 + 0.05 * tint[1], 0.03),
        )
        for k, (tint, y) in enumerate(zip(tints, np.repeat([0.45, 0.85, 1.25], 4), strict=True))
    ]
    return [block((0.9, 1.7, 0.02), colour * 0.7, (0, 0.85, -0.15)), *sides, *boards, *books]


def _sofa(colour: np.ndarray, other: np.ndarray) -> list[Mesh]:
    cushions = [block((0.72, 0.14, 0.62), other, (x, 0.44, 0.06)) for x in (-0.37, 0.37)]
    arms = [block((0.16, 0.6, 0.82), other * 0.85, (x, 0.3, 0)) for x in (-0.82, 0.82)]
    return [
        block((1.6, 0.38, 0.8), other * 0.8, (0, 0.2, 0)),
        block((1.6, 0.5, 0.18), other * 0.9, (0, 0.6, -0.32)),
        *cushions,
        *arms,
    ]


def _lamp(colour: np.ndarray, other: np.ndarray) -> list[Mesh]:
    stand = lathe([(0.0, 0.15), (0.03, 0.14), (0.04, 0.015), (1.35, 0.015)], (0.2, 0.2, 0.2), 10)
    return [stand, lathe([(1.25, 0.2), (1.6, 0.13)], 0.5 + 0.5 * other, 12)]


def _plant(colour: np.ndarray, other: np.ndarray) -> list[Mesh]:
    pot = lathe([(0.0, 0.12), (0.3, 0.17), (0.3, 0.0)], colour)
    green = np.array([0.2, 0.42, 0.18])
    leaves = [
        ball(0.2, green * (0.8 + 0.1 * k), (0.16 * np.sin(2.4 * k), 0.5 + 0.13 * k, 0.16 * np.cos(2.4 * k)))
        for k in range(5)
    ]
    return [pot, lathe([(0.25, 0.025), (0.9, 0.02)], (0.35, 0.25, 0.15), 6), *leaves]


def _tree(colour: np.ndarray, other: np.ndarray) -> list[Mesh]:
    green = np.array([0.2, 0.4, 0.14]) * (0.7 + 0.5 * other) + [0.06, 0, 0]
    trunk = lathe([(0.0, 0.2), (0.4, 0.13), (2.2, 0.09)], (0.33, 0.25, 0.17), 8)
    places = [(0.55 * np.sin(2.1 * k), 2.1 + 0.28 * k, 0.55 * np.cos(2.1 * k)) for k in range(6)]
    return [
        trunk,
        *(ball(0.72 - 0.05 * k, green * (0.85 + 0.06 * k), place) for k, place in enumerate(places)),
    ]


def _bush(colour: np.ndarray, other: np.ndarray) -> list[Mesh]:
    green = np.array([0.2, 0.38, 0.15]) * (0.7 + 0.6 * other)
    return [
        ball(
            0.42 - 0.05 * k,
            green * (0.85 + 0.08 * k),
            (0.4 * np.sin(2.3 * k), 0.3 + 0.08 * k, 0.3 * np.cos(2.3 * k)),
        )
        for k in range(4)
    ]


def _bench(colour: np.ndarray, other: np.ndarray) -> list[Mesh]:
    slats = [block((1.6, 0.04, 0.1), colour, (0, 0.44, z)) for z in (-0.14, 0.0, 0.14)]
    back = [block((1.6, 0.1, 0.03), colour, (0, y, -0.24)) for y in (0.62, 0.78)]
    iron = np.array([0.2, 0.22, 0.23])
    posts = [block((0.05, 0.85, 0.05), iron, (x, 0.42, -0.22)) for x in (-0.65, 0.65)]
    return [*slats, *back, *posts, *_legs(0.42, 0.65, 0.15, iron / 0.75)]


def _rock(colour: np.ndarray, other: np.ndarray) -> list[Mesh]:
    grey = 0.35 + 0.2 * other.mean() + 0.05 * other
    return [ball(0.45, grey, (0, 0.12, 0), 0.75), ball(0.3, grey * 0.93, (0.35, 0.06, 0.12), 0.9)]


def _lamp_post(colour: np.ndarray, other: np.ndarray) -> list[Mesh]:
    post = lathe([(0.0, 0.12), (0.25, 0.1), (0.3, 0.045), (2.9, 0.035)], other * 0.4, 8)
    return [post, ball(0.17, (0.96, 0.95, 0.88), (0, 3.0, 0))]


_FURNITURE = {
    "table": _table,
    "chair": _chair,
    "stool": _stool,
    "shelf": _shelf,
    "sofa": _sofa,
    "lamp": _lamp,
    "plant": _plant,
    "tree": _tree,
    "bush": _bush,
    "bench": _bench,
    "rock": _rock,
    "lamp post": _lamp_post,
}  # fmt: skip
