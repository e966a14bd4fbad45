"""What keeps a gateway from starting, as an operator can mend it."""

from __future__ import annotations


class CannotStartError(Exception):
    """Something outside is missing or taken; the text says what to do."""
