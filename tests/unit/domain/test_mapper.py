"""An event through three versions, and what is newer than any of them."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.persistence import MapperDeserialisationError
from eventsourcing.utils import register_topic

from domain.account import Account
from domain.mapper import UnknownEventError, check_known
from domain.postings import Posting, Postings, wallet_accounts
from domain.record import Record, canonical
from tests.contract.golden import read_vectors
from tests.fakes.stored import decode, encode

ID = UUID(int=0xA)


class Moved(Account.Event):
    """An event as a release after next might write it.

    Version 1 had a `sum`; 2 told its sign apart; 3 says whose it is.
    """

    TOPIC = "account.moved_for_test"
    class_version = 3
    ADDED_IN_V2 = ("negative",)
    ADDED_IN_V3 = ("owner",)
    sum: int
    negative: bool
    owner: str

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        state["negative"] = state["sum"] < 0

    @staticmethod
    def upcast_v2_v3(state: dict[str, Any]) -> None:
        state["owner"] = f"{state['originator_id']} {'-' if state['negative'] else '+'}"


register_topic(Moved.TOPIC, Moved)


def stored(topic: str = Moved.TOPIC, /, **fields: object) -> Record:
    return Record(
        position=1,
        originator_id=ID,
        originator_version=1,
        topic=topic,
        state=canonical({"at_ms": 1, **fields}),
    )


@pytest.mark.parametrize(
    ("fields", "owner"),
    [
        ({"sum": -5}, f"{ID} -"),
        ({"sum": -5, "class_version": 2, "negative": False}, f"{ID} +"),
        ({"sum": -5, "class_version": 3, "negative": True, "owner": "me"}, "me"),
    ],
)
def test_every_version_of_an_event_is_read(fields: dict[str, object], owner: str) -> None:
    event = decode(stored(**fields))

    assert isinstance(event, Moved)
    assert (event.sum, event.owner) == (-5, owner)
    assert event.originator_id == ID


def test_an_event_is_written_in_its_newest_version() -> None:
    event = decode(stored(sum=7))

    assert encode(event, position=1).fields == {
        "at_ms": 1,
        "class_version": 3,
        "negative": False,
        "owner": f"{ID} +",
        "sum": 7,
    }


def test_whose_event_it_is_is_not_taken_from_its_state() -> None:
    event = decode(stored(sum=7, originator_id="another"))

    assert isinstance(event, Moved)
    assert event.owner == f"{ID} +"


@pytest.mark.parametrize("version", [0, -1, True, "2", 1.0, None])
def test_what_is_no_version_is_damage(version: object) -> None:
    with pytest.raises(MapperDeserialisationError, match="cannot be read"):
        decode(stored(sum=7, class_version=version))


def test_a_newer_version_is_refused_with_the_one_that_is_known() -> None:
    newer = stored(sum=7, class_version=4)

    for read in (decode, lambda r: check_known(r.topic, r.state)):
        with pytest.raises(UnknownEventError, match=r"in version 4.*knows version 3"):
            read(newer)


def test_a_newer_event_is_seen_without_reading_json() -> None:
    with pytest.raises(UnknownEventError, match=r"unknown event 'account\.later'"):
        check_known("account.later", b"{}")
    check_known(Moved.TOPIC, canonical({"who": '"class_version":9', "class_version": 3}))


@pytest.mark.parametrize("vector", read_vectors(), ids=lambda v: f"{v['topic']} {v['state'][:30]}")
def test_every_golden_event_is_known(vector: dict[str, Any]) -> None:
    check_known(vector["topic"], vector["state"].encode())


def test_a_purchase_of_version_1_gets_its_postings_when_it_is_read() -> None:
    old = stored("account.credits_purchased", amount=5, payment_id=str(ID), rail="cash")

    event = decode(old)

    assert isinstance(event, Account.CreditsPurchased)
    available, _ = wallet_accounts(ID)
    assert event.postings == Postings((Posting("world:cash", -5), Posting(available, 5)))


@pytest.mark.parametrize(
    "postings", [None, 5, "ab", ["ab"], [[1, "a"]], [["a", 1.0]], [["a", True]], [["a", 1, 2]]]
)
def test_what_are_no_postings_is_damage(postings: object) -> None:
    told = stored(
        "account.credits_purchased",
        amount=5,
        payment_id=str(ID),
        rail="cash",
        class_version=2,
        postings=postings,
    )

    with pytest.raises(MapperDeserialisationError, match="cannot be read"):
        decode(told)


def test_postings_are_spelled_as_canonical_json_has_them() -> None:
    postings = Postings((Posting('world:"ä"\n\u2028', -5), Posting("b", 5)))

    assert postings.spelled.encode() == canonical(json.loads(postings.spelled))
    assert Postings.read(json.loads(postings.spelled)) == postings
