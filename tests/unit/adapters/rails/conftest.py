from __future__ import annotations

import pytest

from tests.fakes.sandbox import Sandbox


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox()
