"""What a batch of events means to the lists, before any store has a hand in it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from projections.fold import Batch, Known
from projections.rows import ADD_RESERVATIONS, FINISH_PAYMENTS, MARK_HOURS, Statement
from tests.fakes.past import Past

RECORDS = tuple(Past(seed=7).journal.records)
NOTHING = Known(balances={}, sessions={}, hour=None)


def rows(batch: Batch, statement: Statement, known: Known = NOTHING) -> list[tuple[object, ...]]:
    return [row for w in batch.writes(known) if w.statement == statement for row in w.rows]


def test_a_payment_claimed_and_finished_in_one_batch_is_never_written() -> None:
    claimed = next(r for r in RECORDS if r.topic == "payment.claimed")
    credited = replace(claimed, topic="payment.credited", state=b"{}")

    assert rows(Batch([claimed, credited]), FINISH_PAYMENTS) == []
    assert len(rows(Batch([credited]), FINISH_PAYMENTS)) == 1


def test_a_reservation_is_written_once_however_often_it_grew() -> None:
    reserved = next(r for r in RECORDS if r.topic == "account.credits_reserved")
    amount = reserved.fields["amount"]

    (row,) = rows(Batch([reserved, reserved]), ADD_RESERVATIONS)

    assert row[3] == 2 * amount


def test_an_hour_is_marked_by_its_first_event_only() -> None:
    hour = RECORDS[0].fields["at_ms"] // 3_600_000
    batch = Batch(RECORDS)

    assert rows(batch, MARK_HOURS)[0] == (hour, 1)
    assert len(rows(batch, MARK_HOURS)) <= 2
    assert rows(Batch(RECORDS[:9]), MARK_HOURS, replace(NOTHING, hour=hour)) == []


@pytest.mark.parametrize("state", [b"", b"{", b'{"at_ms":1},{"at_ms":2}'])
def test_a_state_that_is_no_object_stops_the_batch(state: bytes) -> None:
    damaged = replace(next(r for r in RECORDS if r.topic == "session.closed"), state=state)

    with pytest.raises(ValueError, match=r"states|Expect"):
        Batch([damaged])
