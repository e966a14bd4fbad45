"""How deep this program may call itself: as deep as Python says, whatever a package wishes."""

from __future__ import annotations

import sys

# Raises the limit a hundredfold when it is first imported (by way of eth-account). It must have
# done so already, or it would do so after us.
import py_ecc  # noqa: F401 (see above)

DEPTH_MAX = 1_000


def keep_recursion_shallow() -> None:
    """Call once at the start.

    Python's JSON reader recurses in C: with a limit of 100,000 a body of some 100 KB of brackets
    overflows the stack and ends the process, where it should be a RecursionError and a refusal.
    """
    sys.setrecursionlimit(DEPTH_MAX)
