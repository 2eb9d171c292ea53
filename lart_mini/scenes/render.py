"""The renderer: a World as pictures and ID masks, by OpenCV's software rasteriser, without GL, GPU or
display.

A scene's camera turns but never moves, so what stands still (room, furniture, their light and shadows) is
drawn once for a stretch of frames, as a wide view, and each frame takes its part of it by a homography.
People and what they handle are drawn over it, triangle by triangle, with one depth buffer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lart_mini.files import opencv, whole_number
from lart_mini.scenes.camera import Camera
from lart_mini.scenes.places import look, reach
from lart_mini.scenes.takes import Array
from lart_mini.scenes.things import Mesh, together
from lart_mini.scenes.world import Piece, World

SIZE = (216, 384)  # height, width of a picture, pixels
NEAR, FAR = 0.1, 60.0  # m
FLIP = np.array([1, -1, -1], np.float32)  # our camera looks along +z with y down, OpenCV's along −z with y up
SCALE = 1 / 1024  # of numbers in ID pictures: the rasteriser promises colours in [0, 1]
WIDER, FINER = 1.25, 1.4  # a still view beside a frame: its half width, and its pixels
LARGEST = 4096  # pixels of a side


@dataclass(frozen=True, eq=False)
class Masks:
    """Whose and what each pixel of a frame is."""

    person: np.ndarray  # (H,W) int16: number of the actor whose body is seen, −1 for nobody's
    joint: np.ndarray  # (H,W) int16: SMPL's joint that this place of the body hangs on, −1 for no body
    thing: np.ndarray  # (H,W) int16: number in World.things, −1 for none


@dataclass(frozen=True, eq=False)
class _Still:
    """All that does not move, seen one way."""

    rotation: Array  # (3,3)
    depth: Array  # (h,w) m along the axis of its own view
    thing: np.ndarray  # (h,w) float32, 1 + number in World.things
    picture: Array | None  # (h,w,3) RGB, linear; None where masks alone were asked for
    lit: Array | None  # (h,w) share of the floor's direct light that a shadow can take


class Renderer:
    """Frames (H,W,3) uint8 RGB of a World, and their masks; every frame by itself, in any order.

    `size`: height and width of the pictures, pixels, of the camera's shape or of another (then its width
    counts and rows are cut or added above and below). Raises BadInput for a size that is none, and where
    OpenCV is missing.
    """

    def __init__(self, world: World, size: tuple[int, int] = SIZE) -> None:
        for name, pixels in zip(("height", "width"), size, strict=True):
            whole_number("renderer", name, pixels, 1, LARGEST)
        self.cv2 = opencv()
        self.world, self.size = world, size
        camera = world.scene.camera
        self.focal = camera.focal * size[1] / camera.size[1]  # pixels
        self.eye = camera.position.astype(np.float32)
        self._settings = {
            flat: self.cv2.TriangleRasterizeSettings()
            .setCullingMode(self.cv2.RASTERIZE_CULLING_NONE)
            .setShadingType(self.cv2.RASTERIZE_SHADING_FLAT if flat else self.cv2.RASTERIZE_SHADING_SHADED)
            for flat in (False, True)
        }
        self._view_of = _views(camera, size, self.focal)  # (T,) the frame whose view each frame is cut from
        self._stills: dict[int, _Still] = {}
        self._grain = world.scene.stream("grain").standard_normal((size[0] + 64, size[1] + 64, 3), np.float32)
        self._tone = _tone_curve()

    def frame(self, t: int) -> np.ndarray:
        """The picture (H,W,3) uint8 RGB of frame `t`."""
        still, to_still = self._still(t), self._to_still(t)
        assert still.picture is not None and still.lit is not None
        image, lit = (self._cut(layer, to_still) for layer in (still.picture, still.lit))
        pieces = self.world.moving(t)
        if pieces:
            mesh = together([piece.mesh for piece in pieces])
            image *= (1 - self._shadow(mesh, self._axes(t), self.focal, self.size, 1.3) * lit)[..., None]
            depth = self._depth(still, to_still, t)
            self._draw(mesh, _light(self.world, mesh), self._axes(t), self.focal, image, depth)
        return self._developed(image, t)

    def masks(self, t: int) -> Masks:
        """Whose and what each pixel of frame `t` is, drawn as the picture is."""
        still, to_still = self._still(t, coloured=False), self._to_still(t)
        numbers = np.zeros((*self.size, 3), np.float32)
        numbers[..., 2] = self._cut(still.thing, to_still, nearest=True)
        pieces = self.world.moving(t)
        if pieces:
            codes = np.concatenate([_codes(piece) for piece in pieces])
            depth = self._depth(still, to_still, t)
            mesh = together([piece.mesh for piece in pieces])
            self._draw(mesh, codes, self._axes(t), self.focal, numbers, depth, flat=True)
        found = np.rint(numbers / SCALE).astype(np.int16) - 1
        return Masks(found[..., 0], found[..., 1], found[..., 2])

    def seen(self, t: int) -> dict[int, int]:
        """Pixels of each thing that is seen at frame `t`, by its number in World.things."""
        numbers, counts = np.unique(self.masks(t).thing, return_counts=True)
        return {int(k): int(n) for k, n in zip(numbers, counts, strict=True) if k >= 0}

    def _axes(self, t: int) -> Array:
        return self.world.scene.camera.rotation[t]

    def _draw(
        self,
        mesh: Mesh,
        colours: Array,
        axes: Array,
        focal: float,
        image: Array,
        depth: Array,
        flat: bool = False,
    ) -> None:
        """Draw a mesh in the world over `image` (h,w,3) where it is nearer than `depth` (h,w)."""
        points = ((mesh.vertices - self.eye) @ (axes.T * FLIP)).astype(np.float32)
        points, faces, colours = before_camera(points, mesh.faces, colours)
        if len(faces):
            self.cv2.triangleRasterize(
                points, faces, colours, image, depth, np.eye(4, dtype=np.float32),
                _field(len(image), focal), NEAR, FAR, self._settings[flat],
            )  # fmt: skip

    def _shadow(self, mesh: Mesh, axes: Array, focal: float, size: tuple[int, int], soft: float) -> Array:
        """What of the floor's sunlight the mesh takes at each pixel of a view: (h,w) in [0, 1].

        It is the mesh flattened along the light onto the floor, blurred by `soft` pixels.
        """
        sun = self.world.place.sun
        flat = mesh.vertices - sun * (mesh.vertices[:, 1:2] / sun[1])
        points = ((flat - self.eye) @ (axes.T * FLIP)).astype(np.float32)
        points, faces, _ = before_camera(points, mesh.faces, points)
        depth = np.full(size, FAR, np.float32)
        if len(faces):
            self.cv2.triangleRasterizeDepth(
                points, faces, depth, np.eye(4, dtype=np.float32), _field(size[0], focal), NEAR, FAR,
                self._settings[False],
            )  # fmt: skip
        dark = (depth < 0.99 * FAR).astype(np.float32)  # an untouched cell is not exactly FAR afterwards
        return self.cv2.GaussianBlur(dark, (0, 0), soft)

    # -------------------------------------------------------------------------------------- what stands still

    def _still(self, t: int, coloured: bool = True) -> _Still:
        key = int(self._view_of[t])
        if key not in self._stills or (coloured and self._stills[key].picture is None):
            while len(self._stills) > 3:
                self._stills.pop(next(iter(self._stills)))
            self._stills[key] = self._new_still(self._axes(key), coloured)
        return self._stills[key]

    def _new_still(self, axes: Array, coloured: bool) -> _Still:
        size, focal = self._still_size(), self.focal * FINER
        y, x = np.mgrid[: size[0], : size[1]].astype(np.float32) + 0.5
        rays = np.stack([(x - size[1] / 2) / focal, (y - size[0] / 2) / focal, np.ones_like(x)], -1) @ axes
        if coloured:
            image, distance, floor = look(self.world.place, self.eye, rays)
        else:
            distance = reach(self.world.place, self.eye, rays)[1]
        depth = np.minimum(distance, FAR).astype(np.float32)  # along the axis, since rays go 1 along it
        numbers, behind = np.zeros((*size, 3), np.float32), depth.copy()
        mesh = together([piece.mesh for piece in self.world.standing])
        codes = np.concatenate([np.zeros((0, 3), np.float32), *(_codes(p) for p in self.world.standing)])
        self._draw(mesh, codes, axes, focal, numbers, depth, flat=True)
        thing = np.ascontiguousarray(numbers[..., 2])
        if not coloured:
            return _Still(axes, depth, thing, None, None)
        shadow = self._shadow(mesh, axes, focal, size, 1.3 * FINER) * floor
        share = _share_of_sun(self.world)
        image *= (1 - shadow * share)[..., None]
        self._draw(mesh, _light(self.world, mesh), axes, focal, image, behind)
        lit = np.where(thing > 0, 0, floor * (1 - shadow)) * share
        return _Still(axes, depth, thing, image, lit.astype(np.float32))

    def _still_size(self) -> tuple[int, int]:
        return tuple(int(np.ceil(side * WIDER * FINER)) for side in self.size)  # type: ignore[return-value]

    def _to_still(self, t: int) -> np.ndarray:
        """The homography (3,3) from pixels of frame `t` to pixels of its still view."""
        still = _pixels(self.focal * FINER, self._still_size())
        return (
            still
            @ self._axes(int(self._view_of[t]))
            @ self._axes(t).T
            @ np.linalg.inv(_pixels(self.focal, self.size))
        )

    def _cut(self, layer: Array, to_still: np.ndarray, nearest: bool = False) -> Array:
        how = self.cv2.INTER_NEAREST if nearest else self.cv2.INTER_LINEAR
        flags = how | self.cv2.WARP_INVERSE_MAP
        return self.cv2.warpPerspective(
            layer, to_still, self.size[::-1], flags=flags, borderMode=self.cv2.BORDER_REPLICATE
        )

    def _depth(self, still: _Still, to_still: np.ndarray, t: int) -> Array:
        """Depth (h,w) of what stands still, along the axis of frame `t`."""
        height, width = self.size
        forward = (still.rotation @ self._axes(t).T)[2]  # of frame t's rays (x, y, 1), along the still's axis
        x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / self.focal
        y = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / self.focal
        along = forward[0] * x + forward[1] * y[:, None] + forward[2]
        return np.ascontiguousarray(self._cut(still.depth, to_still, nearest=True) / along, np.float32)

    def _developed(self, image: Array, t: int) -> np.ndarray:
        """Linear light (H,W,3) as a camera's numbers: colour balance, grain, tone."""
        height, width = self.size
        top, left = 37 * t % 64, 53 * t % 64
        image = image * self.world.gain
        image += self.world.grain * self._grain[top : top + height, left : left + width]
        return self._tone[(image.clip(0, 1) * (len(self._tone) - 1)).astype(np.int32)]


def _views(camera: Camera, size: tuple[int, int], focal: float) -> np.ndarray:
    """For each frame (T,) the one in whose widened view it lies: a new one once the camera turned far."""
    half = np.array([size[1], size[0]]) / 2 / focal
    corners = np.array([[x, y, 1.0] for x in (-half[0], half[0]) for y in (-half[1], half[1])])
    chosen, current = [], 0
    for t, axes in enumerate(camera.rotation):
        seen = corners @ (camera.rotation[current] @ axes.T).T
        inside = (np.abs(seen[:, :2] / seen[:, 2:]) <= half * WIDER * 0.995).all() and (seen[:, 2] > 0).all()
        current = current if inside else t
        chosen.append(current)
    return np.array(chosen)


def _pixels(focal: float, size: tuple[int, int]) -> np.ndarray:
    """From directions (x, y, 1) to pixels whose centres are whole numbers, as OpenCV counts them: (3,3)."""
    return np.array([[focal, 0, size[1] / 2 - 0.5], [0, focal, size[0] / 2 - 0.5], [0, 0, 1]])


def _field(height: int, focal: float) -> float:
    return float(2 * np.arctan(height / 2 / focal))


def _light(world: World, mesh: Mesh) -> Array:
    """Colours (V,3) of a mesh in the place's light."""
    up, at = mesh.normals[:, 1:2], world.place
    towards = (0.5 - 0.5 * (mesh.normals @ at.sun)[:, None]) ** 2
    return np.clip(mesh.colours * (at.ambient * (0.72 + 0.28 * up) + at.direct * towards), 0, 1).astype(
        np.float32
    )


def _share_of_sun(world: World) -> float:
    """Of the floor's light, what a shadow takes; indoors light comes from everywhere."""
    direct = -world.place.direct * float(world.place.sun[1])
    return direct / (world.place.ambient + direct) * (1.0 if world.place.outdoors else 0.7)


def _codes(piece: Piece) -> Array:
    """1 + person, 1 + joint and 1 + thing of each vertex (V,3), as colours."""
    codes = np.zeros((len(piece.mesh.vertices), 3), np.float32)
    codes[:, 0], codes[:, 1], codes[:, 2] = 1 + piece.person, 1 + piece.joint, 1 + piece.thing
    return codes * np.float32(SCALE)


def _tone_curve() -> np.ndarray:
    return (255 * np.linspace(0, 1, 4096) ** (1 / 1.4)).round().astype(np.uint8)


def before_camera(points: Array, faces: np.ndarray, colours: Array) -> tuple[Array, np.ndarray, Array]:
    """A mesh in OpenCV's camera frame without what is behind the camera or too far, cut at the near plane.

    OpenCV 5.0.0 fills the picture with garbage for triangles that reach behind the near plane. points,
    colours: (V,3) · faces: (F,3) int32. Vertices are added where edges meet the plane.
    """
    z = -points[:, 2]
    front = (z > NEAR)[faces]
    count = front.sum(axis=1) * (z < FAR)[faces].all(axis=1)
    kept = [faces[count == 3]]
    news, tints = [points], [colours]
    if ((count == 1) | (count == 2)).any():
        for face, ahead in zip(
            faces[(count > 0) & (count < 3)], front[(count > 0) & (count < 3)], strict=True
        ):
            ring, total = [], sum(map(len, news))
            for a, b, here, there in zip(face, np.roll(face, -1), ahead, np.roll(ahead, -1), strict=True):
                if here:
                    ring.append(int(a))
                if here != there:
                    share = (NEAR * 1.001 - z[a]) / (z[b] - z[a])
                    ring.append(total + len(ring) - sum(k < len(points) for k in ring))
                    news.append((points[a] + share * (points[b] - points[a]))[None])
                    tints.append((colours[a] + share * (colours[b] - colours[a]))[None])
            kept.append(
                np.array([[ring[0], ring[k], ring[k + 1]] for k in range(1, len(ring) - 1)], np.int32)
            )
    joined = np.concatenate(kept).astype(np.int32)
    return (
        np.concatenate(news).astype(np.float32),
        np.ascontiguousarray(joined),
        np.concatenate(tints).astype(np.float32),
    )
