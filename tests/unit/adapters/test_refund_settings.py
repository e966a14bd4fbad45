from __future__ import annotations

import pytest

from adapters.environ import ConfigError, Reader
from adapters.refund_settings import read_refunds
from domain.gateway import RefundTerms
from domain.money import Microcredits


def read(**environ: str) -> RefundTerms:
    reader = Reader({f"PAYPHONE_REFUND_{name}": text for name, text in environ.items()})
    terms = read_refunds(reader)
    reader.finish()
    return terms


def test_refunds_are_off_by_default() -> None:
    assert read() == RefundTerms()
    assert not read().enabled


def test_every_term_can_be_set() -> None:
    terms = read(ENABLED="1", MIN_USD="0.5", FEE_USD="0.01", MAX_USD="7", DAY_MAX_USD="70")

    assert terms == RefundTerms(
        enabled=True,
        least=Microcredits(500_000),
        fee=Microcredits(10_000),
        most=Microcredits(7_000_000),
        day_max=Microcredits(70_000_000),
    )


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"MIN_USD": "a lot"}, "PAYPHONE_REFUND_MIN_USD: expected dollars"),
        ({"FEE_USD": "0.0000001"}, "PAYPHONE_REFUND_FEE_USD: expected dollars"),
        ({"FEE_USD": "1"}, "PAYPHONE_REFUND_MIN_USD: expected more than the fee of 1"),
        ({"MAX_USD": "0.5"}, "PAYPHONE_REFUND_MAX_USD: expected the minimum of 1 or more"),
        ({"DAY_MAX_USD": "99"}, "PAYPHONE_REFUND_DAY_MAX_USD: expected the maximum of 100"),
    ],
)
def test_terms_that_contradict_each_other_are_told(environ: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read(**environ)
