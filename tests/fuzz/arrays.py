"""Arrays: tracklets in one .npz, statistics, and the files of a store."""

from __future__ import annotations

import io
import json
import random
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from factories import assert_same, make_tracklet, write_source
from mutation import damaged, mutate, mutated_array, odd_array, plain_odd, save_npz
from pickles import program
from runner import Case, command

from lart_mini.lart.tokens import Stats, load_stats
from lart_mini.tracklets.conversion import convert
from lart_mini.tracklets.npz import load_tracklets, save_tracklets
from lart_mini.tracklets.store import Store
from lart_mini.tracklets.tracklet import Tracklet

# ------------------------------------------------------------------------------------------- .npy and .npz


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def hostile_npy(rng: random.Random) -> bytes:
    """A header that claims what is not there, or asks for objects; a pickle behind it, or nothing."""
    shape = rng.choice(
        (
            "(2, 229)",
            "(3,)",
            "()",
            "(-1,)",
            f"({2**40},)",
            f"({2**62}, {2**62})",
            "(0, 9)",
            "('a',)",
            "(1" * 900,
        )
    )
    descr = rng.choice(
        ("'<f4'", "'|O'", "'<U1000000000'", "[('a', '<f4')]", "'>i8'", "'|V0'", "'x'", "None", "[" * 3000)
    )
    order = rng.choice(("False", "True", "1", "__import__('os').mkdir('ran')"))
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
    version = rng.choice((b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x09"))
    text = rng.choice((header, header + " " * 70 + "\n", header[:20], "{" * 500, "\x00" * 30)).encode()
    length = struct.pack("<H" if version == b"\x01\x00" else "<I", rng.choice((len(text), len(text), 60_000)))
    return b"\x93NUMPY" + version + length + text + rng.choice((b"", bytes(64), program(rng, "a")))


def zipped(members: dict[str, bytes], rng: random.Random) -> bytes:
    """An .npz of members as they are given."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def bomb(name: str, dtype: str, size: int) -> bytes:
    """An .npz of few bytes with one member of `size`."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(name, "w", force_zip64=True) as member,
    ):
        count = size // np.dtype(dtype).itemsize
        header = {"descr": dtype, "fortran_order": False, "shape": (count,)}
        np.lib.format.write_array_header_1_0(member, header)
        for _ in range(size >> 22):
            member.write(bytes(1 << 22))
    return stream.getvalue()


def damaged_npz(content: dict[str, np.ndarray], path: Path, rng: random.Random) -> None:
    """Write an .npz that is damaged: a value, a member, a header, the zip, or its bytes."""
    kind = rng.randrange(6)
    if kind < 3:
        for _ in range(rng.choice((1, 1, 2))):
            content = mutate(content, rng, odd_array)
        save_npz(path, content)
        return
    members = {f"{name}.npy": npy(array) for name, array in content.items()}
    chosen = rng.choice(list(members))
    if kind == 3:
        members[chosen] = rng.choice((hostile_npy(rng), hostile_npy(rng), damaged(members[chosen], rng)))
        path.write_bytes(zipped(members, rng))
    elif kind == 4 and rng.random() < 0.2:
        path.write_bytes(bomb(chosen, "<f4", rng.choice((1 << 22, 600 << 20))))
    elif kind == 4:
        other = rng.choice(
            (
                hostile_npy(rng),
                npy(odd_array(rng)),
                b"",
                b"PK\x03\x04",
                program(rng, "a"),
                b"PK\x05\x06" + bytes(18),
            )
        )
        path.write_bytes(other)
    else:
        path.write_bytes(damaged(zipped(members, rng), rng))


def npz(rng: random.Random, shelf: Path) -> Case:
    """Tracklets as save_tracklets writes them."""
    path = Path("tracklets.npz")
    kept = [make_tracklet(rng.choice((3, 8)), seed, seed, rng.choice((0, 5))) for seed in range(3)]
    save_tracklets(kept, path)
    if rng.random() < 0.2:
        with np.load(path) as archive:
            content = {name: archive[name] for name in rng.sample(archive.files, len(archive.files))}
        rng.choice((np.savez, np.savez_compressed))(path, **content)
        return Case(lambda: load_tracklets(path), "read", lambda found: same_tracklets(found, kept))
    with np.load(path) as archive:
        damaged_npz(dict(archive), path, rng)
    return Case(lambda: load_tracklets(path), sane=lambda found: [one.validate() for one in found])


def same_tracklets(found: list[Tracklet], wanted: list[Tracklet]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert_same(one, other)


def stats(rng: random.Random, shelf: Path) -> Case:
    """A file of statistics: ours, or as published."""
    path, numbers = Path("mean_std.npy"), np.random.default_rng(rng.getrandbits(32))
    mean, std = numbers.normal(size=229).astype(np.float32), numbers.random(229).astype(np.float32)
    array = np.stack([mean, std])
    published = rng.random() < 0.5
    if published:
        array = array[:, None, :226].astype(np.float64)

    def sane(found: Stats) -> None:
        assert found.mean.shape == found.std.shape == (229,) and found.mean.dtype == np.float32
        assert np.isfinite(found.mean).all() and (found.std >= 0).all() and np.isfinite(found.std).all()
        if valid:
            assert np.array_equal(found.mean[:226], mean[:226]) and np.array_equal(found.std[:226], std[:226])

    valid = rng.random() < 0.2
    if valid:
        np.save(path, np.asfortranarray(array) if rng.random() < 0.5 else array)
    else:
        kind = rng.randrange(5)
        if kind < 2:
            save_any(path, mutated_array(array, rng))
        elif kind == 2:
            path.write_bytes(hostile_npy(rng))
        elif kind == 3:
            path.write_bytes(damaged(npy(array), rng))
        else:
            damaged_npz({"mean": mean, "std": std}, Path("made.npz"), rng)
            Path("made.npz").rename(path)
    return Case(lambda: load_stats(path), "read" if valid else "either", sane)


def save_any(path: Path, value: Any) -> None:
    try:
        np.save(path, value)
    except (ValueError, TypeError):
        np.save(path, np.zeros(3))


# ------------------------------------------------------------------------------------------------- stores


def fill(shelf: Path) -> None:
    """A source of released files, and its store."""
    write_source(shelf / "source")
    convert(shelf / "source", shelf / "store", jobs=1, part_size=4, progress=False)


def store(rng: random.Random, shelf: Path) -> Case:
    """A store with a damaged file: its plan, index, lists or arrays; read, checked, or converted again."""
    shutil.copytree(shelf / "store", "store")
    with_source = rng.random() < 0.3
    files = sorted(file for file in Path("store").rglob("*") if file.is_file())
    valid = rng.random() < 0.15
    if with_source:
        shutil.copytree(shelf / "source", "source")
        if rng.random() < 0.5:  # as if the call had been stopped before its end
            Path("store/index.parquet").unlink()
            shutil.rmtree(rng.choice(sorted(Path("store/parts").iterdir())))
            files = [file for file in files if file.exists()]
    if not valid:
        damage_file(rng.choice(files), rng)
    wanted: Any = "read" if valid else "either"
    if with_source:
        run = command("convert", "source", "store", "--jobs", 1)
        return Case(
            run, wanted, lambda found: whole(shelf) if valid else None, ("store/*",), ("store/[!.]*",)
        )
    if rng.random() < 0.5:
        return Case(command("validate", "store", lines=True), wanted)
    return Case(lambda: [one.validate() for one in Store("store")], wanted)


def whole(shelf: Path) -> None:
    """The store holds what the shelf's does."""
    for one, other in zip(Store("store"), Store(shelf / "store"), strict=True):
        assert_same(one, other)


def damage_file(file: Path, rng: random.Random) -> None:
    """Damage one file by its kind, or take it away."""
    if rng.random() < 0.1:
        file.unlink()
        if rng.random() < 0.5:
            file.mkdir()
    elif file.suffix == ".json" and rng.random() < 0.8:
        content = mutate(json.loads(file.read_text()), rng, plain_odd)
        file.write_text(json.dumps(content), encoding="utf-8", errors="surrogatepass")
    elif file.suffix == ".npy" and rng.random() < 0.2:
        file.write_bytes(hostile_npy(rng))
    elif file.suffix == ".npy" and rng.random() < 0.3:
        save_any(file, mutated_array(np.load(file), rng))
    elif file.suffix == ".parquet" and rng.random() < 0.7:
        mutate_index(file, rng)
    else:
        file.write_bytes(damaged(file.read_bytes(), rng))


def mutate_index(file: Path, rng: random.Random) -> None:
    """A number or text of a store's index that does not belong there."""
    import polars as pl

    table = pl.read_parquet(file)
    name = rng.choice(table.columns)
    column = table[name].to_list()
    old = column[rng.randrange(len(column))]
    new: Any = (
        rng.choice((-1, 0, 10**6, 2**31 - 1))
        if isinstance(old, int)
        else rng.choice(("", "x", "a\nb", "é" * 500))
    )
    if isinstance(old, float):
        new = rng.choice((float("nan"), 0.0, -1.0))
    column[rng.randrange(len(column))] = new
    try:
        changed = table.with_columns(pl.Series(name, column, table.schema[name]))
    except (TypeError, OverflowError):  # a flag, or a number of fewer bits
        changed = table.drop(name)
    changed.write_parquet(file)


MAKERS = {"npz": npz, "stats": stats, "store": store}
FILLERS = (fill,)
