"""What others import, used as they would: the README's example, a good store, and broken ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from eventsourcing.persistence import IntegrityError, Notification, StoredEvent
from eventsourcing.popo import POPOApplicationRecorder
from hypothesis import given, settings
from hypothesis.stateful import initialize, run_state_machine_as_test

from domain import testing
from domain.errors import NotFoundError
from domain.money import Microcredits
from domain.pricing import PriceBook, Tariff
from domain.testing import History, LedgerMachine, check_tariff, histories, price_books
from tests.fakes.stored import replay_all

README = Path(__file__).parents[2] / "README.md"
FEW = settings(max_examples=25, stateful_step_count=20, deadline=None)
# Enough to find what is broken for certain, and no time lost on making it small.
SEARCH = settings(
    max_examples=200,
    stateful_step_count=25,
    deadline=None,
    database=None,
    # One is enough.
    report_multiple_bugs=False,
)


class InMemory(LedgerMachine):
    def open_recorder(self) -> POPOApplicationRecorder:
        return POPOApplicationRecorder()


class Forgetful(POPOApplicationRecorder):
    """Says it has stored the last event of a batch, and has not."""

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent],
        **options: Any,  # noqa: ANN401 (the library's signature)
    ) -> Sequence[int] | None:
        positions = super().insert_events(stored_events[:-1] or stored_events, **options)
        return [*(positions or ()), 0][: len(stored_events)]


class Trusting(POPOApplicationRecorder):
    """Lets two writers have the same version."""

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent],
        **options: Any,  # noqa: ANN401 (the library's signature)
    ) -> Sequence[int] | None:
        try:
            return super().insert_events(stored_events, **options)
        except IntegrityError:
            return [1] * len(stored_events)


class Holey(POPOApplicationRecorder):
    """Numbers what it stores by twos."""

    def select_notifications(self, *arguments: Any, **options: Any) -> list[Notification]:  # noqa: ANN401 (the library's signature)
        return [
            Notification(
                id=2 * n.id,
                originator_id=n.originator_id,
                originator_version=n.originator_version,
                topic=n.topic,
                state=n.state,
            )
            for n in islice(super().select_notifications(*arguments, **options), 10**6)
        ]


class RoundsDown(Tariff):
    def price(self, quantity: int) -> Microcredits:
        return Microcredits(quantity * self.microcredits // self.per)


def test_the_readme_says_how_and_it_runs() -> None:
    blocks = re.findall(r"```python\n(.+?)```", README.read_text("utf-8"), re.DOTALL)
    (example,) = [block for block in blocks if "domain.testing" in block]
    names: dict[str, Any] = {}

    exec(example, names)  # noqa: S102 (the reader will do the same)

    run_state_machine_as_test(names["MyStore"], settings=FEW)
    names["test_a_price_is_rounded_up_once"]()


def test_everything_named_is_there() -> None:
    assert all(hasattr(testing, name) for name in testing.__all__)


def test_a_store_that_keeps_its_word_passes() -> None:
    run_state_machine_as_test(InMemory, settings=FEW)


class AtAnyPrice(InMemory):
    @initialize(price_book=price_books())
    def is_sold_under(self, price_book: PriceBook) -> None:
        self.price_book = price_book


def test_any_price_book_passes() -> None:
    run_state_machine_as_test(AtAnyPrice, settings=FEW)


@pytest.mark.parametrize("broken", [Forgetful, Trusting, Holey])
def test_a_store_that_does_not_is_found(broken: type[POPOApplicationRecorder]) -> None:
    class Broken(LedgerMachine):
        def open_recorder(self) -> POPOApplicationRecorder:
            return broken()

    # A session that was sold and is not there is refused before it can be compared.
    with pytest.raises((AssertionError, NotFoundError)):
        run_state_machine_as_test(Broken, settings=SEARCH)


def test_a_tariff_that_rounds_down_is_found() -> None:
    with pytest.raises(AssertionError):
        check_tariff(RoundsDown(unit="ms", microcredits=1, per=3), 10)


@given(histories())
def test_a_history_adds_up_to_its_aggregates(history: History) -> None:
    assert replay_all(history.records) == history.aggregates


@given(histories())
def test_a_history_is_what_a_recorder_takes(history: History) -> None:
    recorder = POPOApplicationRecorder()

    recorder.insert_events(history.events)

    assert recorder.max_notification_id() == len(history.records)
