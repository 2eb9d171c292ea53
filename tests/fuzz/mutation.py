"""Chance applied to bytes and to nested values: what every kind of file is damaged by."""

from __future__ import annotations

import random
import warnings
from typing import Any

import numpy as np

MAGIC = (
    b"\x00",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x00\x00\x00\x80",
    b"\n",
    b'"',
    b"{",
    b"NaN",
)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """`data` cut, with bits turned, or with a run overwritten, taken out, doubled or put in, up to thrice."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(content) + 1)
        length = min(rng.choice((1, 1, 2, 4, 8, 64, 512)), len(content) - at)
        kind = rng.randrange(7)
        if kind == 0:
            del content[at:]
        elif kind == 1 and length:
            content[rng.randrange(at, at + length)] ^= 1 << rng.randrange(8)
        elif kind == 2:
            content[at : at + length] = rng.randbytes(length)
        elif kind == 3:
            del content[at : at + length]
        elif kind == 4:
            content[at:at] = content[at : at + length] * rng.choice((1, 2, 50))
        elif kind == 5:
            content[at:at] = rng.randbytes(length or 3)
        else:
            magic = rng.choice(MAGIC)
            content[at : at + len(magic)] = magic
    return bytes(content)


ODD_NUMBERS = (
    -1, 0, 1, 2, 3, 0.5, -0.0, 1e-300, 1e30, 1e308, float("nan"), float("inf"), float("-inf"), 127, 128,
    65535,
    2**31 - 1, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**12, 10**30, 10**400,
)  # fmt: skip
ODD_TEXTS = (
    "", " ", "x", "1", "-1", "nan", "1e999", "true", "null", "None", "../../x", "a/b", "two\nlines",
    "a\rb", "\x1b[31m",
    "\x00", "ä€😀", "\u2028", "\ud800", "x" * 300, "y" * 20000, "%s%n{0}", "<b>&", "$\\frac{$", "é" * 999,
)  # fmt: skip


def plain_odd(rng: random.Random) -> Any:
    """A value that JSON and YAML can hold, where another was expected."""
    return rng.choice(
        (
            lambda: rng.choice(ODD_NUMBERS),
            lambda: rng.choice(ODD_TEXTS),
            lambda: rng.choice((None, True, False)),
            lambda: rng.choice(([], {}, [[]], [None], {"a": {}}, {"": []}, [1, "a"])),
            lambda: nested(rng.choice((3, 50, 400)), rng.choice((list, dict))),
            lambda: [rng.choice(ODD_NUMBERS)] * rng.choice((1, 2, 5, 3000)),
        )
    )()


def nested(depth: int, kind: type) -> Any:
    """A list or dict `depth` deep."""
    value: Any = kind()
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


def shared(levels: int, kind: type = list, copies: int = 3) -> Any:
    """A billion laughs: each level holds the one below it several times over."""
    value: Any = kind(("lol",))
    for _ in range(levels):
        value = kind([value] * copies)
    return value


def odd(rng: random.Random) -> Any:
    """A value that a pickle can hold, where another was expected."""
    return rng.choice(
        (
            lambda: plain_odd(rng),
            lambda: plain_odd(rng),
            lambda: rng.choice((b"", b"\x00" * 9, bytearray(3), {1, 2}, frozenset(), (), ((),), 1j, ...)),
            lambda: shared(rng.choice((3, 12, 28, 60)), rng.choice((list, tuple))),
            lambda: itself(rng),
            lambda: odd_array(rng),
            lambda: odd_array(rng),
            lambda: [odd_array(rng) for _ in range(rng.choice((1, 3, 12)))],
            lambda: {rng.choice((0, -1, "a", 2.5, None)): odd_array(rng) for _ in range(2)},
        )
    )()


def itself(rng: random.Random) -> Any:
    """A list or dict that holds itself."""
    value: Any = rng.choice(([], {}))
    if isinstance(value, list):
        value.append(value)
    else:
        value["a"] = value
    return value


DTYPES = (
    "f2",
    "f4",
    "f8",
    ">f8",
    "i1",
    "u1",
    "i8",
    ">i4",
    "u8",
    "?",
    "c8",
    "S3",
    "U2",
    "M8[s]",
    "m8[ms]",
    "V4",
    "O",
)


def odd_array(rng: random.Random) -> Any:
    """An array of any shape, dtype and content."""
    shape = tuple(rng.choice((0, 1, 2, 3, 12)) for _ in range(rng.randrange(5)))
    with np.errstate(all="ignore"):
        kind = rng.randrange(4)
        if kind == 0:
            return np.zeros(shape, rng.choice(DTYPES))
        if kind == 1:
            return np.full(shape, rng.choice((np.nan, np.inf, -1e30, 1e308)))
        if kind == 2:
            return np.zeros(shape, [("a", "f4"), ("b", "i8", (2,))])
        return np.float64(rng.choice(ODD_NUMBERS[:20]))


CUTS = (slice(-1), slice(0), slice(1, None), slice(None, None, -1))


def mutated_array(array: np.ndarray, rng: random.Random) -> Any:
    """The array in another dtype, shape or layout, or with a number that should not be there."""
    array = np.array(array)
    kind = rng.randrange(6)
    with np.errstate(all="ignore"):
        if kind == 0:
            try:
                return array.astype(rng.choice(DTYPES))
            except (TypeError, ValueError):
                return array.astype("O")
        if kind == 1:
            return rng.choice(
                (
                    array.T,
                    array[None],
                    array.ravel(),
                    array[..., None],
                    np.atleast_1d(array)[rng.choice(CUTS)],
                )
            )
        if kind == 2:
            return np.concatenate([array, array]) if array.ndim else array[None]
        if kind == 3:
            return np.asfortranarray(array)
        if array.size and array.dtype.kind in "fiub":
            number = rng.choice(ODD_NUMBERS)
            try:
                array.flat[rng.randrange(array.size)] = number
            except (OverflowError, ValueError):
                return array.astype(object)
            return array
    return odd_array(rng)


def mutate(value: Any, rng: random.Random, odd: Any = odd) -> Any:
    """`value`, changed in its own place somewhere; gives what now stands for it.

    Goes down a chance path of dicts and lists; there, an entry is lost, doubled, renamed, or becomes odd.
    """
    if isinstance(value, np.ndarray) and rng.random() < 0.7:
        return mutated_array(value, rng)
    if not isinstance(value, dict | list) or not value or rng.random() < 0.04:
        return odd(rng)
    key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
    kind = rng.random()
    if kind < 0.1:
        del value[key]
    elif kind < 0.2 and isinstance(value, dict):
        value[rng.choice((*ODD_TEXTS, 0, -1, 2.5))] = value.pop(key)
    elif kind < 0.2:
        value.insert(key, value[key])
    else:
        value[key] = mutate(value[key], rng, odd)
    return value


def save_npz(path: Any, content: Any) -> None:
    """Write an .npz of whatever can be written; pickles of objects may be in it."""
    arrays = content if isinstance(content, dict) else {"a": content}
    with warnings.catch_warnings(action="ignore"):
        np.savez(path, **{name_of_member(name): value for name, value in arrays.items()})


def name_of_member(name: object) -> str:
    """A name that a zip file can have."""
    return str(name).encode(errors="ignore").decode().replace("\0", "")[:9999] or "_"
