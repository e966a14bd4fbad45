from __future__ import annotations

import base58
import pytest

from adapters.sfu.entries import (
    NodeEntry,
    entry_address,
    key_bytes,
    read_node,
    registry_address,
)
from tests.fakes.solana import OTHER_REGISTRY, REGISTRY, client_entry, node_entry, text_of

KEY = bytes(range(32))
LONGEST = ".".join(["a" * 62] * 4) + "a"


def test_a_node_is_read_from_its_bytes() -> None:
    entry = node_entry(KEY, "7.nodes.test", active=True, online=-2)

    assert read_node(entry, parent=REGISTRY) == NodeEntry(
        key=KEY, domain="7.nodes.test", online=-2, active=True
    )


@pytest.mark.parametrize("domain", ["", "a", LONGEST])
def test_what_stands_behind_the_domain_is_found_however_long_it_is(domain: str) -> None:
    found = read_node(node_entry(KEY, domain, active=True, online=41), parent=REGISTRY)

    assert found is not None
    assert (found.domain, found.online, found.active) == (domain, 41, True)


def test_a_client_is_no_node() -> None:
    assert read_node(client_entry(KEY), parent=REGISTRY) is None


def test_a_client_padded_to_a_nodes_size_is_no_node() -> None:
    assert read_node(client_entry(KEY).ljust(334, b"\0"), parent=REGISTRY) is None


def test_a_node_of_another_registry_is_not_ours() -> None:
    assert read_node(node_entry(KEY, "n.test", parent=OTHER_REGISTRY), parent=REGISTRY) is None


@pytest.mark.parametrize("size", [0, 8, 84, 333, 335])
def test_another_size_is_no_node(size: int) -> None:
    entry = node_entry(KEY, "n.test").ljust(400, b"\0")[:size]

    assert read_node(entry, parent=REGISTRY) is None


def test_a_domain_that_says_it_is_longer_than_the_account_is_refused() -> None:
    entry = bytearray(node_entry(KEY, "n.test"))
    entry[72:76] = (254).to_bytes(4, "little")

    assert read_node(bytes(entry), parent=REGISTRY) is None


def test_a_domain_that_is_no_text_is_refused() -> None:
    entry = node_entry(KEY, "nnn").replace(b"nnn", b"\xff\xfe\xfd")

    assert read_node(entry, parent=REGISTRY) is None


# Computed with solders 0.29 (Pubkey.find_program_address), which asks Solana's own code. In the
# last case 12 bumps are points of the curve before one is not.
ADDRESSES = [
    (
        "zorKdU2HaL1yDs9cYL1nohPpBArPERc5GqfRxHco67b",
        "ABL1oTiHJDT7CZqmZjz3WjWw6FKb6xxSBCevBYpawRDm",
        "E2FcHsC9STeB6FEtxBKGAwMTX7cbfYMyjSHKs4QbBAmh",
        "FZ1WqqYLkxW84j2Nz5QvArnyvVLRWFxi9C76rG4CyJkn",
    ),
    (
        "xm86JDoEqbTv3Tb7Xjoz1yXxrXrj9ic6qLu2uAp3wkZ",
        "4Yy3uSrMBNYzRi9bZuS4pv836TeXLKdqcGPRno6DCXLe",
        "E2FcHsC9STeB6FEtxBKGAwMTX7cbfYMyjSHKs4QbBAmh",
        "BZ2GLXCE86zV5iHkZwtZsfvrY1AFcLCijw3dVFnGSHry",
    ),
    (
        "BwoDmjkvNr9gikDcWBsL8hXKiy6wjbzBY2J8DKv6zmGv",
        "AseAz4CP1BSN8tK5ZWtn92sRk8fEDrpKA9bCBdoqBSvv",
        "E2FcHsC9STeB6FEtxBKGAwMTX7cbfYMyjSHKs4QbBAmh",
        "FWsqRqAyHwavVgoWyzcRtEruq5pFnvMh7y5tgWvhDbSU",
    ),
]


@pytest.mark.parametrize(("first", "second", "program", "address"), ADDRESSES)
def test_an_entrys_address_is_the_one_solana_derives(
    first: str, second: str, program: str, address: str
) -> None:
    key, registry, owner = (base58.b58decode(text) for text in (first, second, program))

    assert text_of(entry_address(key, registry=registry, program=owner)) == address


def test_the_registrys_address_is_the_one_solana_derives() -> None:
    authority = base58.b58decode("6KVRs6Yr2oYzddepFdtWrFmVq8sgELcXzbUy7apwuQX4")
    program = base58.b58decode("E2FcHsC9STeB6FEtxBKGAwMTX7cbfYMyjSHKs4QbBAmh")

    address = registry_address(authority=authority, name="dtel-nodes", program=program)

    assert text_of(address) == "33KzU9A7GogkJxvGYuDRzzwykafMGH9vB2vWZvs9oJ2u"


def test_a_registrys_name_is_a_seed_of_at_most_32_bytes() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        registry_address(authority=KEY, name="n" * 33, program=KEY)


@pytest.mark.parametrize("text", ["", "0OIl", "1" * 31, "1" * 33, "z" * 44, "é" * 32, "1" * 9_999])
def test_what_is_not_32_bytes_is_no_key(text: str) -> None:
    assert key_bytes(text) is None


def test_a_key_is_its_32_bytes() -> None:
    assert key_bytes(text_of(KEY)) == KEY
