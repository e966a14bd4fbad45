"""Tokens, webhooks and the registry as both vendors' own kits for Node make and read them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import base58
import jwt
import pytest

from adapters.clock import SystemClock
from adapters.sfu.entries import entry_address, registry_address
from adapters.sfu.outbound import Outbound
from adapters.sfu.receiver import WEBHOOK_PATH
from adapters.sfu.registry import NAME, Place, Registry
from adapters.sfu.room_key import room_key
from tests.e2e.room_street import RoomStreet, room_street
from tests.fakes.room_server import (
    API_KEY,
    API_SECRET,
    LIVEKIT_KEY,
    LIVEKIT_SECRET,
    NODE,
    OTHER_NODE,
    name_of,
)
from tests.fakes.sfu import Sfu
from tests.fakes.sfu_caller import QuietCaller
from tests.fakes.sfu_tokens import DTelecomNode, LiveKitServer, Vendor
from tests.fakes.solana import (
    AUTHORITY,
    OTHER_REGISTRY,
    PROGRAM,
    SolanaRpc,
    client_entry,
    node_entry,
    serving,
    text_of,
)

# The one name that the kit knows.
REGISTRY = registry_address(authority=AUTHORITY, name=NAME, program=PROGRAM)
NODE_KEY, NODE_SECRET = name_of(NODE), base58.b58encode(bytes(NODE)).decode()
OTHER_KEY, OTHER_SECRET = name_of(OTHER_NODE), base58.b58encode(bytes(OTHER_NODE)).decode()
KEYS = {
    "dtelecom": {"kit": "dtelecom", "key": API_KEY, "secret": API_SECRET},
    "livekit": {"kit": "livekit", "key": LIVEKIT_KEY, "secret": LIVEKIT_SECRET},
}
# Who signs webhooks: a node with its own key, LiveKit with the customer's.
SIGNERS = {
    "dtelecom": {"kit": "dtelecom", "key": NODE_KEY, "secret": NODE_SECRET},
    "livekit": KEYS["livekit"],
}
GRANT = {"roomJoin": True, "room": "hall", "canPublish": False}
ORDER: dict[str, object] = {
    "room_name": "hall",
    "participant_identity": "Zoë 学生",
    "duration_minutes": 1,
    "metadata": "{}",
}

Asks = Callable[..., Awaitable[list[dict[str, Any]]]]


@pytest.fixture
def kits(node: Callable[..., str], tmp_path: Path) -> Asks:
    """Ask the kits a list of things, in one process of Node."""

    async def ask(*asks: dict[str, Any], **environ: str) -> list[dict[str, Any]]:
        job = tmp_path / "job.json"
        job.write_text(json.dumps({"environ": environ, "asks": asks}))
        answers: list[dict[str, Any]] = json.loads(
            await asyncio.to_thread(node, "rooms.mjs", str(job))
        )
        return answers

    return ask


@pytest.fixture(params=["dtelecom", "livekit"])
async def street(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RoomStreet]:
    async with room_street(tmp_path / "data", request.param) as street:
        yield street


@pytest.fixture
async def rpc() -> AsyncIterator[tuple[SolanaRpc, str]]:
    """Two nodes, one of another registry, and a client, as Solana would have them."""
    rpc = SolanaRpc()
    entries = [
        (bytes(NODE.verify_key), node_entry(bytes(NODE.verify_key), "one.test", parent=REGISTRY)),
        (
            bytes(OTHER_NODE.verify_key),
            node_entry(bytes(OTHER_NODE.verify_key), "two.test", parent=REGISTRY, active=False),
        ),
        (b"\x0b" * 32, node_entry(b"\x0b" * 32, "foreign.test", parent=OTHER_REGISTRY)),
        (b"\x0c" * 32, client_entry(b"\x0c" * 32, parent=REGISTRY)),
    ]
    for key, entry in entries:
        rpc.accounts[entry_address(key, registry=REGISTRY, program=PROGRAM)] = entry
    async with serving(rpc.handle) as host:
        yield rpc, f"http://{host}"


def environ_of(url: str) -> dict[str, str]:
    return {
        "SOLANA_NETWORK_HOST_HTTP": url,
        "SOLANA_CONTRACT_ADDRESS": text_of(PROGRAM),
        "SOLANA_REGISTRY_AUTHORITY": text_of(AUTHORITY),
    }


async def test_their_verifiers_read_our_tokens(street: RoomStreet, kits: Asks) -> None:
    customer = await street.customer()
    sold = await customer.call("POST", "/v1/webrtc/token", ORDER)
    more = {"session_id": sold["session_id"], "additional_minutes": 1}
    extended = await customer.call("POST", "/v1/webrtc/token/extend", more)
    head, claims, signature = sold["token"].split(".")
    spoilt = f"{head}.{claims}.{'AB'[signature[0] == 'A']}{signature[1:]}"
    asker = {"do": "verify", **KEYS[street.kind]}

    first, second, refused = await kits(
        *({**asker, "token": token} for token in (sold["token"], extended["token"], spoilt))
    )

    assert first["ok"]["sub"] == ORDER["participant_identity"]
    assert first["ok"]["video"]["room"].endswith(".hall")
    assert first["ok"]["video"]["canPublish"] is True
    assert second["ok"] == first["ok"] | {"exp": first["ok"]["exp"] + 60}
    assert "error" in refused


@pytest.mark.parametrize(
    "vendor",
    [DTelecomNode(bytes(NODE), {API_KEY}), LiveKitServer(LIVEKIT_KEY, LIVEKIT_SECRET)],
    ids=lambda vendor: vendor.name,
)
async def test_our_room_server_reads_their_tokens_and_serves_their_clients(
    vendor: Vendor, kits: Asks
) -> None:
    """So that it is a fair judge of ours."""
    asker = KEYS[vendor.name]
    options = {"identity": "guest", "name": "Guest", "metadata": "m", "ttl": 60}
    (signed,) = await kits({"do": "sign", **asker, "options": options, "grant": GRANT})
    async with Sfu(vendor, media=False).listening() as sfu:
        caller = await QuietCaller.call(sfu.url, signed["ok"])
        join = await caller.joined()
        service = {**asker, "url": f"http://{sfu.host}", "room": "hall"}

        seen, gone, stranger, removed = await kits(
            {"do": "participants", **service},
            {"do": "remove", **service, "identity": "nobody"},
            {"do": "remove", **service, "identity": "guest", "secret": OTHER_SECRET},
            {"do": "remove", **service, "identity": "guest"},
        )
        reason = await caller.gone()

    assert join.participant.permission.can_publish is False
    assert join.participant.permission.can_subscribe is True
    assert seen["ok"] == [{"identity": "guest", "sid": join.participant.sid, "metadata": "m"}]
    assert "error" in gone
    assert "error" in stranger
    assert removed["ok"] is True
    assert reason == "PARTICIPANT_REMOVED"


async def test_their_receivers_believe_our_room_servers(
    kits: Asks, rpc: tuple[SolanaRpc, str]
) -> None:
    """So that what our gateway accepts in these tests is what real ones would send."""
    body = event_of("participant_joined", "hall")
    spoilt = body.replace(b"PA_1", b"PA_2")
    vendors: list[Vendor] = [
        DTelecomNode(bytes(NODE), set()),
        LiveKitServer(LIVEKIT_KEY, LIVEKIT_SECRET),
        DTelecomNode(b"\x0d" * 32, set()),
    ]
    asks = [
        {"do": "receive", **KEYS[vendor.name], "body": sent.decode(), "token": vendor.sign(body)}
        for vendor in vendors
        for sent in (body, spoilt)
    ]

    node, node_spoilt, server, server_spoilt, stranger, _ = await kits(*asks, **environ_of(rpc[1]))

    assert (node["ok"]["event"], node["ok"]["participant"]["sid"]) == ("participant_joined", "PA_1")
    assert node["ok"]["room"]["key"] == room_key("hall", API_KEY)
    assert (server["ok"]["event"], server["ok"]["id"]) == ("participant_joined", "EV_1")
    assert [told["error"] for told in (node_spoilt, server_spoilt)] == [
        "sha256 checksum of body does not match"
    ] * 2
    assert "unknown node" in stranger["error"]


async def test_our_gateway_believes_what_their_classes_sign_and_nothing_else(
    street: RoomStreet, kits: Asks
) -> None:
    customer = await street.customer()
    sold = await customer.call("POST", "/v1/webrtc/token", ORDER)
    claims = jwt.decode(sold["token"], options={"verify_signature": False})
    body = event_of("participant_joined", claims["video"]["room"], claims=claims)
    sign = {"do": "sign", **SIGNERS[street.kind], "sha256": standard(body)}
    short = {"options": {"ttl": 300, "identity": "guest"}}

    signed = await kits(
        {**sign, **short},
        {**sign, **short, "secret": OTHER_SECRET},
        {**sign, **short, "sha256": standard(body + b" ")},
        {**sign, **short, "sha256": hashlib.sha256(body).hexdigest()},
        # The customer has this one: it is about a room, and about no body.
        {**sign, **short, "sha256": "", "grant": GRANT},
        # A node that nobody registered.
        {**sign, **short, "kit": "dtelecom", "key": OTHER_KEY, "secret": OTHER_SECRET},
    )
    hook = claims.get("webHookURL") or street.place.url + WEBHOOK_PATH
    answers = [await post(hook, body, token["ok"]) for token in [*signed, signed[0]]]
    answers.append(await post(hook, body, f"Bearer {signed[0]['ok']}"))

    assert answers[0] == (200, "stored")
    assert [status for status, _ in answers[1:6]] == [401] * 5
    assert answers[6] == (200, "duplicate")
    assert answers[7][0] == 401


async def test_the_kit_and_our_registry_find_the_same_nodes(
    kits: Asks, rpc: tuple[SolanaRpc, str]
) -> None:
    url = rpc[1]
    outbound = Outbound(private_ok=True)
    place = Place(rpc_url=url, program=text_of(PROGRAM), authority=text_of(AUTHORITY))
    registry = Registry(place, outbound, clock=SystemClock(), random=Random(1))  # noqa: S311 (no secret)
    await registry.refresh()

    listed, one, foreign, sent_to = await kits(
        {"do": "nodes"},
        {"do": "node", "key": OTHER_KEY},
        {"do": "node", "key": text_of(b"\x0e" * 32)},
        {"do": "url", **KEYS["dtelecom"]},
        **environ_of(url),
    )
    ours = {node.ws_url: text_of(node.key) for node in registry.nodes()}
    known = [await registry.key_of(key) for key in (NODE_KEY, OTHER_KEY)]
    stranger = await registry.key_of(text_of(b"\x0c" * 32))
    await outbound.aclose()

    assert {f"wss://{n['domain']}": n["key"] for n in listed["ok"]} == ours
    assert ours == {"wss://one.test": NODE_KEY, "wss://two.test": OTHER_KEY}
    assert one["ok"] == {"domain": "two.test", "key": OTHER_KEY}
    assert known == [bytes(NODE.verify_key), bytes(OTHER_NODE.verify_key)]
    assert foreign["error"] == "Node not found"
    assert sent_to["ok"] in ours
    # A client's key lies where a node's would: it is none, whatever the kit makes of its bytes.
    assert stranger is None


async def post(hook: str, body: bytes, token: str) -> tuple[int, str]:
    headers = {"Authorization": token, "Content-Type": "application/webhook+json"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(hook, data=body, headers=headers) as answer,
    ):
        said = await answer.json()
        return answer.status, said.get("status", "")


def standard(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def event_of(name: str, room: str, *, claims: dict[str, Any] | None = None) -> bytes:
    claims = claims or {}
    return json.dumps(
        {
            "event": name,
            "room": {"sid": "RM_1", "name": room, "key": room_key(room, API_KEY)},
            "participant": {
                "sid": "PA_1",
                "identity": claims.get("sub", "guest"),
                "state": "ACTIVE",
                "attributes": claims.get("attributes", {}),
            },
            "id": "EV_1",
            "createdAt": str(claims.get("nbf", 1_700_000_000) + 10),
        },
        separators=(",", ":"),
        ensure_ascii=False,
    ).encode()
