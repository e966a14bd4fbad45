from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial

import pytest

from adapters.store.fence import FencedError
from adapters.store.owner import LedgerOwner
from domain.errors import LedgerDownError, NotFoundError
from domain.ledger import Work
from domain.payment import Payment
from tests.fakes.stored_house import ledger_at
from tests.fakes.teller import ACCOUNT_ID, pay

UNKNOWN = partial(Work.payment, payment_id=Payment.create_id("cash", "unknown"))
KNOWN = partial(Work.account, account_id=ACCOUNT_ID)


class Fence:
    """Says that another process has taken over, in either way an owner can learn of it."""

    def __init__(self) -> None:
        self.is_lapsed = False
        self.is_taken = False
        self.asked = 0
        self.written = 0

    def confirm(self) -> None:
        self.asked += 1
        if self.is_lapsed:
            raise FencedError("the lease may have lapsed")

    def guard(self, insert: Callable[..., Sequence[int]]) -> Callable[..., Sequence[int]]:
        def guarded(*events: object, **options: object) -> Sequence[int]:
            self.written += 1
            if self.is_taken:
                raise FencedError("another owner")
            return insert(*events, **options)

        return guarded


@contextmanager
def owned() -> Iterator[tuple[LedgerOwner, Fence]]:
    fence = Fence()
    with ledger_at() as (ledger, recorder):
        recorder.insert_events = fence.guard(recorder.insert_events)  # type: ignore[method-assign]  # a fence
        owner = LedgerOwner(
            ledger,
            history=recorder.history,
            committed=lambda _records: None,
            confirm=fence.confirm,
        )
        with closing(owner):
            yield owner, fence


@pytest.mark.parametrize("command", [KNOWN, UNKNOWN], ids=["answer", "refusal"])
async def test_what_no_write_bears_out_is_not_said_by_an_owner_whose_lease_may_have_lapsed(
    command: Callable[[Work], object],
) -> None:
    with owned() as (owner, fence):
        await owner.run(partial(pay, key="first"))
        fence.is_lapsed = True

        with pytest.raises(LedgerDownError) as down:
            await owner.run(command)

    assert isinstance(down.value.__cause__, FencedError)


async def test_an_answer_is_confirmed_once_a_batch() -> None:
    with owned() as (owner, fence):
        await owner.run(partial(pay, key="first"))
        assert fence.asked == 0

        with pytest.raises(NotFoundError):
            await owner.run(UNKNOWN)

        assert fence.asked == 1


async def test_a_write_needs_no_other_proof() -> None:
    with owned() as (owner, fence):
        fence.is_lapsed = True

        assert await owner.run(partial(pay, key="first")) == 1


async def test_a_fenced_batch_fails_as_one_and_is_written_once() -> None:
    with owned() as (owner, fence):
        fence.is_taken = True
        told = await asyncio.gather(
            *(owner.run(partial(pay, key=f"{i}")) for i in range(64)), return_exceptions=True
        )

    assert {type(one) for one in told} == {LedgerDownError}
    assert all(isinstance(one.__cause__, FencedError) for one in told if isinstance(one, Exception))
    assert fence.written <= 2
