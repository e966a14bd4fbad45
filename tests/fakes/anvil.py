"""Where tests find anvil: on PATH, or where the end-to-end tests install it from npm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapters.sandbox.anvil import find_anvil

_INSTALLED = Path(__file__).parents[2] / "build" / "node" / "node_modules" / ".bin"


def anvil_path() -> str:
    """PATH, with the folder that the end-to-end tests install Node packages into."""
    return os.pathsep.join(filter(None, (os.environ.get("PATH"), str(_INSTALLED))))


def anvil_or_skip() -> Path:
    """The program; a test that asks for it is skipped where there is none."""
    found = find_anvil(anvil_path())
    if found is None:
        # Who judges the whole wants to know of it.
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up("no anvil: npm install @foundry-rs/anvil, and put it on PATH")
    return found
