"""Hypothesis strategies for the values of the domain: money, time, tariffs, wallets, orders."""

from __future__ import annotations

from hypothesis import strategies as st

from domain.money import MICROCREDITS_MAX, Microcredits
from domain.pricing import QUANTITY_MAX, SERVICES, UNITS, PriceBook, Tariff
from domain.session import Order

START_MS = 1_700_000_000_000
RATE_MAX = 100_000

ids = st.uuids()
times_ms = st.integers(START_MS, START_MS + 10**10)
services = st.sampled_from(SERVICES)
amounts = st.builds(Microcredits, st.integers(0, MICROCREDITS_MAX))
# Up to a thousand dollars: sums of many stay far from the largest number a log can hold.
small_amounts = st.builds(Microcredits, st.integers(0, 10**9))
quantities = st.integers(0, QUANTITY_MAX)
wallets = st.integers(1, 2**160 - 1).map(lambda n: f"0x{n:040x}")
versions = st.from_regex(r"[0-9]{4}-[0-9]{1,2}", fullmatch=True)


@st.composite
def tariffs(draw: st.DrawFn, unit: str | None = None) -> Tariff:
    """Whole microcredits for every so many `ms` or `character`s; free ones too."""
    return Tariff(
        unit=unit or draw(st.sampled_from(sorted(set(UNITS.values())))),
        microcredits=draw(st.integers(0, RATE_MAX)),
        per=draw(st.integers(1, RATE_MAX)),
    )


@st.composite
def price_books(draw: st.DrawFn) -> PriceBook:
    """A tariff for every service, under one version."""
    rates = tuple((name, draw(tariffs(UNITS[name]))) for name in sorted(SERVICES))
    return PriceBook(version=draw(versions), tariffs=rates)


@st.composite
def orders(draw: st.DrawFn, unit: str | None = None) -> Order:
    """What a session buys; of one unit, where it is given."""
    service = draw(services.filter(lambda name: unit in (None, UNITS[name])))
    return Order(
        service=service,
        tariff=draw(tariffs(UNITS[service])),
        price_book=draw(versions),
        quantity=draw(st.integers(1, 10**7)),
        expires_at_ms=draw(times_ms),
    )
