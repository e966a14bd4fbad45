"""Hypothesis strategies for every value of the domain."""

from __future__ import annotations

from hypothesis import strategies as st

from domain.checkpoint import Checkpoint, SignerKey
from domain.money import MICROCREDITS_MAX, Microcredits
from domain.ports.payments import Proof, Purchase
from domain.pricing import QUANTITY_MAX, SERVICES, UNITS, PriceBook, Tariff
from domain.session import Order

START_MS = 1_700_000_000_000
INTEGER_MAX = 2**53 - 1

ids = st.uuids()
times_ms = st.integers(START_MS, START_MS + 10**10)
services = st.sampled_from(SERVICES)
microcredits = st.builds(Microcredits, st.integers(0, MICROCREDITS_MAX))
small_microcredits = st.builds(Microcredits, st.integers(0, 10**9))
wallets = st.integers(1, 2**160 - 1).map(lambda n: f"0x{n:040x}")
# Whatever a person may type; lone surrogates are not Unicode and cannot be written down.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
hashes = st.binary(min_size=32, max_size=32)
versions = st.from_regex(r"[0-9]{4}-[0-9]{1,2}", fullmatch=True)


@st.composite
def tariffs(draw: st.DrawFn, unit: str | None = None) -> Tariff:
    return Tariff(
        unit=unit or draw(st.sampled_from(sorted(set(UNITS.values())))),
        microcredits=draw(st.integers(0, 100_000)),
        per=draw(st.integers(1, 100_000)),
    )


@st.composite
def price_books(draw: st.DrawFn) -> PriceBook:
    rates = tuple((name, draw(tariffs(UNITS[name]))) for name in sorted(SERVICES))
    return PriceBook(version=draw(versions), tariffs=rates)


@st.composite
def orders(draw: st.DrawFn, unit: str | None = None) -> Order:
    service = draw(services.filter(lambda name: unit in (None, UNITS[name])))
    return Order(
        service=service,
        tariff=draw(tariffs(UNITS[service])),
        price_book=draw(versions),
        quantity=draw(st.integers(1, 10**7)),
        expires_at_ms=draw(times_ms),
    )


purchases = st.builds(
    Purchase,
    chain=st.just("evm"),
    wallet=wallets,
    amount=st.builds(Microcredits, st.integers(100_000, 10**9)),
    resource_url=st.just("http://gateway.test/v1/credits/purchase"),
)
proofs = st.builds(
    Proof,
    key=st.text("0123456789abcdef", min_size=8, max_size=64),
    network=st.just("eip155:8453"),
    chain=st.just("evm"),
    payer=wallets,
    amount=small_microcredits,
    expires_at_ms=times_ms,
    payload=texts,
)
quantities = st.integers(0, QUANTITY_MAX)
signer_keys = st.builds(
    SignerKey, name=st.from_regex(r"[a-z]{1,10}\.test(/[a-z]{1,8})?", fullmatch=True), public=hashes
)
checkpoints = st.builds(
    Checkpoint,
    origin=st.from_regex(r"[a-z]{1,10}\.test", fullmatch=True),
    size=st.integers(0, 10**12),
    root=hashes,
)
# What a stored event may hold: strings, whole numbers, booleans, nothing, and lists of strings.
event_fields = st.dictionaries(
    st.from_regex(r"[a-z][a-z_0-9]{0,20}", fullmatch=True),
    st.one_of(
        texts,
        st.integers(-INTEGER_MAX, INTEGER_MAX),
        st.booleans(),
        st.none(),
        st.lists(texts, max_size=4),
    ),
    max_size=8,
)
