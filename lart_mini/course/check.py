"""What a student wrote, held against the package: not attempted, wrong (where, and why probably), or right.

A blank is a function that a notebook leaves to its reader. It is tried with small arguments of its own, so no
blank needs another one's answer, a data set, or what stands elsewhere in the notebook.
"""

from __future__ import annotations

import inspect
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class NotRight(AssertionError):
    """What a check says of a blank that is not right; Jupyter shows the sentence alone, no traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class NotAttempted(NotRight):
    """Nothing has been written yet."""


class Wrong(NotRight):
    """What was written gives something else than the package does."""


@dataclass(frozen=True)
class Slip:
    """A typical mistake: its cause, in words for the student, and how to know it."""

    cause: str
    made: Callable[..., bool]  # (got, wanted, *arguments) → was it this one? May raise: then it was not


def gives(other: Callable[..., Any], tolerance: float = 1e-5) -> Callable[..., bool]:
    """A slip's `made`: the answer is what `other` gives of the same arguments."""
    return lambda got, wanted, *arguments: difference(got, other(*arguments), tolerance) is None


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers to try a blank with, the same every time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Blank:
    """A function that the reader of a notebook writes."""

    name: str
    notebook: str  # stem
    package: Callable[..., Any]  # what the kit has for it, of the same arguments
    examples: Callable[[], Sequence[tuple[Any, ...]]]  # arguments to try it with, the same every time
    slips: tuple[Slip, ...] = ()  # the first that fits is named
    tolerance: float = 1e-5  # absolute and relative


def hold_against(blank: Blank, answer: Callable[..., Any]) -> str:
    """The sentence that says it is right. Raises NotAttempted or Wrong, which say what is not."""
    examples = blank.examples()
    for number, arguments in enumerate(examples, start=1):
        tried = f"{blank.name}: wrong in example {number} of {len(examples)} "
        tried += f"({', '.join(named(answer, arguments))})"
        wanted = blank.package(*deepcopy(arguments))
        try:
            got = answer(*deepcopy(arguments))
        except Exception as error:
            if isinstance(error, NotImplementedError) and not error.args:  # the stub's own; torch's say what
                raise NotAttempted(f"{blank.name}: not attempted yet. The hint stands above.") from None
            raised = f"it raises {type(error).__name__}: {error}{line_of(error, answer)}"
            raise Wrong(f"{tried}: {raised}") from None
        found = difference(got, wanted, blank.tolerance)
        if found is not None:
            cause = next((slip.cause for slip in blank.slips if _fits(slip, got, wanted, arguments)), None)
            cause = cause or usual_cause(got, wanted, blank.tolerance)
            likely = f"\nA likely cause: {cause}" if cause else ""
            raise Wrong(f"{tried}: {found}{likely}")
    return f"{blank.name}: right, equal to the package's in {len(examples)} example(s)"


def _fits(slip: Slip, got: Any, wanted: Any, arguments: tuple[Any, ...]) -> bool:
    try:
        with warnings.catch_warnings():  # of what is tried here the reader has not written a line
            warnings.simplefilter("ignore")
            return bool(slip.made(got, wanted, *deepcopy(arguments)))
    except Exception:  # it was written for answers of the right kind and shape
        return False


# -------------------------------------------------------------------------------------------------- comparing


def difference(got: Any, wanted: Any, tolerance: float) -> str | None:
    """What of `got` differs first from `wanted`, in words; None: nothing beyond the tolerance.

    Numbers, arrays, tensors and text; and tuples, lists and dicts of those, part by part.
    """
    if got is None and wanted is not None:
        return "it gives None (is there a return?)"
    if isinstance(wanted, Mapping):
        if not isinstance(got, Mapping):
            return f"it gives {told(got)}, expected a dict"
        if set(got) != set(wanted):
            return f"its keys are {sorted(map(str, got))}, expected {sorted(map(str, wanted))}"
        return _first_part({key: (got[key], wanted[key]) for key in wanted}, tolerance)
    if isinstance(wanted, (tuple, list)):
        if not isinstance(got, (tuple, list)):
            return f"it gives {told(got)}, expected a {type(wanted).__name__} of {len(wanted)}"
        if len(got) != len(wanted):
            return f"it gives {told(got)}, expected {told(wanted)}"
        return _first_part(dict(enumerate(zip(got, wanted, strict=True))), tolerance)
    try:
        found = array(got)
    except (TypeError, ValueError):
        return f"it gives {told(got)}, no array (are its rows of one length?), expected {told(wanted)}"
    return _of_arrays(found, array(wanted), tolerance)


def _first_part(parts: Mapping[Any, tuple[Any, Any]], tolerance: float) -> str | None:
    for key, (got, wanted) in parts.items():
        found = difference(got, wanted, tolerance)
        if found is not None:
            return f"part {key!r}: {found}"
    return None


def _of_arrays(got: NDArray[Any], wanted: NDArray[Any], tolerance: float) -> str | None:
    kinds = got.dtype.kind, wanted.dtype.kind
    if (kinds[0] in "iuf") != (kinds[1] in "iuf") and kinds[0] != kinds[1]:
        return f"it gives {told(got)}, expected {told(wanted)}"
    if got.shape != wanted.shape:
        return f"it gives shape {got.shape}, expected {wanted.shape}"
    unlike = ~same(got, wanted, tolerance)
    if not unlike.any():
        return None
    at = tuple(int(i) for i in np.argwhere(unlike)[0])
    if not wanted.ndim:
        return f"it gives {number(got[()])}, expected {number(wanted[()])}"
    first = f"first at {list(at)}: it gives {number(got[at])}, expected {number(wanted[at])}"
    return f"{first}; {unlike.sum()} of {unlike.size} differ"


def same(got: NDArray[Any], wanted: NDArray[Any], tolerance: float = 1e-5) -> NDArray[np.bool_]:
    """Where two arrays of one shape are equal within the tolerance; nan equals nan."""
    if got.dtype.kind in "iuf" and wanted.dtype.kind in "iuf":
        return np.isclose(got.astype(float), wanted.astype(float), tolerance, tolerance, equal_nan=True)
    return np.asarray(got == wanted, bool)


def array(value: Any) -> NDArray[Any]:
    """A number, tensor, array, or a sequence of those as an array. Raises ValueError for rows of several
    lengths."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()  # which numpy has not
    return np.asarray([array(one) for one in value] if isinstance(value, (list, tuple)) else value)


# ---------------------------------------------------------------------------------------------- likely causes


def usual_cause(got: Any, wanted: Any, tolerance: float = 1e-5) -> str | None:
    """What often goes wrong with arrays, whatever the blank; None where nothing of it fits."""
    try:
        got, wanted = array(got), array(wanted)
        return next(_usual(got.astype(float), wanted.astype(float), tolerance), None)
    except (TypeError, ValueError):  # no numbers
        return None


def _usual(got: NDArray[Any], wanted: NDArray[Any], tolerance: float) -> Iterator[str]:
    def equal(a: NDArray[Any], b: NDArray[Any]) -> bool:
        return a.shape == b.shape and bool(same(a, b, tolerance).all())

    for a in range(got.ndim):
        for b in range(a + 1, got.ndim):
            if equal(np.swapaxes(got, a, b), wanted):
                yield f"axes {a} and {b} have changed places"
    if got.shape != wanted.shape:
        if got.size == wanted.size and equal(got.reshape(wanted.shape), wanted):
            yield "the numbers are right, their shape is not"
        return
    if equal(-got, wanted):
        yield "the sign is turned round"
    if wanted.size > 1:
        there = np.abs(wanted) > tolerance
        ratio = got[there] / wanted[there]
        if len(ratio) and np.ptp(ratio) < tolerance * max(1, abs(ratio[0])) and equal(got, wanted * ratio[0]):
            yield f"every number is {ratio[0]:.4g} times what it should be"
        if np.ptp(got - wanted) < tolerance:
            yield f"every number is {(got - wanted).flat[0]:.4g} too large"
    for axis in range(got.ndim):
        if equal(np.flip(got, axis), wanted):
            yield f"axis {axis} runs the wrong way"
        for step in (1, -1):
            if equal(np.roll(got, step, axis), wanted):
                yield f"everything stands one place too {'early' if step == 1 else 'late'} along axis {axis}"


# ------------------------------------------------------------------------------------------------------ words


MOST_NUMBERS, MOST_LETTERS = 6, 60  # that are written out


def named(answer: Callable[..., Any], arguments: tuple[Any, ...]) -> Iterator[str]:
    """Arguments under the names that the reader's function gives them, as far as it has any."""
    try:
        names = list(inspect.signature(answer).parameters)
    except (TypeError, ValueError):
        names = []
    for place, argument in enumerate(arguments):
        yield f"{names[place]} = {told(argument)}" if place < len(names) else told(argument)


def line_of(error: Exception, answer: Callable[..., Any]) -> str:
    """The line of the reader's function that raised, if its text is known."""
    own = getattr(getattr(answer, "__code__", None), "co_filename", None)
    lines = [frame.line for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
    return f"\nin the line: {lines[-1]}" if lines and lines[-1] else ""


def told(value: Any) -> str:
    """An argument or an answer in few words: its value where it is short, else its kind and shape."""
    if isinstance(value, (Tensor, np.ndarray)) and value.ndim:
        values = array(value)
        if values.ndim == 1 and values.size <= MOST_NUMBERS:
            return f"[{', '.join(map(number, values))}]"
        return f"{values.dtype} {values.shape}"
    if isinstance(value, (list, tuple)):
        inside = f"[{', '.join(map(told, value))}]"
        return inside if len(inside) <= MOST_LETTERS else f"{type(value).__name__} of {len(value)}"
    if isinstance(value, (Tensor, np.ndarray, np.generic, bool, int, float)):
        return number(array(value)[()])
    text = repr(value)
    if len(text) <= 30:
        return text
    return f"{type(value).__name__} of {len(value)}" if hasattr(value, "__len__") else type(value).__name__


def number(value: Any) -> str:
    """A number in at most five digits; else the value as it prints."""
    return f"{value:.5g}" if isinstance(value, (float, np.floating)) else str(value)
