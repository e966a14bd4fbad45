"""What the TRON chain says of a permit: unused, ours, or used up some other way."""

from __future__ import annotations

import re
from dataclasses import dataclass

from eth_hash.auto import keccak

from adapters.rails.tron_address import account_of
from adapters.rails.tron_networks import TronNetwork
from adapters.rails.tron_node import TronNode, TronRpc
from adapters.rails.tron_permit import Permit

TRANSACTION = re.compile(r"[0-9a-f]{64}")
_PERMITTED = keccak(b"PermitTransfer(address,bytes16,address,address,uint256)").hex()
_TRANSFER = keccak(b"Transfer(address,address,uint256)").hex()
_WORD_DIGITS = 64
_SELECTOR_DIGITS = 8
# A permit lies in the call as twelve words; this one is its nonce.
_NONCE_WORD = 2
_SUCCESS = "SUCCESS"


class WrongNetworkError(ConnectionError):
    """The node is of another network than ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest block."""

    number: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class Landed:
    """The permit moved exactly this money."""

    transaction: str


@dataclass(frozen=True, slots=True)
class Voided:
    """Its nonce was used up by another permit of the same buyer."""

    transaction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Log:
    """An event; all in lower-case hex without 0x."""

    address: str
    topics: tuple[str, ...]
    data: str


class TronChain:
    """Reads one network through a node. ConnectionError where it cannot be read.

    Events are searched from the newest block backwards, `page_blocks` at a time because nodes
    limit the range, and at most `pages_max` times.
    """

    def __init__(
        self,
        node: TronNode,
        network: TronNetwork,
        *,
        page_blocks: int = 2_000,
        pages_max: int = 500,
    ) -> None:
        self._node = node
        self._rpc = TronRpc(node)
        self._network = network
        self._page_blocks = page_blocks
        self._pages_max = pages_max

    async def check_network(self) -> None:
        """WrongNetworkError where the node is of another; ConnectionError where it tells no events.

        It is asked by JSON-RPC, without which no transaction could be searched for.
        """
        found = _whole(await self._rpc.call("eth_chainId", []), 16)
        if found != self._network.chain_id:
            msg = f"the node is of chain {found}, not of {self._network.name}"
            raise WrongNetworkError(msg)

    async def head(self) -> Head:
        # Without its transactions, of which a block has hundreds.
        return _head(await self._node.ask("wallet/getblock", {"detail": False}))

    async def balance(self, holder: str) -> int:
        """Its dollars in base units."""
        return await self._read(self._network.usdt, "balanceOf(address)", _account(holder))

    async def allowance(self, holder: str) -> int:
        """How many of its dollars the permit contract may move."""
        parameter = _account(holder) + _account(self._network.permit)
        return await self._read(self._network.usdt, "allowance(address,address)", parameter)

    async def is_used(self, permit: Permit) -> bool:
        """Whether the buyer's nonce is used up; it cannot be cancelled, so a permit did it."""
        parameter = _account(permit.buyer) + _number(permit.nonce)
        used = await self._read(self._network.permit, "nonceUsed(address,uint256)", parameter)
        return used != 0

    async def has_failed(self, transaction: str) -> bool:
        """Whether it stands in a block and did nothing; False also where it is not known."""
        information = await self._information(transaction)
        return bool(information) and not _succeeded(information)

    async def find(self, permit: Permit, hints: list[str]) -> Landed | Voided | None:
        """What used the nonce up, looked for in these transactions first; None: no trace of it."""
        for hint in hints:
            if TRANSACTION.fullmatch(hint) and await self._is_ours(hint, permit):
                return Landed(hint)
        last = (await self.head()).number
        for _ in range(self._pages_max):
            first = max(0, last - self._page_blocks + 1)
            for transaction in await self._permitted(permit, first=first, last=last):
                if await self._is_ours(transaction, permit):
                    return Landed(transaction)
                if await self._nonce_in(transaction) == permit.nonce:
                    return Voided(transaction)
            if first == 0 or await self._time_ms(first) < permit.valid_after_s * 1000:
                return None
            last = first - 1
        return None

    async def _is_ours(self, transaction: str, permit: Permit) -> bool:
        information = await self._information(transaction)
        return _succeeded(information) and self._paid(_logs(information), permit)

    def _paid(self, logs: list[_Log], permit: Permit) -> bool:
        """Whether the contract says so, and the token moved the money right before it did.

        Any transfer of the transaction would not do: one call can carry several permits.
        """
        contract, token = account_of(self._network.permit).hex(), account_of(permit.asset).hex()
        paid = _Log(
            address=contract,
            topics=(
                _PERMITTED,
                _account(permit.buyer),
                permit.payment_id.hex().ljust(_WORD_DIGITS, "0"),
                _account(permit.asset),
            ),
            data=_account(permit.pay_to) + _number(permit.amount),
        )
        moved = _Log(
            address=token,
            topics=(_TRANSFER, _account(permit.buyer), _account(permit.pay_to)),
            data=_number(permit.amount),
        )
        since_last: list[_Log] = []
        for log in logs:
            if log == paid and moved in since_last:
                return True
            since_last = [] if log.address == contract else [*since_last, log]
        return False

    async def _permitted(self, permit: Permit, *, first: int, last: int) -> list[str]:
        """The transactions in which a permit of this buyer moved money, newest first."""
        wanted: dict[str, object] = {
            "address": "0x" + account_of(self._network.permit).hex(),
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "topics": [f"0x{_PERMITTED}", f"0x{_account(permit.buyer)}"],
        }
        found = await self._rpc.call("eth_getLogs", [wanted])
        logs = [_object(log) for log in _list(found)]
        return [_plain(log.get("transactionHash")) for log in reversed(logs)]

    async def _nonce_in(self, transaction: str) -> int | None:
        """The nonce of the permit that a transaction carried; None where it was no such call."""
        answer = await self._node.ask("wallet/gettransactionbyid", {"value": transaction})
        try:
            contract = _object(_list(_object(answer["raw_data"])["contract"])[0])
            call = _object(_object(contract["parameter"])["value"])
            if (
                str(call["contract_address"]).lower()
                != f"41{account_of(self._network.permit).hex()}"
            ):
                return None
            words = str(call["data"])[_SELECTOR_DIGITS:]
            start = _NONCE_WORD * _WORD_DIGITS
            return int(words[start : start + _WORD_DIGITS], 16)
        except (KeyError, IndexError, ValueError):
            return None

    async def _information(self, transaction: str) -> dict[str, object]:
        """What became of a transaction, empty where it stands in no block."""
        return await self._node.ask("wallet/gettransactioninfobyid", {"value": transaction})

    async def _time_ms(self, number: int) -> int:
        body: dict[str, object] = {"id_or_num": str(number), "detail": False}
        return _head(await self._node.ask("wallet/getblock", body)).time_ms

    async def _read(self, contract: str, function: str, parameter: str) -> int:
        """A constant call that answers with one word."""
        body: dict[str, object] = {
            "owner_address": self._network.permit,
            "contract_address": contract,
            "function_selector": function,
            "parameter": parameter,
            "visible": True,
        }
        answer = await self._node.ask("wallet/triggerconstantcontract", body)
        result = answer.get("result")
        words = answer.get("constant_result")
        good = isinstance(result, dict) and result.get("result") is True
        if not good or not isinstance(words, list) or not words:
            msg = f"{function}: the node could not call the contract"
            raise ConnectionError(msg)
        return _whole(str(words[0])[:_WORD_DIGITS], 16)


def _succeeded(information: dict[str, object]) -> bool:
    receipt = information.get("receipt")
    known = isinstance(information.get("blockNumber"), int) and isinstance(receipt, dict)
    return known and isinstance(receipt, dict) and receipt.get("result") == _SUCCESS


def _logs(information: dict[str, object]) -> list[_Log]:
    return [
        _Log(
            address=_plain(log.get("address")),
            topics=tuple(_plain(topic) for topic in _list(log.get("topics", []))),
            data=_plain(log.get("data", "")),
        )
        for log in map(_object, _list(information.get("log", [])))
    ]


def _head(block: dict[str, object]) -> Head:
    raw = _object(_object(block.get("block_header")).get("raw_data"))
    # The first block has no number: zero is left out.
    return Head(number=_whole(raw.get("number", 0)), time_ms=_whole(raw.get("timestamp", 0)))


def _account(address: str) -> str:
    return account_of(address).hex().rjust(_WORD_DIGITS, "0")


def _number(value: int) -> str:
    return f"{value:0{_WORD_DIGITS}x}"


def _plain(value: object) -> str:
    return str(value).lower().removeprefix("0x")


def _whole(value: object, base: int = 10) -> int:
    try:
        return int(str(value), base)
    except ValueError:
        msg = "the node answered with something that is no number"
        raise ConnectionError(msg) from None


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        msg = "the node does not know what it announced"
        raise ConnectionError(msg)
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        msg = "the node answered with something that is no list"
        raise ConnectionError(msg)
    return value
