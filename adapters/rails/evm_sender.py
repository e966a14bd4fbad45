"""Sends an account's transactions: under a nonce each, none lost, none in the way of the next."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address

from adapters.rails.gas import GAS_LIMIT, Fees
from adapters.rails.node_line import NodeLine, NodeRefusedError, NodeSilentError, quantity
from domain.ports.clock import Clock

# The x402 library waits twice, and the rail no longer than 30 seconds for both.
RECEIPT_WAIT_MS = 12_000
_SEND_TRIES = 5
# As long as nodes may take to tell each other of a transaction; after that an unseen one is lost.
_UNSEEN_MS = 10_000
_KNOWN_MAX = 1_000
# After so many times in vain it is not the price: another transaction is in the way.
_PATIENCE = 2
_PAST = ("nonce too low", "nonce has already been used")
_OCCUPIED = ("replacement transaction underpriced",)
_THERE_ALREADY = ("already known", "already imported", "already in the pool")

Receipt = dict[str, object]


@dataclass(slots=True)
class _Flight:
    """A transaction that we sent, under every hash that it was sent with, the newest last."""

    nonce: int
    to: str
    data: bytes
    fees: Fees
    hashes: list[str]
    sent_ms: int
    resends: int = 0


class Sender:
    """Sends for one key; any number of threads may use it.

    A nonce is taken from the node for each transaction and kept nowhere else: where sending fails
    nothing waits for it. A transaction that no block takes is sent again, dearer, under its own
    nonce, so that one of the two is mined at most.
    """

    def __init__(
        self,
        line: NodeLine,
        account: LocalAccount,
        *,
        chain_id: int,
        clock: Clock,
        receipt_wait_ms: int = RECEIPT_WAIT_MS,
        resend_after_ms: int = 6_000,
        poll_ms: int = 250,
    ) -> None:
        self._line = line
        self._account = account
        self._chain_id = chain_id
        self._clock = clock
        self._receipt_wait_ms = receipt_wait_ms
        self._resend_after_ms = resend_after_ms
        self._poll_ms = poll_ms
        self._closed = threading.Event()
        self._sending = threading.Lock()
        # Sent, and perhaps not yet known to the node that counts; by nonce.
        self._unseen: dict[int, _Flight] = {}
        self._known: OrderedDict[str, _Flight] = OrderedDict()

    def close(self) -> None:
        """End every wait now."""
        self._closed.set()

    def send(self, to: str, data: bytes) -> str:
        """Send and return the hash; NodeRefusedError where the node took it not, nor a nonce.

        A silent node may have taken it, so that counts as sent: the wait for its receipt tells.
        """
        fees = Fees.of_chain(self._line)
        with self._sending:
            for _ in range(_SEND_TRIES):
                flight = _Flight(self._next_nonce(), to, data, fees, [], self._clock.now_ms())
                try:
                    self._broadcast(flight)
                except NodeRefusedError as refusal:
                    # Another process has the same key, or the node is late to count.
                    if _says(refusal, _OCCUPIED):
                        self._unseen[flight.nonce] = flight
                    elif not _says(refusal, _PAST):
                        raise
                    self._closed.wait(self._poll_ms / 1000)
                    continue
                self._unseen[flight.nonce] = flight
                self._remember(flight)
                return flight.hashes[-1]
        msg = f"eth_sendRawTransaction: the nonce was taken {_SEND_TRIES} times over"
        raise NodeRefusedError(msg)

    def receipt_of(self, tx_hash: str) -> Receipt:
        """Wait for a block to take it, under any hash that it was sent with; or TimeoutError."""
        flight = self._known.get(tx_hash)
        ends_ms = self._clock.now_ms() + self._receipt_wait_ms
        while True:
            try:
                found = self._found(flight.hashes if flight else [tx_hash])
                if found is not None:
                    return found
                if flight and self._clock.now_ms() - flight.sent_ms >= self._resend_after_ms:
                    self._resend(flight)
            except NodeSilentError:
                # Asked again until time is up.
                pass
            if self._clock.now_ms() >= ends_ms or self._closed.wait(self._poll_ms / 1000):
                msg = f"no block has {tx_hash} yet"
                raise TimeoutError(msg)

    def _next_nonce(self) -> int:
        """What the node counts, and beyond it what we just sent and it may not have seen."""
        nonce = self._count("pending")
        fresh_ms = self._clock.now_ms() - _UNSEEN_MS
        self._unseen = {
            at: flight
            for at, flight in self._unseen.items()
            if at >= nonce and flight.sent_ms > fresh_ms
        }
        while nonce in self._unseen:
            nonce += 1
        return nonce

    def _count(self, tag: str) -> int:
        address = self._account.address
        return quantity(self._line.call("eth_getTransactionCount", [address, tag]))

    def _broadcast(self, flight: _Flight) -> None:
        """Sign and send. Only a refusal raises: a silence leaves open whether it arrived."""
        signed = self._account.sign_transaction(
            {
                "type": 2,
                "chainId": self._chain_id,
                "nonce": flight.nonce,
                "to": to_checksum_address(flight.to),
                "value": 0,
                "data": flight.data,
                "gas": GAS_LIMIT,
                "maxFeePerGas": flight.fees.most_wei,
                "maxPriorityFeePerGas": flight.fees.tip_wei,
            }
        )
        try:
            self._line.call("eth_sendRawTransaction", ["0x" + bytes(signed.raw_transaction).hex()])
        except NodeRefusedError as refusal:
            if not _says(refusal, _THERE_ALREADY):
                raise
        except NodeSilentError:
            pass
        flight.hashes.append("0x" + bytes(signed.hash).hex())

    def _resend(self, flight: _Flight) -> None:
        """The same call under the same nonce for more, unless a block has that nonce already."""
        with self._sending:
            flight.sent_ms = self._clock.now_ms()
            mined = self._count("latest")
            if mined > flight.nonce:
                return
            flight.resends += 1
            if mined < flight.nonce and flight.resends >= _PATIENCE:
                self._replace(self._blocker(mined, flight))
            self._replace(flight)

    def _blocker(self, nonce: int, behind: _Flight) -> _Flight:
        """What is in the way: a transaction of ours, or one that a process before us left stuck.

        The latter gives way to nothing at all. Whatever it carried was not carried, and the chain
        says so to whoever looks it up.
        """
        ours = (known for known in self._known.values() if known.nonce == nonce)
        nothing = _Flight(nonce, self._account.address, b"", behind.fees, [], self._clock.now_ms())
        return next(ours, nothing)

    def _replace(self, flight: _Flight) -> None:
        flight.fees = flight.fees.raised()
        try:
            self._broadcast(flight)
        except NodeRefusedError:
            # It has the first one and wants no other; that is as good.
            return
        self._remember(flight)

    def _remember(self, flight: _Flight) -> None:
        self._known[flight.hashes[-1]] = flight
        while len(self._known) > _KNOWN_MAX:
            self._known.popitem(last=False)

    def _found(self, hashes: list[str]) -> Receipt | None:
        for tx_hash in reversed(hashes):
            found = self._line.call("eth_getTransactionReceipt", [tx_hash])
            if isinstance(found, dict) and found.get("blockNumber") is not None:
                return found
        return None


def _says(refusal: NodeRefusedError, words: tuple[str, ...]) -> bool:
    text = str(refusal).lower()
    return any(word in text for word in words)
