"""What FOCUS 1.2 asks of a data set, column by column, as its specification has it.

Source: the FinOps Open Cost and Usage Specification, tag v1.2: columns/*.md (presence, nullability,
allowed values, relations between columns) and attributes/*.md (number, time, unit, key-value form).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from decimal import Decimal

Row = dict[str, str]

MANDATORY = frozenset(
    {
        "BilledCost",
        "BillingAccountId",
        "BillingAccountName",
        "BillingCurrency",
        "BillingPeriodEnd",
        "BillingPeriodStart",
        "ChargeCategory",
        "ChargeClass",
        "ChargeDescription",
        "ChargePeriodEnd",
        "ChargePeriodStart",
        "ContractedCost",
        "EffectiveCost",
        "InvoiceIssuerName",
        "ListCost",
        "PricingQuantity",
        "PricingUnit",
        "ProviderName",
        "PublisherName",
        "ServiceCategory",
        "ServiceName",
    }
)
# Conditions that hold for us: usage is measured, unit prices are published, sessions are resources,
# credits are a virtual currency.
CONDITIONAL = frozenset(
    {
        "ConsumedQuantity",
        "ConsumedUnit",
        "ListUnitPrice",
        "PricingCurrency",
        "PricingCurrencyContractedUnitPrice",
        "PricingCurrencyEffectiveCost",
        "PricingCurrencyListUnitPrice",
        "ResourceId",
        "ResourceName",
        "ResourceType",
        "SkuId",
        "SkuMeter",
        "SkuPriceDetails",
        "SkuPriceId",
        "Tags",
    }
)
OTHERS = frozenset(
    {
        "AvailabilityZone",
        "BillingAccountType",
        "CapacityReservationId",
        "CapacityReservationStatus",
        "ChargeFrequency",
        "CommitmentDiscountCategory",
        "CommitmentDiscountId",
        "CommitmentDiscountName",
        "CommitmentDiscountQuantity",
        "CommitmentDiscountStatus",
        "CommitmentDiscountType",
        "CommitmentDiscountUnit",
        "ContractedUnitPrice",
        "InvoiceId",
        "PricingCategory",
        "RegionId",
        "RegionName",
        "ServiceSubcategory",
        "SubAccountId",
        "SubAccountName",
        "SubAccountType",
    }
)
NEVER_NULL = frozenset(
    {
        "BilledCost",
        "BillingAccountId",
        "BillingCurrency",
        "BillingPeriodEnd",
        "BillingPeriodStart",
        "ChargeCategory",
        "ChargeDescription",
        "ChargeFrequency",
        "ChargePeriodEnd",
        "ChargePeriodStart",
        "ContractedCost",
        "EffectiveCost",
        "InvoiceIssuerName",
        "ListCost",
        "PricingCurrency",
        "PricingCurrencyEffectiveCost",
        "ProviderName",
        "PublisherName",
        "ServiceCategory",
        "ServiceName",
        "ServiceSubcategory",
    }
)
# Not null where something is used or bought, unless the row corrects an earlier period.
OF_USE_OR_PURCHASE = (
    "ContractedUnitPrice",
    "ListUnitPrice",
    "PricingCategory",
    "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyListUnitPrice",
    "PricingQuantity",
    "SkuId",
    "SkuPriceId",
)
NUMBERS = frozenset(
    {
        "BilledCost",
        "ConsumedQuantity",
        "ContractedCost",
        "ContractedUnitPrice",
        "EffectiveCost",
        "ListCost",
        "ListUnitPrice",
        "PricingCurrencyContractedUnitPrice",
        "PricingCurrencyEffectiveCost",
        "PricingCurrencyListUnitPrice",
        "PricingQuantity",
    }
)
PRICES = frozenset(name for name in NUMBERS if name.endswith("UnitPrice"))
ALLOWED = {
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {"", "Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "PricingCategory": {"", "Standard", "Dynamic", "Committed", "Other"},
}
SUBCATEGORIES = {
    "AI Platforms": "AI and Machine Learning",
    "Bots": "AI and Machine Learning",
    "Generative AI": "AI and Machine Learning",
    "Machine Learning": "AI and Machine Learning",
    "Natural Language Processing": "AI and Machine Learning",
    "Other (AI and Machine Learning)": "AI and Machine Learning",
    "Content Creation": "Media",
    "Gaming": "Media",
    "Media Streaming": "Media",
    "Mixed Reality": "Media",
    "Other (Media)": "Media",
    "Other (Other)": "Other",
}
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(E-?[0-9]+)?")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_NATIONAL = re.compile(r"[A-Z]{3}")
_UNIT = re.compile(r"([0-9]+ )?[A-Z][a-z]+")


def read(text: str) -> list[Row]:
    """The rows of a CSV file; nothing between two commas is null."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def problems(text: str) -> list[str]:
    """Everything that is against the specification; empty for a data set that conforms."""
    columns = next(csv.reader(io.StringIO(text, newline="")))
    found = list(_of_columns(columns))
    for number, row in enumerate(read(text), start=1):
        found += [f"row {number}: {problem}" for problem in _of_row(row)]
    return found


def _of_columns(columns: list[str]) -> Iterator[str]:
    yield from (f"{name} is missing" for name in (MANDATORY | CONDITIONAL) - set(columns))
    known = MANDATORY | CONDITIONAL | OTHERS
    own = [name.startswith("x_") for name in columns]
    yield from (f"{n} is unknown" for n in columns if n not in known and not n.startswith("x_"))
    if len(set(columns)) != len(columns):
        yield "a column twice"
    if own != sorted(own):
        yield "a custom column between those of FOCUS"


def _of_row(row: Row) -> Iterator[str]:
    yield from (f"{name} is null" for name in NEVER_NULL if not row[name])
    for check in (_of_forms, _of_words, _of_use, _of_costs, _of_pairs, _of_keys):
        yield from check(row)


def _of_forms(row: Row) -> Iterator[str]:
    for name in NUMBERS:
        if row[name] and not _NUMBER.fullmatch(row[name]):
            yield f"{name} is no number: {row[name]}"
        elif name in PRICES and row[name].startswith("-"):
            yield f"{name} is negative"
    for period in ("BillingPeriod", "ChargePeriod"):
        start, end = row[f"{period}Start"], row[f"{period}End"]
        if not (_TIME.fullmatch(start) and _TIME.fullmatch(end)):
            yield f"{period} is no time: {start} {end}"
        elif not start < end:
            yield f"{period} ends before it starts"
    for name in ("ConsumedUnit", "PricingUnit"):
        if row[name] and not _UNIT.fullmatch(row[name]):
            yield f"{name} is {row[name]}"


def _of_words(row: Row) -> Iterator[str]:
    for name, values in ALLOWED.items():
        if row[name] not in values:
            yield f"{name} is {row[name]}"
    if not _NATIONAL.fullmatch(row["BillingCurrency"]):
        yield f"BillingCurrency is {row['BillingCurrency']}"
    if SUBCATEGORIES.get(row["ServiceSubcategory"]) != row["ServiceCategory"]:
        yield f"{row['ServiceSubcategory']} is no {row['ServiceCategory']}"


def _of_use(row: Row) -> Iterator[str]:
    category, corrects = row["ChargeCategory"], row["ChargeClass"] == "Correction"
    if category in ("Usage", "Purchase") and not corrects:
        yield from (f"{name} is null" for name in OF_USE_OR_PURCHASE if not row[name])
    if category == "Purchase":
        if row["ChargeFrequency"] == "Usage-Based":
            yield "a purchase is not usage-based"
        for name in ("EffectiveCost", "PricingCurrencyEffectiveCost"):
            if Decimal(row[name]):
                yield f"{name} of a prepaid purchase is not 0"
    if (category == "Usage" and not corrects) != bool(row["ConsumedQuantity"]):
        yield "ConsumedQuantity is for usage, and only for usage"


def _of_costs(row: Row) -> Iterator[str]:
    corrects = row["ChargeClass"] == "Correction"
    for price, cost in (("ListUnitPrice", "ListCost"), ("ContractedUnitPrice", "ContractedCost")):
        if row[price] and row["PricingQuantity"] and not corrects:
            if Decimal(row[price]) * Decimal(row["PricingQuantity"]) != Decimal(row[cost]):
                yield f"{price} times PricingQuantity is not {cost}"
        elif not row[price] and Decimal(row[cost]) != Decimal(row["BilledCost"]):
            yield f"{cost} without a price is not BilledCost"
    is_other = row["ChargeCategory"] not in ("Usage", "Purchase")
    if is_other and row["EffectiveCost"] != row["BilledCost"]:
        yield "EffectiveCost of neither usage nor purchase is not BilledCost"


def _of_pairs(row: Row) -> Iterator[str]:
    for name, of in (
        ("ConsumedUnit", "ConsumedQuantity"),
        ("PricingUnit", "PricingQuantity"),
        ("ResourceType", "ResourceId"),
        ("SkuMeter", "SkuId"),
    ):
        if bool(row[name]) != bool(row[of]):
            yield f"{name} without {of}, or the other way"
    if row["ResourceName"] and row["ResourceName"] == row["ResourceId"]:
        yield "ResourceName repeats ResourceId"


def _of_keys(row: Row) -> Iterator[str]:
    if row["SkuPriceDetails"] and not row["SkuPriceId"]:
        yield "SkuPriceDetails without SkuPriceId"
    for name in ("SkuPriceDetails", "Tags"):
        pairs = json.loads(row[name]) if row[name] else {}
        if not isinstance(pairs, dict):
            yield f"{name} is no object"
        elif any(isinstance(value, dict | list) for value in pairs.values()):
            yield f"{name} has a value with parts"
        if name == "SkuPriceDetails" and not all(key.startswith("x_") for key in pairs):
            yield "SkuPriceDetails has a key of ours without x_"
