from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fakes.room_server import Door


@pytest.fixture(autouse=True)
def _towers(collector_at_rest: None) -> None:
    """Some bodies here are towers of brackets."""


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    await door.open()
    yield door
    await door.close()
