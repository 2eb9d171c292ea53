"""What a model is trained on: batches of tensors, cut alike for any number of processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lart_mini.files import whole_number
from lart_mini.training.resume import fingerprint_of_data


@dataclass(frozen=True, eq=False)
class Batch(ABC):
    """The base of a model's batches: dataclasses of tensors that share their first axis, or None."""

    @abstractmethod
    def weight(self) -> Tensor:
        """What the loss is a mean over, summed: a number, 0 where nothing is to be learnt."""

    @abstractmethod
    def ignored(self) -> Self:
        """The same batch with weight 0."""

    @abstractmethod
    def tokens(self) -> Tensor:
        """How many tokens count for the speed of training: a number."""

    def __len__(self) -> int:
        return len(next(iter(self.tensors().values())))

    def __getitem__(self, rows: slice) -> Self:
        """The samples of a slice."""
        return type(self)(**{name: tensor[rows] for name, tensor in self.tensors().items()})

    def to(self, device: torch.device | str) -> Self:
        """The same batch on `device`."""
        tensors = self.tensors().items()
        return type(self)(**{name: tensor.to(device, non_blocking=True) for name, tensor in tensors})

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name, without those that are None."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}


class Samples(Protocol):
    """A data set that gives whole batches, drawn anew each epoch from its own seed."""

    def __len__(self) -> int: ...

    def set_epoch(self, epoch: int) -> None: ...

    def size(self, index: int) -> int:
        """About how much item `index` takes: items of one size are batched together."""
        ...

    def __getitem__(self, index: int) -> Batch: ...

    def __getitems__(self, indices: list[int]) -> Batch: ...


class Batches:
    """The batches of each epoch, of which this process gets its share.

    All chance comes from `seed` and the data set's. With `world` processes, process `rank` gets every
    world-th item of each batch: together they see the batches that one process would see. `workers`:
    processes that load data; the batches do not depend on it. Raises BadInput for fewer than none.
    """

    def __init__(
        self,
        samples: Samples,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
    ) -> None:
        whole_number("training", "workers", workers, 0)
        self.samples, self.batch_size, self.world = samples, batch_size, world
        sizes = [samples.size(i) for i in range(len(samples))]
        self.sampler = BucketSampler(sizes, batch_size, seed=seed, rank=rank, world=world)
        self.loader: DataLoader[Batch] = DataLoader(
            _Shares(samples), batch_sampler=self.sampler, collate_fn=whole, num_workers=workers
        )

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self.sampler)

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of epoch `number`, without the first `skip`."""
        self.sampler.set_epoch(number, skip)
        self.samples.set_epoch(number)
        return iter(self.loader)

    def fingerprint(self) -> str:
        """Digest of what is trained on."""
        return fingerprint_of_data(self.samples)


class _Shares(Dataset[Batch]):
    """Whole batches, of no items too: all processes have to take part in a step."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __getitems__(self, indices: list[int]) -> Batch:
        # The last batch may be too short for all processes.
        return self.samples.__getitems__(indices) if indices else self.samples[0].ignored()


def whole(batch: Any) -> Any:
    """`collate_fn` of a DataLoader over a data set that makes whole batches itself (`__getitems__`)."""
    return batch


class BucketSampler(Sampler[list[int]]):
    """Batches of items with like counts (of people, or tokens), for DataLoader's `batch_sampler`.

    Deterministic in (seed, epoch). Every item comes once an epoch; at most one batch is short. With
    `world` processes, process `rank` gets every world-th item of each batch: together they see the batches
    that one process would see, and a share of the short batch may be empty.
    """

    def __init__(
        self,
        counts: Sequence[int],
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        skip: int = 0,
    ) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is outside a world of {world}")
        self.counts, self.batch_size, self.shuffle = np.asarray(counts), batch_size, shuffle
        self.seed, self.epoch, self.rank, self.world, self.skip = seed, 0, rank, world, skip

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Choose the epoch whose order __iter__ gives, and how many of its batches were done before."""
        self.epoch, self.skip = epoch, skip

    def __len__(self) -> int:
        """Batches of a whole epoch, those to be skipped too."""
        return -(-len(self.counts) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(self.counts)) if self.shuffle else np.arange(len(self.counts))
        order = order[np.argsort(self.counts[order], kind="stable")]
        batches = [order[i : i + self.batch_size].tolist() for i in range(0, len(order), self.batch_size)]
        if self.shuffle:
            batches = [batches[i] for i in generator.permutation(len(batches))]
        for batch in batches[self.skip :]:
            yield batch[self.rank :: self.world]
