"""Where pictures come from: a rendered scene of mini_ava, or a user's own video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.data.rendered import Rendered
from lart_mini.files import BadInput, finite_number, opencv, whole_number
from lart_mini.reading.videos import Video, open_video
from lart_mini.scenes.render import SIZE

Picture = NDArray[np.uint8]  # (H,W,3) RGB


class Frames(Protocol):
    """The frames of a video, by the numbers that tracklets have."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a picture."""

    def pictures(self, numbers: Sequence[int]) -> Iterator[Picture]:
        """The frames of these rising numbers."""


@dataclass(frozen=True)
class RenderedFrames:
    """Video `index` of a split of a rendered data set, drawn frame by frame.

    `drawn` False leaves out what is held or handled: a control, since what is learnt of it must vanish.
    """

    data: Rendered
    split: str
    index: int
    size: tuple[int, int] = SIZE
    drawn: bool = True

    def pictures(self, numbers: Sequence[int]) -> Iterator[Picture]:
        """These frames. Raises BadInput for a split, an index, a size or a number that is none."""
        renderer = self.data.renderer(self.split, self.index, self.size, drawn=self.drawn)
        video, last = f"{self.split}:{self.index}", renderer.world.scene.frames - 1
        for number in numbers:
            whole_number(video, "frame", number, 0, last)
        return (renderer.frame(number) for number in numbers)


@dataclass(frozen=True)
class VideoFrames:
    """A user's own video. Raises BadInput for a file that OpenCV cannot decode.

    rate: frames a second that the tracklets count, None where they count the video's own; then their frame 0
    is the video's frame at second `start` (AVA's tracklets: rate 30, and 900 for the whole film).
    """

    path: Path
    rate: float | None = None
    start: float = 0.0
    video: Video = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "video", open_video(self.path))
        finite_number(self.path, "start", self.start, 0)
        if self.rate is not None:
            finite_number(self.path, "rate", self.rate, 1)
        if not self.video.rate > 0:
            raise BadInput(self.path, "rate", "frames a second above 0", self.video.rate)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a picture."""
        return self.video.size

    def pictures(self, numbers: Sequence[int]) -> Iterator[Picture]:
        """The frames of these rising numbers. Raises BadInput where the video ends before the last."""
        own = self.rate or self.video.rate
        return self.video.pictures(
            [round((self.start + number / own) * self.video.rate) for number in numbers]
        )


def shrunk(picture: Picture, width: int) -> Picture:
    """A picture no wider than `width` pixels, each the mean of those it stands for."""
    high, wide = picture.shape[:2]
    if wide <= width:
        return picture
    cv2 = opencv()
    return cv2.resize(picture, (width, max(1, round(high * width / wide))), interpolation=cv2.INTER_AREA)


def clip_frames(frames: int, step: int) -> list[int]:
    """Numbers of every `step`-th frame, all key frames among them. Raises BadInput for a step without."""
    if ava.FRAMES_PER_SECOND % whole_number("frames", "step", step, 1):
        raise BadInput("frames", "step", f"a divisor of {ava.FRAMES_PER_SECOND}", step)
    return list(range(0, frames, step))
