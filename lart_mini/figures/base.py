"""Figures of one look: palette, sizes, alt texts."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Any

from IPython.display import display
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

# Okabe and Ito's colours: told apart with every common kind of colour blindness.
PALETTE = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
    "yellow": "#F0E442",
    "black": "#222222",
    "grey": "#8C8C8C",
}
CYCLE = [PALETTE[name] for name in ("blue", "vermillion", "green", "orange", "purple", "sky")]
LEFT, RIGHT, MIDDLE, MISSING = PALETTE["blue"], PALETTE["vermillion"], PALETTE["black"], "#D9D9D9"
FLOOR = "#B0A99F"
SKIN = (0.62, 0.72, 0.82)
LOW_TO_HIGH = "Blues"  # colour map of amounts
BELOW_TO_ABOVE = "PuOr"  # of what has a middle
DPI = 120  # dots per inch, that is, a page of 9 inches is 1080 dots wide


def new_figure(width: float, height: float, title: str) -> Figure:
    """A figure of `width` × `height` inches with its title, drawn by Agg (no window, no global state)."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(literal(title), fontsize=12, fontweight="bold")
    return figure


def literal(name: str) -> str:
    """A name as matplotlib draws it letter by letter; it takes what stands between two $ for a formula."""
    return name.replace("$", r"\$")


def to_png(figure: Figure, dpi: int = DPI) -> bytes:
    """The figure as PNG with at most 256 colours: a third of the size, and notebooks stay under 1 MB."""
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=dpi, facecolor="white")
    return _few_colours(raw, 256)


def to_html(figure: Figure, alt: str) -> str:
    """The figure inside a page that needs no other file, with its alt text."""
    picture = base64.b64encode(to_png(figure)).decode()
    return f'<img style="max-width: 100%" alt="{escape(alt)}" src="data:image/png;base64,{picture}">'


def _few_colours(picture: io.BytesIO, colours: int) -> bytes:
    small = io.BytesIO()
    Image.open(picture).convert("RGB").quantize(colours).save(small, format="png", optimize=True)
    return small.getvalue()


def show(figure: Figure, alt: str, dpi: int = DPI, **kinds: Any) -> None:
    """Put `figure` into the notebook as PNG with `alt` as its text, for those who hear the page.

    kinds: MIME type → what stands in the figure's place in a front end that prefers it.
    """
    kinds = {**kinds, "image/png": to_png(figure, dpi), "text/plain": f"[figure] {alt}"}
    display(kinds, raw=True, metadata={"image/png": {"alt": alt}})
