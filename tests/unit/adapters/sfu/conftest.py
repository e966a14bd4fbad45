from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fakes.room_server import Door


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    await door.open()
    yield door
    await door.close()
