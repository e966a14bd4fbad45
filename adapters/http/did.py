"""Which keys speak for this host: a DID document, as verifiers of did:web resolve it."""

from __future__ import annotations

import json

from aiohttp import web

from adapters.did import did_document, key_id

DID_PATH = "/.well-known/did.json"


class DidDocument:
    """Answers `DID_PATH` with the keys that sign our offers and receipts, the newest first."""

    def __init__(self, public_url: str, publics: tuple[bytes, ...]) -> None:
        self._body = json.dumps(did_document(public_url, publics)).encode()

    def add_to(self, app: web.Application) -> None:
        app.router.add_get(DID_PATH, self.show)

    async def show(self, request: web.Request) -> web.Response:
        return web.Response(body=self._body, content_type="application/did+json")


def offers_of_site(public_url: str, publics: tuple[bytes, ...]) -> dict[str, object]:
    """What `/.well-known/payphone` says of signed offers and receipts."""
    return {
        "extension": "offer-receipt",
        "keys": [key_id(public_url, public) for public in publics],
        "did_document": public_url.rstrip("/") + DID_PATH,
    }
