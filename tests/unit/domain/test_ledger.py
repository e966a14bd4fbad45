from __future__ import annotations

from uuid import UUID

import pytest
from eventsourcing.persistence import MapperDeserialisationError, StoredEvent
from eventsourcing.utils import register_topic

from domain.account import Account
from domain.aggregate import derive_id
from domain.errors import NotFoundError
from domain.ledger import UnknownEventError, Work
from domain.money import Microcredits
from domain.record import Record
from domain.session import Session
from tests.fakes.stored import MAPPER, Journal, decode, encode
from tests.strategies import START_MS

WALLET = "0x" + "a" * 40


def account(balance: int = 0) -> Account:
    opened = Account.open(chain="evm", wallet=WALLET, at_ms=START_MS)
    if balance:
        opened.purchase(
            Microcredits(balance), payment_id=UUID(int=1), rail="cash", at_ms=START_MS + 1
        )
    return opened


def record(topic: str = "account.opened", state: bytes | None = None) -> Record:
    return Record(
        position=1,
        originator_id=UUID(int=1),
        originator_version=1,
        topic=topic,
        state=state or b'{"at_ms":1,"chain":"evm","wallet":"0x"}',
    )


def test_an_event_is_stored_flat_canonical_and_without_what_it_derives() -> None:
    opened = account(5)
    journal = Journal()
    journal.save(opened)

    assert [r.state for r in journal.records] == [
        b'{"at_ms":1700000000000,"chain":"evm","wallet":"%s"}' % WALLET.encode(),
        (
            b'{"amount":5,"at_ms":1700000000001,"class_version":2,'
            b'"payment_id":"00000000-0000-0000-0000-000000000001",'
            b'"postings":[["world:cash",-5],["wallet:%s:available",5]],"rail":"cash"}'
            % str(opened.id).encode()
        ),
    ]


def test_the_time_of_an_aggregate_is_the_time_of_its_events() -> None:
    opened = account(5)

    assert opened.created_on.timestamp() * 1000 == START_MS
    assert opened.modified_on.timestamp() * 1000 == START_MS + 1


@pytest.mark.parametrize("topic", ["account.closed", "nothing", "", "os:no_such", "no.such:Thing"])
def test_an_unknown_event_is_a_newer_versions(topic: str) -> None:
    with pytest.raises(UnknownEventError, match="newer version"):
        decode(record(topic))


def test_a_newer_version_of_a_known_event_is_not_guessed_at() -> None:
    state = b'{"at_ms":1,"chain":"evm","class_version":2,"wallet":"0x"}'

    with pytest.raises(UnknownEventError, match=r"account\.opened in version 2"):
        decode(record(state=state))


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b"not json",
        b"5",
        b"[]",
        b"{}",
        b'{"at_ms":1,"chain":"evm"}',
        b'{"at_ms":"soon","chain":"evm","wallet":"0x"}',
        b'{"at_ms":null,"chain":"evm","wallet":"0x"}',
    ],
)
def test_a_damaged_event_says_which_it_is(state: bytes) -> None:
    with pytest.raises(MapperDeserialisationError, match=r"account\.opened of 0.*1 version 1"):
        MAPPER.to_domain_event(
            StoredEvent(
                originator_id=UUID(int=1),
                originator_version=1,
                topic="account.opened",
                state=state,
            )
        )


def test_a_topic_that_is_no_event_is_damage() -> None:
    with pytest.raises(MapperDeserialisationError):
        decode(record("account"))


@pytest.mark.parametrize("value", [1.5, 2**53, -(2**53), {"a": 1}, b"x"])
def test_an_event_holds_nothing_json_cannot_carry_exactly(value: object) -> None:
    opened = Account.open(chain="evm", wallet=value, at_ms=START_MS)  # type: ignore[arg-type]  # the point of it
    (event,) = opened.collect_events()

    with pytest.raises(TypeError, match="events hold strings, whole numbers below 2"):
        encode(event, position=1)


class Closed(Account.Event):
    """An event as a later version might write it: the second of its kind."""

    TOPIC = "account.closed_for_test"
    class_version = 2
    reason: str
    by: str

    @staticmethod
    def upcast_v1_v2(state: dict[str, object]) -> None:
        state["by"] = "somebody"


# What an aggregate does for its own events.
register_topic(Closed.TOPIC, Closed)


def test_an_older_version_of_an_event_is_brought_up_to_date() -> None:
    old = record(Closed.TOPIC, b'{"at_ms":1,"reason":"moved"}')

    event = decode(old)

    assert isinstance(event, Closed)
    assert (event.reason, event.by) == ("moved", "somebody")
    assert encode(event, position=1).fields == {
        "at_ms": 1,
        "by": "somebody",
        "class_version": 2,
        "reason": "moved",
    }


def test_a_command_changes_copies() -> None:
    original = account(100)
    original.collect_events()
    work = Work({original.id: original}.get)

    work.account(original.id).reserve(
        Microcredits(60), session_id=UUID(int=2), service="stt", unit_id=UUID(int=2), at_ms=1
    )

    assert original.available == Microcredits(100)
    assert not original.reserved
    assert work.account(original.id).available == Microcredits(40)


def test_a_command_collects_what_it_changed_and_added() -> None:
    untouched, changed = account(), account(100)
    changed.collect_events()
    added = Account.open(chain="evm", wallet="0xb", at_ms=1)
    work = Work({changed.id: changed, UUID(int=9): untouched}.get)

    work.account(changed.id).purchase(Microcredits(1), payment_id=UUID(int=2), rail="cash", at_ms=1)
    work.add(added)
    events, aggregates = work.collect()

    assert [type(event).__name__ for event in events] == ["CreditsPurchased", "Opened"]
    assert [aggregate.id for aggregate in aggregates] == [changed.id, added.id]
    assert work.collect() == ([], [])


def test_reading_collects_nothing() -> None:
    known = account(5)
    known.collect_events()
    work = Work({known.id: known}.get)

    assert work.account(known.id) == known
    assert work.collect() == ([], [])


def test_what_is_not_there_is_not_found() -> None:
    work = Work(lambda _: None)

    for fetch in (work.account, work.session, work.bundle, work.payment):
        with pytest.raises(NotFoundError):
            fetch(UUID(int=1))
    assert work.find(Account, UUID(int=1)) is None


def test_an_id_of_another_kind_is_not_found() -> None:
    known = account()
    work = Work({known.id: known}.get)

    assert work.find(Session, known.id) is None
    with pytest.raises(NotFoundError, match="Session not found"):
        work.session(known.id)


def test_names_of_different_kinds_have_different_ids() -> None:
    assert derive_id("account", "x") != derive_id("payment", "x")
    assert derive_id("account", "x") == derive_id("account", "x")
