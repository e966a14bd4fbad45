from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fakes.gateway import House
from tests.fakes.street import Street


@pytest.fixture
async def street() -> AsyncIterator[Street]:
    opened = Street(House())
    await opened.open()
    yield opened
    await opened.close()
