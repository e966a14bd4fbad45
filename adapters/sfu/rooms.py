"""Room tokens: who may join which room until when, signed for dTelecom or for LiveKit."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping

import base58
from nacl.signing import SigningKey

from adapters.sfu.nodes import NodeChoice, OneNode
from domain.errors import NoCapacityError
from domain.ports.rooms import Join, RoomTicket

_SEED_BYTES = 32
_PAIR_BYTES = 64
_TAG_BYTES = 10


class DTelecomRooms:
    """Implements `Rooms` with Ed25519 tokens, whose events the node posts to `webhook_url`.

    `key` is the base58 public key, `secret` base58 of the 32-byte seed or of seed and public key.
    A pair that does not belong together is a ValueError. Everybody goes to `ws_url`, or where
    `nodes` says. `address` gives the part of the webhook's URL that names a session. What
    `wallets_meet` does is in `RoomNames`.
    """

    def __init__(
        self,
        *,
        key: str,
        secret: str,
        webhook_url: str,
        ws_url: str = "",
        nodes: NodeChoice | None = None,
        address: Callable[[str], str] | None = None,
        wallets_meet: bool = False,
    ) -> None:
        self._key = key
        self._signer = signer_of(key, secret)
        self._names = RoomNames(bytes(self._signer), wallets_meet=wallets_meet)
        self._address = address
        self._nodes = nodes or OneNode(ws_url)
        self._webhook_url = webhook_url

    async def ticket(self, join: Join, *, client_ip: str) -> RoomTicket:
        claims = _present(
            video=_grants(self._names.name(join)),
            metadata=join.metadata,
            name=join.identity,
            webHookURL=self._webhook_url_of(join),
            iss=self._key,
            sub=join.identity,
            nbf=join.not_before_ms // 1000,
            exp=join.expires_at_ms // 1000,
            iat=join.not_before_ms // 1000,
            jti=join.session_id,
        )
        return RoomTicket(eddsa_token(claims, self._signer), await self._nodes.ws_url(client_ip))

    def _webhook_url_of(self, join: Join) -> str:
        if self._address is None:
            return self._webhook_url
        return f"{self._webhook_url}?s={self._address(join.session_id)}"


class LiveKitRooms:
    """Implements `Rooms` with HS256 tokens; the session comes back in the webhook's attributes."""

    def __init__(self, *, key: str, secret: str, ws_url: str, wallets_meet: bool = False) -> None:
        self._key = key
        self._secret = secret.encode()
        self._names = RoomNames(self._secret, wallets_meet=wallets_meet)
        self._nodes = OneNode(ws_url)

    async def ticket(self, join: Join, *, client_ip: str) -> RoomTicket:
        claims = _present(
            video=_grants(self._names.name(join)),
            metadata=join.metadata,
            name=join.identity,
            attributes={"session_id": join.session_id} if join.session_id else "",
            iss=self._key,
            sub=join.identity,
            nbf=join.not_before_ms // 1000,
            exp=join.expires_at_ms // 1000,
        )
        return RoomTicket(hs256_token(claims, self._secret), await self._nodes.ws_url(client_ip))


class NoRooms:
    """Implements `Rooms` where none are configured."""

    async def ticket(self, join: Join, *, client_ip: str) -> RoomTicket:
        raise NoCapacityError(service="webrtc")


class RoomNames:
    """What a room is called at the room server: each wallet has rooms of its own.

    One API key signs for all wallets. Whoever asked for a stranger's room by its name would else
    hear the stranger. The tag in front needs our secret, and tells nobody who pays. Where
    `wallets_meet`, a room is called what was asked.
    """

    def __init__(self, secret: bytes, *, wallets_meet: bool) -> None:
        self._key = hashlib.sha256(b"payphone room tag\n" + secret).digest()
        self._wallets_meet = wallets_meet

    def name(self, join: Join) -> str:
        if self._wallets_meet:
            return join.room_name
        mark = hmac.digest(self._key, join.account_id.encode(), hashlib.sha256)
        return f"{base64.b32encode(mark[:_TAG_BYTES]).decode().lower()}.{join.room_name}"


def _grants(room_name: str) -> dict[str, object]:
    """Join, speak, listen and exchange data; never anything of an administrator's."""
    return {
        "roomJoin": True,
        "room": room_name,
        "canPublish": True,
        "canSubscribe": True,
        "canPublishData": True,
    }


def _present(**claims: object) -> dict[str, object]:
    """The claims that say something; nodes read an empty text as a name."""
    return {name: claim for name, claim in claims.items() if claim != ""}


def eddsa_token(claims: Mapping[str, object], signer: SigningKey) -> str:
    """As dTelecom nodes read it: no `kid`."""
    signing = _signing_input("EdDSA", claims)
    return _with_signature(signing, signer.sign(signing).signature)


def hs256_token(claims: Mapping[str, object], secret: bytes) -> str:
    """As LiveKit servers read it."""
    signing = _signing_input("HS256", claims)
    return _with_signature(signing, hmac.digest(secret, signing, hashlib.sha256))


def _signing_input(algorithm: str, claims: Mapping[str, object]) -> bytes:
    header = {"alg": algorithm, "typ": "JWT"}
    return b".".join(_encoded(_json(part)) for part in (header, claims))


def _with_signature(signing: bytes, signature: bytes) -> str:
    return (signing + b"." + _encoded(signature)).decode()


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _encoded(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def signer_of(key: str, secret: str) -> SigningKey:
    """The signer of a dTelecom key pair in base58; ValueError where it is none."""
    raw = base58.b58decode(secret)
    if len(raw) not in (_SEED_BYTES, _PAIR_BYTES):
        msg = f"a room secret is base58 of 32 or 64 bytes (got {len(raw)})"
        raise ValueError(msg)
    signer = SigningKey(raw[:_SEED_BYTES])
    public = bytes(signer.verify_key)
    if base58.b58encode(public).decode() != key or raw[_SEED_BYTES:] not in (b"", public):
        msg = f"the room secret does not belong to the room key {key}"
        raise ValueError(msg)
    return signer
