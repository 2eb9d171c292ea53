"""Blanks of 09_released_data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lart_mini.course.check import Blank, Slip, gives
from lart_mini.lart.assembly import seats
from lart_mini.lart.config import Profile, assembly_of
from lart_mini.tracklets.released import depth_unit_told

HERE = "09_released_data"

Frames = NDArray[np.int64]
Flags = NDArray[np.bool_]
Places = NDArray[np.float64]


# ------------------------------------------------------------------------------------------- the depth's unit


def _depth_unit(place: Places, camera: Places, detected: Flags) -> float:
    """What the reader says of a file whose person-vectors end in `place`."""
    return depth_unit_told(np.c_[np.zeros((len(place), 226)), place], camera, detected)


def _files() -> list[tuple[Places, Places, Flags]]:
    """As published; in metres, as this kit writes them; as published, with junk where nobody is detected."""
    place = np.array([[0.5, -0.2, 6.0], [0.6, -0.2, 6.2], [0.7, -0.1, 6.1]])
    short, everywhere = place / np.array([1, 1, 200]), np.ones(3, np.bool_)
    junk = np.array([[9.0, 9.0, 9.0]])
    seen = np.array([True, True, False])
    return [
        (short, short, everywhere),
        (place, short, everywhere),
        (np.r_[short[:2], junk], np.r_[short[:2], -junk], seen),
    ]


# ------------------------------------------------------------------------------------------------- the window


@dataclass(frozen=True)
class _Track:
    """Frame numbers, in all of which the person is detected."""

    frame: Frames
    detected: Flags

    def __len__(self) -> int:
        return len(self.frame)


def _rows(ego_frame: Frames, other_frame: Frames, frames: int, profile: Profile = "released") -> Frames:
    """The rows that `seats` gives the other in the ego's first window, -1 where it has none."""
    ego, other = (_Track(frame, np.ones(len(frame), np.bool_)) for frame in (ego_frame, other_frame))
    filled = seats(ego, [other], frames=frames, people=2, assembly=assembly_of(profile), start=0)
    rows = np.full(frames, -1)
    for _, slots, own in filled[1:]:
        rows[slots] = own
    return rows


def _touching(ego_frame: Frames, other_frame: Frames, frames: int) -> Frames:
    """Others who begin or end with the window are left out, too."""
    window = ego_frame[:frames]
    if other_frame[0] <= window[0] and other_frame[-1] >= window[-1]:
        return np.full(frames, -1)
    return _rows(ego_frame, other_frame, frames)


def _whole_ego(ego_frame: Frames, other_frame: Frames, frames: int) -> Frames:
    """The rule asks about all of the ego, not about the window."""
    if other_frame[0] < ego_frame[0] and other_frame[-1] > ego_frame[-1]:
        return np.full(frames, -1)
    return _rows(ego_frame, other_frame, frames, "paper")


def _by_row(ego_frame: Frames, other_frame: Frames, frames: int) -> Frames:
    """Row by row, whatever the frames' numbers."""
    rows = np.arange(frames)
    return np.where(rows < min(len(ego_frame), len(other_frame)), rows, -1)


def _windows() -> list[tuple[Frames, Frames, int]]:
    """Someone later, with a gap; who spans the ego; who spans the window alone; who begins with it; who
    begins before it and ends in it, or with it."""
    ego = np.arange(10, 20)
    return [
        (ego, np.array([12, 13, 15, 16, 40]), 8),
        (ego, np.arange(5, 25), 6),
        (ego, np.arange(5, 18), 6),
        (ego, np.arange(10, 30), 12),
        (ego, np.arange(5, 13), 6),
        (ego, np.arange(5, 16), 6),
    ]


# ------------------------------------------------------------------------------------------------- the tokens


def _tokens(content: Tensor, detected: Tensor, mask_token: Tensor, table: Tensor) -> Tensor:
    """`LART.tokens` in the released order, of what the encoders gave."""
    P, T, _ = content.shape
    shown = torch.where(detected[..., None], content, mask_token)
    return (shown + table.permute(2, 1, 0)[:P, :T]).transpose(0, 1).flatten(0, 1)


def _people_first(content: Tensor, detected: Tensor, mask_token: Tensor, table: Tensor) -> Tensor:
    P, T, D = content.shape
    return _tokens(content, detected, mask_token, table).view(T, P, D).transpose(0, 1).flatten(0, 1)


def _swapped(content: Tensor, detected: Tensor, mask_token: Tensor, table: Tensor) -> Tensor:
    return _tokens(content, detected, mask_token, table.transpose(1, 2))


def _bare(content: Tensor, detected: Tensor, mask_token: Tensor, table: Tensor) -> Tensor:
    """Mask tokens without their encoding."""
    tokens = _tokens(content, detected, mask_token, table)
    return torch.where(detected.T.flatten()[:, None], tokens, mask_token)


def _samples() -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Two people in three frames, all detected; then with gaps."""
    draw = torch.Generator().manual_seed(0)
    content, table = torch.randn(2, 3, 4, generator=draw), torch.randn(4, 8, 8, generator=draw)
    mask_token, detected = torch.randn(4, generator=draw), torch.tensor([[1, 0, 1], [0, 0, 1]]).bool()
    return [(content, torch.ones(2, 3).bool(), mask_token, table), (content, detected, mask_token, table)]


BLANKS = (
    Blank(
        "depth_unit",
        HERE,
        _depth_unit,
        _files,
        (
            Slip(
                "frames without a detection have a say: what stands there means nothing",
                gives(lambda place, camera, detected: 200.0 if np.allclose(place, camera) else 1.0),
            ),
            Slip(
                "x and y are equal in both kinds of file: the depth has to be compared",
                gives(lambda place, camera, detected: 200.0),
            ),
            Slip(
                "the two kinds have changed places: equal fields tell of a depth divided in both places",
                gives(lambda place, camera, detected: 201 - _depth_unit(place, camera, detected)),
            ),
        ),
    ),
    Blank(
        "rows_in_window",
        HERE,
        _rows,
        _windows,
        (
            Slip(
                "the rule looks at the window's last frame, not at the ego's",
                gives(_whole_ego),
            ),
            Slip(
                "one who spans the window is kept, as the paper would: the released code leaves them out",
                gives(lambda ego, other, frames: _rows(ego, other, frames, "paper")),
            ),
            Slip(
                "one who begins or ends with the window does not span it: both comparisons are strict",
                gives(_touching),
            ),
            Slip(
                "aligned by row: an other's frames have numbers of their own",
                gives(_by_row),
            ),
        ),
    ),
    Blank(
        "released_tokens",
        HERE,
        _tokens,
        _samples,
        (
            Slip(
                "person after person: here the frames are outside, all people of a frame stand together",
                gives(_people_first),
            ),
            Slip(
                "the table is read at person t and frame p: its second axis is time, its third the person",
                gives(_swapped),
            ),
            Slip(
                "a mask token has an encoding, too: only its content is hidden",
                gives(_bare),
            ),
            Slip(
                "undetected tokens keep their content: the mask token stands for it",
                gives(
                    lambda content, seen, mask, table: _tokens(content, torch.ones_like(seen), mask, table)
                ),
            ),
        ),
    ),
)
