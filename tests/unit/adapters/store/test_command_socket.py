from __future__ import annotations

import asyncio
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest

from adapters.store import command_socket, command_socket_client, command_socket_server
from adapters.store.command_socket import OtherReleaseError, WireError, greeting
from adapters.store.command_socket_client import CommandLink, MovedError
from adapters.store.command_socket_server import CommandServer
from adapters.store.fence import FencedError
from domain.errors import BusyError, InsufficientCreditsError, LedgerDownError, NotFoundError
from domain.ledger import Work
from domain.money import Microcredits
from tests.fakes.desk import Desk

OTHER = b"payphone-ledger/1 0.0.1+feedfeedfeedfeed\n"
TIMEOUT_S = 10.0


class OddError(Exception):
    """Pickles, and cannot be read again."""

    def __init__(self, *, what: str) -> None:
        super().__init__(what)


class Place:
    """A server before a desk, and what was found to be fenced."""

    def __init__(self, folder: Path) -> None:
        self.desk = Desk()
        self.fenced = 0
        self.address = str(folder / "ledger.sock")
        self.server = CommandServer(self.address, self.desk, fenced=self._note)
        self.positions: list[int] = []

    async def link(self) -> CommandLink:
        return await CommandLink.open(self.address, heard=self.positions.append)

    def raw(self) -> socket.socket:
        """A connection of somebody who need not know our manners."""
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        peer.settimeout(TIMEOUT_S)
        peer.connect(self.address)
        return peer

    def _note(self) -> None:
        self.fenced += 1


@pytest.fixture
def place() -> Iterator[Place]:
    # Not the test's own folder: a socket's path is short.
    with tempfile.TemporaryDirectory() as folder:
        started = Place(Path(folder))
        yield started
        started.server.close()


def echo(_work: Work, *, number: int) -> int:
    return number


def refuse(_work: Work) -> None:
    raise InsufficientCreditsError(needed=Microcredits(7), available=Microcredits(3))


def answer_a_lambda(_work: Work) -> Callable[[], None]:
    return lambda: None


def fail_oddly(_work: Work) -> None:
    raise OddError(what="odd")


def be_fenced(_work: Work) -> None:
    raise LedgerDownError from FencedError("replaced")


def until_hung_up(peer: socket.socket) -> bytes:
    """What it says before it hangs up."""
    said = b""
    while more := peer.recv(1_000):
        said += more
    return said


async def test_an_answer_finds_whoever_asked(place: Place) -> None:
    place.desk.is_slow = True
    with closing(await place.link()) as link:
        asked = [asyncio.ensure_future(link.run(partial(echo, number=i))) for i in range(20)]
        await asyncio.to_thread(place.desk.wait_for, 20)

        place.desk.work_off(backwards=True)

        assert await asyncio.gather(*asked) == list(range(20))


async def test_commands_that_come_together_travel_together(place: Place) -> None:
    with closing(await place.link()) as link:
        await asyncio.gather(*(link.run(partial(echo, number=i)) for i in range(100)))

    assert place.desk.groups == [100]


async def test_more_commands_than_a_frame_may_hold_travel_in_several(place: Place) -> None:
    many = 3 * command_socket.COMMANDS_MAX
    with closing(await place.link()) as link:
        answers = await asyncio.gather(*(link.run(partial(echo, number=i)) for i in range(many)))

    assert answers == list(range(many))
    assert max(place.desk.groups) == command_socket.COMMANDS_MAX


async def test_an_answer_tells_the_position(place: Place) -> None:
    with closing(await place.link()) as link:
        await link.run(partial(echo, number=1))

    assert place.positions == [1]


async def test_a_refusal_arrives_with_its_facts(place: Place) -> None:
    with closing(await place.link()) as link, pytest.raises(InsufficientCreditsError) as refused:
        await link.run(refuse)

    assert refused.value.needed == Microcredits(7)


async def test_a_closure_is_refused_and_its_neighbours_are_not(place: Place) -> None:
    with closing(await place.link()) as link:
        closure, neighbour = await asyncio.gather(
            link.run(lambda _work: 1), link.run(partial(echo, number=2)), return_exceptions=True
        )

    assert isinstance(closure, TypeError)
    assert "must be a value" in str(closure)
    assert neighbour == 2


@pytest.mark.parametrize(
    ("command", "told"), [(answer_a_lambda, "no answer can be sent"), (fail_oddly, "OddError: odd")]
)
async def test_what_cannot_travel_is_told_in_words(
    place: Place, command: Callable[[Work], Any], told: str
) -> None:
    with closing(await place.link()) as link:
        unfit, neighbour = await asyncio.gather(
            link.run(command), link.run(partial(echo, number=2)), return_exceptions=True
        )

    assert isinstance(unfit, RuntimeError)
    assert told in str(unfit)
    assert neighbour == 2


async def test_a_command_that_is_not_known_there_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        command_socket_client, "packed", lambda first, _: struct.pack(">IQH", 4, first, 1) + b"soup"
    )
    with (
        closing(await place.link()) as link,
        pytest.raises(RuntimeError, match="no such command"),
    ):
        await link.run(partial(echo, number=1))


async def test_a_command_too_long_for_a_frame_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_socket_client, "FRAME_MAX", 1_000)
    with closing(await place.link()) as link, pytest.raises(TypeError, match="more than 1000"):
        await link.run(partial(echo, number=10**4_000))


async def test_an_answer_too_long_for_a_frame_is_told_in_words(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_socket_server, "FRAME_MAX", 1_000)
    with closing(await place.link()) as link, pytest.raises(RuntimeError, match="more than 1000"):
        await link.run(partial(echo, number=10**4_000))


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"x" * 300,
        greeting() + struct.pack(">IQH", command_socket.FRAME_MAX + 1, 1, 1),
    ],
    ids=["http", "no-line", "too-long"],
)
async def test_noise_is_hung_up_on_and_others_are_served(place: Place, noise: bytes) -> None:
    with closing(place.raw()) as stranger, closing(await place.link()) as link:
        await asyncio.to_thread(stranger.sendall, noise)

        assert await asyncio.to_thread(until_hung_up, stranger) == greeting()
        assert await link.run(partial(echo, number=2)) == 2


async def test_a_gateway_of_another_release_is_refused_before_any_command(place: Place) -> None:
    with closing(place.raw()) as older:
        await asyncio.to_thread(older.sendall, OTHER + b"whatever")

        assert await asyncio.to_thread(until_hung_up, older) == greeting()
    assert place.desk.groups == []


async def test_an_owner_of_another_release_is_named() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/s")
        listener.listen()

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(OTHER)
                peer.recv(command_socket.GREETING_MAX)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(OtherReleaseError, match=r"0\.0\.1\+feed.*run the same release"):
            await CommandLink.open(f"{folder}/s", heard=lambda _position: None)
        thread.join()


async def test_another_user_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_socket, "geteuid", lambda: 4_321)

    with pytest.raises(WireError):
        await place.link()


async def test_a_caller_that_leaves_stops_neither_its_command_nor_others(place: Place) -> None:
    place.desk.is_slow = True
    leaver, stayer = await place.link(), await place.link()
    left = asyncio.ensure_future(leaver.run(partial(echo, number=1)))
    await asyncio.to_thread(place.desk.wait_for, 1)
    leaver.close()
    stayed = asyncio.ensure_future(stayer.run(partial(echo, number=2)))
    await asyncio.to_thread(place.desk.wait_for, 2)

    place.desk.work_off()

    with pytest.raises(MovedError):
        await left
    assert await stayed == 2
    assert place.desk.position == 2
    stayer.close()


async def test_a_full_owner_refuses_what_it_has_no_room_for(place: Place) -> None:
    place.desk.room = 2
    with closing(await place.link()) as link:
        told = await asyncio.gather(
            *(link.run(partial(echo, number=i)) for i in range(4)), return_exceptions=True
        )

    assert told[:2] == [0, 1]
    assert [type(one) for one in told[2:]] == [BusyError, BusyError]


@pytest.mark.parametrize("side", [command_socket_client, command_socket_server])
async def test_a_connection_with_too_much_in_flight_refuses_more(
    place: Place, monkeypatch: pytest.MonkeyPatch, side: ModuleType
) -> None:
    monkeypatch.setattr(side, "IN_FLIGHT_MAX", 3)
    place.desk.is_slow = True
    with closing(await place.link()) as link:
        asked = [asyncio.ensure_future(link.run(partial(echo, number=i))) for i in range(3)]
        await asyncio.to_thread(place.desk.wait_for, 3)

        with pytest.raises(BusyError):
            await link.run(partial(echo, number=4))

        place.desk.work_off()
        assert await asyncio.gather(*asked) == [0, 1, 2]
        assert place.server.connections


async def test_an_owner_that_leaves_sends_callers_to_the_next(place: Place) -> None:
    with closing(await place.link()) as link:
        place.server.leave()

        with pytest.raises(MovedError):
            await link.run(partial(echo, number=1))

    assert place.desk.groups == []


async def test_an_owner_that_was_replaced_sends_callers_to_the_next(place: Place) -> None:
    with closing(await place.link()) as link, pytest.raises(MovedError):
        await link.run(be_fenced)

    assert place.fenced == 1


async def test_whoever_waits_when_the_owner_goes_asks_the_next(place: Place) -> None:
    place.desk.is_slow = True
    link = await place.link()
    asked = asyncio.ensure_future(link.run(partial(echo, number=1)))
    await asyncio.to_thread(place.desk.wait_for, 1)

    await asyncio.to_thread(place.server.close)

    with pytest.raises(MovedError):
        await asked
    assert not link.is_open
    with pytest.raises(MovedError):
        await link.run(partial(echo, number=2))


async def test_what_was_answered_is_sent_before_the_owner_goes(place: Place) -> None:
    place.desk.is_slow = True
    link = await place.link()
    asked = [asyncio.ensure_future(link.run(partial(echo, number=i))) for i in range(50)]
    await asyncio.to_thread(place.desk.wait_for, 50)
    place.server.leave()
    place.desk.work_off()

    await asyncio.to_thread(place.server.close)

    assert await asyncio.gather(*asked) == list(range(50))


def test_only_our_user_may_speak_and_the_path_is_free_afterwards(place: Place) -> None:
    path = Path(place.address)
    assert path.stat().st_mode & 0o777 == 0o600

    place.server.close()

    assert not path.exists()


async def test_one_gateway_too_many_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_socket_server, "CONNECTIONS_MAX", 1)
    with closing(await place.link()) as link:
        with pytest.raises(WireError):
            await place.link()

        with pytest.raises(NotFoundError):
            await link.run(partial(Work.session, session_id=UUID(int=1)))
