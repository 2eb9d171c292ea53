"""Videos, decoded by OpenCV frame by frame: one file, nothing beside it, no network, sizes bounded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lart_mini.files import BadInput, opencv

LARGEST_SIDE = 8192  # pixels
# FFmpeg opens what a file names only through these, and says nothing on stderr.
CAREFUL = {"OPENCV_FFMPEG_CAPTURE_OPTIONS": "protocol_whitelist;file", "OPENCV_FFMPEG_LOGLEVEL": "-8"}


@dataclass(frozen=True)
class Video:
    """A video file that can be decoded; `open_video` makes it."""

    path: Path
    size: tuple[int, int]  # height, width in pixels
    rate: float  # frames a second, as the file says

    def pictures(self, numbers: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """The frames (H,W,3) RGB of these rising numbers, from 0 on.

        Raises BadInput where the video ends or cannot be decoded before the last of them.
        """
        capture, at = _capture(self.path), -1
        try:
            for number in numbers:
                while at < number:
                    if not capture.grab():
                        raise BadInput(self.path, "frames", f"{number + 1} or more", at + 1)
                    at += 1
                decoded, picture = capture.retrieve()
                if not decoded or picture.shape[:2] != self.size:
                    raise BadInput(self.path, f"frame {number}", f"a picture of {self.size}", "none of it")
                yield np.ascontiguousarray(picture[..., ::-1])
        finally:
            capture.release()


def open_video(path: str | Path) -> Video:
    """A video that OpenCV can decode. Raises BadInput for none, and FileNotFoundError for a missing file."""
    path = Path(path)
    if not path.is_file():
        path.stat()  # FileNotFoundError
        raise BadInput(path, "file", "a video", "no plain file")
    cv2, capture = opencv("videos"), _capture(path)
    try:
        size = tuple(int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH))
        if not all(1 <= side <= LARGEST_SIDE for side in size):
            raise BadInput(path, "frame size", f"height and width from 1 to {LARGEST_SIDE}", size)
        decoded, picture = capture.read()
        if not decoded:
            raise BadInput(path, "frames", "one or more that can be decoded", "none")
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        return Video(path, picture.shape[:2], rate if np.isfinite(rate) else 0.0)
    finally:
        capture.release()


def _capture(path: Path) -> Any:
    cv2 = opencv("videos")
    before = {name: os.environ.get(name) for name in CAREFUL}
    os.environ.update(CAREFUL)
    try:
        capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
    except cv2.error:
        capture = None
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    if capture is None or not capture.isOpened():
        raise BadInput(path, "file", "a video that OpenCV can decode", "none")
    return capture
