"""What a writer is told that has been replaced."""

from __future__ import annotations

from eventsourcing.persistence import OperationalError


class FencedError(OperationalError):
    """Another owner has taken this partition over, or may have; nothing was stored."""
