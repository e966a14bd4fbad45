"""Settings of refunds to the payer's chain: whether wallets may ask, and for how much."""

from __future__ import annotations

from adapters.environ import Reader
from domain.gateway import REFUND_DAY_MAX, REFUND_MAX, REFUND_MIN, RefundTerms
from domain.money import NOTHING, Microcredits


def read_refunds(reader: Reader) -> RefundTerms:
    """Read `PAYPHONE_REFUND_ENABLED`, `_MIN_USD`, `_FEE_USD`, `_MAX_USD` and `_DAY_MAX_USD`.

    Off by default. Amounts are dollars with at most six decimal places.
    """
    terms = RefundTerms(
        enabled=reader.switch("PAYPHONE_REFUND_ENABLED"),
        least=_usd(reader, "PAYPHONE_REFUND_MIN_USD", REFUND_MIN),
        fee=_usd(reader, "PAYPHONE_REFUND_FEE_USD", NOTHING),
        most=_usd(reader, "PAYPHONE_REFUND_MAX_USD", REFUND_MAX),
        day_max=_usd(reader, "PAYPHONE_REFUND_DAY_MAX_USD", REFUND_DAY_MAX),
    )
    if terms.least <= terms.fee:
        reader.problem(
            "PAYPHONE_REFUND_MIN_USD", f"more than the fee of {terms.fee.usd}, or nothing is left"
        )
    if terms.most < terms.least:
        reader.problem("PAYPHONE_REFUND_MAX_USD", f"the minimum of {terms.least.usd} or more")
    if terms.day_max < terms.most:
        reader.problem("PAYPHONE_REFUND_DAY_MAX_USD", f"the maximum of {terms.most.usd} or more")
    return terms


def _usd(reader: Reader, name: str, default: Microcredits) -> Microcredits:
    try:
        return Microcredits.from_usd(reader.text(name, default.usd))
    except ValueError:
        reader.problem(name, "dollars with at most 6 decimal places")
        return default
