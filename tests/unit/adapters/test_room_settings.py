from __future__ import annotations

import pytest

from adapters.config import Settings
from adapters.environ import ConfigError
from adapters.room_settings import (
    SANDBOX_ROOMS_KEY,
    SANDBOX_ROOMS_SECRET,
    SANDBOX_ROOMS_WS_URL,
    RoomSettings,
)
from adapters.sfu.nodes import Node
from adapters.sfu.registry import AUTHORITY, NAME, PROGRAM, Place
from tests.fakes.solana import text_of

SANDBOX = {"PAYPHONE_SANDBOX": "1"}
KEY = bytes([5] * 32)
NODE = f"wss://one.test={text_of(KEY)}"
WAYS = {
    "PAYPHONE_ROOMS_WS_URL": "wss://only.test",
    "PAYPHONE_ROOMS_NODES": NODE,
    "PAYPHONE_ROOMS_RPC_URL": "https://rpc.test/access-key",
}


def rooms(**more: str) -> RoomSettings:
    """The sandbox's rooms with one thing changed."""
    settings = Settings.from_environ({**SANDBOX, **more}).rooms
    assert settings is not None
    return settings


def problems(environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as refusal:
        Settings.from_environ(environ)
    return refusal.value.problems


def test_the_sandbox_has_one_server() -> None:
    assert rooms() == RoomSettings(
        kind="dtelecom",
        key=SANDBOX_ROOMS_KEY,
        secret=SANDBOX_ROOMS_SECRET,
        ws_url=SANDBOX_ROOMS_WS_URL,
    )


def test_wallets_meet_in_rooms_of_one_name_only_where_it_was_switched_on() -> None:
    assert not rooms().wallets_meet
    assert rooms(PAYPHONE_ROOMS_SHARED="1").wallets_meet


def test_a_node_must_say_whose_a_room_is_unless_otherwise_set() -> None:
    assert not rooms().keyless_ok
    assert rooms(PAYPHONE_ROOMS_KEYLESS="1").keyless_ok


def test_a_room_is_idle_after_five_minutes_unless_otherwise_set() -> None:
    assert rooms().idle_ms == 300_000
    assert rooms(PAYPHONE_ROOMS_IDLE_SECONDS="7").idle_ms == 7_000
    assert rooms(PAYPHONE_ROOMS_IDLE_SECONDS="0").idle_ms == 0


def test_a_room_is_idle_within_a_day() -> None:
    found = problems({**SANDBOX, "PAYPHONE_ROOMS_IDLE_SECONDS": "86401"})

    assert found == (
        "  PAYPHONE_ROOMS_IDLE_SECONDS: expected a whole number from 0 to 86400, got '86401'",
    )


def test_nodes_are_a_list_of_urls_and_keys() -> None:
    other = f"ws://127.0.0.1:7880={text_of(bytes([6] * 32))}"

    found = rooms(PAYPHONE_ROOMS_NODES=f"{NODE}, {other}")

    assert found.ws_url == ""
    assert found.nodes == (
        Node(key=KEY, ws_url="wss://one.test"),
        Node(key=bytes([6] * 32), ws_url="ws://127.0.0.1:7880"),
    )


def test_the_registry_is_the_public_one_unless_another_is_named() -> None:
    assert rooms(PAYPHONE_ROOMS_RPC_URL=WAYS["PAYPHONE_ROOMS_RPC_URL"]).registry == Place(
        rpc_url="https://rpc.test/access-key", program=PROGRAM, authority=AUTHORITY, name=NAME
    )


def test_another_registry_can_be_named() -> None:
    found = rooms(
        PAYPHONE_ROOMS_RPC_URL="http://127.0.0.1:8899",
        PAYPHONE_ROOMS_PROGRAM=text_of(bytes([3] * 32)),
        PAYPHONE_ROOMS_AUTHORITY=text_of(bytes([4] * 32)),
        PAYPHONE_ROOMS_REGISTRY="own-nodes",
    )

    assert found.registry == Place(
        rpc_url="http://127.0.0.1:8899",
        program=text_of(bytes([3] * 32)),
        authority=text_of(bytes([4] * 32)),
        name="own-nodes",
    )


def test_the_rpc_servers_access_key_is_not_shown() -> None:
    shown = repr(rooms(PAYPHONE_ROOMS_RPC_URL=WAYS["PAYPHONE_ROOMS_RPC_URL"]))

    assert "access-key" not in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PAYPHONE_ROOMS_NODES", "wss://one.test"),
        ("PAYPHONE_ROOMS_NODES", f"{NODE},{NODE}"),
        ("PAYPHONE_ROOMS_RPC_URL", "ftp://rpc.test"),
        ("PAYPHONE_ROOMS_PROGRAM", "0OIl"),
        ("PAYPHONE_ROOMS_AUTHORITY", "short"),
        ("PAYPHONE_ROOMS_REGISTRY", "n" * 33),
    ],
)
def test_a_bad_value_is_named(name: str, value: str) -> None:
    (told,) = problems({**SANDBOX, name: value})

    assert name in told


def test_an_authority_of_the_wrong_length_is_named() -> None:
    environ = {
        **SANDBOX,
        "PAYPHONE_ROOMS_RPC_URL": "http://127.0.0.1:8899",
        "PAYPHONE_ROOMS_AUTHORITY": "z" * 44,
    }

    (told,) = problems(environ)

    assert "PAYPHONE_ROOMS_AUTHORITY" in told


def test_there_is_one_way_to_find_a_node() -> None:
    keys = {
        "PAYPHONE_ROOMS_KEY": SANDBOX_ROOMS_KEY,
        "PAYPHONE_ROOMS_SECRET": SANDBOX_ROOMS_SECRET,
    }

    told = problems({**SANDBOX, **keys, **WAYS})

    assert [line.split(":")[0].strip() for line in told] == list(WAYS)


def test_rooms_without_any_way_are_a_problem() -> None:
    environ = {
        **SANDBOX,
        "PAYPHONE_ROOMS_KEY": SANDBOX_ROOMS_KEY,
        "PAYPHONE_ROOMS_SECRET": SANDBOX_ROOMS_SECRET,
    }

    (told,) = problems(environ)

    assert all(name in told for name in WAYS)


@pytest.mark.parametrize("name", ["PAYPHONE_ROOMS_NODES", "PAYPHONE_ROOMS_RPC_URL"])
def test_livekit_has_one_server_and_no_nodes(name: str) -> None:
    environ = {
        **SANDBOX,
        "PAYPHONE_ROOMS": "livekit",
        "PAYPHONE_ROOMS_KEY": "APIown",
        "PAYPHONE_ROOMS_SECRET": "a secret of our own, thirty-two bytes and more",
        "PAYPHONE_ROOMS_WS_URL": "wss://only.test",
        name: WAYS[name],
    }

    (told,) = problems(environ)

    assert name in told
    assert "access-key" not in told


def test_proxies_are_networks() -> None:
    settings = Settings.from_environ({**SANDBOX, "PAYPHONE_TRUSTED_PROXIES": "10.0.0.0/8, fd00::1"})

    assert [str(network) for network in settings.http.trusted_proxies] == [
        "10.0.0.0/8",
        "fd00::1/128",
    ]


def test_no_proxy_is_trusted_unless_it_is_named() -> None:
    assert Settings.from_environ(SANDBOX).http.trusted_proxies == ()


@pytest.mark.parametrize("value", ["proxy.test", "10.0.0.1/8", "0.0.0.0/0", "10.0.0.1, ::/0"])
def test_proxies_that_are_no_networks_or_everybody_are_a_problem(value: str) -> None:
    (told,) = problems({**SANDBOX, "PAYPHONE_TRUSTED_PROXIES": value})

    assert "PAYPHONE_TRUSTED_PROXIES" in told
