"""Leaves one a line, as the fast auditor reads them."""

from __future__ import annotations


def checked(data: bytes, events: int) -> bytes:
    """Lines as a store made them; ValueError where they are not so many."""
    found = data.count(b"\n")
    if found != events:
        raise ValueError(f"{found} lines for {events} events")
    return data
