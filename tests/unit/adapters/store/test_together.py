from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping

import pytest

from adapters.store.together import Together


class Disk:
    """Writes when it is let to; `batches` is what it wrote, one by one."""

    def __init__(self) -> None:
        self.batches: list[dict[str, int]] = []
        self.free = threading.Event()
        self.free.set()
        self.broken = False

    def write(self, values: Mapping[str, int]) -> None:
        self.free.wait(timeout=5)
        self.batches.append(dict(values))
        if self.broken:
            msg = "no room"
            raise OSError(msg)


async def gathered(together: Together[str, int], *values: dict[str, int]) -> list[object]:
    return list(await asyncio.gather(*map(together.put, values), return_exceptions=True))


async def test_what_comes_while_one_writes_is_written_together() -> None:
    disk = Disk()
    together = Together(disk.write)
    disk.free.clear()
    first = asyncio.create_task(together.put({"a": 1}))
    await asyncio.sleep(0)
    others = [asyncio.create_task(together.put({name: 2})) for name in "bcd"]
    await asyncio.sleep(0)

    disk.free.set()
    await asyncio.gather(first, *others)

    assert disk.batches == [{"a": 1}, {"b": 2, "c": 2, "d": 2}]


async def test_of_one_key_the_latest_is_written() -> None:
    disk = Disk()

    await gathered(Together(disk.write), {"a": 1}, {"a": 2, "b": 1}, {"b": 3})

    assert disk.batches == [{"a": 2, "b": 3}]


async def test_a_failure_is_told_to_all_of_its_batch_and_to_no_other() -> None:
    disk = Disk()
    together = Together(disk.write)
    disk.broken = True
    failed = await gathered(together, {"a": 1}, {"b": 1})
    disk.broken = False

    await together.put({"c": 1})

    assert [type(failure) for failure in failed] == [OSError, OSError]
    assert disk.batches[-1] == {"c": 1}


async def test_one_who_goes_away_takes_nothing_from_the_others() -> None:
    disk = Disk()
    together = Together(disk.write)
    disk.free.clear()
    leaving = asyncio.create_task(together.put({"a": 1}))
    staying = asyncio.create_task(together.put({"b": 1}))
    await asyncio.sleep(0)

    leaving.cancel()
    disk.free.set()
    await staying

    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert disk.batches == [{"a": 1, "b": 1}]
