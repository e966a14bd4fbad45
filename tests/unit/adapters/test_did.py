from __future__ import annotations

import pytest

from adapters.did import did_document, did_web, key_id, keys_of, multikey, public_of

PUBLIC = bytes(range(32))
SHOP = "https://shop.test/v1/credits/purchase"


@pytest.mark.parametrize(
    ("url", "did"),
    [
        ("https://shop.test", "did:web:shop.test"),
        ("https://Shop.TEST/any/path?query", "did:web:shop.test"),
        ("http://127.0.0.1:8402/v1", "did:web:127.0.0.1%3A8402"),
        ("http://[::1]:8402", "did:web:%5B%3A%3A1%5D%3A8402"),
        ("https://name:secret@shop.test/", "did:web:shop.test"),
    ],
)
def test_an_identifier_is_the_host_and_nothing_else(url: str, did: str) -> None:
    assert did_web(url) == did


@pytest.mark.parametrize("url", ["", "shop.test", "https://", "https://shop.test:port"])
def test_what_has_no_host_has_no_identifier(url: str) -> None:
    with pytest.raises(ValueError, match=r"host|[Pp]ort"):
        did_web(url)


def test_a_key_is_told_as_others_tell_it() -> None:
    # From the did:key method's own test vectors (W3C CCG, read in November 2026).
    public = bytes.fromhex("2e6fcce36701dc791488e0d0b1745cc1e33a4c1c9fcc41c63bd343dbbe0970e6")

    assert multikey(public) == "z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"


def test_a_key_that_was_told_is_read_again() -> None:
    assert public_of(multikey(PUBLIC)) == PUBLIC


@pytest.mark.parametrize(
    "text",
    ["", "z", multikey(PUBLIC)[1:], multikey(PUBLIC[1:]), multikey(PUBLIC) + "1", "z0OIl", "zé"],
)
def test_anything_else_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        public_of(text)


def test_a_document_tells_each_key_by_its_id() -> None:
    keys = (PUBLIC, PUBLIC[::-1])

    document = did_document(SHOP, keys)

    assert document["id"] == "did:web:shop.test"
    assert keys_of(document) == {key_id(SHOP, key): key for key in keys}


def test_a_key_that_may_not_sign_statements_is_left_out() -> None:
    document = did_document(SHOP, (PUBLIC,)) | {"assertionMethod": []}

    assert keys_of(document) == {}


def test_a_key_of_another_kind_is_left_out() -> None:
    document = did_document(SHOP, (PUBLIC,))
    methods = document["verificationMethod"]
    assert isinstance(methods, list)
    methods[0]["publicKeyMultibase"] = "zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme"

    assert keys_of(document) == {}


@pytest.mark.parametrize("document", [{}, {"verificationMethod": {}, "assertionMethod": []}])
def test_what_is_no_document_tells_no_key(document: dict[str, object]) -> None:
    assert keys_of(document) == {}
