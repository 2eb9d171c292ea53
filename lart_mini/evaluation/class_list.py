"""Which classes are scored: AVA's 60, or those of a label map."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path

from lart_mini import ava
from lart_mini.evaluation.ava_csv import MOST_CLASSES
from lart_mini.files import BadInput
from lart_mini.reading.budget import MIB
from lart_mini.reading.tables import check_utf_8, table_bytes

AVA_60 = {action.id: action.name for action in ava.CLASSES if action.evaluated}
LONGEST_NAME = 100  # characters
_IDS = re.compile(r"\s*\d{1,9}\s*(,\s*\d{1,9}\s*)*")
_ITEM = re.compile(r"\b(?:item|label)\s*\{([^{}]*)\}")
_NAME, _ID = re.compile(r"\bname\s*:\s*([\"'])(.*?)\1"), re.compile(r"\b(?:label_)?id\s*:\s*(\d{1,9})")


def read_classes(source: str | Path) -> dict[int, str]:
    """Class names by ascending id, from ids such as "1,2,3" or from a label map, a file.

    Label maps are read as AVA publishes them (.pbtxt), items of `name` and `id` or of `name` and `label_id`,
    or as lines `id,name` or `id: name`, of which the first may be a heading. Raises BadInput naming the line
    for anything else, an id that stands twice or is none of 1 to 255, and names that cannot be printed.
    """
    if _IDS.fullmatch(str(source)):
        return _checked("--classes", ((0, int(number), "") for number in str(source).split(",")))
    path = Path(source)
    content = table_bytes(path, most=MIB)
    check_utf_8(path, content)
    text = content.decode()
    return _checked(path, _items(path, text) if _ITEM.search(text) else _lines(path, text))


def _items(path: Path, text: str) -> Iterable[tuple[int, int, str]]:
    """Line, id and name of each item of a protocol buffer's text."""
    for item in _ITEM.finditer(text):
        line = 1 + text.count("\n", 0, item.start())
        name, number = _NAME.search(item[1]), _ID.search(item[1])
        if name is None or number is None:
            found = " ".join(item[0].split())[:60]
            raise BadInput(path, f"line {line}", 'an item of name: "…" and id: …', found)
        yield line, int(number[1]), name[2]


def _lines(path: Path, text: str) -> Iterable[tuple[int, int, str]]:
    """Line, id and name of each line; the name is empty where only the id is there."""
    for line, content in enumerate(text.splitlines(), start=1):
        try:
            parts = next(csv.reader([content]), [""]) if "," in content else content.split(":", 1)
        except csv.Error as error:
            raise BadInput(path, f"line {line}", "id,name", error) from None
        number = parts[0].strip()
        if re.fullmatch(r"\d{1,9}", number):
            yield line, int(number), parts[1].strip() if len(parts) > 1 else ""
        elif content.strip() and line > 1:
            raise BadInput(path, f"line {line}", "id,name", repr(content[:60]))


def _checked(file: object, found: Iterable[tuple[int, int, str]]) -> dict[int, str]:
    names: dict[int, str] = {}
    for line, number, name in found:
        where = f"line {line}, id" if line else "id"
        if not 1 <= number <= MOST_CLASSES:
            raise BadInput(file, where, f"a class id in 1..{MOST_CLASSES}", number)
        if number in names:
            raise BadInput(file, where, "each class id once", f"{number} twice")
        if len(name) > LONGEST_NAME or not name.isprintable():
            expected = f"at most {LONGEST_NAME} characters that can be printed"
            raise BadInput(file, where.replace("id", "name"), expected, repr(name[:60]))
        names[number] = name or f"class {number}"
    if not names:
        raise BadInput(file, "classes", 'ids such as 1,2,3, lines "id,name" or a .pbtxt of items', "none")
    return dict(sorted(names.items()))
