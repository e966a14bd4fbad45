"""A chain in a process of its own: Foundry's `anvil`, started by us and gone when we are."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import httpx

_LISTENING = re.compile(r"^Listening on (127\.0\.0\.1:[0-9]+)\s*$")
_START_TIMEOUT_S = 30
_CALL_TIMEOUT_S = 60
_KEPT_LINES = 20
# The shell starts the chain and then waits for our end of its input: however we end, a SIGKILL
# included, the system closes that end and the shell kills the chain. It gives up its own output,
# so that the output ends with the chain.
_WATCHDOG = '"$@" </dev/null & chain=$!; exec >/dev/null 2>&1; read -r _; kill -9 "$chain"'
# Whatever else a node answers leaves the chain as it is.
_CHANGES = re.compile(r"^(eth_send|anvil_|evm_|hardhat_)")
_SENDS = ("eth_sendRawTransaction", "eth_sendTransaction")
# How long a transaction that a node has taken may stay out of a block before we stop waiting.
_MINED_TRIES = 100
_MINED_WAIT_S = 0.01


class AnvilError(Exception):
    """The chain did not start; the text says why."""


class AnvilRefusedError(ConnectionError):
    """The chain answered a call with a JSON-RPC error; its code, and data where it gave some."""

    def __init__(self, method: str, error: dict[str, object]) -> None:
        super().__init__(f"{method}: the node refused: {str(error.get('message'))[:300]}")
        code = error.get("code")
        self.code = code if isinstance(code, int) else -32000
        self.message = str(error.get("message"))
        self.data = error.get("data")


def find_anvil(path: str | None = None) -> Path | None:
    """The program itself, found on PATH (or this one); None where there is none.

    npm's package puts a script there. It would be a parent between us and the chain, so the
    program in the package beside it is taken.
    """
    found = shutil.which("anvil", path=path)
    if found is None:
        return None
    named = Path(found).resolve()
    if named.suffix not in (".mjs", ".js"):
        return named
    beside = sorted(named.parent.parent.glob("anvil-*/bin/anvil"))
    return next((real for real in beside if os.access(real, os.X_OK)), None)


class Anvil:
    """One running chain at `url`; with a `state` file it is the same chain the next time.

    Every call that changes the chain returns after the file holds the change, so that nobody was
    told of anything that a crash undoes.
    """

    def __init__(self, url: str, client: httpx.AsyncClient, state: Path | None) -> None:
        self.url = url
        # Whether it began with nothing but what every such chain has.
        self.fresh = True
        self._client = client
        self._state = state
        self._ids = count(1)
        self._changes = 0
        self._kept = 0
        self._keeping = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def started(
        cls, binary: Path, *words: str, chain_id: int, state: Path | None = None
    ) -> AsyncIterator[Anvil]:
        """Run it until the block is left; AnvilError where it does not come up as this chain.

        The system chooses the port, and the chain says which it has: it is no other's.
        """
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", _WATCHDOG, "sh", str(binary)),
            *(*words, "--chain-id", str(chain_id), "--host", "127.0.0.1", "--port", "0"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # Its own group: whoever presses Ctrl-C speaks to us, and we still need the chain.
            start_new_session=True,
        )
        assert process.stdin is not None  # noqa: S101 (we asked for a pipe)
        assert process.stdout is not None  # noqa: S101 (we asked for a pipe)
        drain = None
        try:
            url = await _listening(process.stdout, binary)
            drain = asyncio.create_task(_read_on(process.stdout))
            async with httpx.AsyncClient(timeout=_CALL_TIMEOUT_S, trust_env=False) as client:
                anvil = cls(url, client, state)
                await anvil._recall(chain_id)
                yield anvil
        finally:
            process.stdin.close()
            if drain is not None:
                drain.cancel()
            await process.wait()

    async def call(self, method: str, params: list[object]) -> object:
        """The decoded result; AnvilRefusedError for an error, ConnectionError for no answer."""
        result = await self.ask(method, params)
        if _CHANGES.match(method) and method != "anvil_dumpState":
            if method in _SENDS and isinstance(result, str):
                await self._mined(result)
            self._changes += 1
            await self._keep(self._changes)
        return result

    async def ask(self, method: str, params: list[object]) -> object:
        """As `call`, and a change is kept only with the next one that is."""
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        try:
            reply = (await self._client.post(self.url, json=request)).json()
        except (httpx.HTTPError, ValueError) as error:
            msg = f"{method}: the chain gave no answer ({type(error).__name__})"
            raise ConnectionError(msg) from None
        if not isinstance(reply, dict) or "result" not in reply:
            told = reply.get("error") if isinstance(reply, dict) else None
            raise AnvilRefusedError(method, told if isinstance(told, dict) else {})
        return reply["result"]

    async def _recall(self, chain_id: int) -> None:
        """Ask the chain who it is before anything is written to it, and give it its past."""
        found = await self.ask("eth_chainId", [])
        if found != hex(chain_id):
            msg = f"asked for chain {chain_id}, got {found}"
            raise AnvilError(msg)
        if self._state is not None and self._state.exists():
            kept = await asyncio.to_thread(self._state.read_text, encoding="ascii")
            await self.ask("anvil_loadState", [kept])
            self.fresh = False

    async def _mined(self, transaction: str) -> None:
        for _ in range(_MINED_TRIES):
            if await self.ask("eth_getTransactionReceipt", [transaction]) is not None:
                return
            await asyncio.sleep(_MINED_WAIT_S)

    async def _keep(self, change: int) -> None:
        """Return when the file holds this change; those who wait meanwhile share one writing."""
        if self._state is None:
            return
        async with self._keeping:
            if self._kept >= change:
                return
            newest = self._changes
            dumped = await self.ask("anvil_dumpState", [])
            await asyncio.to_thread(_write, self._state, str(dumped))
            self._kept = newest


async def _listening(output: asyncio.StreamReader, binary: Path) -> str:
    said: list[str] = []
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            async for line in output:
                text = line.decode(errors="replace")
                if found := _LISTENING.match(text):
                    return f"http://{found[1]}"
                said = [*said, text][-_KEPT_LINES:]
    except TimeoutError:
        said.append(f"it did not listen within {_START_TIMEOUT_S} s")
    msg = f"{binary.name} did not start: {''.join(said).strip()}"
    raise AnvilError(msg)


async def _read_on(output: asyncio.StreamReader) -> None:
    """Take what it says, or it would stop at a full pipe."""
    async for _ in output:
        pass


def _write(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
