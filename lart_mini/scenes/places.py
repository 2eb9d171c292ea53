"""Places: a room with four walls, or the open; where every ray of the camera ends, and in which colour.

Textures are drawn from a stream of chance: planks, tiles, carpet, grass, sand, paving; paper, bricks,
stripes, windows and pictures. No picture of anybody's is in them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lart_mini.files import opencv
from lart_mini.scenes.takes import Array

FLOOR_TILE, WALL_TILE = 2.0, 12.0  # m of floor and of wall after which a texture comes again
FLOOR_PIXELS, WALL_PIXELS = 256, (192, 768)
FLOORS = ("planks", "tiles", "carpet")
GROUNDS = ("grass", "sand", "paving")
HAZE = 30.0  # m after which a third of the ground's own colour is left


@dataclass(frozen=True, eq=False)
class Place:
    """Where a scene plays."""

    outdoors: bool
    low: Array  # (3,) m: a room's corner
    high: Array  # (3,) m: the opposite corner; its height is the ceiling
    floor: tuple[Array, Array]  # (256,256,3) of two metres, and the same blurred, for afar
    walls: list[Array]  # four, (192,768,3) of twelve metres
    ceiling: Array  # (3,) RGB
    sky: Array  # (2,3) RGB at the horizon and overhead
    hills: Array  # (4,3): height, number and phase of the waves that make the skyline
    clouds: Array  # (128,256) cover over the sky
    sun: Array  # (3,) the way that light goes, down
    ambient: float
    direct: float


def place(rng: np.random.Generator, low: Array, high: Array) -> Place:
    """A place about everything that happens between the corners `low` and `high` (3,), indoors or out."""
    outdoors = bool(rng.random() < 0.35)
    margin = rng.uniform(0.8, 2.5, (2, 3))
    low, high = low - margin[0], high + margin[1]
    high[1] = max(2.7, high[1] - margin[1, 1] + 0.4)
    kind = rng.choice(GROUNDS if outdoors else FLOORS)
    cv2, floor = opencv(), _floor(rng, kind)
    walls = [_wall(rng) for _ in range(4)]
    shared = rng.random(4) < 0.6  # walls that are papered as the first one is
    walls = [
        walls[0] * 0.99**k if same else wall for k, (wall, same) in enumerate(zip(walls, shared, strict=True))
    ]
    blue = np.array([[0.80, 0.86, 0.92], [0.36, 0.56, 0.86]]) * rng.uniform(0.85, 1.08)
    sun = np.array([rng.uniform(-0.7, 0.7), -1, rng.uniform(-0.7, 0.7)])
    cover = np.clip(3 * noise(rng, (128, 256)) + rng.uniform(-0.6, 0.4), 0, 1)
    hills = np.stack([rng.uniform(0.002, 0.012, 4), rng.integers(2, 12, 4), rng.uniform(0, 6.3, 4)], 1)
    return Place(
        outdoors=outdoors,
        low=low.astype(np.float32),
        high=high.astype(np.float32),
        floor=(floor, cv2.GaussianBlur(floor, (0, 0), 6, borderType=cv2.BORDER_REFLECT)),
        walls=walls,
        ceiling=np.array([0.86, 0.86, 0.84], np.float32),
        sky=blue.astype(np.float32),
        hills=hills.astype(np.float32),
        clouds=cover.astype(np.float32),
        sun=(sun / np.linalg.norm(sun)).astype(np.float32),
        ambient=float(rng.uniform(0.42, 0.6)),
        direct=float(rng.uniform(0.5, 0.75)),
    )


def noise(rng: np.random.Generator, size: tuple[int, int], octaves: int = 5) -> Array:
    """A cloudy pattern (H,W) about 0, within about ±1."""
    cv2, out = opencv(), np.zeros(size, np.float32)
    for octave in range(octaves):
        cells = 2 + 2 ** (octave + 1)
        coarse = rng.random((cells, cells)).astype(np.float32) - 0.5
        out += cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC) / 1.6**octave
    return out


def _floor(rng: np.random.Generator, kind: str) -> Array:
    n = FLOOR_PIXELS
    y, x = np.mgrid[:n, :n]
    base = {
        "planks": np.array([0.55, 0.38, 0.23]) * rng.uniform(0.7, 1.4),
        "tiles": rng.uniform(0.45, 0.85) + rng.uniform(-0.08, 0.08, 3),
        "carpet": rng.uniform(0.2, 0.6, 3) * 0.6 + 0.12,
        "grass": np.array([0.29, 0.43, 0.17]) * rng.uniform(0.8, 1.15),
        "sand": np.array([0.72, 0.62, 0.45]) * rng.uniform(0.85, 1.1),
        "paving": rng.uniform(0.42, 0.62) + rng.uniform(-0.03, 0.03, 3),
    }[kind]
    texture = base * (1 + 0.18 * _seamless(noise(rng, (n, n)))[..., None])
    if kind == "planks":
        board = x // 32
        ends = (y + 53 * board) % 128 < 1
        texture *= rng.uniform(0.82, 1.14, 8)[board % 8][..., None]
        texture *= np.where((x % 32 < 1) | ends, 0.62, 1)[..., None]
    elif kind in ("tiles", "paving"):
        side = 64 if kind == "tiles" else 128
        texture *= np.where((x % side < 2) | (y % side < 2), 0.72, 1)[..., None]
        shade = rng.uniform(0.75, 1) if kind == "tiles" else 1.0
        texture *= np.where((x // side + y // side) % 2 == 0, 1, shade)[..., None]
    else:
        cv2 = opencv()
        grain = cv2.GaussianBlur(rng.standard_normal((n, n)), (0, 0), 0.8, borderType=cv2.BORDER_REFLECT)
        texture *= 1 + (0.3 if kind == "grass" else 0.15) * grain[..., None]
    return np.clip(texture, 0, 1).astype(np.float32)


def _seamless(pattern: Array) -> Array:
    """A pattern that goes on over its edges: its mirror images fade in."""
    n = len(pattern)
    fade: Array = (np.abs(np.linspace(-1, 1, n)) ** 3 / 2).astype(np.float32)
    once: Array = pattern * (1 - fade) + pattern[:, ::-1] * fade
    return once * (1 - fade[:, None]) + once[::-1] * fade[:, None]


def _wall(rng: np.random.Generator) -> Array:
    """64 pixels a metre: paint, paper or bricks, with windows, a door, pictures, and a skirting board."""
    height, width = WALL_PIXELS
    y, x = np.mgrid[:height, :width]
    paint = rng.uniform(0.5, 0.9) + rng.uniform(-0.14, 0.14, 3)
    texture = paint * (1 + 0.05 * noise(rng, (height, width))[..., None])
    kind = rng.integers(4)
    if kind == 1:
        texture = texture * [1.0, 0.72, 0.6]
        texture *= np.where((y % 8 < 1) | ((x + 8 * ((y // 8) % 2)) % 16 < 1), 0.8, 1)[..., None]
    elif kind == 2:
        texture *= np.where((x // 12) % 2 == 0, 1, 0.93)[..., None]
    left = int(rng.integers(0, 60))
    while left < width - 130:
        what = rng.random()
        if what < 0.3:
            _window(rng, texture, left)
        elif what < 0.4:
            _door(rng, texture, left)
        elif what < 0.85:
            _picture(rng, texture, left)
        left += int(rng.integers(110, 260))
    texture[-7:] = texture[-7:] * 0.3 + 0.5 * paint
    return np.clip(texture, 0, 1).astype(np.float32)


def _window(rng: np.random.Generator, wall: Array, left: int) -> None:
    w, h, top = int(rng.integers(70, 110)), int(rng.integers(64, 84)), 40
    wall[top - 4 : top + h + 4, left : left + w] = 0.92
    view = np.linspace(1, 0, h)[:, None, None] * [0.55, 0.72, 0.95] + np.linspace(0, 1, h)[:, None, None] * [
        0.75,
        0.82,
        0.72,
    ]
    view = view + 0.1 * noise(rng, (h, w - 8), 3)[..., None]
    view[:, (w - 8) // 2 - 2 : (w - 8) // 2 + 2] = 0.92
    wall[top : top + h, left + 4 : left + w - 4] = view


def _door(rng: np.random.Generator, wall: Array, left: int) -> None:
    colour = np.array([0.5, 0.36, 0.24]) * rng.uniform(0.7, 1.6)
    wall[54:, left : left + 62] = colour * 0.75
    wall[58:, left + 4 : left + 58] = colour
    for top in (68, 128):
        wall[top : top + 46, left + 12 : left + 50] = colour * 0.88
    wall[124:128, left + 50 : left + 54] = 0.8


def _picture(rng: np.random.Generator, wall: Array, left: int) -> None:
    w, h = int(rng.integers(30, 90)), int(rng.integers(26, 60))
    top = int(rng.integers(36, 60))
    wall[top - 3 : top + h + 3, left - 3 + 4 : left + w + 3 + 4] = rng.uniform(0.1, 0.35)
    inside = rng.uniform(0.2, 0.8, 3) + 0.35 * noise(rng, (h, w), 3)[..., None] * rng.uniform(-1, 1, 3)
    wall[top : top + h, left + 4 : left + w + 4] = inside


def reach(at: Place, eye: Array, rays: Array) -> tuple[Array, Array, Array]:
    """Where rays (H,W,3) from `eye` (3,) end: number of the surface, distance in rays, floor, (H,W) each."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = [np.where(rays[..., 1] < -1e-6, -eye[1] / rays[..., 1], np.inf)]
        if not at.outdoors:
            ends.append(np.where(rays[..., 1] > 1e-6, (at.high[1] - eye[1]) / rays[..., 1], np.inf))
            for axis in (0, 2):
                for bound, sign in ((at.low[axis], -1), (at.high[axis], 1)):
                    far = (bound - eye[axis]) / rays[..., axis]
                    ends.append(np.where(rays[..., axis] * sign > 1e-6, far, np.inf))
    stacked = np.stack(ends).astype(np.float32)
    first, distance = stacked.argmin(axis=0), np.minimum(stacked.min(axis=0), np.float32(500))
    return first, distance, (first == 0) & (distance < 500)


def look(at: Place, eye: Array, rays: Array) -> tuple[Array, Array, Array]:
    """What rays (H,W,3) from `eye` (3,) end at: colours (H,W,3), distance in rays (H,W), floor (H,W)."""
    first, distance, floor = reach(at, eye, rays)
    points = eye + rays * distance[..., None]
    colours = _sky(at, rays) if at.outdoors else np.tile(at.ceiling * at.ambient * 1.5, (*floor.shape, 1))
    ground = _ground(at, points, distance)
    colours = np.where(floor[..., None], ground, colours)
    for k in range(0 if at.outdoors else 4):
        colours = np.where((first == 2 + k)[..., None], _on_wall(at, points, k), colours)
    return colours.astype(np.float32), distance, floor


def _ground(at: Place, points: Array, distance: Array) -> Array:
    u, v = (np.mod(points[..., axis] * (FLOOR_PIXELS / FLOOR_TILE), FLOOR_PIXELS) for axis in (0, 2))
    near, afar = (_texture(texture, u, v) for texture in at.floor)
    share = np.clip((distance - 3) / 8, 0, 1)[..., None]
    lit = (near * (1 - share) + afar * share) * (at.ambient - at.direct * at.sun[1])
    if at.outdoors:
        haze = np.exp(-distance / HAZE)[..., None]
        return lit * haze + at.sky[0] * 0.9 * (1 - haze)
    edge = np.minimum(points[..., [0, 2]] - at.low[[0, 2]], at.high[[0, 2]] - points[..., [0, 2]]).min(
        axis=-1
    )
    return lit * (0.7 + 0.3 * np.clip(edge / 0.5, 0, 1))[..., None]  # less light reaches corners


def _on_wall(at: Place, points: Array, wall: int) -> Array:
    along, axis = (points[..., 2], 2) if wall < 2 else (points[..., 0], 0)
    height, width = WALL_PIXELS
    u = np.mod((along - at.low[axis]) * (width / WALL_TILE), width)
    rise = np.minimum(points[..., 1] / 2.7, 1)  # above 2.7 m a wall is plain
    colours = _texture(at.walls[wall], u, (1 - rise) * (height - 1.01))
    facing = (0.12, 0.05, 0.0, 0.08)[wall]  # no two walls are lit alike
    corner = np.minimum(along - at.low[axis], at.high[axis] - along)
    dark = 0.75 + 0.25 * np.clip(np.minimum(corner, points[..., 1]) / 0.4, 0, 1)
    return colours * (at.ambient + 0.28 + facing) * dark[..., None]


def _texture(texture: Array, u: Array, v: Array) -> Array:
    cv2, u, v = opencv(), u.astype(np.float32), v.astype(np.float32)
    return cv2.remap(texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def _sky(at: Place, rays: Array) -> Array:
    """Blue that deepens overhead, clouds, and a line of hills."""
    flat = np.hypot(rays[..., 0], rays[..., 2])
    rise, turn = rays[..., 1] / flat, np.arctan2(rays[..., 0], rays[..., 2])
    up = np.clip(rise * 1.6, 0, 1)[..., None]
    colour = at.sky[0] * (1 - up) + at.sky[1] * up
    u = ((turn / (2 * np.pi) + 0.5) * 255).astype(np.float32)
    v = np.clip(rise * 110, 0, 127).astype(np.float32)
    cover, white = 0.6 * _texture(at.clouds, u, v)[..., None], np.clip(up * 6, 0, 1)
    colour = colour * (1 - cover) + cover * (white + (1 - white) * at.sky[0])
    height = (at.hills[:, 0] * (1 + np.sin(at.hills[:, 1] * turn[..., None] + at.hills[:, 2]))).sum(axis=-1)
    behind = np.array([0.42, 0.52, 0.5], np.float32) * at.sky[0]
    edge = np.clip((height - rise) * 150, 0, 1)[..., None]
    return colour * (1 - edge) + behind * edge
