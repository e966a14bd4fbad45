from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.keys import Ed25519Signer, check_signature
from domain.checkpoint import (
    Checkpoint,
    CheckpointError,
    SignerKey,
    decode_base64,
    open_checkpoint,
)
from tests.fakes.log import SIGNER, SIGNER_KEY
from tests.strategies import checkpoints, signer_keys

# Throwaway: 32 bytes of 0x0b.
OTHER = Ed25519Signer(b"\x0b" * 32)
OTHER_KEY = SignerKey(name="other.test", public=OTHER.public)
HEAD = Checkpoint(origin="gateway.test", size=7, root=bytes(range(32)))
NOTE = HEAD.signed(SIGNER_KEY, SIGNER.sign)


def opened(note: str, key: SignerKey = SIGNER_KEY) -> Checkpoint:
    return open_checkpoint(note, key=key, check=check_signature)


def signed(body: str) -> str:
    """A note over any text, with a good signature."""
    signature = base64.b64encode(SIGNER_KEY.hint + SIGNER.sign(body.encode())).decode()
    return f"{body}\n\N{EM DASH} {SIGNER_KEY.name} {signature}\n"


@given(checkpoints)
def test_a_signed_checkpoint_opens_to_itself(checkpoint: Checkpoint) -> None:
    assert opened(checkpoint.signed(SIGNER_KEY, SIGNER.sign)) == checkpoint


@given(signer_keys)
def test_a_verifier_key_reads_back_equal(key: SignerKey) -> None:
    assert SignerKey.parse(key.text) == key
    assert SignerKey.parse(f"{key.text}\n") == key


def test_a_note_has_the_lines_of_the_c2sp_format() -> None:
    body, signature = NOTE.split("\n\n")

    assert body.split("\n") == [
        "gateway.test",
        "7",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    ]
    assert signature.startswith("\N{EM DASH} gateway.test ")
    assert signature.endswith("\n")


def test_a_key_hint_is_the_one_of_the_c2sp_format() -> None:
    material = SIGNER_KEY.name.encode() + b"\n\x01" + SIGNER_KEY.public

    assert SIGNER_KEY.hint == hashlib.sha256(material).digest()[:4]
    assert SIGNER_KEY.text.split("+", 2)[1] == SIGNER_KEY.hint.hex()


def test_a_published_verifier_key_is_read() -> None:
    """The example key of the signed-note documentation."""
    text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"

    assert SignerKey.parse(text).name == "PeterNeumann"
    assert SignerKey.parse(text).text == text


def test_a_published_note_verifies_up_to_its_body() -> None:
    """The example note of the signed-note documentation; its text is no checkpoint."""
    key = SignerKey.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    note = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
        "\n"
        "\N{EM DASH} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2"
        "pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    )

    with pytest.raises(CheckpointError, match="three lines"):
        opened(note, key)


def test_the_signature_of_another_does_not_count() -> None:
    with pytest.raises(CheckpointError, match=r"no good signature by other\.test"):
        opened(NOTE, OTHER_KEY)


def test_one_good_signature_among_others_is_enough() -> None:
    theirs = HEAD.signed(OTHER_KEY, OTHER.sign).partition("\n\n")[2]
    body, _, ours = NOTE.partition("\n\n")

    assert opened(f"{body}\n\n{theirs}{ours}") == HEAD
    assert opened(f"{body}\n\n{theirs}{ours}", OTHER_KEY) == HEAD


@given(st.integers(0, len(NOTE) - 1), st.characters(exclude_categories=["Cs"]))
def test_any_other_character_breaks_the_note(at: int, character: str) -> None:
    changed = NOTE[:at] + character + NOTE[at + 1 :]

    if changed != NOTE:
        with pytest.raises(CheckpointError):
            opened(changed)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        "\n\n",
        NOTE.rstrip("\n"),
        NOTE.partition("\n\n")[0],
        NOTE.replace("\N{EM DASH}", "-"),
        NOTE.replace("\N{EM DASH} gateway.test", "\N{EM DASH} gateway.tests"),
        NOTE + " ",
        NOTE[:-1] + "\r\n",
        NOTE[:-2] + "!\n",
    ],
)
def test_a_note_without_a_whole_good_signature_is_refused(note: str) -> None:
    with pytest.raises(CheckpointError):
        opened(note)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("gateway.test\n7\n", "no other spelling"),
        ("gateway.test\nseven\nAAAA\n", "three lines"),
        ("gateway.test\n7\n????\n", "three lines"),
        ("gateway.test\n7\nAAB=\n", "three lines"),
        ("gateway.test\n07\nAAAA\n", "no other spelling"),
        ("gateway.test\n+7\nAAAA\n", "no other spelling"),
        ("gateway.test\n7\nAAAA\nand more\n", "no further lines"),
    ],
)
def test_a_signed_text_that_is_no_checkpoint_is_refused(body: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        opened(signed(body))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a verifier key"),
        ("gateway.test", "expected a verifier key"),
        ("gateway.test+00000000+not base64", "expected a verifier key"),
        (SIGNER_KEY.text.replace("gateway", "gatevay"), "hint does not match"),
        (f"gateway.test+{SIGNER_KEY.hint.hex()}+AQ==", "not an Ed25519 verifier key"),
        (
            "gateway.test+00000000+" + base64.b64encode(b"\x02" + SIGNER_KEY.public).decode(),
            "not an Ed25519 verifier key",
        ),
    ],
)
def test_a_text_that_is_no_verifier_key_is_refused(text: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        SignerKey.parse(text)


@given(st.binary(max_size=70))
def test_base64_is_read_in_its_one_spelling(raw: bytes) -> None:
    assert decode_base64(base64.b64encode(raw).decode()) == raw


@pytest.mark.parametrize("text", ["AAB=", "AA", "AA==\n", "A A=", "AA-_", "AB=="])
def test_base64_in_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"base64|padding|Only base64"):
        decode_base64(text)
