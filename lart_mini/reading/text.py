"""JSON and YAML of bounded size, depth and number of values; keys stand once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from lart_mini.files import BadInput
from lart_mini.reading.budget import MIB, TooMuch, count_values, read_bytes

LARGEST_JSON = 32 * MIB  # bytes; a run's results have some 100 kB
LARGEST_YAML = MIB // 16  # bytes; a profile has 1 kB, and YAML is slow to read
MOST_VALUES = 1_000_000  # of a file, aliases written out in full
DEEPEST = 64  # levels


def read_json(path: str | Path) -> Any:
    """What a JSON file (UTF-8) holds; NaN and Infinity, which Python writes, are read.

    Raises BadInput for anything but JSON, a key that stands twice in an object, more than LARGEST_JSON bytes,
    MOST_VALUES values or DEEPEST levels; FileNotFoundError for a missing file.
    """
    return parse_json(read_bytes(path, LARGEST_JSON), path)


def parse_json(text: str | bytes, file: object, field: str = "file", most: int = MOST_VALUES) -> Any:
    """The same of a text or its bytes in UTF-8, of `most` values; `file` and `field` say where it stands.

    Raises BadInput.
    """
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        # Each value but the last has a comma or an opening bracket to itself.
        if text.count(",") + text.count("[") + text.count("{") > most:
            raise TooMuch(f"more than {most:,} values")
        content = json.loads(text, object_pairs_hook=_once_each)
        count_values(content, 2 * most, DEEPEST)
        if "\\ud" in text.lower():  # half a character in an escape can be read, but never be written
            json.dumps(content, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise BadInput(file, field, "JSON", f"values nested deeper than {DEEPEST}") from None
    except (ValueError, TooMuch) as error:
        raise BadInput(file, field, "JSON", error) from None
    return content


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError(f"the key {_twice(name for name, _ in pairs)[0]!r} twice in one object")
    return content


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


class _BoundedLoader(yaml.SafeLoader):
    """Counts what it composes, aliases written out in full, before any of it is made."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.count = self.depth = 0
        self.sizes: dict[int, int] = {}  # of the nodes that are composed whole, by id

    def compose_node(self, parent: Any, index: Any) -> Any:
        """One more node, or an alias of one."""
        alias, before = self.check_event(yaml.AliasEvent), self.count
        self.depth += 1
        if self.depth > DEEPEST:
            raise TooMuch(f"values nested deeper than {DEEPEST}")
        node = super().compose_node(parent, index)
        self.depth -= 1
        if alias and id(node) not in self.sizes:
            raise TooMuch("an alias of what it stands in")
        self.count += self.sizes[id(node)] if alias else 1
        if self.count > MOST_VALUES:
            raise TooMuch(f"more than {MOST_VALUES:,} values")
        if not alias:
            self.sizes[id(node)] = self.count - before
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        """A mapping in which no key stands twice."""
        node = super().compose_mapping_node(anchor)
        twice = _twice(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if twice:
            raise TooMuch(f"the key {twice[0]!r} twice")
        return node


def read_yaml(path: str | Path, shown: object = None) -> Any:
    """What a YAML file (UTF-8) of plain values holds; `shown` names it in errors, if not `path`.

    Raises BadInput for anything but YAML, a key that stands twice in a mapping, more than LARGEST_YAML bytes,
    MOST_VALUES values (aliases written out in full) or DEEPEST levels; FileNotFoundError for a missing file.
    """
    content = read_bytes(path, LARGEST_YAML)
    try:
        loader = _BoundedLoader(content.decode("utf-8-sig"))
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except Exception as error:  # a date of month 99 and others come as they are
        raise BadInput(shown or path, "file", "YAML", error) from None
