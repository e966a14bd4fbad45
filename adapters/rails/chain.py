"""What the chain says of an authorization: unused, ours, or spent some other way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from eth_utils.crypto import keccak

from adapters.rails.rpc import Rpc


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationState:
    """Whether an authorization is used up, as of the block at `chain_time_s` (Unix seconds)."""

    used: bool
    chain_time_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """The transfer that an authorization is for; addresses and nonce are 0x hex.

    `amount` is in token base units. `since_s` is the earliest time (Unix seconds) it can have
    happened; older blocks are not searched.
    """

    asset: str
    payer: str
    nonce: str
    pay_to: str
    amount: int
    since_s: int


@dataclass(frozen=True, slots=True)
class Landed:
    """The authorization moved exactly this money to us."""

    transaction: str


@dataclass(frozen=True, slots=True)
class Voided:
    """The authorization was cancelled, or used for something that is not this transfer."""

    transaction: str


class WrongChainError(ConnectionError):
    """The node is of another chain than we are paid on."""


class ChainReader(Protocol):
    """Reads what became of EIP-3009 authorizations.

    Shape:  `authorization_state`, then, where it is used, `find_settlement`.
    Units:  seconds of chain time; token base units.
    Errors: ConnectionError where the chain cannot be read.
    Source: specs/payments/x402.md, section 7.
    """

    async def authorization_state(
        self, *, asset: str, payer: str, nonce: str
    ) -> AuthorizationState: ...

    async def find_settlement(self, transfer: Transfer) -> Landed | Voided | None:
        """What used the authorization up; None where no trace of that is found."""
        ...

    async def balance(self, *, asset: str, holder: str) -> int:
        """What an address holds, in token base units."""
        ...


class EvmChainReader:
    """Reads through a node's JSON-RPC; with a `chain_id` only where the node is of that chain.

    Logs are searched from the newest block backwards, `log_range_blocks` at a time because nodes
    limit the range, and at most `ranges_max` times.
    """

    def __init__(
        self,
        rpc: Rpc,
        *,
        chain_id: int | None = None,
        log_range_blocks: int = 1_000,
        ranges_max: int = 500,
    ) -> None:
        self._rpc = rpc
        self._chain_id = chain_id
        self._log_range_blocks = log_range_blocks
        self._ranges_max = ranges_max

    async def check_chain(self) -> None:
        """Ask once which chain it is; ConnectionError for another than `chain_id`.

        On another chain every payment would look unused for ever, and be given up.
        """
        if self._chain_id is None:
            return
        found = _number(await self._rpc.call("eth_chainId", []))
        if found != self._chain_id:
            msg = f"the node is of chain {found}, and we are paid on chain {self._chain_id}"
            raise WrongChainError(msg)
        self._chain_id = None

    async def head_time_s(self) -> int:
        """When the newest block was mined (Unix seconds)."""
        await self.check_chain()
        return _number((await self._block("latest")).get("timestamp"))

    async def balance(self, *, asset: str, holder: str) -> int:
        """What an address holds, in token base units."""
        await self.check_chain()
        call: dict[str, object] = {"to": asset, "data": _BALANCE_SELECTOR + _word(holder)[2:]}
        return _number(await self._rpc.call("eth_call", [call, "latest"]))

    async def authorization_state(
        self, *, asset: str, payer: str, nonce: str
    ) -> AuthorizationState:
        """State and time of one and the same block, so that a lagging node cannot mix them."""
        await self.check_chain()
        head = await self._block("latest")
        call: dict[str, object] = {"to": asset, "data": _state_call(payer, nonce)}
        pinned = hex(_number(head.get("number")))
        answer = await self._rpc.call("eth_call", [call, pinned])
        return AuthorizationState(
            used=_number(answer) != 0, chain_time_s=_number(head.get("timestamp"))
        )

    async def find_settlement(self, transfer: Transfer) -> Landed | Voided | None:
        """Page back through the logs until the use is found or time runs out."""
        last = _number((await self._block("latest")).get("number"))
        for _ in range(self._ranges_max):
            first = max(0, last - self._log_range_blocks + 1)
            used = await self._use(transfer, first=first, last=last)
            if used is not None:
                return await self._judge(transfer, used)
            begins = await self._block(hex(first))
            if first == 0 or _number(begins.get("timestamp")) < transfer.since_s:
                return None
            last = first - 1
        return None

    async def _use(self, transfer: Transfer, *, first: int, last: int) -> dict[str, object] | None:
        wanted: dict[str, object] = {
            "address": transfer.asset,
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "topics": [[_USED, _CANCELED], _word(transfer.payer), _word(transfer.nonce)],
        }
        logs = _objects(await self._rpc.call("eth_getLogs", [wanted]))
        return logs[0] if logs else None

    async def _judge(self, transfer: Transfer, used: dict[str, object]) -> Landed | Voided:
        transaction = str(used.get("transactionHash")).lower()
        if _topics(used)[:1] == [_CANCELED]:
            return Voided(transaction)
        receipt = _object(await self._rpc.call("eth_getTransactionReceipt", [transaction]))
        # The token emits the transfer right after the use. Any transfer of the transaction would
        # not do: one bundle can use two authorizations of a payer and pay us for only one.
        wanted_index = _number(used.get("logIndex")) + 1
        paid = any(
            _number(log.get("logIndex")) == wanted_index and _is_transfer(log, transfer)
            for log in _objects(receipt.get("logs"))
        )
        return Landed(transaction) if paid else Voided(transaction)

    async def _block(self, tag: str) -> dict[str, object]:
        return _object(await self._rpc.call("eth_getBlockByNumber", [tag, False]))


def _is_transfer(log: dict[str, object], transfer: Transfer) -> bool:
    return (
        str(log.get("address")).lower() == transfer.asset.lower()
        and _topics(log) == [_TRANSFER, _word(transfer.payer), _word(transfer.pay_to)]
        and _number(log.get("data")) == transfer.amount
    )


def _state_call(payer: str, nonce: str) -> str:
    return _STATE_SELECTOR + _word(payer).removeprefix("0x") + _word(nonce).removeprefix("0x")


def _word(value: str) -> str:
    return "0x" + value.lower().removeprefix("0x").rjust(64, "0")


def _topics(log: dict[str, object]) -> list[str]:
    topics = log.get("topics")
    return [str(topic).lower() for topic in topics] if isinstance(topics, list) else []


def _number(value: object) -> int:
    try:
        return int(str(value), 16)
    except ValueError:
        msg = "the node answered with something that is no number"
        raise ConnectionError(msg) from None


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        msg = "the node does not know what it announced"
        raise ConnectionError(msg)
    return value


def _objects(value: object) -> list[dict[str, object]]:
    if not isinstance(value, list):
        msg = "the node answered with something that is no list"
        raise ConnectionError(msg)
    return [_object(item) for item in value]


def _signature(text: str) -> str:
    return "0x" + keccak(text=text).hex()


_TRANSFER = _signature("Transfer(address,address,uint256)")
_USED = _signature("AuthorizationUsed(address,bytes32)")
_CANCELED = _signature("AuthorizationCanceled(address,bytes32)")
_BALANCE_SELECTOR = _signature("balanceOf(address)")[:10]
_STATE_SELECTOR = _signature("authorizationState(address,bytes32)")[:10]
