"""Settings of rooms: whose keys sign the tokens, and how a participant's node is found."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from adapters.environ import Reader
from adapters.sfu.nodes import Node
from adapters.sfu.registry import AUTHORITY, NAME, PROGRAM, Place
from adapters.sfu.rooms import signer_of

ROOM_SERVERS = ("dtelecom", "livekit")
_LIVEKIT_SECRET_BYTES_MIN = 32
# As long as room servers keep an empty room.
_IDLE_S = 300

# Throwaway: the Ed25519 pair of the seed 00 01 02 ... 1f. Published here, it protects nothing.
SANDBOX_ROOMS_KEY = "FAe4sisG95oZ42w7buUn5qEE4TAnfTTFPiguZUHmhiF"
SANDBOX_ROOMS_SECRET = "1thX6LZfHDZZKUs92febYZhYRcXddmzfzF2NvTkPNE"  # noqa: S105 (throwaway, refused outside the sandbox)
SANDBOX_ROOMS_WS_URL = "ws://127.0.0.1:7880"
_THROWAWAY = (SANDBOX_ROOMS_KEY, SANDBOX_ROOMS_SECRET, "devkey", "secret")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomSettings:
    """`kind` is `dtelecom` or `livekit`. Where people go is one `ws_url` (`wss://host`, no path).

    For dTelecom it may be a list of `nodes` instead, or a `registry` that has the list.
    `wallets_meet` where they ask for a room of the same name. A room that nobody was in for
    `idle_ms` is settled, 0: none is. `keyless_ok`: a node need not say whose a room is.
    """

    kind: str
    key: str
    secret: str = field(repr=False)
    ws_url: str
    nodes: tuple[Node, ...] = ()
    registry: Place | None = field(default=None, repr=False)
    wallets_meet: bool = False
    idle_ms: int = _IDLE_S * 1_000
    keyless_ok: bool = False


def read_rooms(reader: Reader, *, sandbox: bool) -> RoomSettings | None:
    """What `PAYPHONE_ROOMS…` say; None where there are none, and so no rooms."""
    rooms = RoomSettings(
        kind=reader.choice("PAYPHONE_ROOMS", ROOM_SERVERS, default="dtelecom"),
        key=reader.text("PAYPHONE_ROOMS_KEY"),
        secret=reader.text("PAYPHONE_ROOMS_SECRET", secret=True),
        ws_url=reader.url("PAYPHONE_ROOMS_WS_URL", schemes=("wss", "ws"), path=False),
        nodes=_nodes(reader),
        registry=_registry(reader),
        wallets_meet=reader.switch("PAYPHONE_ROOMS_SHARED"),
        keyless_ok=reader.switch("PAYPHONE_ROOMS_KEYLESS"),
        idle_ms=1_000
        * reader.count("PAYPHONE_ROOMS_IDLE_SECONDS", least=0, most=24 * 60 * 60, default=_IDLE_S),
    )
    ways = [way for way in (rooms.ws_url, rooms.nodes, rooms.registry) if way]
    if sandbox and rooms.kind == "dtelecom" and not (rooms.key or rooms.secret):
        return replace(
            rooms,
            key=SANDBOX_ROOMS_KEY,
            secret=SANDBOX_ROOMS_SECRET,
            ws_url=rooms.ws_url or ("" if ways else SANDBOX_ROOMS_WS_URL),
        )
    if not (rooms.key or rooms.secret or ways):
        return None
    for name, value in (
        ("PAYPHONE_ROOMS_KEY", rooms.key),
        ("PAYPHONE_ROOMS_SECRET", rooms.secret),
    ):
        if not value:
            reader.missing(name, "a value, since rooms are configured")
    _check_ways(reader, rooms, len(ways))
    if rooms.key and rooms.secret:
        _check_keys(reader, rooms, sandbox=sandbox)
    return rooms


def _nodes(reader: Reader) -> tuple[Node, ...]:
    """`wss://host=KEY,wss://host=KEY`."""
    name = "PAYPHONE_ROOMS_NODES"
    try:
        nodes = tuple(Node.parse(text) for text in filter(None, reader.text(name).split(",")))
    except ValueError:
        reader.problem(name, "nodes as wss://host=KEY (base58), separated by commas")
        return ()
    if len({node.key for node in nodes}) != len(nodes):
        reader.problem(name, "each node once")
    return nodes


def _registry(reader: Reader) -> Place | None:
    rpc_url = reader.url("PAYPHONE_ROOMS_RPC_URL", schemes=("https", "http"), secret=True)
    key, expected = r"[1-9A-HJ-NP-Za-km-z]{32,44}", "a Solana address"
    program = reader.pattern("PAYPHONE_ROOMS_PROGRAM", key, expected, PROGRAM)
    authority = reader.pattern("PAYPHONE_ROOMS_AUTHORITY", key, expected, AUTHORITY)
    name = reader.pattern("PAYPHONE_ROOMS_REGISTRY", r"[!-~]{1,32}", "a registry's name", NAME)
    if not rpc_url:
        return None
    try:
        return Place(rpc_url=rpc_url, program=program, authority=authority, name=name)
    except ValueError:
        reader.problem("PAYPHONE_ROOMS_AUTHORITY", "Solana addresses here and for the program")
        return None


def _check_ways(reader: Reader, rooms: RoomSettings, ways: int) -> None:
    if rooms.kind == "livekit":
        if not rooms.ws_url:
            reader.missing("PAYPHONE_ROOMS_WS_URL", "a value, since rooms are configured")
        for name in ("PAYPHONE_ROOMS_NODES", "PAYPHONE_ROOMS_RPC_URL"):
            if reader.given(name):
                reader.problem(name, "nothing: only dTelecom has nodes", hidden=True)
    elif not ways:
        reader.missing(
            "PAYPHONE_ROOMS_WS_URL",
            "a room server, or nodes in PAYPHONE_ROOMS_NODES, or Solana's RPC server in "
            "PAYPHONE_ROOMS_RPC_URL",
        )
    elif ways > 1:
        names = ("PAYPHONE_ROOMS_WS_URL", "PAYPHONE_ROOMS_NODES", "PAYPHONE_ROOMS_RPC_URL")
        for name in filter(reader.given, names):
            reader.problem(name, f"only one of {', '.join(names)}", hidden=True)


def _check_keys(reader: Reader, rooms: RoomSettings, *, sandbox: bool) -> None:
    if rooms.kind == "dtelecom":
        try:
            signer_of(rooms.key, rooms.secret)
        except ValueError:
            reader.problem(
                "PAYPHONE_ROOMS_SECRET", "the base58 secret that belongs to PAYPHONE_ROOMS_KEY"
            )
    if sandbox:
        return
    for name, value in (
        ("PAYPHONE_ROOMS_KEY", rooms.key),
        ("PAYPHONE_ROOMS_SECRET", rooms.secret),
    ):
        if value in _THROWAWAY:
            reader.problem(name, "a key of your own, not a published throwaway")
    if rooms.kind == "livekit" and len(rooms.secret.encode()) < _LIVEKIT_SECRET_BYTES_MIN:
        reader.problem(
            "PAYPHONE_ROOMS_SECRET", f"at least {_LIVEKIT_SECRET_BYTES_MIN} bytes, for HS256"
        )
