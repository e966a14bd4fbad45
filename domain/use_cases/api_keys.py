"""How a wallet gives part of its power away: keys are issued, listed, revoked, recognised."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from functools import partial
from uuid import UUID, uuid5

from domain.api_key import ApiKey, KeyRing, KeyScope
from domain.errors import (
    ConflictingRequestError,
    GatewayError,
    LedgerDownError,
    MalformedError,
    NotFoundError,
    UnauthenticatedError,
)
from domain.gateway import Gateway
from domain.ledger import Work
from domain.ports.private import SessionDetails
from domain.record import canonical


@dataclass(frozen=True, slots=True)
class LabelledKey:
    """A key and what its owner calls it."""

    key: ApiKey
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHolder:
    """Whoever showed a key's secret: the key, and the wallet it spends for."""

    key_id: UUID
    account_id: UUID
    chain: str
    wallet: str


async def issue_key(
    gateway: Gateway,
    account_id: UUID,
    scope: KeyScope,
    *,
    label: str,
    secret: str,
    request_key: str = "",
) -> LabelledKey:
    """Issue a key for a new secret, or give the one that `request_key` was answered with before.

    Whether it is the secret's own, `holds_secret` tells: an earlier one is not known any more.
    """
    now_ms = gateway.clock.now_ms()
    key_id = uuid5(account_id, request_key) if request_key else gateway.new_id()
    issue = partial(
        _issue,
        account_id=account_id,
        key_id=key_id,
        scope=scope,
        secret_hash=hash_of_secret(secret),
        request_hash=_request_hash(scope, label) if request_key else "",
        at_ms=now_ms,
    )
    async with gateway.turnstile.alone(key_id):
        known = await gateway.details.find([key_id])
        if label and not known:
            # As with sessions, names first: a label without a key costs nobody.
            await gateway.details.put({key_id: SessionDetails(server_url="", metadata=label)})
        try:
            key = await gateway.books.run(issue)
        except LedgerDownError:
            # Nobody knows whether there is a key now.
            raise
        except GatewayError:
            if not known:
                await gateway.details.delete([key_id])
            raise
    return LabelledKey(key, label)


async def list_keys(gateway: Gateway, account_id: UUID) -> tuple[LabelledKey, ...]:
    """The wallet's keys, newest first, revoked and expired ones too until they give way."""
    keys = await gateway.books.run(partial(_keys_of, account_id=account_id))
    details = await gateway.details.find([key.id for key in keys])
    return tuple(
        LabelledKey(key, details[key.id].metadata if key.id in details else "")
        for key in reversed(keys)
    )


async def revoke_key(gateway: Gateway, account_id: UUID, key_id: UUID) -> LabelledKey:
    """From now on nothing is opened or extended with it; safe to repeat."""
    key = await gateway.books.run(
        partial(_revoke, account_id=account_id, key_id=key_id, at_ms=gateway.clock.now_ms())
    )
    details = await gateway.details.find([key_id])
    return LabelledKey(key, details[key_id].metadata if key_id in details else "")


async def recognise_key(gateway: Gateway, key_id: UUID, secret: str) -> KeyHolder:
    """Whose key this is; UnauthenticatedError where it is not one, was revoked or has expired."""
    return await gateway.books.run(
        partial(
            _recognise,
            key_id=key_id,
            secret_hash=hash_of_secret(secret),
            at_ms=gateway.clock.now_ms(),
        )
    )


def hash_of_secret(secret: str) -> str:
    """A secret of 256 random bits needs no salt and no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def holds_secret(key: ApiKey, secret: str) -> bool:
    return hmac.compare_digest(key.secret_hash, hash_of_secret(secret))


def _issue(
    work: Work,
    *,
    account_id: UUID,
    key_id: UUID,
    scope: KeyScope,
    secret_hash: str,
    request_hash: str,
    at_ms: int,
) -> ApiKey:
    work.account(account_id)
    issued = work.find(ApiKey, key_id)
    if issued is not None:
        if issued.request_hash != request_hash:
            raise ConflictingRequestError(what="this Idempotency-Key")
        return issued
    if at_ms >= scope.expires_at_ms:
        raise MalformedError(where="expires_at", expected="a time to come", got="one that is past")
    ring_id = KeyRing.create_id(account_id)
    ring = work.find(KeyRing, ring_id)
    if ring is None:
        ring = KeyRing.open(account_id, at_ms=at_ms)
        work.add(ring)
    ring.add(key_id, dead_id=_dead_key(work, ring, at_ms), at_ms=at_ms)
    key = ApiKey.issue(
        scope,
        key_id=key_id,
        account_id=account_id,
        secret_hash=secret_hash,
        request_hash=request_hash,
        at_ms=at_ms,
    )
    work.add(key)
    return key


def _dead_key(work: Work, ring: KeyRing, at_ms: int) -> UUID | None:
    """The oldest key of a full ring that works no more."""
    if not ring.is_full:
        return None
    keys = map(work.api_key, ring.key_ids)
    return next((key.id for key in keys if not key.works_at(at_ms)), None)


def _keys_of(work: Work, *, account_id: UUID) -> tuple[ApiKey, ...]:
    work.account(account_id)
    ring = work.find(KeyRing, KeyRing.create_id(account_id))
    return () if ring is None else tuple(map(work.api_key, ring.key_ids))


def _revoke(work: Work, *, account_id: UUID, key_id: UUID, at_ms: int) -> ApiKey:
    key = work.find(ApiKey, key_id)
    if key is None or key.account_id != account_id:
        raise NotFoundError(what="API key")
    key.revoke(at_ms=at_ms)
    return key


def _recognise(work: Work, *, key_id: UUID, secret_hash: str, at_ms: int) -> KeyHolder:
    key = work.find(ApiKey, key_id)
    if key is None or not hmac.compare_digest(key.secret_hash, secret_hash):
        raise UnauthenticatedError("This API key is not known")
    key.check_works(at_ms)
    account = work.account(key.account_id)
    return KeyHolder(
        key_id=key_id, account_id=account.id, chain=account.chain, wallet=account.wallet
    )


def _request_hash(scope: KeyScope, label: str) -> str:
    asked = [
        *(sorted(scope.services), scope.day_max.value, scope.total_max.value),
        *(scope.expires_at_ms, label),
    ]
    return hashlib.sha256(canonical(asked)).hexdigest()
