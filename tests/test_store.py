"""The store: the same samples as from memory, little of it resident, and damage that is named."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from factories import WIDTH, write_source
from torch.utils.data import DataLoader

from lart_mini.files import BadInput
from lart_mini.lart.assembly import collate
from lart_mini.lart.config import Assembly
from lart_mini.lart.datasets import TrackletDataset
from lart_mini.lart.store_dataset import StoreDataset
from lart_mini.lart.tokens import Stats, TokenBatch
from lart_mini.tracklets import store as store_module
from lart_mini.tracklets.contents import Survey, summary, survey
from lart_mini.tracklets.conversion import convert
from lart_mini.tracklets.store import Store
from lart_mini.tracklets.tracklet import Tracklet
from lart_mini.training.batches import BucketSampler
from lart_mini.training.batches import whole as as_it_is

RNG = np.random.default_rng(3)
STATS = Stats(RNG.normal(size=229).astype(np.float32), RNG.uniform(0.1, 2, 229).astype(np.float32))


def assert_equal(a: TokenBatch, b: TokenBatch) -> None:
    assert a.tensors().keys() == b.tensors().keys()
    for name, tensor in a.tensors().items():
        other = b.tensors()[name]
        assert tensor.dtype == other.dtype and tensor.shape == other.shape, name
        assert torch.equal(tensor, other), name
        assert tensor.is_contiguous(), name


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """The store, to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "store"))


@pytest.fixture(scope="module")
def members(whole: Path) -> list[Tracklet]:
    return list(Store(whole))


PROFILES: dict[str, Any] = {
    "paper": "paper",
    "released": "released",
    "mixed": Assembly(start="random", last_frame="dropped", slots="drawn", joints=True),
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("labels", ["any", "ground truth"])
@pytest.mark.parametrize(
    ("train", "frames", "people"), [(True, 8, 3), (True, 40, 5), (False, 11, 2), (False, 16, 5)]
)
def test_items_and_batches_are_those_of_a_data_set_in_memory(
    whole: Path,
    members: list[Tracklet],
    profile: str,
    labels: Any,
    train: bool,
    frames: int,
    people: int,
) -> None:
    options: dict[str, Any] = {"frames": frames, "people": people, "stats": STATS, "labels": labels}
    options |= {"train": train, "profile": PROFILES[profile], "seed": 4, "mask_ratio": 0.4}
    stored, in_memory = StoreDataset(Store(whole), **options), TrackletDataset(members, **options)
    assert stored.egos == in_memory.egos and len(stored) > 3
    for epoch in range(3):
        stored.set_epoch(epoch)
        in_memory.set_epoch(epoch)
        for i in range(len(stored)):
            assert_equal(stored[i], in_memory[i])
        assert_equal(stored.__getitems__([2]), collate([in_memory[2]]))
        order = np.random.default_rng(epoch).permutation(len(stored)).tolist()
        assert_equal(stored.__getitems__(order), collate([in_memory[i] for i in order]))


def test_the_source_has_what_the_data_sets_are_compared_on(members: list[Tracklet]) -> None:
    assert {t.appearance is None for t in members} == {True, False}
    assert all(not t.detected.all() and t.detected.any() for t in members[:5])
    assert len({t.scene for t in members}) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gets_whole_batches(whole: Path, members: list[Tracklet], workers: int) -> None:
    options: dict[str, Any] = {"frames": 9, "people": 5, "stats": STATS, "train": True, "mask_ratio": 0.4}
    stored, in_memory = StoreDataset(Store(whole), **options), TrackletDataset(members, **options)
    sampler = BucketSampler([stored.size(i) for i in range(len(stored))], 3)
    loader = DataLoader(stored, batch_sampler=sampler, num_workers=workers, collate_fn=as_it_is)
    batches = list(loader)
    assert len(batches) == len(sampler)
    for batch, indices in zip(batches, sampler, strict=True):
        assert_equal(batch, collate([in_memory[i] for i in indices]))


def resident(path: Path) -> int:
    """KiB of the files below `path` that this process has in memory."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line[0].islower() or line[0].isdigit():
            if "-" in line.split()[0]:
                inside = str(path) in line
        if inside and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's account of memory")
def test_no_more_than_the_limit_stays_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    big = write_source(tmp_path / "source")
    for path in sorted(big.rglob("*.pkl")):
        for number in range(12):  # the same again, under other names
            name = path.name.replace("a_b-cdefghi", f"a_b-cdef{number:03d}")
            shutil.copy(path, path.with_name(name))
    convert(big, tmp_path / "store", jobs=1, part_size=13)
    size = sum(file.stat().st_size for file in (tmp_path / "store").rglob("*.npy")) >> 10

    def epoch(limit: int) -> int:
        monkeypatch.setattr(store_module, "RESIDENT_BYTES", limit)
        dataset = StoreDataset(
            Store(tmp_path / "store"), frames=16, people=5, stats=STATS, train=True, profile="released"
        )
        most = 0
        for n, i in enumerate(np.random.default_rng(0).permutation(len(dataset)).tolist()):
            dataset[i]
            if n % 6 == 5:
                most = max(most, resident(tmp_path / "store"))
        return most

    assert epoch(1 << 40) > 0.8 * size, "without a limit nearly all of it stays"
    limit = 1 << 19
    assert epoch(limit) <= 2 * (limit >> 10) < 0.6 * size


def test_parts_are_closed_before_descriptors_run_out(
    whole: Path,
    members: list[Tracklet],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_module, "MOST_OPEN_PARTS", 2)
    store = Store(whole)
    for i in (0, 9, 4, 2, 0, 7):
        np.testing.assert_array_equal(store.tracklet(i).pose, members[i].pose)
        assert len(store._parts) <= 2


def test_a_pickled_store_opens_its_files_anew(whole: Path) -> None:
    store = Store(whole)
    first = store.tracklet(0)
    again = pickle.loads(pickle.dumps(store))
    assert again._parts == {} and store._parts != {}
    np.testing.assert_array_equal(again.tracklet(0).pose, first.pose)
    assert again.appearance_width == WIDTH


def test_what_is_no_whole_store_is_refused(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="found no folder"):
        Store(tmp_path / "absent")
    with pytest.raises(BadInput, match=r"a whole one, .* found none"):
        Store(tmp_path)
    index = pl.read_parquet(copy / "index.parquet")
    index.drop("part").write_parquet(copy / "index.parquet")
    with pytest.raises(BadInput, match="part: expected a column of Int32, found none"):
        Store(copy)
    (copy / "index.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadInput, match="a parquet table"):
        Store(copy)
    (copy / "index.parquet").unlink()
    with pytest.raises(BadInput, match="not whole: run convert again"):
        Store(copy)


def test_a_list_with_a_negative_width_is_named(copy: Path) -> None:
    index = pl.read_parquet(copy / "index.parquet")
    name = index["name"][0]
    wrong = {"appearance_rows": 0, "appearance_width": -1}
    columns = [
        pl.when(pl.col("name") == name).then(value).otherwise(pl.col(column)).alias(column)
        for column, value in wrong.items()
    ]
    index.with_columns(columns).cast(dict(index.schema)).write_parquet(copy / "index.parquet")
    with pytest.raises(BadInput, match=f"appearance of {name}: expected .* from 0 on, found 0 of -1"):
        Store(copy).tracklet(0)


@pytest.mark.parametrize("damage", ["cut", "text", "objects", "gone", "shape"])
def test_damaged_arrays_are_named(copy: Path, damage: str) -> None:
    file = copy / "parts" / "part-00001" / "frames.npy"
    data = file.read_bytes()
    if damage == "cut":
        file.write_bytes(data[:-10])
    elif damage == "text":
        file.write_bytes(b"text")
    elif damage == "objects":
        np.save(file, np.array([{}], object))
    elif damage == "shape":
        np.save(file, np.load(file)[:-1])
    else:
        file.unlink()
    store = Store(copy)
    store.tracklet(0)
    with pytest.raises(BadInput, match=r"frames\.npy|rows of ava-train"):
        store.tracklet(3)
    found = survey(copy)
    assert 1 <= len(found.problems) <= 2 and len(found.tracklets) in (8, 9)


def test_a_survey_tells_what_is_there(source: Path, whole: Path) -> None:
    of_files, of_store = summary(survey(source)), summary(survey(whole))
    assert of_files == of_store
    assert "all                       10         176" in of_store and "problems: 0" in of_store
    assert "length: 9 to 30 frames, median 17" in of_store
    assert f"appearance: width {WIDTH} in 8 tracklets" in of_store and "none in 2 tracklets" in of_store
    rows = survey(whole).tracklets
    told = sum(int((t.label_source[t.detected] == 2).sum()) for t in Store(whole))
    assert rows["ground_truth"].sum() == told > 0


def test_a_survey_takes_a_process_or_more(source: Path, whole: Path) -> None:
    for path in (source, whole):
        with pytest.raises(BadInput, match=r"^--jobs: processes: expected a whole number from 1 on"):
            survey(path, jobs=0)


def flip(path: Path, row: int, field: str, value: Any) -> None:
    array = np.load(path)
    array[field][row] = value
    np.save(path, array)


def test_a_survey_names_flipped_bits_and_foreign_rows(copy: Path) -> None:
    assert survey(copy).problems == []
    index = pl.read_parquet(copy / "index.parquet")
    names = index["name"].to_list()
    flip(copy / "parts" / "part-00000" / "frames.npy", 2, "pose", 0.5)
    (problem,) = survey(copy).problems
    assert names[0] in problem and "checksum: expected" in problem
    # With the checksum put right, a wrong value is still seen, and so is a wrong row of the index.
    store = Store(copy)
    flip(copy / "parts" / "part-00000" / "frames.npy", 2, "pose", np.nan)
    sums = [store.packed(i).checksum() for i in range(len(store))]
    index = index.with_columns(checksum=pl.Series(sums, dtype=pl.UInt32))
    wrong = index.with_columns(
        detected=pl.when(pl.col("name") == names[4]).then(99).otherwise("detected").cast(pl.Int32)
    )
    wrong.write_parquet(copy / "index.parquet")
    first, second = survey(copy).problems
    assert names[0] in first and "pose: expected finite numbers, found NaN or infinity at row 2" in first
    assert names[4] in second and "index, detected: expected" in second and second.endswith("found 99")


@pytest.mark.parametrize("table", ["labels", "appearance"])
def test_a_survey_names_flipped_bits_of_the_tables(copy: Path, table: str) -> None:
    path = copy / "parts" / "part-00000" / f"{table}.npy"
    array = np.load(path)
    array.reshape(-1)[0] = 0.375
    np.save(path, array)
    (problem,) = survey(copy).problems
    assert "checksum: expected" in problem


def test_a_summary_counts_the_frames_of_each_data_set() -> None:
    columns = {
        "dataset": ["ava-train", "kinetics-train", "ava-train"],
        "appearance_width": [0, 7, 7],
        "length": [10, 20, 70],
        "detected": [5, 20, 70],
        "ground_truth": [1, 0, 2],
        "pseudo": [0, 10, 0],
    }
    lines = [" ".join(line.split()) for line in summary(Survey(pl.DataFrame(columns), ["x"])).splitlines()]
    assert lines[1:] == [
        "ava-train 2 80 93.8 % 3.8 % 0.0 %",
        "kinetics-train 1 20 100.0 % 0.0 % 50.0 %",
        "all 3 100 95.0 % 3.0 % 10.0 %",
        "length: 10 to 70 frames, median 20",
        "appearance: none in 1 tracklets",
        "appearance: width 7 in 2 tracklets",
        "problems: 1",
    ]
