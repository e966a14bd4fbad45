"""Hypothesis strategies for what only our own tests need; the others are `domain.testing`'s."""

from __future__ import annotations

from hypothesis import strategies as st

from domain.checkpoint import Checkpoint, SignerKey
from domain.money import Microcredits
from domain.ports.payments import Proof, Purchase
from domain.testing import (
    START_MS,
    ids,
    orders,
    price_books,
    quantities,
    tariffs,
    times_ms,
    wallets,
)
from domain.testing import amounts as microcredits
from domain.testing import small_amounts as small_microcredits

__all__ = [
    "START_MS",
    "checkpoints",
    "event_fields",
    "hashes",
    "ids",
    "microcredits",
    "orders",
    "price_books",
    "proofs",
    "purchases",
    "quantities",
    "signer_keys",
    "small_microcredits",
    "tariffs",
    "texts",
    "times_ms",
]

INTEGER_MAX = 2**53 - 1

# Whatever a person may type; lone surrogates are not Unicode and cannot be written down.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
hashes = st.binary(min_size=32, max_size=32)
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
