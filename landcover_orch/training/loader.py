"""Data loader: batches in the order of (seed, epoch), prefetched by threads, in the dtype they are stored in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ORDER = 0
"""Separates this stream of random numbers from the others of one (seed, epoch)."""

THREADS = 2
PREFETCH = 4
"""Batches that are read, or being read, before they are asked for."""

EVERY = slice(None)

Arrays = tuple[NDArray[Any], NDArray[np.uint8]]
Read = tuple[NDArray[Any], ...]
"""Images, labels and, where they are learnt from, rows of the polygons' class fractions."""

Vary = Callable[[int, Read], Read]
"""Augmentation: (step, batch) -> the batch varied."""


class PatchSource(Protocol):
    """One split's patches, safe to read from several threads."""

    def __len__(self) -> int: ...

    def take(self, indices: NDArray[np.int64]) -> Arrays:
        """Images (n, band, y, x) in their raw dtype, and labels (n, y, x) uint8."""
        ...

    def class_count(self) -> NDArray[np.int64]:
        """Labelled pixels (patch, class)."""
        ...


@runtime_checkable
class PolygonSource(PatchSource, Protocol):
    """A split's patches with polygons of which class fractions are declared."""

    @property
    def keeps_fractions(self) -> bool:
        """Whether there are any: they are not kept of every dataset."""
        ...

    def polygon(self, indices: NDArray[np.int64]) -> NDArray[np.int32]:
        """(n, y, x) Rows of `fractions`, 0 for none."""
        ...

    def fractions(self) -> NDArray[np.float32]:
        """(row, class) Declared class fractions, the same for all splits; row 0 is 0."""
        ...


class Batch(NamedTuple):
    """Images (n, band, y, x) not normalised, labels (n, y, x) uint8, and which step of the epoch this is.

    `batch_size` counts the images of the whole batch, of which these are one process's. `polygon` (n, y, x) int32 are
    rows of the polygons' class fractions, 0 for none, where they are learnt from.
    """

    image: Tensor
    label: Tensor
    step: int
    batch_size: int
    polygon: Tensor | None = None

    def to(self, device: str) -> Batch:
        """The batch on a device."""
        image, label = (part.to(device, non_blocking=True) for part in (self.image, self.label))
        polygon = None if self.polygon is None else self.polygon.to(device, non_blocking=True)
        return self._replace(image=image, label=label, polygon=polygon)


def shuffled(count: int, batch_size: int, steps: int | None, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Patch indices of each step of an epoch: every patch once, or `steps` full batches.

    Where `steps` asks for more patches than there are, no patch comes again before all have come.
    """
    random = np.random.default_rng([seed, epoch, ORDER])
    total = count if steps is None else steps * batch_size
    rounds = [random.permutation(count) for _ in range(-(-total // count))]
    return in_order(np.concatenate(rounds)[:total], batch_size)


def in_order(indices: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    """The indices cut into batches; the last may be smaller."""
    return [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]


class Batches:
    """Data loader of one pass: threads prefetch (and vary) the next batches while the device works on this one."""

    def __init__(
        self,
        source: PatchSource,
        steps: Sequence[NDArray[np.int64]],
        vary: Vary | None = None,
        *,
        rows: slice = EVERY,
        pinned: bool = False,
        polygons: PolygonSource | None = None,
    ) -> None:
        """Patch indices of each whole batch in `steps`; `rows` of each are read, of `polygons` too where given."""
        self._source, self._steps, self._vary, self._rows, self._pinned = source, steps, vary, rows, pinned
        self._polygons = polygons

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[Batch]:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="patches") as pool:
            pending: deque[Future[Batch]] = deque()
            try:
                for step in range(len(self)):
                    pending.append(pool.submit(self.read, step))
                    if len(pending) > PREFETCH:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def read(self, step: int) -> Batch:
        """One batch, read now."""
        indices = self._steps[step]
        arrays: Read = self._source.take(indices[self._rows])
        if self._polygons is not None:
            arrays = (*arrays, self._polygons.polygon(indices[self._rows]))
        read = self._vary(step, arrays) if self._vary else arrays
        tensors = (torch.from_numpy(np.ascontiguousarray(part)) for part in read)
        image, label, *polygon = (part.pin_memory() if self._pinned else part for part in tensors)
        return Batch(image, label, step, len(indices), *polygon)
