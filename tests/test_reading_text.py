"""JSON, YAML and the counting of values: whatever stands in a file, it is read or refused in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lart_mini.files import BadInput
from lart_mini.reading import text
from lart_mini.reading.budget import Budget, TooMuch, count_values, read_bytes
from lart_mini.reading.text import parse_json, read_json, read_yaml

words = st.text(st.characters(codec="utf-8"))
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner) | st.dictionaries(words, inner),
    max_leaves=20,
)


def doubled(times: int) -> Any:
    """A list that holds itself twice over, `times` deep."""
    value: Any = [1]
    for _ in range(times):
        value = [value, value]
    return value


@given(plain)
def test_json_is_read_as_python_reads_it(content: Any) -> None:
    assert parse_json(json.dumps(content), "x") == content
    assert parse_json(json.dumps(content, ensure_ascii=False).encode(), "x") == content


@given(st.binary(max_size=200) | st.text('{}[]",:0189.eE-\\u dNaN\n', max_size=60))
def test_anything_else_is_one_line(content: str | bytes) -> None:
    try:
        parse_json(content, "x.json")
    except BadInput as problem:
        assert str(problem).startswith("x.json: file: expected JSON, found ")
        assert len(str(problem).splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested deeper than 64"),
        ("[" * 70 + "]" * 70, "nested deeper than 64"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' twice"),
        ("[" + "0," * 1_000_001 + "0]", "more than 1,000,000 values"),
        ("1" * 5000, "limit"),
        ('"\\ud800"', "surrogates not allowed"),
        (b"\xff\xfe1\x00", "can't decode"),
        ("", "Expecting value"),
    ],
)
def test_json_that_costs_too_much_or_is_none(tmp_path: Path, content: str | bytes, found: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(BadInput, match=f"{path}: file: expected JSON, found .*{found}"):
        read_json(path)


def test_a_byte_order_mark_and_nan_are_read() -> None:
    content = parse_json(b'\xef\xbb\xbf{"loss": [NaN, Infinity], "name": "\\u00fc\\ud83d\\ude00"}', "x")
    assert np.isnan(content["loss"][0]) and content["loss"][1] == np.inf and content["name"] == "ü😀"


LAUGHS = "a0: &a0 [1, 2]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 30))
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 30))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (LAUGHS, "more than 1,000,000 values"),
        (MERGED, "more than 1,000,000 values"),
        ("a: &a [*a]", "an alias of what it stands in"),
        ("[" * 20_000, "nested deeper than 64"),
        ("a: 1\na: 2", "the key 'a' twice"),
        ("a: !!python/object/apply:os.mkdir [x]", "could not determine a constructor"),
        ("a: 2020-99-99", "month must be in"),
        ("a: [", "expected"),
        ("- 1\n--- 2", "single document"),
        ("\x00", "special characters"),
    ],
)
def test_yaml_that_costs_too_much_or_is_none(tmp_path: Path, content: str, found: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BadInput, match=f"a profile: file: expected YAML, found .*{found}") as raised:
        read_yaml(path, "a profile")
    assert len(str(raised.value).splitlines()) == 1


def test_yaml_with_aliases_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("\ufeffa: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a, ~]\n", encoding="utf-8")
    assert read_yaml(path) == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": [{"x": 1, "y": 2}, None]}


def test_what_the_system_does_not_give_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "LARGEST_JSON", 10)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_text("[1, 2, 3, 4]")
    found = {
        tmp_path: "a plain file, found a folder", tmp_path / "pipe": "a plain file, found none",
        tmp_path / ("x" * 300): "a file that can be read, found File name too long",
        tmp_path / "large" / "x": "a file that can be read, found Not a directory",
        "a\0b": "a file that can be read, found .*embedded null",
        tmp_path / "large": "at most .* MiB, found more",
    }  # fmt: skip
    for path, problem in found.items():
        with pytest.raises(BadInput, match=f"file: expected {problem}"):
            read_json(path)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "missing")
    if os.geteuid():  # root may read all
        (tmp_path / "large").chmod(0)
        with pytest.raises(BadInput, match="Permission denied"):
            read_bytes(tmp_path / "large", 100)


@given(plain)
def test_counting_values_counts_each_once(content: Any) -> None:
    def count(value: Any) -> int:
        if isinstance(value, dict):
            return 1 + len(value) + sum(map(count, value.values()))
        return 1 + sum(map(count, value)) if isinstance(value, list) else 1

    assert count_values(content, 10_000) == count(content)
    with pytest.raises(TooMuch, match="more than"):
        count_values(content, count(content) - 1)


def test_what_holds_itself_over_and_over_is_counted_in_full() -> None:
    assert count_values(doubled(10), 10_000) == 2**11 - 1 + 2**10
    for value in (doubled(31), {"a": doubled(30)}):
        with pytest.raises(TooMuch, match="more than 10,000 values"):
            count_values(value, 10_000)
    with pytest.raises(TooMuch, match="deeper than 32"):
        count_values(doubled(40), 10**9)
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(TooMuch, match="deeper than 32"):
        count_values(circle, 10_000)
    assert count_values([np.zeros((3, 4)), "text"], 100) == 3


def test_a_budget_is_spent_before_anything_is_made() -> None:
    budget = Budget(size=100, objects=2)
    budget.take(60, 1)
    with pytest.raises(TooMuch, match="more than 0 MiB"):
        budget.take(41)
    budget = Budget(size=100, objects=2)
    budget.take(objects=2)
    with pytest.raises(TooMuch, match="more than 2 values"):
        budget.take(objects=1)
