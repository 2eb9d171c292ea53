"""Tables: AVA's CSV files for `evaluate`, and MOTChallenge texts."""

from __future__ import annotations

import gzip
import inspect
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from arrays import damaged_npz
from mutation import ODD_NUMBERS, damaged
from runner import Case, command

from lart_mini import cli
from lart_mini.people.body import FREE_BODY, load_body
from lart_mini.tracking.mot import from_mot
from lart_mini.tracklets.tracklet import Tracklet

CLASSES = (1, 4, 12, 17, 59, 80)
ODD_CELLS = ("", " ", "nan", "inf", "-1", "1e999", "0x10", "1,5", "abc", '"', '"a"', "1.5", "000902",
             "-0", "9" * 40, "\x00", "é",
             "=1+1", "1e3", "902.5", "\ufeff", "'a", "1_000", "True", "x" * 5000)  # fmt: skip


def ava_rows(rng: random.Random) -> tuple[list[list[str]], list[list[str]]]:
    """Ground truth and detections of a few frames, most of them found again."""
    truth, found = [], []
    for video in ("a_b-cdefghi", "zzzzzzzzzzz"):
        for second in range(902, 905):
            for person in range(2):
                x, y = 0.1 + 0.4 * person, round(0.1 + 0.3 * rng.random(), 3)
                box = [f"{x:.3f}", f"{y:.3f}", f"{x + 0.3:.3f}", f"{y + 0.4:.3f}"]
                for action in rng.sample(CLASSES, 2):
                    start = [video, f"{second:04d}", *box, str(action)]
                    truth.append([*start, str(person)])
                    if rng.random() < 0.8:
                        found.append([*start, f"{rng.random():.4f}"])
    return truth, found


def text(rows: list[list[str]], line: str = "\n") -> str:
    return "".join(",".join(row) + line for row in rows)


def told_otherwise(rows: list[list[str]], rng: random.Random) -> bytes:
    """The same table as other programs write it."""
    kind = rng.randrange(8)
    content = text(rows, "\r\n" if kind == 1 else "\n").encode()
    if kind == 2:
        return b"\xef\xbb\xbf" + content
    if kind == 3:
        return gzip.compress(content)
    if kind == 4:
        middle = content.index(b"\n", len(content) // 2) + 1
        return gzip.compress(content[:middle]) + gzip.compress(content[middle:])
    if kind == 5:
        return content + b"\n" * rng.randrange(4)
    if kind == 6:
        return content.removesuffix(b"\n")
    if kind == 7:
        return text(rows).encode("utf-16")
    return content


def mutated_rows(rows: list[list[str]], rng: random.Random) -> bytes:
    """A cell, a row or a column that should not be so, or another way to write them all."""
    rows = [list(row) for row in rows]
    for _ in range(rng.choice((1, 1, 3))):
        kind = rng.randrange(9)
        row = rng.choice(rows) if rows else []
        at = rng.randrange(len(row) or 1)
        if kind < 3 and row:
            row[at] = rng.choice((*ODD_CELLS, *map(repr, ODD_NUMBERS[:24])))
        elif kind == 3 and row:
            del row[at]
        elif kind == 4:
            row.append(rng.choice(ODD_CELLS))
        elif kind == 5:
            rows = rng.choice((rows[:1], rows * 3, rows[::-1], [], [["video", "second", "x1"], *rows]))
        elif kind == 6:
            value = rng.choice(ODD_CELLS)
            for one in rows:
                one[min(at, len(one) - 1)] = value
        elif kind == 7:
            rows.insert(rng.randrange(len(rows) + 1), rng.choice(([""], [" "], ["#"], row[:2], row[:1] * 8)))
        else:
            rows = (
                [[cell.replace(".", ",") for cell in one] for one in rows]
                if at % 2
                else [[";".join(one)] for one in rows]
            )
    content = text(rows).encode(errors="surrogatepass")
    if rng.random() < 0.3:
        content = damaged(content, rng)
    if rng.random() < 0.3:
        content = gzip.compress(content)
        content = damaged(content, rng) if rng.random() < 0.4 else content
    return content


def mass(rows: list[list[str]], rng: random.Random) -> bytes:
    """Far more than anybody has: rows in one frame, bytes unpacked, gzip members, columns."""
    kind = rng.randrange(4)
    if kind == 0:
        return gzip.compress(
            text([[*rows[0][:6], str(1 + i % 80), f"0.{i:05d}"] for i in range(60_000)]).encode(), 1
        )
    if kind == 1:
        return gzip.compress(bytes(600 << 20), 1)
    if kind == 2:
        return gzip.compress(b"") * 100_000 + gzip.compress(text(rows).encode())
    return (",".join(["1"] * 500_000) + "\n").encode()


def evaluate(rng: random.Random, shelf: Path) -> Case:
    """`evaluate` on four files, of which one or more are damaged or written otherwise."""
    truth, found = ava_rows(rng)
    excluded = [["zzzzzzzzzzz", "0903"]]
    tables: dict[str, Any] = {"groundtruth": truth, "detections": found}
    if rng.random() < 0.4:
        tables["excluded"] = excluded
    valid = rng.random() < 0.2
    arguments = []
    chosen = rng.choice(list(tables))
    for name, rows in tables.items():
        path = Path(f"{name}.csv")
        if valid:
            path.write_bytes(told_otherwise(rows, rng))
        elif name == chosen:
            path.write_bytes(mass(rows, rng) if rng.random() < 0.04 else mutated_rows(rows, rng))
        else:
            path.write_text(text(rows), encoding="utf-8")
        arguments += [f"--{name}", path]
    if not valid and "classes" in inspect.signature(cli.evaluate).parameters and rng.random() < 0.2:
        Path("classes").write_bytes(classes(rng))
        arguments += ["--classes", "classes"]
    arguments += ["--policy", rng.choice(("activitynet", "slowfast", "mmaction2")), "--json", "result.json"]

    def sane(said: str) -> None:
        content = json.loads(Path("result.json").read_text())
        assert content["mAP"] is None or 0 <= content["mAP"] <= 1, "mAP outside of 0 to 1"
        if valid:
            right = expected(tables, arguments)
            assert content["mAP"] == right, f"mAP {content['mAP']}, not {right}"

    return Case(
        command("evaluate", *arguments, codes=(0, 1)), "read" if valid else "either", sane, ("result.json",)
    )


def expected(tables: dict[str, Any], arguments: list[Any]) -> float:
    """mAP of the same rows, plainly written."""
    given = {name: Path(f"{name}.csv").read_bytes() for name in tables}
    for name, rows in tables.items():
        Path(f"{name}.csv").write_text(text(rows), encoding="utf-8")
    command("evaluate", *arguments[:-1], "plain.json", codes=(0, 1))()
    right = json.loads(Path("plain.json").read_text())["mAP"]
    Path("plain.json").unlink()
    for name, content in given.items():
        Path(f"{name}.csv").write_bytes(content)
    return right


def classes(rng: random.Random) -> bytes:
    """A list of classes: AVA's .pbtxt, a CSV, or ids, whole or damaged."""
    entries = "".join(f'item {{\n  name: "a"\n  id: {one}\n}}\n' for one in CLASSES)
    content = rng.choice(
        (entries, "".join(f"{one},a\n" for one in CLASSES), "\n".join(map(str, CLASSES)), "")
    ).encode()
    return damaged(content, rng) if rng.random() < 0.7 else content


# --------------------------------------------------------------------------------------------- MOTChallenge


def mot_rows() -> list[list[str]]:
    """Two people in five frames: frame, id, x, y, w, h, confidence, and three of no use."""
    return [
        [str(frame), str(one), str(10 + 90 * one + frame), "20.5", "40", "80", "0.9", "-1", "-1", "-1"]
        for frame in range(1, 6)
        for one in (1, 2)
    ]


def mot(rng: random.Random, shelf: Path) -> Case:
    """A MOTChallenge text and its .npz of poses, one of them damaged."""
    rows, path, poses = mot_rows(), Path("MOT17-02.txt"), Path("poses.npz")
    numbers, count = np.random.default_rng(rng.getrandbits(32)), len(rows)
    content = {
        "pose": numbers.normal(size=(count, 24, 3, 3)).astype(np.float32),
        "betas": numbers.normal(size=(count, 10)).astype(np.float32),
        "translation": numbers.normal(size=(count, 3)).astype(np.float32) + 5,
    }
    valid = rng.random() < 0.2
    path.write_text(text(rows), encoding="utf-8")
    np.savez(poses, **content)
    if valid:
        kind = rng.randrange(5)
        plain = text(rows).encode()
        path.write_bytes(
            (
                plain,
                plain.replace(b"\n", b"\r\n"),
                b"\xef\xbb\xbf" + plain,
                plain + b"\n\n",
                plain.replace(b",", b", "),
            )[kind]
        )
    elif rng.random() < 0.6:
        path.write_bytes(mutated_rows(rows, rng))
    else:
        damaged_npz(content, poses, rng)

    def sane(found: list[Tracklet]) -> None:
        for one in found:
            one.validate()
        if valid:
            assert [one.track for one in found] == [1, 2] and all(len(one) == 5 for one in found)
            np.testing.assert_array_equal(found[0].pose, content["pose"][::2])

    body = load_body(FREE_BODY)
    size = (240, 320)
    return Case(
        lambda: from_mot(path, poses, frame_size=size, body=body), "read" if valid else "either", sane
    )


MAKERS = {"evaluate": evaluate, "mot": mot}
