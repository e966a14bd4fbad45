"""The gateway asks; witnesses answer as they should, and as they should not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from adapters.keys import Ed25519Signer, check_signature
from adapters.witness.asker import WitnessAddress, WitnessAsker
from adapters.witness.memory import WitnessMemory
from adapters.witness.server import WitnessRoutes
from adapters.witness.witness import Witness
from domain.checkpoint import NoteSignature
from domain.cosignature import WitnessKey, cosignatures, cosigned, with_signatures
from domain.ports.log import ConsistencyProof
from domain.proofs import consistency_of
from tests.fakes.log import SIGNER_KEY
from tests.fakes.witness import WITNESS, WITNESS_KEY, ShownLog

# Throwaway: 32 bytes of 0x33.
SECOND = Ed25519Signer(b"\x33" * 32)
SECOND_KEY = WitnessKey(name="second.test", public=SECOND.public)
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Heads:
    """Implements `SignedLog` over a log that can grow; `kept` are the cosigned notes by size."""

    def __init__(self, size: int, *, salt: bytes = b"") -> None:
        self.log = ShownLog(40, salt)
        self.size = size
        self.kept: dict[int, str] = {}
        self.changed = asyncio.Event()

    def checkpoint(self) -> tuple[int, str]:
        return self.size, self.log.note(self.size)

    async def consistency(self, *, first: int, second: int) -> ConsistencyProof:
        return consistency_of(self.log.tree, first=first, second=second)

    def cosign(self, size: int, signatures: Sequence[NoteSignature]) -> None:
        self.kept[size] = with_signatures(self.log.note(size), signatures)


def witness(memory: WitnessMemory, *, key: WitnessKey = WITNESS_KEY) -> Witness:
    signer = WITNESS if key == WITNESS_KEY else SECOND
    return Witness(
        memory,
        key=key,
        sign=signer.sign,
        check=check_signature,
        logs=[SIGNER_KEY],
        now_s=lambda: 1_700_000_000,
    )


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


@asynccontextmanager
async def witness_at(memory: WitnessMemory, key: WitnessKey = WITNESS_KEY) -> AsyncIterator[str]:
    async with serving(WitnessRoutes(witness(memory, key=key)).application()) as url:
        yield url


def answering(answer: Answer) -> web.Application:
    app = web.Application()
    app.router.add_post("/add-checkpoint", answer)
    return app


@asynccontextmanager
async def asking(heads: Heads, *addresses: WitnessAddress) -> AsyncIterator[WitnessAsker]:
    """A running asker that does not pause between rounds."""
    asker = WitnessAsker(heads, addresses, check=check_signature, pause_ms=0, retry_ms=20)
    task = asyncio.create_task(asker.run())
    try:
        yield asker
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came to that")


def warnings(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the asker said of witnesses."""
    return [r for r in caplog.records if r.getMessage() == "a witness does not cosign"]


def seen_by(note: str, *keys: WitnessKey) -> int:
    return len(cosignatures(note, witnesses=keys, check=check_signature))


@pytest.fixture
def memory(tmp_path: Path) -> WitnessMemory:
    return WitnessMemory(tmp_path / "witness.db")


@pytest.fixture(autouse=True)
def closed(memory: WitnessMemory) -> object:
    with closing(memory):
        yield


async def test_the_head_that_is_there_and_every_new_one_is_cosigned(memory: WitnessMemory) -> None:
    heads = Heads(5)
    async with (
        witness_at(memory) as url,
        asking(heads, WitnessAddress(url=url, key=WITNESS_KEY)) as asker,
    ):
        await until(lambda: 5 in heads.kept)
        heads.size = 12
        asker.head_signed()
        await until(lambda: 12 in heads.kept)

    assert seen_by(heads.kept[12], WITNESS_KEY) == 1
    assert memory.heads() == (heads.log.head(12),)


async def test_a_witness_says_where_it_is(memory: WitnessMemory) -> None:
    heads = Heads(12)
    witness(memory).add_checkpoint(heads.log.request(0, 5))
    async with (
        witness_at(memory) as url,
        asking(heads, WitnessAddress(url=url, key=WITNESS_KEY)),
    ):
        await until(lambda: 12 in heads.kept)


async def test_one_that_is_down_costs_its_line_only_and_is_asked_again(
    memory: WitnessMemory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heads = Heads(5)
    is_up = False
    with closing(WitnessMemory(tmp_path / "second.db")) as theirs:
        behind = WitnessRoutes(witness(theirs, key=SECOND_KEY))

        async def moody(request: web.Request) -> web.StreamResponse:
            return await behind.add_checkpoint(request) if is_up else web.Response(status=500)

        async with (
            witness_at(memory) as first,
            serving(answering(moody)) as second,
            asking(
                heads,
                WitnessAddress(url=first, key=WITNESS_KEY),
                WitnessAddress(url=second, key=SECOND_KEY),
            ),
        ):
            await until(lambda: 5 in heads.kept)
            assert "second.test" not in heads.kept[5]
            is_up = True
            await until(lambda: "second.test" in heads.kept[5])

    assert seen_by(heads.kept[5], WITNESS_KEY, SECOND_KEY) == 2
    assert [r.levelno for r in warnings(caplog)] == [logging.WARNING]


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ([(0, 12)], "it has seen another history of 12 events"),
        ([(0, 5)], "its last head is not the beginning of this log"),
    ],
)
async def test_a_witness_that_saw_another_history_wakes_somebody(
    memory: WitnessMemory,
    caplog: pytest.LogCaptureFixture,
    seen: list[tuple[int, int]],
    words: str,
) -> None:
    heads = Heads(12, salt=b"forged")
    for old, size in seen:
        witness(memory).add_checkpoint(ShownLog(20).request(old, size))
    async with (
        witness_at(memory) as url,
        asking(heads, WitnessAddress(url=url, key=WITNESS_KEY)),
    ):
        await until(lambda: any(r.levelno == logging.ERROR for r in caplog.records))

    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert words in str(record.__dict__["failure"])
    assert heads.kept == {}


async def test_a_log_that_lost_its_end_is_not_cosigned(
    memory: WitnessMemory, caplog: pytest.LogCaptureFixture
) -> None:
    heads = Heads(5)
    witness(memory).add_checkpoint(heads.log.request(0, 12))
    async with (
        witness_at(memory) as url,
        asking(heads, WitnessAddress(url=url, key=WITNESS_KEY)),
    ):
        await until(lambda: warnings(caplog))

    (record,) = warnings(caplog)
    assert "it has seen 12 events of this log, which has 5" in str(record.__dict__["failure"])
    assert heads.kept == {}


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (200, "", "text/plain"),
        (200, "no line\n", "text/plain"),
        (200, "\N{EM DASH} other.test AAAAAAAA\n", "text/plain"),
        (200, "x" * 70_000, "text/plain"),
        (200, cosigned(ShownLog(5, b"f").note(5), WITNESS_KEY, WITNESS.sign, at_s=1), "text/plain"),
        (409, "5\n", "text/plain"),
        (409, "many\n", "text/x.tlog.size"),
        (409, "3\n", "text/x.tlog.size"),
        (302, "", "text/plain"),
    ],
)
async def test_an_answer_that_is_none_counts_for_nothing(
    caplog: pytest.LogCaptureFixture, status: int, text: str, kind: str
) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text, content_type=kind)

    heads = Heads(5)
    async with (
        serving(answering(answer)) as url,
        asking(heads, WitnessAddress(url=url, key=WITNESS_KEY)),
    ):
        await until(lambda: warnings(caplog))

    assert heads.kept == {}


async def test_a_line_of_a_stranger_beside_the_good_one_is_left_out(memory: WitnessMemory) -> None:
    heads = Heads(5)

    async def answer(request: web.Request) -> web.StreamResponse:
        line = witness(memory).add_checkpoint(await request.read())
        return web.Response(text=f"\N{EM DASH} stranger.test AAAAAAAA\n{line}")

    async with (
        serving(answering(answer)) as url,
        asking(heads, WitnessAddress(url=url, key=WITNESS_KEY)),
    ):
        await until(lambda: 5 in heads.kept)

    assert "stranger" not in heads.kept[5]
    assert seen_by(heads.kept[5], WITNESS_KEY) == 1


async def test_a_witness_tells_its_key_and_refuses_in_the_words_of_the_protocol(
    memory: WitnessMemory,
) -> None:
    app = WitnessRoutes(witness(memory)).application()
    log = ShownLog(9)
    async with TestServer(app) as server, ClientSession() as http:
        async with http.get(server.make_url("/")) as told:
            assert (await told.text()).strip() == WITNESS_KEY.text
        posts = [log.request(0, 5), log.request(0, 9), b"nothing", log.request(5, 9)]
        answers = []
        for data in posts:
            async with http.post(server.make_url("/add-checkpoint"), data=data) as got:
                answers.append((got.status, got.content_type))
        async with http.post(server.make_url("/add-checkpoint"), data=b"x" * 70_000) as got:
            answers.append((got.status, ""))

    assert answers == [
        (200, "text/plain"),
        (409, "text/x.tlog.size"),
        (400, "text/plain"),
        (200, "text/plain"),
        (413, ""),
    ]


async def test_a_witness_that_cannot_write_does_not_sign(
    memory: WitnessMemory, caplog: pytest.LogCaptureFixture
) -> None:
    app = WitnessRoutes(witness(memory)).application()
    memory.close()
    heads = Heads(5)

    async with (
        serving(app) as url,
        asking(heads, WitnessAddress(url=url, key=WITNESS_KEY)),
    ):
        await until(lambda: warnings(caplog))

    assert "it answered 503" in str(warnings(caplog)[0].__dict__["failure"])
    assert heads.kept == {}
