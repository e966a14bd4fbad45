from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from domain.errors import ConflictingRequestError, InsufficientCreditsError, MalformedError
from domain.postings import TrialBalance
from domain.use_cases.correct_credits import Correction, correct_credits
from domain.use_cases.open_session import SessionRequest, open_session
from tests.fakes.gateway import House


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def correction(house: House) -> Correction:
    account_id = await house.fund("0x" + "a" * 40, 100_000)
    return Correction(
        correction_id=UUID(int=7),
        account_id=account_id,
        amount=-40_000,
        who="ops-1",
        why="credited twice by hand",
        corrects_position=2,
    )


async def test_a_correction_is_a_further_entry_with_who_why_and_what(
    house: House, correction: Correction
) -> None:
    account = await correct_credits(house.books, house.clock, correction)

    last = house.books.records()[-1]
    assert account.available.value == 60_000
    assert last.topic == "account.credits_corrected"
    assert (last.fields["who"], last.fields["why"]) == ("ops-1", "credited twice by hand")
    assert last.fields["corrects_position"] == 2


async def test_the_books_balance_through_corrections(house: House, correction: Correction) -> None:
    await correct_credits(house.books, house.clock, correction)
    more = replace(correction, correction_id=UUID(int=8), amount=15_000)
    await correct_credits(house.books, house.clock, more)

    books = TrialBalance().post_all(house.books.records())
    assert books.total == 0
    assert books.by_kind()["adjustments"] == 25_000
    rows = await house.views.transactions(correction.account_id, limit=10, offset=0)
    assert [row.kind for row in rows][:2] == ["adjustment", "adjustment"]
    assert sum(row.amount for row in rows) == 75_000


async def test_a_correction_is_itself_corrected_and_that_one_again(
    house: House, correction: Correction
) -> None:
    made = await correct_credits(house.books, house.clock, correction)
    for number, amount in ((8, 40_000), (9, -40_000)):
        undone = replace(
            correction,
            correction_id=UUID(int=number),
            amount=amount,
            corrects_position=house.books.position,
        )
        again = await correct_credits(house.books, house.clock, undone)

    assert again.available == made.available
    links = [r.fields["corrects_position"] for r in house.books.records()[-3:]]
    assert links == [2, house.books.position - 2, house.books.position - 1]
    rows = await house.views.transactions(correction.account_id, limit=3, offset=0)
    assert [row.amount for row in rows] == [-40_000, 40_000, -40_000]


async def test_a_repeat_changes_nothing(house: House, correction: Correction) -> None:
    await correct_credits(house.books, house.clock, correction)
    again = await correct_credits(house.books, house.clock, correction)

    assert again.available.value == 60_000


async def test_the_same_id_for_another_correction_is_refused(
    house: House, correction: Correction
) -> None:
    await correct_credits(house.books, house.clock, correction)

    with pytest.raises(ConflictingRequestError):
        await correct_credits(house.books, house.clock, replace(correction, amount=-1))


async def test_what_is_reserved_cannot_be_removed(house: House, correction: Correction) -> None:
    request = SessionRequest(service="stt", quantity=700_000)
    await open_session(house.gateway, correction.account_id, request)

    with pytest.raises(InsufficientCreditsError):
        await correct_credits(house.books, house.clock, correction)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"amount": 0}, "amount"),
        ({"corrects_position": 0}, "corrects"),
        ({"corrects_position": 99}, "corrects"),
        ({"who": ""}, "who"),
        ({"why": "two\nlines"}, "why"),
        ({"why": "x" * 201}, "why"),
    ],
)
async def test_a_correction_without_its_reasons_is_refused(
    house: House, correction: Correction, change: dict[str, object], where: str
) -> None:
    with pytest.raises(MalformedError, match=where):
        await correct_credits(
            house.books,
            house.clock,
            replace(correction, **change),  # type: ignore[arg-type]  # one field each
        )
