"""What is wrong with a rail: everybody's problem is told, and seldom asked for."""

from __future__ import annotations

import asyncio

import pytest

from adapters.bootstrap.money import health
from adapters.bootstrap.money.health import Health
from tests.fakes.sandbox import JumpingClock


class Part:
    """Something with a problem, which counts how often it was asked."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        self.asked = 0

    async def ask(self) -> str:
        self.asked += 1
        return self.problem


async def test_all_problems_are_told() -> None:
    parts = (Part("one is broken"), Part(""), Part("two is broken"))

    found = await Health(JumpingClock(), *(part.ask for part in parts)).problem()

    assert found == "one is broken; two is broken"


async def test_many_who_ask_at_once_cost_one_look() -> None:
    part = Part("")
    asked = Health(JumpingClock(), part.ask)

    await asyncio.gather(*(asked.problem() for _ in range(5)))

    assert part.asked == 1


async def test_after_a_while_it_looks_again() -> None:
    clock, part = JumpingClock(), Part("broken")
    asked = Health(clock, part.ask)
    await asked.problem()
    part.problem = ""

    clock.advance(10_000)

    assert await asked.problem() == ""


async def test_who_does_not_answer_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_TIMEOUT_S", 0.01)

    async def never() -> str:
        await asyncio.Event().wait()
        raise AssertionError

    assert "too late" in await Health(JumpingClock(), never).problem()
