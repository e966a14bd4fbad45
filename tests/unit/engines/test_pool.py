from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from domain.errors import NoCapacityError
from engines.pool import Lane, Urgency, WorkerPool


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(threads=1, limits={"stt": 4, "tts": 1}) as pool:
        yield pool


class Gate:
    """Work that runs until it is let go, and says when it runs."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.open = threading.Event()

    def __call__(self) -> str:
        self.running.set()
        self.open.wait(10)
        return "done"


async def blocked(pool: WorkerPool) -> tuple[Gate, asyncio.Task[str]]:
    gate = Gate()
    task = asyncio.create_task(pool.lane("stt").run(gate, urgency=Urgency.FINAL_TEXT))
    await asyncio.to_thread(gate.running.wait, 10)
    return gate, task


async def queued(lane: Lane, name: str, order: list[str], urgency: Urgency) -> asyncio.Task[None]:
    task = asyncio.create_task(lane.run(lambda: order.append(name), urgency=urgency))
    await asyncio.sleep(0)
    return task


async def test_work_is_done_in_another_thread_e20(pool: WorkerPool) -> None:
    thread = await pool.lane("stt").run(threading.get_ident, urgency=Urgency.FINAL_TEXT)

    assert thread != threading.get_ident()


async def test_a_failure_reaches_who_asked_and_the_worker_lives_on_e27(pool: WorkerPool) -> None:
    lane = pool.lane("stt")

    with pytest.raises(ZeroDivisionError):
        await lane.run(lambda: 1 // 0, urgency=Urgency.FINAL_TEXT)

    assert await lane.run(lambda: 7, urgency=Urgency.FINAL_TEXT) == 7


async def test_a_full_service_refuses_at_once_e29(pool: WorkerPool) -> None:
    pool.lane("tts")

    with pytest.raises(NoCapacityError, match="TTS"):
        pool.lane("tts")


async def test_a_lane_that_left_makes_room_once_e29(pool: WorkerPool) -> None:
    lane = pool.lane("tts")
    lane.close()
    lane.close()

    assert pool.free("tts") == 1


async def test_a_busy_lane_stands_behind_the_others_e27(pool: WorkerPool) -> None:
    gate, task = await blocked(pool)
    order: list[str] = []
    greedy, modest = pool.lane("stt"), pool.lane("stt")

    waiting = [await queued(greedy, f"greedy {n}", order, Urgency.FINAL_TEXT) for n in range(2)]
    waiting.append(await queued(modest, "modest", order, Urgency.FINAL_TEXT))
    gate.open.set()
    await asyncio.gather(task, *waiting)

    assert order == ["greedy 0", "modest", "greedy 1"]


async def test_the_more_urgent_goes_first_e27(pool: WorkerPool) -> None:
    gate, task = await blocked(pool)
    order: list[str] = []

    waiting = [
        await queued(pool.lane("stt"), urgency.name, order, urgency)
        for urgency in (Urgency.GUESS, Urgency.LATER_SOUND, Urgency.FIRST_SOUND)
    ]
    gate.open.set()
    await asyncio.gather(task, *waiting)

    assert order == ["FIRST_SOUND", "LATER_SOUND", "GUESS"]


async def test_later_sound_leaves_a_worker_to_the_others_e27() -> None:
    with WorkerPool(threads=2, limits={"stt": 4}) as pool:
        gates = [Gate(), Gate()]
        sounds = [
            asyncio.create_task(pool.lane("stt").run(gate, urgency=Urgency.LATER_SOUND))
            for gate in gates
        ]

        assert await asyncio.to_thread(gates[0].running.wait, 10)
        text = await pool.lane("stt").run(lambda: "text", urgency=Urgency.FINAL_TEXT)

        assert text == "text"
        assert not gates[1].running.is_set()
        for gate in gates:
            gate.open.set()
        await asyncio.gather(*sounds)


async def test_cancelling_drops_work_that_waits_e28(pool: WorkerPool) -> None:
    gate, task = await blocked(pool)
    order: list[str] = []
    lane = pool.lane("stt")
    dropped = await queued(lane, "dropped", order, Urgency.FINAL_TEXT)

    dropped.cancel()
    await asyncio.wait([dropped])
    gate.open.set()
    await task
    await lane.run(lambda: order.append("next"), urgency=Urgency.FINAL_TEXT)

    assert order == ["next"]


async def test_cancelling_stops_work_that_runs_e28(pool: WorkerPool) -> None:
    gate = Gate()
    lane = pool.lane("stt")
    task = asyncio.create_task(lane.run(gate, urgency=Urgency.FINAL_TEXT, stop=gate.open.set))
    await asyncio.to_thread(gate.running.wait, 10)

    task.cancel()
    await asyncio.wait([task])

    assert gate.open.is_set()


async def test_a_lane_whose_work_was_cancelled_waits_for_its_worker_e28(pool: WorkerPool) -> None:
    gate = Gate()
    lane = pool.lane("stt")
    task = asyncio.create_task(lane.run(gate, urgency=Urgency.FINAL_TEXT))
    await asyncio.to_thread(gate.running.wait, 10)
    task.cancel()
    await asyncio.wait([task])

    again = asyncio.create_task(lane.run(lambda: "again", urgency=Urgency.FINAL_TEXT))
    await asyncio.sleep(0)
    held = pool.lane("stt")._turn.locked(), lane._turn.locked()
    gate.open.set()

    assert held == (False, True)
    assert await again == "again"


async def test_the_pool_is_idle_only_when_a_worker_is_free_e19(pool: WorkerPool) -> None:
    gate, task = await blocked(pool)
    busy = pool.idle
    gate.open.set()
    await task

    assert busy is False


async def test_closing_fails_what_waits_and_ends_what_runs_e30() -> None:
    pool = WorkerPool(threads=1, limits={"stt": 4})
    gate, running = await blocked(pool)
    waiting = await queued(pool.lane("stt"), "never", [], Urgency.FINAL_TEXT)

    closing = asyncio.create_task(asyncio.to_thread(pool.close))
    with pytest.raises(NoCapacityError):
        await waiting
    gate.open.set()
    await closing

    assert await running == "done"
    with pytest.raises(NoCapacityError):
        pool.lane("stt")
