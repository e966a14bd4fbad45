from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from adapters.http.log import ENTRIES_MAX
from adapters.keys import check_signature
from domain.checkpoint import open_checkpoint
from domain.merkle import leaf_hash, verify_consistency, verify_inclusion
from domain.record import canonical
from tests.fakes.log import SIGNER_KEY
from tests.fakes.street import Answer, Street


async def read(street: Street, path: str) -> Answer:
    """As anybody may: no wallet signs."""
    return await street.call("GET", path)


async def filled(street: Street) -> int:
    """A log with a few events; its size."""
    await street.fund()
    await street.post("/v1/stt/session", {"duration_minutes": 1})
    return int(street.house.gateway.log.size)


def hashes(texts: list[str]) -> list[bytes]:
    return [base64.b64decode(text) for text in texts]


async def lines(street: Street, query: str = "") -> list[bytes]:
    return (await read(street, f"/v1/log/entries{query}")).text.encode().splitlines()


async def test_entries_are_the_bytes_that_were_hashed(street: Street) -> None:
    size = await filled(street)

    answer = await read(street, "/v1/log/entries")

    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.headers["X-Log-Size"] == str(size)
    records = street.house.books.records()
    assert answer.text.encode() == b"".join(r.leaf + b"\n" for r in records)
    assert [canonical(json.loads(line)) for line in answer.text.splitlines()] == [
        r.leaf for r in records
    ]


async def test_entries_come_in_pages(street: Street) -> None:
    size = await filled(street)
    whole = await lines(street)

    assert await lines(street, "?start=2&count=2") == whole[1:3]
    assert await lines(street, f"?start={size}") == whole[-1:]
    assert await lines(street, f"?start={size + 1}") == []


async def test_every_entry_is_proven_at_every_size(street: Street) -> None:
    size = await filled(street)
    whole = await lines(street)

    for at in range(1, size + 1):
        for position in range(1, at + 1):
            path = f"/v1/log/proof?position={position}&size={at}"
            proof = (await read(street, path)).json
            assert (proof["position"], proof["size"]) == (position, at)
            leaf = leaf_hash(whole[position - 1])
            assert hashes([proof["leaf_hash"]]) == [leaf]
            assert verify_inclusion(
                leaf,
                index=position - 1,
                size=at,
                proof=hashes(proof["proof"]),
                root=base64.b64decode(proof["root"]),
            )


async def test_a_proof_leads_to_the_root_that_was_signed(street: Street) -> None:
    size = await filled(street)
    note = (await read(street, "/v1/log/checkpoint")).text
    head = open_checkpoint(note, key=SIGNER_KEY, check=check_signature)

    proof = (await read(street, "/v1/log/proof?position=1")).json

    assert (head.size, proof["size"]) == (size, size)
    assert base64.b64decode(proof["root"]) == head.root


async def test_every_size_is_consistent_with_every_later_one(street: Street) -> None:
    size = await filled(street)

    for second in range(1, size + 1):
        for first in range(1, second + 1):
            path = f"/v1/log/proof?first={first}&second={second}"
            proof = (await read(street, path)).json
            assert (proof["first"], proof["second"]) == (first, second)
            assert verify_consistency(
                old_size=first,
                old_root=base64.b64decode(proof["first_root"]),
                new_size=second,
                new_root=base64.b64decode(proof["second_root"]),
                proof=hashes(proof["proof"]),
            )


async def test_consistency_is_with_the_log_as_it_is_unless_said_otherwise(street: Street) -> None:
    size = await filled(street)

    assert (await read(street, "/v1/log/proof?first=1")).json["second"] == size


@pytest.mark.parametrize(
    ("path", "where", "expected"),
    [
        ("entries?start=0", "start", "a whole number from 1 to {next}"),
        ("entries?start={beyond}", "start", "a whole number from 1 to {next}"),
        ("entries?start=-1", "start", "a whole number from 1 to {next}"),
        ("entries?start=1.0", "start", "a whole number from 1 to {next}"),
        ("entries?start=", "start", "a whole number from 1 to {next}"),
        ("entries?count=0", "count", f"a whole number from 1 to {ENTRIES_MAX}"),
        ("entries?count=1001", "count", f"a whole number from 1 to {ENTRIES_MAX}"),
        ("entries?count=all", "count", f"a whole number from 1 to {ENTRIES_MAX}"),
        ("proof?position=0", "position", "a whole number from 1 to {size}"),
        ("proof?position={next}", "position", "a whole number from 1 to {size}"),
        ("proof?position=one", "position", "a whole number from 1 to {size}"),
        ("proof?position=3&size=2", "position", "a whole number from 1 to 2"),
        ("proof?position=1&size={next}", "size", "a whole number from 1 to {size}"),
        ("proof?position=1&size=x", "size", "a whole number from 1 to {size}"),
        ("proof?first=0", "first", "a whole number from 1 to {size}"),
        ("proof?first=3&second=2", "first", "a whole number from 1 to 2"),
        ("proof?first=1&second={next}", "second", "a whole number from 1 to {size}"),
        ("proof", "query", "either position (inclusion) or first (consistency)"),
        ("proof?size=1", "query", "either position (inclusion) or first (consistency)"),
        ("proof?position=1&first=1", "query", "either position (inclusion) or first (consistency)"),
    ],
)
async def test_what_the_log_does_not_have_is_refused(
    street: Street, path: str, where: str, expected: str
) -> None:
    size = await filled(street)
    facts = {"size": size, "next": size + 1, "beyond": size + 2}

    answer = await read(street, "/v1/log/" + path.format(**facts))

    body: dict[str, Any] = answer.json
    assert (answer.status, body["code"]) == (400, "malformed")
    assert (body["where"], body["expected"]) == (where, expected.format(**facts))
