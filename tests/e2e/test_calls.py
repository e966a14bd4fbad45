"""B7: people join with what they bought, hear each other, and pay for the time they were there.

The callers are LiveKit's own client in a network of their own, or, where the machine allows none,
callers without sound.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt
import pytest
import pytest_asyncio

from adapters.cli.customer import Customer
from adapters.keys import check_signature
from adapters.sfu.receiver import WEBHOOK_PATH
from domain.audit import parse_bill, verify_bill
from domain.checkpoint import SignerKey
from tests.e2e.conftest import GatewayProcess, start_gateway
from tests.e2e.own_network import NoOwnNetworkError, own_network
from tests.e2e.people import People, Talker
from tests.e2e.room_street import rooms_environ
from tests.e2e.test_crashes import replayed
from tests.fakes.room_server import API_KEY, LIVEKIT_KEY, LIVEKIT_SECRET
from tests.fakes.sfu import Sfu
from tests.fakes.sfu_tokens import DTelecomNode, LiveKitServer

SEED = b"\x07" * 32
WAIT_S = 30
TUTOR, STUDENT = "tutor", "Zoë Ångström 学生"
CALL = {
    "room_name": "lesson",
    "participant_identity": TUTOR,
    "client_identity": STUDENT,
    "duration_minutes": 2,
    "metadata": '{"level": "A1"}',
    "client_ip": "127.0.0.1",
}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def quiet() -> Iterator[str]:
    """Why there is no sound here; "" where there is."""
    with ExitStack() as stack:
        try:
            stack.enter_context(own_network())
        except NoOwnNetworkError as missing:
            yield str(missing)
        else:
            yield ""


@dataclass
class Place:
    """A gateway, the room server it sells, and a customer with credit."""

    gateway: GatewayProcess
    sfu: Sfu
    customer: Customer
    people: People

    async def sell(self, path: str, order: dict[str, object]) -> dict[str, Any]:
        return await self.customer.call("POST", path, order)

    async def settled(self, session_id: str) -> dict[str, Any]:
        """Wait until the gateway settled it by itself; how."""
        for _ in range(WAIT_S * 4):
            shown = await self.customer.call("GET", "/v1/account/sessions?status=settled")
            if any(row["id"] == session_id for row in shown["sessions"]):
                return await self.customer.call("POST", f"/v1/sessions/{session_id}/end")
            await asyncio.sleep(0.25)
        raise AssertionError("it was never settled")

    async def opened_ms(self, session_id: str) -> int:
        shown = await self.customer.call("GET", "/v1/account/sessions?limit=100")
        (row,) = (row for row in shown["sessions"] if row["id"] == session_id)
        return round(datetime.fromisoformat(row["created_at"]).timestamp() * 1_000)

    async def measured_ms(self, identity: str, session_id: str, since: int = 0) -> int:
        """How long they were there by the room server's own watch, which has seconds."""
        opened_ms = await self.opened_ms(session_id)
        return sum(
            visit.left_s * 1_000 - max(visit.joined_s * 1_000, opened_ms)
            for visit in self.sfu.visits[since:]
            if visit.identity == identity and visit.joined_s and visit.left_s
        )

    async def verdict(self, session_id: str) -> int:
        """Have the bill verified offline; what it charges."""
        bill = await self.customer.call("GET", f"/v1/sessions/{session_id}/bill")
        known = await self.customer.call("GET", "/.well-known/payphone")
        document = parse_bill(json.dumps(bill).encode())
        trusted = SignerKey.parse(known["log"]["signer"])
        return verify_bill(document, check=check_signature, trusted=trusted).charged


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dtelecom(quiet: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    node = DTelecomNode(SEED, {API_KEY})
    async with Sfu(node, media=not quiet).listening() as sfu:
        gateway = start_gateway(
            tmp_path_factory.mktemp("dtelecom") / "data",
            **rooms_environ(sfu),
        )
        async for place in _open(gateway, sfu, quiet):
            yield place


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def livekit(quiet: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """Sessions here have no time to stand still in: they expire when what was bought could be."""
    server = LiveKitServer(LIVEKIT_KEY, LIVEKIT_SECRET)
    async with Sfu(server, media=not quiet).listening() as sfu:
        gateway = start_gateway(
            tmp_path_factory.mktemp("livekit") / "data",
            **rooms_environ(sfu),
            PAYPHONE_PAUSE_ALLOWANCE_MINUTES="0",
        )
        server.hook = gateway.url + WEBHOOK_PATH
        async for place in _open(gateway, sfu, quiet):
            yield place


async def _open(gateway: GatewayProcess, sfu: Sfu, quiet: str) -> AsyncIterator[Place]:
    people = People(quiet)
    async with Customer(gateway.url, gateway.secret_key) as customer:
        await customer.buy("1.00")
        yield Place(gateway, sfu, customer, people)
        await people.hang_up()
    await sfu.herald.drain()
    assert gateway.stop() == 0
    assert replayed(gateway.data).books.total == 0


@pytest.fixture(params=["dtelecom", "livekit"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


async def test_people_pay_for_the_time_they_were_there(place: Place) -> None:
    sold = (await place.sell("/v1/agent-session", CALL))["webrtc"]
    before = len(place.sfu.visits)
    tutor = await place.people.call(sold["agent"]["ws_url"], sold["agent"]["token"])
    student = await place.people.call(sold["client"]["ws_url"], sold["client"]["token"])
    met = [await tutor.joined(), await student.joined()]
    await asyncio.sleep(2)

    await tutor.crash()
    await student.leave()
    ends = {role: await place.settled(sold[role]["session_id"]) for role in sold}

    assert [(m["identity"], m["metadata"]) for m in met] == [
        (TUTOR, CALL["metadata"]),
        (STUDENT, CALL["metadata"]),
    ]
    assert met[0]["room"] == met[1]["room"] != CALL["room_name"]
    for identity, role in ((TUTOR, "agent"), (STUDENT, "client")):
        session_id = sold[role]["session_id"]
        used_ms = await place.measured_ms(identity, session_id, before)
        assert used_ms > 0
        assert (ends[role]["reason"], ends[role]["used"]) == ("room_finished", used_ms)
        assert int(ends[role]["charged_microcredits"]) == -(-used_ms * 1_000 // 60_000)
        assert await place.verdict(session_id) == -(-used_ms * 1_000 // 60_000)
    assert {told.status for told in place.sfu.herald.told} == {200}


async def test_what_one_says_the_other_hears(place: Place) -> None:
    if place.people.quiet:
        pytest.skip(f"no sound: {place.people.quiet}")
    sold = (await place.sell("/v1/agent-session", CALL))["webrtc"]
    tutor, student = [
        await Talker.call(sold[role]["ws_url"], sold[role]["token"], tone_hz)
        for role, tone_hz in (("agent", 440), ("client", 660))
    ]

    heard = [await tutor.heard(), await student.heard()]
    await student.tell("bonjour")
    told = await tutor.said("told")
    await tutor.leave()
    await student.leave()

    assert heard == [(STUDENT, pytest.approx(660, abs=5)), (TUTOR, pytest.approx(440, abs=5))]
    assert (told["who"], told["text"]) == (STUDENT, "bonjour")


async def test_who_spent_what_was_bought_is_removed_and_pays_no_more(dtelecom: Place) -> None:
    order = {"room_name": "short", "participant_identity": "spender", "duration_minutes": 0.05}
    sold = await dtelecom.sell("/v1/webrtc/token", order)
    person = await dtelecom.people.call(sold["ws_url"], sold["token"])
    room = (await person.joined())["room"]

    reason = await person.gone()
    ended = await dtelecom.settled(sold["session_id"])

    assert reason == "PARTICIPANT_REMOVED"
    assert (room, "spender") in dtelecom.sfu.removed
    assert (ended["reason"], ended["used"]) == ("spent", 3_000)
    assert (ended["charged_microcredits"], ended["refunded_microcredits"]) == ("50", "0")
    assert await dtelecom.verdict(sold["session_id"]) == 50


async def test_at_expiry_a_participant_is_removed_and_the_session_settles(livekit: Place) -> None:
    order = {"room_name": "late", "participant_identity": "latecomer", "duration_minutes": 0.15}
    sold = await livekit.sell("/v1/webrtc/token", order)
    await asyncio.sleep(1.5)
    before = len(livekit.sfu.visits)
    person = await livekit.people.call(sold["ws_url"], sold["token"])
    room = (await person.joined())["room"]

    reason = await person.gone()
    ended = await livekit.settled(sold["session_id"])

    expires_ms = await livekit.opened_ms(sold["session_id"]) + 9_000
    (visit,) = livekit.sfu.visits[before:]
    assert reason == "PARTICIPANT_REMOVED"
    assert (room, "latecomer") in livekit.sfu.removed
    assert ended["reason"] == "expired"
    assert ended["used"] == expires_ms - visit.joined_s * 1_000 < 9_000
    assert ended["refunded_microcredits"] != "0"


async def test_who_extends_stays_and_comes_back_with_the_new_token(dtelecom: Place) -> None:
    order = {
        "room_name": "long",
        "participant_identity": "stayer",
        "duration_minutes": 0.05,
        "metadata": "kept",
    }
    sold = await dtelecom.sell("/v1/webrtc/token", order)
    person = await dtelecom.people.call(sold["ws_url"], sold["token"])
    await person.joined()

    more = {"session_id": sold["session_id"], "additional_minutes": 1}
    extended = await dtelecom.sell("/v1/webrtc/token/extend", more)
    # Longer than what was bought first, and than the gateway takes to look.
    await asyncio.sleep(9)
    stayed = len(dtelecom.sfu.here("stayer"))
    again = await dtelecom.people.call(extended["ws_url"], extended["token"])
    joined = await again.joined()
    await again.leave()
    ended = await dtelecom.settled(sold["session_id"])

    old, new = claims_of(sold["token"]), claims_of(extended["token"])
    assert stayed == 1
    assert new["exp"] - old["exp"] == 60
    assert {**new, "exp": 0} == {**old, "exp": 0}
    assert joined["metadata"] == "kept"
    assert ended["reason"] == "room_finished"
    assert ended["used"] == await dtelecom.measured_ms("stayer", sold["session_id"]) > 8_000


async def test_who_comes_back_after_the_end_is_removed_again_and_pays_nothing(
    dtelecom: Place,
) -> None:
    order = {"room_name": "over", "participant_identity": "ghost", "duration_minutes": 1}
    sold = await dtelecom.sell("/v1/webrtc/token", order)
    first = await dtelecom.people.call(sold["ws_url"], sold["token"])
    await first.joined()
    ended = await dtelecom.sell(f"/v1/sessions/{sold['session_id']}/end", {})
    reasons = [await first.gone()]

    again = await dtelecom.people.call(sold["ws_url"], sold["token"])
    reasons.append(await again.gone())

    assert reasons == ["PARTICIPANT_REMOVED"] * 2
    assert ended == await dtelecom.sell(f"/v1/sessions/{sold['session_id']}/end", {})


async def test_a_room_server_turns_away_what_was_not_sold(place: Place) -> None:
    order = {"room_name": "hall", "participant_identity": "guest", "duration_minutes": 1}
    sold = await place.sell("/v1/webrtc/token", order)
    head, claims, signature = sold["token"].split(".")
    broken = ("A" if signature[0] != "A" else "B") + signature[1:]

    assert await place.people.is_refused(sold["ws_url"], f"{head}.{claims}.{broken}")


def claims_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found
