"""Who is asking: a wallet that signs method, path and time, each on a line, or its API key."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from uuid import UUID

import base58
from aiohttp import web
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from adapters.http import bearer, tron
from adapters.http.bodies import malformed
from adapters.http.errors import Handler
from adapters.http.evm import checksummed, text_signer
from adapters.http.limits import RateLimit
from domain.account import Account
from domain.errors import UnauthenticatedError
from domain.gateway import Gateway
from domain.use_cases.api_keys import KeyHolder, recognise_key

WINDOW_MS = 30_000
# The chains whose wallets can sign.
CHAINS = ("evm", "solana", "tron")
_EVM_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_EVM_SIGNATURE = re.compile(r"0x[0-9a-fA-F]{130}")
# TronWeb writes 0x before it, tronpy does not.
_TRON_SIGNATURE = re.compile(r"(?:0x)?([0-9a-fA-F]{130})")
_SOLANA_ADDRESS_LENGTH_MAX = 44
_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_TIMESTAMP = re.compile(r"[0-9]{1,11}")
_HOLDER = web.RequestKey("holder", KeyHolder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A wallet that proved itself, and the account it would have; or the key it is asked with."""

    account_id: UUID
    chain: str
    wallet: str
    api_key_id: UUID | None = None


class Doorman:
    """Lets wallets in: checks the signature first, then how often this wallet comes.

    API keys are known by `know_keys` before; a wallet's keys share its rate.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._clock = gateway.clock
        self._limit = RateLimit(gateway.clock, rate_max=gateway.terms.api_rate_max)
        # Of their own, so that made-up ids push no wallet out.
        self._keys_limit = RateLimit(gateway.clock, rate_max=gateway.terms.api_rate_max)

    @web.middleware
    async def know_keys(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Recognise `Authorization: Bearer pp_…`, wherever it comes; what else is there is not."""
        authorization = request.headers.get("Authorization", "")
        if authorization.startswith(bearer.SCHEME):
            token = bearer.read_token(authorization.removeprefix("Bearer "))
            if token is None:
                raise UnauthenticatedError("This is not an API key: it is `pp_<id>_<secret>`")
            key_id, secret = token
            # Before the ledger is asked.
            self._keys_limit.take(key_id)
            request[_HOLDER] = await recognise_key(self._gateway, key_id, secret)
        return await handler(request)

    def admit_wallet(self, request: web.Request) -> Caller:
        """The caller, who signs: what no key may do."""
        if _HOLDER in request:
            raise UnauthenticatedError("API keys are managed with a wallet's signature, not a key")
        return self.admit(request)

    def admit(self, request: web.Request) -> Caller:
        """The caller; UnauthenticatedError says what is wrong, RateLimitError when to come back."""
        holder = request.get(_HOLDER)
        if holder is not None:
            self._limit.take(holder.account_id)
            return Caller(
                account_id=holder.account_id,
                chain=holder.chain,
                wallet=holder.wallet,
                api_key_id=holder.key_id,
            )
        signature = request.headers.get("Authorization", "")
        chain = _needed(request, "X-Wallet-Chain")
        address = _needed(request, "X-Wallet-Address")
        timestamp = _needed(request, "X-Timestamp")
        self._check_time(timestamp)
        wallet = canonical_wallet(chain, address)
        if wallet is None:
            raise UnauthenticatedError(f"X-Wallet-Address is not an address on {chain}")
        prefix, colon, proof = signature.partition(":")
        if not colon or prefix != chain:
            raise UnauthenticatedError(f"Authorization must be `{chain}:<signature>`")
        # The path as it was sent: what was signed must not depend on how we decode it.
        message = f"{request.method}\n{request.rel_url.raw_path}\n{timestamp}"
        if not signed_by(chain, wallet, proof, message):
            raise UnauthenticatedError(
                f"The signature is not by {address} over METHOD, PATH without query and TIMESTAMP, "
                "joined by newlines"
            )
        account_id = Account.create_id(chain, wallet)
        self._limit.take(account_id)
        return Caller(account_id=account_id, chain=chain, wallet=wallet)

    def _check_time(self, timestamp: str) -> None:
        now_ms = self._clock.now_ms()
        if not _TIMESTAMP.fullmatch(timestamp):
            raise UnauthenticatedError("X-Timestamp must be whole Unix seconds")
        if abs(now_ms - int(timestamp) * 1000) > WINDOW_MS:
            raise UnauthenticatedError(
                f"X-Timestamp is more than {WINDOW_MS // 1000} seconds away from the server's "
                f"time, which is {now_ms // 1000}; check your clock"
            )


def canonical_wallet(chain: str, address: str) -> str | None:
    """The address, on one of `CHAINS`, in the one form we keep (EVM: lower case), or None."""
    if chain == "evm":
        return address.lower() if _EVM_ADDRESS.fullmatch(address) else None
    if chain == "tron":
        return address if tron.is_address(address) else None
    return address if _solana_key(address) is not None else None


def wallet_of(chain: str, address: str) -> str:
    """`canonical_wallet` for a request's body: MalformedError where it is not one."""
    wallet = canonical_wallet(chain, address)
    if wallet is None:
        raise malformed("wallet_address", f"an address on {chain}", address)
    return wallet


def shown_wallet(chain: str, wallet: str) -> str:
    """The address as people know it: EVM with its checksum."""
    return checksummed(wallet) if chain == "evm" else wallet


def signed_by(chain: str, wallet: str, signature: str, message: str) -> bool:
    """Whether this wallet signed this text; wrong in form is wrong."""
    if chain == "evm":
        raw = bytes.fromhex(signature[2:]) if _EVM_SIGNATURE.fullmatch(signature) else b""
        return bool(raw) and text_signer(message, raw) == wallet
    if chain == "tron":
        found = _TRON_SIGNATURE.fullmatch(signature)
        return found is not None and tron.text_signer(message, bytes.fromhex(found[1])) == wallet
    return _solana_holds(wallet, signature, message)


def _solana_holds(wallet: str, signature: str, message: str) -> bool:
    key = _solana_key(wallet)
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    if key is None or len(raw) != _SIGNATURE_BYTES:
        return False
    try:
        VerifyKey(key).verify(message.encode(), raw)
    except BadSignatureError:
        return False
    return True


def _solana_key(address: str) -> bytes | None:
    # Base58 takes quadratic time, and forgives white space at the end.
    if not address.isalnum() or len(address) > _SOLANA_ADDRESS_LENGTH_MAX:
        return None
    try:
        key = base58.b58decode(address)
    except ValueError:
        return None
    return key if len(key) == _KEY_BYTES else None


def _needed(request: web.Request, header: str) -> str:
    value = request.headers.get(header, "")
    if not value:
        raise UnauthenticatedError(f"{header} is missing: every call is signed by a wallet")
    if header == "X-Wallet-Chain" and value not in CHAINS:
        raise UnauthenticatedError(
            f"X-Wallet-Chain must be {', '.join(CHAINS[:-1])} or {CHAINS[-1]}"
        )
    return value
