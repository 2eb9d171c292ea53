"""Pictures of scenes and videos: boxes, tracks, actions, scores on frames; strips, players, video files."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
from IPython.display import HTML, display
from matplotlib import font_manager
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from lart_mini.figures.base import MIDDLE, literal, new_figure, show
from lart_mini.files import BadInput, atomic_path, finite_number, opencv, writable
from lart_mini.progress import live_front_end

KINDS = (".mp4", ".gif", ".webp")
SLOWEST = 0.01  # pictures a second: a .gif counts up to 655 seconds for one
MOST_LINES = 3  # of actions under a person's name
SHORT = 22  # letters of an action's name
Picture = NDArray[np.uint8]
Area = tuple[float, float, float, float]  # left, top, right, bottom in pixels


@dataclass(frozen=True)
class Marked:
    """What is drawn of one person on a frame; pixels are the frame's."""

    box: Sequence[float]  # x1, y1, x2, y2
    name: str
    actions: Sequence[tuple[str, float | None]]  # with a score in [0, 1], or without
    colour: str
    path: NDArray | None = None  # (K,2) where the feet were


def draw_people(picture: Picture, people: Sequence[Marked], *, letters: int = 12) -> Picture:
    """The picture (H,W,3) with each person's path, box, name and actions on it, letters of so many pixels."""
    image = Image.fromarray(picture)
    pen, line = ImageDraw.Draw(image, "RGBA"), max(1, letters // 6)
    for one in people:
        if one.path is not None and len(one.path) > 1:
            pen.line([tuple(point) for point in one.path], fill=one.colour, width=line, joint="curve")
        pen.rectangle([float(x) for x in one.box], outline=one.colour, width=line)
    taken: list[Area] = []
    for one in people:  # words over all boxes, none over another's
        taken.append(_words(pen, one, letters, image.size, taken))
    return np.asarray(image)


def outlined(picture: Picture, boxes: NDArray, colour: str) -> Picture:
    """The picture (H,W,3) with boxes (N,4), corners in its pixels, as thin lines without words."""
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    for box in np.asarray(boxes).tolist():
        pen.rectangle([float(x) for x in box], outline=colour)
    return np.asarray(image)


def _words(
    pen: ImageDraw.ImageDraw, one: Marked, letters: int, size: tuple[int, int], taken: Sequence[Area]
) -> Area:
    font, line, gap = _font(letters), 4 * letters // 3, letters // 4
    actions = [(_short(name), score) for name, score in one.actions[:MOST_LINES]]
    texts = [name if score is None else f"{name} {100 * score:.0f}" for name, score in actions]
    wide = max(pen.textlength(text, font) for text in [one.name, *texts]) + 2 * gap
    tall = line * (len(texts) + 1)
    left = max(min(float(one.box[0]), size[0] - wide), 0)
    top = float(one.box[1]) - tall
    top = max(min(top if top >= 0 else float(one.box[3]), size[1] - tall), 0)
    top = _free(left, top, wide, tall, size[1], taken)
    pen.rectangle((left, top, left + wide, top + line), fill=one.colour)
    red, green, blue = ImageColor.getrgb(one.colour)[:3]
    ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 140 else "white"
    pen.text((left + gap, top), one.name, fill=ink, font=font)
    for row, (text, (_, score)) in enumerate(zip(texts, actions, strict=True), start=1):
        y = top + row * line
        pen.rectangle((left, y, left + wide, y + line), fill=(20, 20, 20, 165))
        if score is not None:
            pen.rectangle((left, y, left + wide * score, y + line), fill=(red, green, blue, 150))
        pen.text((left + gap, y), text, fill="white", font=font)
    return left, top, left + wide, top + tall


def _free(left: float, top: float, wide: float, tall: float, height: int, taken: Sequence[Area]) -> float:
    """The top nearest to `top` at which words of that size touch none of `taken`; else `top`."""
    beside = [(above, below) for x1, above, x2, below in taken if x1 < left + wide and left < x2]
    tops = [top, *(above - tall - 1 for above, _ in beside), *(below + 1 for _, below in beside)]
    free = [
        y
        for y in tops
        if 0 <= y <= height - tall and all(y + tall < above or below < y for above, below in beside)
    ]
    return min(free, key=lambda y: abs(y - top), default=top)


def _short(name: str) -> str:
    """An AVA action without what stands in brackets."""
    name = name.split(" (")[0]
    return name if len(name) <= SHORT else name[: SHORT - 1] + "…"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)


# ------------------------------------------------------------------------------------------------ many frames


def picture_strip(
    pictures: Sequence[Picture], labels: Sequence[str], *, title: str, columns: int = 3
) -> Figure:
    """Pictures (H,W,3) side by side, each over its label, `columns` in a row."""
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    shape = pictures[0].shape[0] / pictures[0].shape[1]
    wide = 9.0 / columns
    figure = new_figure(9.0, rows * (wide * shape + 0.25) + 0.35, title)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, picture, label in zip(panels, pictures, labels, strict=False):
        axes.imshow(picture)
        axes.set_title(literal(label), fontsize=9, color=MIDDLE)
    return figure


def play(pictures: Sequence[Picture], alt: str, *, fps: float = 15, title: str = "", strip: int = 3) -> None:
    """Show pictures (H,W,3) in a notebook: a strip of some, and where somebody watches, all of them moving.

    The moving picture is one small file inside the page, with `alt` for those who hear it.
    """
    chosen = np.linspace(0, len(pictures) - 1, min(strip, len(pictures))).round().astype(int).tolist()
    labels = [f"{k / fps:.1f} s" for k in chosen]
    show(picture_strip([pictures[k] for k in chosen], labels, title=title or alt, columns=strip), alt)
    if live_front_end():
        display(player(pictures, alt, fps=fps))


def player(pictures: Sequence[Picture], alt: str, *, fps: float = 15) -> HTML:
    """Pictures (H,W,3) as one moving picture that needs no other file and no script."""
    whole = io.BytesIO()
    _save_moving(pictures, whole, "webp", fps)
    data = base64.b64encode(whole.getvalue()).decode()
    return HTML(f'<img style="max-width: 100%" alt="{escape(alt)}" src="data:image/webp;base64,{data}">')


def video_kind(path: str | Path) -> str:
    """The ending of a video file's name, one of KINDS. Raises BadInput for another."""
    ending = Path(path).suffix.lower()
    if ending not in KINDS:
        raise BadInput(path, "kind of video", " | ".join(KINDS), ending or "a name without ending")
    return ending


def write_video(pictures: Iterable[Picture], path: str | Path, fps: float = 30) -> Path:
    """Write pictures (H,W,3) uint8 RGB of one size as .mp4, .gif or .webp; whole or not at all.

    Raises BadInput for another kind, for a place where nothing can be written, for no pictures or pictures of
    several sizes, and for a rate that is none.
    """
    kind = video_kind(path)
    finite_number(path, "fps", fps, SLOWEST)
    writable(path)
    frames = _alike(pictures, path)
    first = next(frames, None)
    if first is None:
        raise BadInput(path, "frames", "one or more", 0)
    with atomic_path(path) as temporary:
        if kind == ".mp4":
            _write_mp4(chain([first], frames), temporary, (first.shape[1], first.shape[0]), fps, path)
        else:
            with temporary.open("wb") as file:
                _save_moving([first, *frames], file, kind[1:], fps)
    return Path(path)


def _alike(pictures: Iterable[Picture], path: str | Path) -> Iterator[Picture]:
    """The pictures, as long as they are of the first one's size: OpenCV's writer drops others silently."""
    first = None
    for number, picture in enumerate(pictures):
        first = picture.shape if first is None else first
        if picture.shape != first:
            raise BadInput(path, f"frame {number}", f"a picture of {first}, as the first one", picture.shape)
        yield picture


def _write_mp4(
    frames: Iterable[Picture], path: Path, size: tuple[int, int], fps: float, named: str | Path
) -> None:
    cv2 = opencv("video files")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, size)
    try:
        if not writer.isOpened():
            raise BadInput(
                named, "video", f"a size and a rate that MPEG-4 takes, not {size} at {fps}", "refused"
            )
        for frame in frames:
            writer.write(np.ascontiguousarray(frame[..., ::-1]))
    finally:
        writer.release()


def _save_moving(frames: Sequence[Picture], file: IO[bytes], kind: str, fps: float) -> None:
    images = [Image.fromarray(frame) for frame in frames]
    how: dict = {"quality": 45, "method": 4} if kind == "webp" else {"optimize": True}
    if kind == "gif":  # one table of colours for all, without dots, keeps files small and still parts still
        table = images[len(images) // 2].quantize(256)
        images = [image.quantize(palette=table, dither=Image.Dither.NONE) for image in images]
    images[0].save(
        file, format=kind, save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0, **how
    )
