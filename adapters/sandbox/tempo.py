"""A Tempo chain beside the process: anvil's, with dollars on it and a node for clients."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from eth_abi.abi import encode
from eth_utils.address import is_address

from adapters.sandbox.anvil import Anvil, AnvilRefusedError
from adapters.sandbox.faults import Faults
from adapters.sandbox.wallets import ThrowawayWallet
from domain.ports.clock import Clock

CHAIN_ID = 4217
USDC = "0x20c000000000000000000000b9537d11c60e8b50"
# Later rules than anvil's own choice, which takes one payment of each sender and no more.
_WORDS = ("--network", "tempo", "--hardfork", "T4")
_PATH_USD = "0x20c0000000000000000000000000000000000000"
_PATTERN = "0x20c0000000000000000000000000000000000001"
_FEE_MANAGER = "0xfeec000000000000000000000000000000000000"
_FEE_LIQUIDITY = 10**12
_FEES = 1_000_000
_CODE = "0xef"
# Where the token keeps its name and its symbol.
_NAMES = {2: b"USDC.e", 3: b"USDC.e"}
_TRANSFER = "a9059cbb"
_BALANCE_OF = "70a08231"
# mint(userToken, validatorToken, amount, to) of the fee manager.
_MINT = "f1aa8cb8"
_SENDS = ("eth_sendRawTransaction", "eth_sendRawTransactionSync")
# What the newest block decides, and so what needs one of now.
_TIMELY = frozenset(
    (
        *(*_SENDS, "eth_sendTransaction", "eth_call", "eth_estimateGas", "eth_fillTransaction"),
        *("eth_blockNumber", "eth_getBlockByNumber"),
    )
)
_SILENT = "the sandbox chain is switched off"


class TempoSandbox:
    """Implements `SandboxNetwork`, and the rail's `Rpc` with the faults that are switched on.

    Block time is the clock's: anvil mines a block where there is a transaction, and we mine an
    empty one where somebody asks and none is of now.
    """

    def __init__(
        self,
        anvil: Anvil,
        clock: Clock,
        faults: Faults,
        *,
        pay_to: str,
        wallet: ThrowawayWallet,
        giver: str,
    ) -> None:
        self.name = "tempo"
        self.chain = "evm"
        self.networks: tuple[str, ...] = (f"eip155:{CHAIN_ID}", "tempo")
        self.node: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = self._answer
        self.pay_to = pay_to
        self.wallet = wallet
        self._anvil = anvil
        self._clock = clock
        self._faults = faults
        self._giver = giver
        self._time_s = 0
        self._mining = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def started(
        cls,
        binary: Path,
        clock: Clock,
        faults: Faults,
        *,
        pay_to: str,
        wallet: ThrowawayWallet,
        state: Path | None = None,
    ) -> AsyncIterator[TempoSandbox]:
        """Run the chain until the block is left; with a `state` file it is the same the next time.

        AnvilError where it does not start.
        """
        async with Anvil.started(binary, *_WORDS, chain_id=CHAIN_ID, state=state) as anvil:
            givers = await anvil.ask("eth_accounts", [])
            if not isinstance(givers, list):
                raise ConnectionError("the chain named no accounts")
            giver = str(givers[0])
            if anvil.fresh:
                await _found(anvil, giver)
            yield cls(anvil, clock, faults, pay_to=pay_to, wallet=wallet, giver=giver)

    async def fund(self, address: str, amount: int) -> str:
        """Dollars, and some of another kind: in those this chain takes fees by itself."""
        await self._give(_PATH_USD, address, _FEES)
        return await self._give(USDC, address, amount)

    async def balance(self, address: str) -> int:
        data = "0x" + _BALANCE_OF + encode(["address"], [_address(address)]).hex()
        answer = await self._forward("eth_call", [{"to": USDC, "data": data}, "latest"])
        return int(str(answer), 16)

    async def _give(self, token: str, address: str, amount: int) -> str:
        data = "0x" + _TRANSFER + encode(["address", "uint256"], [_address(address), amount]).hex()
        gift: dict[str, object] = {"from": self._giver, "to": token, "data": data}
        return str(await self._forward("eth_sendTransaction", [gift]))

    async def call(self, method: str, params: list[object]) -> object:
        """One call of the gateway's own; ConnectionError where a real node would give no answer."""
        if self._faults.facilitator_down:
            raise ConnectionError(_SILENT)
        if method in _SENDS:
            return await self._send(method, params)
        if self._faults.chain_unreadable:
            raise ConnectionError(_SILENT)
        return await self._forward(method, params)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        """The node over HTTP: one JSON-RPC call, or a list of them."""
        try:
            body = json.loads(await request.read())
        except (ValueError, RecursionError):
            return web.json_response(_failure(None, -32700, "parse error"))
        if isinstance(body, list):
            return web.json_response([await self._reply(one) for one in body])
        return web.json_response(await self._reply(body))

    async def _reply(self, asked: object) -> dict[str, object]:
        if not isinstance(asked, dict) or not isinstance(asked.get("params", []), list):
            return _failure(None, -32600, "invalid request")
        named = asked.get("id")
        if self._faults.chain_unreadable:
            return _failure(named, -32000, _SILENT)
        try:
            result = await self._forward(str(asked.get("method")), asked.get("params", []))
        except AnvilRefusedError as refused:
            return _failure(named, refused.code, refused.message, refused.data)
        except ConnectionError as error:
            return _failure(named, -32000, str(error))
        return {"jsonrpc": "2.0", "id": named, "result": result}

    async def _send(self, method: str, params: list[object]) -> object:
        """What the gateway sends, and what it hears of it."""
        faults = self._faults
        if faults.feign_success:
            return {"status": "0x1"}
        await faults.take_turn(self._clock)
        answer = await self._forward(method, params)
        if faults.send_twice:
            answer = await self._forward(method, params)
        if faults.settle_delay_ms:
            await self._clock.sleep_until(self._clock.now_ms() + faults.settle_delay_ms)
        if faults.lose_answer or faults.chain_unreadable:
            raise ConnectionError("the sandbox loses this answer")
        if faults.deny_success:
            raise AnvilRefusedError(method, {"code": -32000, "message": "it did not happen"})
        return answer

    async def _forward(self, method: str, params: list[object]) -> object:
        if method in _TIMELY:
            await self._keep_time()
        # Its own method takes the transaction alone; others' takes a time to wait as well.
        told = params[:1] if method == "eth_sendRawTransactionSync" else params
        return await self._anvil.call(method, told)

    async def _keep_time(self) -> None:
        now_s = self._clock.now_ms() // 1000
        if now_s <= self._time_s:
            return
        async with self._mining:
            head = await self._anvil.ask("eth_getBlockByNumber", ["latest", False])
            stamp = head.get("timestamp") if isinstance(head, dict) else None
            if now_s > int(str(stamp), 16):
                await self._anvil.ask("evm_setNextBlockTimestamp", [now_s])
                await self._anvil.ask("evm_mine", [])
            self._time_s = now_s


async def _found(anvil: Anvil, giver: str) -> None:
    """Put USDC where it is on the real chain, and let its holders pay fees with it.

    The chain has other dollars, whose code is its own; what they keep is copied.
    """
    dumped = str(await anvil.ask("anvil_dumpState", []))
    state = json.loads(gzip.decompress(bytes.fromhex(dumped.removeprefix("0x"))))
    kept = dict(state["accounts"][_PATTERN]["storage"])
    for slot, text in _NAMES.items():
        kept[_word(slot)] = "0x" + text.ljust(31, b"\0").hex() + f"{2 * len(text):02x}"
    for slot, value in kept.items():
        await anvil.ask("anvil_setStorageAt", [USDC, slot, value])
    await anvil.ask("anvil_setCode", [USDC, _CODE])
    await anvil.ask("anvil_setNonce", [USDC, "0x1"])
    words = encode(
        ["address", "address", "uint256", "address"], [USDC, _PATH_USD, _FEE_LIQUIDITY, giver]
    )
    lent: dict[str, object] = {
        "from": giver,
        "to": _FEE_MANAGER,
        "data": f"0x{_MINT}{words.hex()}",
    }
    await anvil.call("eth_sendTransaction", [lent])


def _word(number: int) -> str:
    return f"0x{number:064x}"


def _address(text: str) -> str:
    if not is_address(text):
        msg = f"expected a 0x address (got {text!r})"
        raise ValueError(msg)
    return text


def _failure(named: object, code: int, message: str, data: object = None) -> dict[str, object]:
    error = {"code": code, "message": message} | ({} if data is None else {"data": data})
    return {"jsonrpc": "2.0", "id": named, "error": error}
