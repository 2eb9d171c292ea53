"""Sliders, static first: the figure always stands; sliders join it only where someone can move them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.figure import Figure

from lart_mini.figures.base import show
from lart_mini.progress import live_front_end


def explore(draw: Callable[..., Figure], alt: str, **choices: Sequence[Any]) -> None:
    """Show `draw` at the first value of every choice; in a live front end, add one slider per choice.

    choices: name of an argument of `draw` → the values it may take, the default first.
    """
    show(draw(**{name: values[0] for name, values in choices.items()}), alt)
    if not live_front_end():
        return
    import ipywidgets
    from IPython.display import display

    sliders = {
        name: ipywidgets.SelectionSlider(options=sorted(values), value=values[0], description=name)
        for name, values in choices.items()
    }
    moved = ipywidgets.Output()

    def redraw(_: object) -> None:
        moved.clear_output(wait=True)
        with moved:
            show(draw(**{name: slider.value for name, slider in sliders.items()}), alt)

    for slider in sliders.values():
        slider.observe(redraw, "value")
    display(ipywidgets.VBox([*sliders.values(), moved]))
