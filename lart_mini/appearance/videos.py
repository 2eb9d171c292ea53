"""Appearance of tracklets from the videos they were tracked in: a user's files, or a rendered set's."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lart_mini.appearance.frames import Frames, RenderedFrames, VideoFrames
from lart_mini.appearance.looks import Looks, Projection, feature_width, fit_projection, looks_of, together
from lart_mini.appearance.pooling import Floats
from lart_mini.appearance.trunk import EfficientNetLite0
from lart_mini.data.rendered import Rendered, rendered
from lart_mini.files import BadInput, whole_number
from lart_mini.progress import progress
from lart_mini.tracklets.released import write_released
from lart_mini.tracklets.tracklet import Tracklet, middles

RENDERED = "rendered:"


def find_videos(
    tracklets: Sequence[Tracklet], videos: str, rate: float | None = None, start: float = 0.0
) -> dict[str, Frames]:
    """The frames of each tracklet's video, by the video's name; each can be opened and decoded.

    videos: a folder of files named as the videos are, of any ending; a single file, for tracklets of one
    video; or `rendered:SIZE`, for those of a rendered set. rate and start as in VideoFrames. Raises BadInput
    for a video that is missing, there twice, broken or empty, and for a tracklet that the rendered set lacks;
    FileNotFoundError for `videos` that are not there.
    """
    names = list(dict.fromkeys(tracklet.video for tracklet in tracklets))
    if videos.startswith(RENDERED):
        return _drawn(rendered(videos.removeprefix(RENDERED)), tracklets)
    place = Path(videos)
    if not place.is_dir():
        place.stat()  # FileNotFoundError
        if len(names) > 1:
            raise BadInput(place, "videos", f"a folder, for tracklets of {len(names)} videos", "a file")
        return {name: VideoFrames(place, rate, start) for name in names}
    files: dict[str, list[Path]] = {}
    for path in sorted(place.iterdir()):
        files.setdefault(path.stem, []).append(path)
    found: dict[str, Frames] = {}
    for name in names:
        own = files.get(name, [])
        if len(own) != 1:
            raise BadInput(place, f"video {name}", "one file of this name", len(own))
        found[name] = VideoFrames(own[0], rate, start)
    return found


def _drawn(data: Rendered, tracklets: Sequence[Tracklet]) -> dict[str, Frames]:
    found: dict[str, Frames] = {}
    for split in dict.fromkeys(one.dataset for one in tracklets):
        known = {one.name: one.box for one in data.tracklets(split)}  # other sizes and seeds have such names
        videos = data.videos(split)["video"].to_list()
        for one in [one for one in tracklets if one.dataset == split]:
            if not np.array_equal(one.box, known.get(one.name, [])):
                raise BadInput(one.name, "tracklet", f"one of the rendered set {data.size}", "another")
            found[one.video] = RenderedFrames(data, split, videos.index(one.video))
    return found


def vectors_of(
    tracklets: Sequence[Tracklet],
    frames: dict[str, Frames],
    trunk: EfficientNetLite0,
    projection: Projection | tuple[str, int],
) -> tuple[Looks, Floats, Projection]:
    """What is seen of all tracklets, the vectors (N,D) that are made of it, and by which projection.

    projection: one that was fitted before, on training tracks; or a pooling and a width, to fit one now.
    Raises BadInput for no tracklets, and as `looks_of` and `fit_projection` do.
    """
    if not tracklets:
        raise BadInput("appearance", "tracklets", "one or more", "none")
    if isinstance(projection, tuple):  # refused now, not after hours
        pooling, dims = projection
        rows = sum(len(middles(one)) for one in tracklets)
        whole_number("appearance", "dims", dims, 1, min(rows, feature_width(pooling)))
    seen = together(list(_seen(tracklets, frames, trunk)))
    if isinstance(projection, tuple):
        projection = fit_projection(seen, *projection)
    return seen, projection(seen), projection


def _seen(
    tracklets: Sequence[Tracklet], frames: dict[str, Frames], trunk: EfficientNetLite0
) -> Iterator[Looks]:
    for video in progress(list(frames), desc="videos"):
        own = [i for i, tracklet in enumerate(tracklets) if tracklet.video == video]
        yield looks_of([tracklets[i] for i in own], frames[video], trunk).renumbered(own)


def named_apart(tracklets: Sequence[Tracklet], folder: Path) -> None:
    """Raise BadInput where two would be one file of a folder."""
    for name, times in Counter(one.name for one in tracklets).items():
        if times > 1:
            raise BadInput(folder, f"tracklet {name}", "one of this name", times)


def write_folder(tracklets: Sequence[Tracklet], folder: Path) -> None:
    """Write tracklets as released files into a new folder, which is there whole or not at all.

    Raises BadInput for a name that two of them have.
    """
    named_apart(tracklets, folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        for tracklet in tracklets:
            write_released(tracklet, made / f"{tracklet.name}.pkl")
        made.chmod(0o755)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
