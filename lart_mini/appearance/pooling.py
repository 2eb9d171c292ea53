"""Where in a picture a person is looked at: inside the box, as the papers do, or at hands and head, our own.

A thing in a hand is a few pixels of a box: pooled over the whole box it is lost. The pose says where hands
are, so crops are cut there, as large as hands and what they hold, whatever the person's distance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lart_mini.appearance.trunk import EfficientNetLite0, padded
from lart_mini.boxes import corners_from_xywh
from lart_mini.files import BadInput, opencv
from lart_mini.tracklets.tracklet import Tracklet

Floats = NDArray[np.float32]
CROPS = 3  # right hand, left hand, head
CROP = 80  # pixels of a side
BEYOND = 0.3  # of a forearm, from the wrist to the hand's middle
HAND, HEAD = 3.5, 2.0  # sides of crops, in forearms of about 0.26 m
# Joints of a tracklet: OpenPose's right and left elbow and wrist; nose, right and left ear.
ELBOWS, WRISTS, FACE = [3, 6], [4, 7], [0, 17, 18]
NEAREST = 0.3  # m of depth
GRID, CELLS = 8, 2  # samples along a box's side, of which means stand in CELLS × CELLS cells
BATCH = 32  # crops


def roi_samples(maps: Tensor, boxes: Tensor, stride: int, grid: int) -> Tensor:
    """Maps sampled bilinearly at the middles of grid × grid equal cells of each box, (N,C,grid,grid).

    maps (C,h,w) of one stride; boxes (N,4) x1, y1, x2, y2 in pixels of the picture. What lies outside of the
    maps has the value of their edge. The mean of such samples is RoIAlign (He et al. 2017), their maximum the
    RoIPool of the Action Transformer.
    """
    high, wide = maps.shape[-2:]
    at = (torch.arange(grid, device=boxes.device) + 0.5) / grid
    x, y = (boxes[:, k, None] + at * (boxes[:, k + 2] - boxes[:, k])[:, None] for k in (0, 1))  # (N,grid)
    x, y = x / (wide * stride) * 2 - 1, y / (high * stride) * 2 - 1
    where = torch.stack([x[:, None].expand(-1, grid, -1), y[:, :, None].expand(-1, -1, grid)], dim=-1)
    rows = where.to(maps.dtype).flatten(0, 1)[None]  # (1,N·grid,grid,2)
    sampled = F.grid_sample(maps[None], rows, align_corners=False, padding_mode="border")
    return sampled[0].unflatten(1, (-1, grid)).movedim(1, 0)


@torch.inference_mode()
def box_features(trunk: EfficientNetLite0, picture: Tensor, boxes: Floats, names: Sequence[str]) -> Floats:
    """The paper's pooling: the maps of a picture (H,W,3) inside boxes (N,4), corners in its pixels.

    (N,608): means of 2 × 2 cells at strides 8 and 16. Raises BadInput for a box without area in the picture,
    under its tracklet's name of `names` (N,).
    """
    high, wide = picture.shape[:2]
    inside = np.clip(boxes, 0, [wide, high, wide, high])
    empty = np.flatnonzero((inside[:, 2:] - inside[:, :2]).min(axis=1) <= 0)
    if len(empty):
        first = int(empty[0])
        raise BadInput(names[first], "box", f"inside {wide} x {high} pixels", boxes[first].tolist())
    where, found = torch.from_numpy(inside).float(), []
    for stride, maps in zip((8, 16), trunk.maps(padded(picture[None], 16), (8, 16)), strict=True):
        samples = roi_samples(maps[0], where, stride, GRID)
        found.append(F.avg_pool2d(samples, GRID // CELLS).flatten(1))
    return torch.cat(found, dim=1).numpy()


@torch.inference_mode()
def crop_features(trunk: EfficientNetLite0, crops: Sequence[NDArray[np.uint8]]) -> Floats:
    """Features (K,776) of crops (CROP,CROP,3): of the maps at strides 8 and 16 the mean, that of the middle
    and the maximum, of the map at stride 32 the mean."""
    found = []
    for first in range(0, len(crops), BATCH):
        some = torch.from_numpy(np.stack(crops[first : first + BATCH]))
        fine, coarse, last = trunk.maps(some, (8, 16, 32))
        parts = [last.mean((2, 3))]
        for maps in (fine, coarse):
            edge = maps.shape[-1] // 4
            middle = maps[..., edge : maps.shape[-2] - edge, edge : maps.shape[-1] - edge]
            parts += [maps.mean((2, 3)), middle.mean((2, 3)), maps.amax((2, 3))]
        found.append(torch.cat(parts, dim=1))
    return torch.cat(found).numpy() if found else np.zeros((0, 776), np.float32)


def focal_length(tracklets: Sequence[Tracklet]) -> float:
    """The camera's focal length in pixels of `frame_size`, from one video's tracklets.

    Joints at x, y, z stand at f·x/z, f·y/z from the picture's middle. The f with which their outlines come
    nearest to the boxes, by least squares over all sides of all boxes inside the frame; tracklets say nothing
    of the camera, and files of different trackers have different ones. Raises BadInput where nobody is seen.
    """
    sums = np.zeros((2, 2))  # of boxes inside the frame, of all others
    for tracklet in tracklets:
        seen = tracklet.detected
        points = tracklet.joints[seen, :44] + tracklet.translation[seen, None]
        plane = points[..., :2] / np.maximum(points[..., 2:], NEAREST)
        outline = np.concatenate([plane.min(axis=1), plane.max(axis=1)], axis=1)
        high, wide = tracklet.frame_size
        corners, most = corners_from_xywh(tracklet.box[seen]), np.array([wide, high, wide, high])
        cut = ((corners < 0.003 * most) | (corners > 0.997 * most)).any(axis=1)
        for row, own in enumerate((~cut, cut)):
            a, b = outline[own], corners[own] - most / 2
            sums[row] += (a * b).sum(), (a * a).sum()
    above, below = sums[0] if sums[0, 1] > 0 else sums[1]
    if not above > 0:
        where = tracklets[0].name if len(tracklets) else "tracklets"
        raise BadInput(where, "joints", "a person whose joints fit its box", "none")
    return float(above / below)


def crop_places(tracklet: Tracklet, rows: NDArray[np.int64], focal: float) -> tuple[Floats, Floats]:
    """Where to look: middles (K,CROPS,2) and sides (K,CROPS) of crops, in pixels of `frame_size`.

    From the detected pose of rows (K,): hands a third of a forearm beyond the wrists, and the head.
    """
    points = tracklet.joints[rows] + tracklet.translation[rows, None]  # (K,45,3)
    arms = points[:, WRISTS] - points[:, ELBOWS]  # (K,2,3)
    forearm = np.linalg.norm(arms, axis=-1).mean(axis=1)  # (K,)
    middles = np.concatenate(
        [points[:, WRISTS] + BEYOND * arms, points[:, FACE].mean(axis=1)[:, None]], axis=1
    )
    depth = np.maximum(middles[..., 2], NEAREST)
    high, wide = tracklet.frame_size
    pixels = middles[..., :2] / depth[..., None] * focal + np.array([wide / 2, high / 2])
    sides = np.array([HAND, HAND, HEAD]) * forearm[:, None] * focal / depth
    return pixels.astype(np.float32), sides.astype(np.float32)


def cut(picture: NDArray[np.uint8], middle: Floats, side: float) -> NDArray[np.uint8]:
    """A square of a picture about a place, both in its pixels, as CROP × CROP; edges go on outside.

    Where pixels are dropped, the picture is smoothed before.
    """
    cv2 = opencv()
    size = np.array(picture.shape[1::-1])
    low = np.clip(middle - side - 4, 0, size - 1).astype(int)  # all that the crop can show
    high = np.clip(middle + side + 4, low + 1, size).astype(int)
    part = picture[low[1] : high[1], low[0] : high[0]]
    scale = CROP / max(side, 1.0)
    if scale < 0.75:
        part = cv2.GaussianBlur(part, (0, 0), 0.4 / scale)
    to = CROP / 2 - scale * (middle - low)
    matrix = np.array([[scale, 0, to[0]], [0, scale, to[1]]])
    how = {"flags": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
    return cv2.warpAffine(part, matrix, (CROP, CROP), **how)
