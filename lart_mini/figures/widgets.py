"""Sliders, static first: the figure always stands; sliders join it only where someone can move them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.figure import Figure

from lart_mini.figures.base import show, to_html
from lart_mini.progress import live_front_end


def explore(draw: Callable[..., Figure], alt: str, **choices: Sequence[Any]) -> None:
    """Show `draw` at the first value of every choice; in a live front end, with something to move per choice.

    choices: name of an argument of `draw` → the values it may take, the default first. Two values become
    buttons, more of them a slider in rising order. There is one figure, a part of the widget, which changes
    where it stands; a page without a kernel, and a front end without widgets, show it as it was at first.
    """
    first = draw(**{name: values[0] for name, values in choices.items()})
    if not live_front_end():
        show(first, alt)
        return
    import ipywidgets

    controls = {name: _control(name, values) for name, values in choices.items()}
    picture = ipywidgets.HTML(to_html(first, alt))

    def redraw(_: object) -> None:
        moved = draw(**{name: control.value for name, control in controls.items()})
        picture.value = to_html(moved, alt)

    for control in controls.values():
        control.observe(redraw, "value")
    show(first, alt, **ipywidgets.VBox([*controls.values(), picture])._repr_mimebundle_())


def _control(name: str, values: Sequence[Any]) -> Any:
    """Buttons for at most two values, as they come; a slider for more, in rising order."""
    import ipywidgets

    options: dict[str, Any] = {
        "value": values[0],
        "description": name.replace("_", " "),
        "style": {"description_width": "initial"},
    }
    if len(values) <= 2:
        return ipywidgets.ToggleButtons(options=values, **options)
    return ipywidgets.SelectionSlider(options=sorted(values), **options)
