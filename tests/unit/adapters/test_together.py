from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from adapters.together import BATCH_MAX, Together


class Disk:
    """Writes when it is let to, and answers tenfold; `batches` is what it wrote, one by one."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.free = threading.Event()
        self.free.set()
        self.broken = False

    def write(self, items: Sequence[int]) -> list[int]:
        self.free.wait(timeout=5)
        self.batches.append(list(items))
        if self.broken:
            msg = "no room"
            raise OSError(msg)
        return [10 * item for item in items]


async def adding(together: Together[int, int], *items: int) -> list[asyncio.Task[int]]:
    """On their way, in this order."""
    tasks = [asyncio.create_task(together.add(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def test_what_comes_while_one_writes_is_written_together_and_in_order() -> None:
    disk = Disk()
    together = Together(disk.write)
    disk.free.clear()
    tasks = [*await adding(together, 1), *await adding(together, 2, 3, 4)]
    await asyncio.sleep(0)

    disk.free.set()

    assert await asyncio.gather(*tasks) == [10, 20, 30, 40]
    assert disk.batches[0][0] == 1
    assert [item for batch in disk.batches for item in batch] == [1, 2, 3, 4]
    assert len(disk.batches) == 2


async def test_a_rush_is_written_in_batches_of_a_bounded_size() -> None:
    disk = Disk()
    together = Together(disk.write)

    await asyncio.gather(*(together.add(n) for n in range(BATCH_MAX + 1)))

    assert [len(batch) for batch in disk.batches] == [BATCH_MAX, 1]


async def test_a_failure_is_told_to_all_of_its_batch_and_to_no_other() -> None:
    disk = Disk()
    together = Together(disk.write)
    disk.broken = True
    failed = await asyncio.gather(*await adding(together, 1, 2), return_exceptions=True)
    disk.broken = False

    assert await together.add(3) == 30
    assert [type(failure) for failure in failed] == [OSError, OSError]


async def test_one_who_goes_away_takes_nothing_from_the_others_and_nothing_back() -> None:
    disk, heard = Disk(), []
    together = Together(
        disk.write, written=lambda results, items: heard.append((list(results), list(items)))
    )
    disk.free.clear()
    leaving, staying = await adding(together, 1, 2)

    leaving.cancel()
    disk.free.set()
    await together.settled()

    assert await staying == 20
    assert heard == [([10, 20], [1, 2])]
    with pytest.raises(asyncio.CancelledError):
        await leaving
