"""Reading: one module a kind of file, nothing run from data, and a bound on what a file can cost."""

from lart_mini.reading.arrays import open_npz, read_npy
from lart_mini.reading.budget import Budget, TooMuch, count_values, read_bytes
from lart_mini.reading.objects import read_objects
from lart_mini.reading.pickles import read_pickle
from lart_mini.reading.text import parse_json, read_json, read_yaml

__all__ = [
    "Budget",
    "TooMuch",
    "count_values",
    "open_npz",
    "parse_json",
    "read_bytes",
    "read_json",
    "read_npy",
    "read_objects",
    "read_pickle",
    "read_yaml",
]
