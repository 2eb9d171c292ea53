"""Sliders, static first: the figure always stands; sliders join it only where someone can move them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from matplotlib.figure import Figure

from lart_mini.figures.base import show
from lart_mini.progress import live_front_end


def explore(draw: Callable[..., Figure], alt: str, **choices: Sequence[Any]) -> None:
    """Show `draw` at the first value of every choice; in a live front end, add one slider per choice.

    choices: name of an argument of `draw` → the values it may take, the default first.
    """
    first = draw(**{name: values[0] for name, values in choices.items()})
    if not live_front_end():
        show(first, alt)
        return
    import ipywidgets
    from IPython.display import display

    sliders = {
        name: ipywidgets.SelectionSlider(options=sorted(values), value=values[0], description=name)
        for name, values in choices.items()
    }
    place = uuid4().hex  # of the one figure, which each move replaces
    show(first, alt, display_id=place)

    def redraw(_: object) -> None:
        moved = draw(**{name: slider.value for name, slider in sliders.items()})
        show(moved, alt, display_id=place, update=True)

    for slider in sliders.values():
        slider.observe(redraw, "value")
    display(ipywidgets.VBox(list(sliders.values())))
