"""The chain beside us: found, started, asked, kept, and gone when we are."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest

from adapters.sandbox.anvil import Anvil, AnvilError, AnvilRefusedError, find_anvil
from tests.fakes.anvil import anvil_or_skip

CHAIN_ID = 8453
# The first of the accounts that every such chain begins with; everybody has its key.
RICH = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
STRANGER = "0x00000000000000000000000000000000000000aa"
OWNER = """
import asyncio, sys
from pathlib import Path
from adapters.sandbox.anvil import Anvil

async def main():
    async with Anvil.started(Path(sys.argv[1]), chain_id=8453) as anvil:
        print(anvil.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def anvil_binary() -> Path:
    return anvil_or_skip()


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_machine_without_it_has_none(tmp_path: Path) -> None:
    assert find_anvil(str(tmp_path)) is None


def test_a_program_on_the_path_is_found(tmp_path: Path) -> None:
    real = program(tmp_path / "anvil", "#!/bin/sh\n")

    assert find_anvil(str(tmp_path)) == real


def test_behind_the_script_of_npm_the_program_is_found(tmp_path: Path) -> None:
    scope = tmp_path / "node_modules" / "@foundry-rs"
    script = program(scope / "anvil" / "bin.mjs", "#!/usr/bin/env node\n")
    real = program(scope / "anvil-linux-amd64" / "bin" / "anvil", "#!/bin/sh\n")
    shims = tmp_path / "node_modules" / ".bin"
    shims.mkdir()
    (shims / "anvil").symlink_to(script)

    assert find_anvil(str(shims)) == real


def test_a_script_of_npm_without_the_program_is_none(tmp_path: Path) -> None:
    script = program(tmp_path / "anvil" / "bin.mjs", "#!/usr/bin/env node\n")
    (tmp_path / "shims").mkdir()
    (tmp_path / "shims" / "anvil").symlink_to(script)

    assert find_anvil(str(tmp_path / "shims")) is None


async def test_a_program_that_ends_at_once_is_told_with_its_words(tmp_path: Path) -> None:
    broken = program(tmp_path / "anvil", "#!/bin/sh\necho no such luck\nexit 1\n")

    with pytest.raises(AnvilError, match="no such luck"):
        async with Anvil.started(broken, chain_id=CHAIN_ID):
            pass


async def test_a_chain_that_is_gone_gives_no_answer() -> None:
    async with httpx.AsyncClient() as client:
        with pytest.raises(ConnectionError, match="no answer"):
            await Anvil("http://127.0.0.1:1", client, None).call("eth_chainId", [])


@pytest.mark.anvil
async def test_another_chain_than_was_asked_for_is_not_used(
    anvil_binary: Path, tmp_path: Path
) -> None:
    stubborn = program(tmp_path / "anvil", f"#!/bin/sh\nexec {anvil_binary} --port 0\n")

    with pytest.raises(AnvilError, match="asked for chain 8453"):
        async with Anvil.started(stubborn, chain_id=CHAIN_ID):
            pass


@pytest.mark.anvil
async def test_it_listens_on_a_port_of_its_own_as_the_chain_asked_for(anvil_binary: Path) -> None:
    async with (
        Anvil.started(anvil_binary, chain_id=CHAIN_ID) as one,
        Anvil.started(anvil_binary, chain_id=4217) as other,
    ):
        assert one.url != other.url
        assert await one.call("eth_chainId", []) == hex(CHAIN_ID)
        assert await other.call("eth_chainId", []) == hex(4217)


@pytest.mark.anvil
async def test_what_it_refuses_comes_with_its_code(anvil_binary: Path) -> None:
    async with Anvil.started(anvil_binary, chain_id=CHAIN_ID) as anvil:
        with pytest.raises(AnvilRefusedError) as refused:
            await anvil.call("eth_getBalance", ["nobody"])

    assert refused.value.code == -32602


@pytest.mark.anvil
async def test_after_the_block_nothing_listens_any_more(anvil_binary: Path) -> None:
    async with Anvil.started(anvil_binary, chain_id=CHAIN_ID) as anvil:
        port = int(anvil.url.rpartition(":")[2])

    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.anvil
async def test_what_was_sent_is_on_the_same_chain_after_a_start_from_its_file(
    anvil_binary: Path, tmp_path: Path
) -> None:
    state = tmp_path / "chain"
    gift = {"from": RICH, "to": STRANGER, "value": "0x5"}
    async with Anvil.started(anvil_binary, chain_id=CHAIN_ID, state=state) as anvil:
        transaction = await anvil.call("eth_sendTransaction", [gift])
        # The end of the block kills it: it has no time to write anything.

    async with Anvil.started(anvil_binary, chain_id=CHAIN_ID, state=state) as again:
        receipt = await again.call("eth_getTransactionReceipt", [transaction])
        balance = await again.call("eth_getBalance", [STRANGER, "latest"])

    assert isinstance(receipt, dict)
    assert (receipt["status"], balance) == ("0x1", "0x5")


@pytest.mark.anvil
async def test_many_changes_at_once_are_all_kept(anvil_binary: Path, tmp_path: Path) -> None:
    state = tmp_path / "chain"
    gift = {"to": STRANGER, "value": "0x1"}
    async with Anvil.started(anvil_binary, chain_id=CHAIN_ID, state=state) as anvil:
        givers = await anvil.call("eth_accounts", [])
        assert isinstance(givers, list)
        await asyncio.gather(
            *(anvil.call("eth_sendTransaction", [{"from": giver, **gift}]) for giver in givers[:8])
        )

    async with Anvil.started(anvil_binary, chain_id=CHAIN_ID, state=state) as again:
        assert await again.call("eth_getBalance", [STRANGER, "latest"]) == "0x8"


@pytest.mark.anvil
async def test_when_we_are_killed_the_chain_is_gone_too(anvil_binary: Path) -> None:
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER, str(anvil_binary)),
        cwd=Path(__file__).parents[4],
        stdout=asyncio.subprocess.PIPE,
    )
    assert owner.stdout is not None
    port = int((await owner.stdout.readline()).decode().strip().rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    os.kill(owner.pid, signal.SIGKILL)
    await owner.wait()

    # A connection to it ends when it does, and its door a moment later.
    assert await asyncio.wait_for(reader.read(), timeout=10) == b""
    writer.close()
    for _ in range(1_000):
        if not await _answers(port):
            break
        await asyncio.sleep(0.01)
    assert not await _answers(port)


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True
