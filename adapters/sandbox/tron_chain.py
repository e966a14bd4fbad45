"""A TRON chain on this machine: its contracts and its dollars at their addresses, on anvil."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from eth_hash.auto import keccak

from adapters.sandbox.anvil import Anvil, AnvilRefusedError
from domain.ports.clock import Clock

CHAIN_ID = 728126428
USDT = bytes.fromhex("a614f803b6fd780986a42c78ec9c7f77e6ded13c")
PERMIT = bytes.fromhex("bc4cf62d72829ccc8d9212bf4808d3fc01383131")
# The words that this chain is started with: TRON has other fees, and here there are none.
WORDS = (
    *("--auto-impersonate", "--accounts", "0", "--base-fee", "0", "--gas-price", "0"),
    # The first block is older than whatever our clock says.
    *("--timestamp", "1"),
)
# The token's minter; nobody holds a key to it.
_MINTER = bytes.fromhex("00000000000000000000000000000000fa0ce700")
_GAS = 1_000_000
_ID_BYTES = 32
_ERROR_STRING = bytes.fromhex("08c379a0")


class TronRevertedError(Exception):
    """A contract refused a call; `output` is what it said."""

    def __init__(self, output: bytes) -> None:
        super().__init__("the contract refused")
        self.output = output


@dataclass(frozen=True, slots=True, kw_only=True)
class TronLog:
    """An event of a contract."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TronMined:
    """A transaction in its block; every one has a block of its own. `value` counts suns."""

    id: str
    block: int
    time_s: int
    owner: bytes
    to: bytes
    data: bytes
    value: int
    succeeded: bool
    logs: tuple[TronLog, ...]


class SandboxTron:
    """Runs transactions that others have checked, in order, at the clock's time.

    TRON names a transaction by a hash that an EVM does not know. It is written behind the call's
    data, which no contract reads, so that the chain itself remembers it when anvil starts again.
    """

    def __init__(self, anvil: Anvil, clock: Clock) -> None:
        self._anvil = anvil
        self._clock = clock
        self._mined: dict[str, TronMined] = {}
        self._blocks: list[str] = [""]
        self._times_s = [0]
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Put the contracts where they belong, or find again what was there."""
        await self._anvil.call("anvil_setCode", [_hex(USDT), _hex(contract_code("tron_usdt"))])
        await self._anvil.call("anvil_setCode", [_hex(PERMIT), _hex(contract_code("tron_permit"))])
        for number in range(1, _whole(await self._anvil.call("eth_blockNumber", [])) + 1):
            block = _object(await self._anvil.call("eth_getBlockByNumber", [hex(number), True]))
            transactions = _list(block["transactions"])
            self._times_s.append(_whole(block["timestamp"]))
            self._blocks.append("")
            if transactions:
                await self._remember(_object(transactions[0]))

    @property
    def head(self) -> int:
        """The newest block's number."""
        return len(self._blocks) - 1

    def time_s(self, number: int) -> int:
        """A block's time; the newest is always of now, since blocks come every three seconds."""
        if number >= self.head:
            return max(self._clock.now_ms() // 1000, self._times_s[-1])
        return self._times_s[number]

    def mined(self, transaction: str) -> TronMined | None:
        return self._mined.get(transaction)

    def between(self, first: int, last: int) -> list[TronMined]:
        """The transactions of these blocks, oldest first."""
        found = self._blocks[max(first, 0) : last + 1]
        return [self._mined[transaction] for transaction in found if transaction]

    async def mint(self, account: bytes, amount: int) -> str:
        """Create `amount` base units (microdollars) for an account."""
        data = selector("mint(address,uint256)") + account.rjust(32, b"\0") + amount.to_bytes(32)
        mined = await self.run(
            transaction=secrets.token_hex(_ID_BYTES), owner=_MINTER, to=USDT, data=data
        )
        return mined.id

    async def give(self, account: bytes, suns: int) -> None:
        """Give an account TRX, in millionths."""
        async with self._turn:
            held = await self.suns(account)
            await self._anvil.call("anvil_setBalance", [_hex(account), hex(held + suns)])

    async def suns(self, account: bytes) -> int:
        return _whole(await self._anvil.call("eth_getBalance", [_hex(account), "latest"]))

    async def read(self, *, to: bytes, data: bytes, owner: bytes) -> bytes:
        """Call a contract against the newest state; TronRevertedError where it refuses."""
        call: dict[str, object] = {"from": _hex(owner), "to": _hex(to), "data": _hex(data)}
        # In turn, so that what a call sees is what `mined` and `between` tell.
        async with self._turn:
            try:
                return _bytes(await self._anvil.call("eth_call", [call, "latest"]))
            except AnvilRefusedError as error:
                raise TronRevertedError(_output(error.data)) from error

    async def has_code(self, account: bytes) -> bool:
        return bool(_bytes(await self._anvil.call("eth_getCode", [_hex(account), "latest"])))

    async def run(
        self, *, transaction: str, owner: bytes, to: bytes, data: bytes = b"", value: int = 0
    ) -> TronMined:
        """Mine a transaction now; one that reverts is mined too. ConnectionError: anvil is gone."""
        async with self._turn:
            known = self._mined.get(transaction)
            if known is not None:
                return known
            time_s = max(self._clock.now_ms() // 1000, self._times_s[-1])
            await self._anvil.call("evm_setNextBlockTimestamp", [time_s])
            sent: dict[str, object] = {
                "from": _hex(owner),
                "to": _hex(to),
                "data": _hex(data + bytes.fromhex(transaction)),
                "value": hex(value),
                "gas": hex(_GAS),
                "gasPrice": "0x0",
            }
            hashed = await self._anvil.call("eth_sendTransaction", [sent])
            self._blocks.append("")
            self._times_s.append(time_s)
            return await self._remember(
                _object(await self._anvil.call("eth_getTransactionByHash", [hashed]))
            )

    async def _remember(self, sent: dict[str, object]) -> TronMined:
        receipt = _object(await self._anvil.call("eth_getTransactionReceipt", [sent["hash"]]))
        data, block = _bytes(sent["input"]), _whole(receipt["blockNumber"])
        mined = TronMined(
            id=data[-_ID_BYTES:].hex(),
            block=block,
            time_s=self._times_s[block],
            owner=_bytes(sent["from"]),
            to=_bytes(sent["to"]),
            data=data[:-_ID_BYTES],
            value=_whole(sent["value"]),
            succeeded=_whole(receipt["status"]) == 1,
            logs=tuple(_log(_object(log)) for log in _list(receipt["logs"])),
        )
        self._blocks[block] = mined.id
        self._mined[mined.id] = mined
        return mined


def selector(signature: str) -> bytes:
    """The four bytes that name a function."""
    return keccak(signature.encode())[:4]


def revert_reason(output: bytes) -> str:
    """The text a contract refused with; its error's selector in hex where it has no text."""
    if output[:4] != _ERROR_STRING:
        return output[:4].hex()
    length = int.from_bytes(output[36:68])
    return output[68 : 68 + length].decode(errors="replace")


@cache
def contract_code(name: str) -> bytes:
    """A contract's run-time code, compiled from the source beside it."""
    text = files("adapters.sandbox").joinpath(f"{name}.hex").read_text("ascii")
    return bytes.fromhex(text.strip())


def _log(log: dict[str, object]) -> TronLog:
    return TronLog(
        address=_bytes(log["address"]),
        topics=tuple(_bytes(topic) for topic in _list(log["topics"])),
        data=_bytes(log["data"]),
    )


def _output(data: object) -> bytes:
    try:
        return _bytes(data)
    except ValueError:
        return b""


def _hex(raw: bytes) -> str:
    return f"0x{raw.hex()}"


def _bytes(value: object) -> bytes:
    return bytes.fromhex(str(value).removeprefix("0x"))


def _whole(value: object) -> int:
    return int(str(value), 16)


def _object(value: object) -> dict[str, object]:
    assert isinstance(value, dict)  # noqa: S101 (anvil's own answers)
    return value


def _list(value: object) -> list[object]:
    assert isinstance(value, list)  # noqa: S101 (anvil's own answers)
    return value
