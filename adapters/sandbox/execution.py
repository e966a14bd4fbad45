"""What running a contract gives: the words between the sandbox chain and its interpreter."""

from __future__ import annotations

from dataclasses import dataclass

GAS_LIMIT = 500_000


class RevertedError(Exception):
    """The contract refused; the text is its own, with the word that readers look for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitted:
    """An event as a contract emitted it; hex in lower case."""

    address: str
    topics: tuple[str, ...]
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What a transaction did: nothing but cost gas, where it did not succeed."""

    succeeded: bool
    gas_used: int
    logs: tuple[Emitted, ...]
