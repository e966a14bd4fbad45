"""Where others find a public key of ours: identifiers of the method did:web."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

import base58

from adapters.keys import PUBLIC_BYTES

# What stands before an Ed25519 key in multicodec; `z` is multibase for base58.
_ED25519 = b"\xed\x01"
_BASE58 = "z"


def did_web(url: str) -> str:
    """The identifier of whoever answers at this URL's host; ValueError where it has none.

    It stands for `https://HOST/.well-known/did.json`, whatever the path of the URL is.
    """
    parts = urlsplit(url)
    if not parts.hostname:
        msg = f"expected a URL with a host (got {url[:200]!r})"
        raise ValueError(msg)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    return "did:web:" + quote(host + port, safe="")


def key_id(url: str, public: bytes) -> str:
    """What a signature by this key is labelled with: the identifier, and the key itself."""
    return f"{did_web(url)}#{multikey(public)}"


def multikey(public: bytes) -> str:
    """An Ed25519 public key as text (W3C Multikey)."""
    return _BASE58 + base58.b58encode(_ED25519 + public).decode("ascii")


def public_of(text: str) -> bytes:
    """The key in a Multikey text; ValueError for anything but an Ed25519 key."""
    raw = base58.b58decode(text[1:]) if text.startswith(_BASE58) else b""
    if len(raw) != len(_ED25519) + PUBLIC_BYTES or not raw.startswith(_ED25519):
        msg = f"expected z and base58 of an Ed25519 key (got {text[:100]!r})"
        raise ValueError(msg)
    return raw[len(_ED25519) :]


def did_document(url: str, publics: tuple[bytes, ...]) -> dict[str, object]:
    """What `/.well-known/did.json` says: these keys speak for the host of this URL."""
    did = did_web(url)
    return {
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
        "id": did,
        "verificationMethod": [
            {
                "id": key_id(url, public),
                "type": "Multikey",
                "controller": did,
                "publicKeyMultibase": multikey(public),
            }
            for public in publics
        ],
        "assertionMethod": [key_id(url, public) for public in publics],
    }


def keys_of(document: Mapping[str, object]) -> dict[str, bytes]:
    """The Ed25519 keys in a DID document that may sign statements, by id; others are left out."""
    methods, named = document.get("verificationMethod"), document.get("assertionMethod")
    if not isinstance(methods, list) or not isinstance(named, list):
        return {}
    found = {}
    for method in methods:
        if not isinstance(method, dict) or method.get("id") not in named:
            continue
        try:
            found[str(method["id"])] = public_of(str(method.get("publicKeyMultibase")))
        except ValueError:
            continue
    return found
