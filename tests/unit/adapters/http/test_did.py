from __future__ import annotations

import json

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from adapters.did import key_id, keys_of
from adapters.http.did import DID_PATH, DidDocument, offers_of_site

PUBLIC_URL = "https://shop.test"
KEYS = (bytes(range(32)), bytes(range(32, 64)))


async def test_the_document_tells_our_keys_by_the_name_of_our_host() -> None:
    app = web.Application()
    DidDocument(PUBLIC_URL, KEYS).add_to(app)

    async with TestClient(TestServer(app)) as client, client.get(DID_PATH) as answer:
        document = json.loads(await answer.text())

    assert answer.content_type == "application/did+json"
    assert document["id"] == "did:web:shop.test"
    assert keys_of(document) == {key_id(PUBLIC_URL, key): key for key in KEYS}


def test_the_site_says_where_the_document_is_and_which_keys_sign() -> None:
    assert offers_of_site(PUBLIC_URL + "/", KEYS) == {
        "extension": "offer-receipt",
        "keys": [key_id(PUBLIC_URL, key) for key in KEYS],
        "did_document": "https://shop.test/.well-known/did.json",
    }
