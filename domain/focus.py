"""A statement in the columns of FOCUS 1.2, the FinOps Open Cost and Usage Specification.

Credits are a virtual currency that is bought first: a purchase is billed and has no effective cost,
usage has an effective cost and is not billed, so that neither sum counts a dollar twice. Setting
credits aside and giving them back is no charge and has no row. Rules: specs/ledger.md, statements.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal

from domain.bill import ROUNDING
from domain.money import MICROCREDITS_PER_USD
from domain.period import HOUR_MS
from domain.statement import Line, Statement, Usage
from domain.statement_document import Money, sheet

FOCUS_VERSION = "1.2"
# FOCUS columns in their order, then our own, which must begin with x_.
COLUMNS = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingCurrency",
    "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost",
    "PricingCurrencyListUnitPrice",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "Tags",
    "x_LogPosition",
    "x_PaymentNetwork",
    "x_PaymentRail",
    "x_PaymentReference",
)
_SERVICES = {
    "stt": ("Speech to Text", "AI and Machine Learning", "Natural Language Processing"),
    "tts": ("Text to Speech", "AI and Machine Learning", "Generative AI"),
    "webrtc": ("Voice Rooms", "Media", "Media Streaming"),
}
_CREDITS = ("Credits", "Other", "Other (Other)")
_METERS = {"ms": "Session Time", "character": "Spoken Characters"}
# A minute's share need not end in decimals: it is cut here, and costs are products of what is
# printed, so that they match exactly.
_PLACES = Decimal("1e-18")
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_MICROCREDIT_USD = Decimal(1).scaleb(-6)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Row = dict[str, object]


def focus_csv(made: Statement, *, provider: str) -> str:
    """The charges of a statement; `provider` is who runs the gateway."""
    return sheet(COLUMNS, rows(made, provider=provider))


def rows(made: Statement, *, provider: str) -> Iterator[Row]:
    """One row for each purchase, session and correction, and for each payout; in the log's order.

    A payout has another for its fee, where there is one.
    """
    usage = {u.position: u for u in made.usage}
    common = _common(made, provider)
    for line in made.lines:
        if line.kind == "purchase":
            yield common | _purchase(line)
        elif line.kind == "charge":
            yield common | _usage(usage[line.position])
        elif line.kind == "correction":
            yield common | _correction(line, made)
        elif line.kind == "payout_paid":
            yield common | _payout(line)
            if line.facts["fee_microcredits"]:
                yield common | _payout_fee(line)


def _common(made: Statement, provider: str) -> Row:
    return {
        "BillingAccountId": made.account_id,
        "BillingAccountName": f"{made.chain}:{made.wallet}",
        "BillingCurrency": "USD",
        "BillingPeriodStart": _time(made.period.from_ms),
        "BillingPeriodEnd": _time(made.period.to_ms),
        "InvoiceIssuerName": provider,
        "ProviderName": provider,
        "PublisherName": provider,
    }


def _purchase(line: Line) -> Row:
    return _bought(line, line.moved.available) | {
        "ChargeDescription": f"Credits bought over {line.facts['rail']}",
        "ResourceId": line.facts["payment_id"],
        "ResourceType": "Credit Purchase",
        "x_PaymentNetwork": line.facts["network"],
    }


def _payout(line: Line) -> Row:
    """A purchase the other way round: credits back for the money that went out."""
    paid = line.facts["paid_microcredits"]
    assert isinstance(paid, int)  # noqa: S101 (the event's own field)
    return _bought(line, -paid) | {
        "ChargeDescription": f"Credits paid back over {line.facts['rail']}",
        "ResourceId": line.facts["payout_id"],
        "ResourceType": "Credit Payout",
    }


def _payout_fee(line: Line) -> Row:
    """What a payout cost, paid for with credits as any usage."""
    fee = line.facts["fee_microcredits"]
    assert isinstance(fee, int)  # noqa: S101 (the event's own field)
    cost, one = _number(_dollars(fee)), _number(Decimal(1))
    return {
        "BilledCost": _number(Decimal(0)),
        "ChargeCategory": "Usage",
        "ChargeDescription": "Fee of a payout",
        "ChargeFrequency": "Usage-Based",
        **_charge_period(line.at_ms, line.at_ms),
        "ConsumedQuantity": one,
        "ConsumedUnit": "Payouts",
        "ContractedCost": cost,
        "ContractedUnitPrice": cost,
        "EffectiveCost": cost,
        "ListCost": cost,
        "ListUnitPrice": cost,
        "PricingCategory": "Standard",
        "PricingCurrency": "Microcredits",
        "PricingCurrencyContractedUnitPrice": fee,
        "PricingCurrencyEffectiveCost": fee,
        "PricingCurrencyListUnitPrice": fee,
        "PricingQuantity": one,
        "PricingUnit": "Payouts",
        "ResourceId": line.facts["payout_id"],
        "ResourceType": "Credit Payout",
        **_service(_CREDITS),
        "SkuId": "payout-fee",
        "SkuMeter": "Payouts",
        "SkuPriceId": "payout-fee-usd",
        "x_LogPosition": line.position,
        "x_PaymentRail": line.facts["rail"],
        "x_PaymentReference": line.facts["reference"],
    }


def _bought(line: Line, bought: int) -> Row:
    cost, price = _number(_dollars(bought)), _number(_MICROCREDIT_USD)
    start_ms = line.at_ms - line.at_ms % HOUR_MS
    return {
        "BilledCost": cost,
        "ChargeCategory": "Purchase",
        "ChargeFrequency": "One-Time",
        "ChargePeriodStart": _time(start_ms),
        "ChargePeriodEnd": _time(start_ms + HOUR_MS),
        "ContractedCost": cost,
        "ContractedUnitPrice": price,
        # Spent by the usage it pays for.
        "EffectiveCost": _number(Decimal(0)),
        "ListCost": cost,
        "ListUnitPrice": price,
        "PricingCategory": "Standard",
        "PricingCurrency": "USD",
        "PricingCurrencyContractedUnitPrice": price,
        "PricingCurrencyEffectiveCost": _number(Decimal(0)),
        "PricingCurrencyListUnitPrice": price,
        "PricingQuantity": bought,
        "PricingUnit": "Microcredits",
        **_service(_CREDITS),
        "SkuId": "credits",
        "SkuMeter": "Credits",
        "SkuPriceId": "credits-usd",
        "x_LogPosition": line.position,
        "x_PaymentRail": line.facts["rail"],
        "x_PaymentReference": line.facts["reference"],
    }


def _usage(usage: Usage) -> Row:
    # What `per` of the units cost, as the price book has it, in credits and in dollars.
    rate, price = usage.microcredits, _dollars(usage.microcredits)
    quantity = _quotient(usage.used, usage.per)
    cost = _number(_EXACT.multiply(price, quantity))
    consumed, consumed_unit = (
        (_quotient(usage.used, 1_000), "Seconds")
        if usage.unit == "ms"
        else (Decimal(usage.used), "Characters")
    )
    details = {
        "x_PriceBook": usage.price_book,
        "x_PriceBookSha256": usage.price_book_sha256,
        "x_Rounding": ROUNDING,
    }
    bundle = None if usage.bundle_id is None else {"payphone/bundle": usage.bundle_id}
    return {
        # Paid for when the credits were bought.
        "BilledCost": _number(Decimal(0)),
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{_SERVICES[usage.service][0]}, session {usage.reason}",
        "ChargeFrequency": "Usage-Based",
        **_charge_period(usage.opened_at_ms, usage.closed_at_ms),
        "ConsumedQuantity": _number(consumed),
        "ConsumedUnit": consumed_unit,
        "ContractedCost": cost,
        "ContractedUnitPrice": _number(price),
        "EffectiveCost": _number(_dollars(usage.charged)),
        "ListCost": cost,
        "ListUnitPrice": _number(price),
        "PricingCategory": "Standard",
        "PricingCurrency": "Microcredits",
        "PricingCurrencyContractedUnitPrice": rate,
        "PricingCurrencyEffectiveCost": usage.charged,
        "PricingCurrencyListUnitPrice": rate,
        "PricingQuantity": _number(quantity),
        "PricingUnit": _pricing_unit(usage),
        "ResourceId": usage.session_id,
        "ResourceType": "Session",
        **_service(_SERVICES[usage.service]),
        "SkuId": usage.service,
        "SkuMeter": _METERS[usage.unit],
        "SkuPriceDetails": json.dumps(details),
        "SkuPriceId": f"{usage.service}-{usage.price_book}",
        "Tags": None if bundle is None else json.dumps(bundle),
        "x_LogPosition": usage.position,
    }


def _correction(line: Line, made: Statement) -> Row:
    """Credit granted is a cost taken back; credit removed is the opposite."""
    cost = _number(_dollars(-line.moved.available))
    start_ms = line.at_ms - line.at_ms % HOUR_MS
    corrected = line.facts["corrects_position"]
    assert isinstance(corrected, int)  # noqa: S101 (the event's own field)
    return {
        "BilledCost": cost,
        "ChargeCategory": "Credit",
        "ChargeClass": "Correction" if corrected <= made.period.after else None,
        "ChargeDescription": (
            f"Correction of entry {corrected} by {line.facts['who']}: {line.facts['why']}"
        ),
        "ChargeFrequency": "One-Time",
        "ChargePeriodStart": _time(start_ms),
        "ChargePeriodEnd": _time(start_ms + HOUR_MS),
        "ContractedCost": cost,
        "EffectiveCost": cost,
        "ListCost": cost,
        "PricingCurrency": "Microcredits",
        "PricingCurrencyEffectiveCost": -line.moved.available,
        **_service(_CREDITS),
        "x_LogPosition": line.position,
    }


def _service(named: tuple[str, str, str]) -> Row:
    name, category, subcategory = named
    return {
        "ServiceName": name,
        "ServiceCategory": category,
        "ServiceSubcategory": subcategory,
    }


def _pricing_unit(usage: Usage) -> str:
    """`per` of the tariff's units, as the specification names units."""
    if usage.unit == "character":
        size, name = 1, "Characters"
    else:
        sizes = ((60_000, "Minutes"), (1_000, "Seconds"), (1, "Milliseconds"))
        size, name = next(found for found in sizes if usage.per % found[0] == 0)
    count = usage.per // size
    return name if count == 1 else f"{count} {name}"


def _charge_period(from_ms: int, to_ms: int) -> Row:
    """Whole seconds around it, at least one."""
    start_ms = from_ms - from_ms % 1_000
    end_ms = max(start_ms + 1_000, -(-to_ms // 1_000) * 1_000)
    return {"ChargePeriodStart": _time(start_ms), "ChargePeriodEnd": _time(end_ms)}


def _time(at_ms: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=at_ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _dollars(microcredits: int) -> Decimal:
    return _quotient(microcredits, MICROCREDITS_PER_USD)


def _quotient(number: int, by: int) -> Decimal:
    return _EXACT.quantize(_EXACT.divide(Decimal(number), Decimal(by)), _PLACES)


def _number(value: Decimal) -> Money:
    """Written out in full, no exponent, no zeros behind the last digit."""
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return Money("0" if text in ("", "-0") else text)
