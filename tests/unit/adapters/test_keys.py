from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.keys import (
    Ed25519SessionKeys,
    Ed25519Signer,
    KeyFileError,
    check_signature,
    load_or_create_seed,
)
from domain.errors import UnauthenticatedError
from domain.ports.keys import SessionKey

# Throwaway.
SEED, OTHER_SEED = b"\x06" * 32, b"\x07" * 32
KEY = SessionKey(session_id=UUID(int=1), service="stt", expires_at_ms=1_700_000_000_000)


def keys(seed: bytes = SEED, issuer: str = "http://gateway.test") -> Ed25519SessionKeys:
    return Ed25519SessionKeys(seed, issuer=issuer)


def signed(claims: dict[str, object], algorithm: str = "EdDSA") -> str:
    """A token by our own key over whatever is asked for."""
    return jwt.encode(claims, Ed25519PrivateKey.from_private_bytes(SEED), algorithm=algorithm)


def test_a_key_reads_as_it_was_issued() -> None:
    assert keys().read(keys().issue(KEY)) == KEY


def test_the_same_key_is_the_same_text() -> None:
    assert keys().issue(KEY) == keys().issue(KEY)


def test_expiry_is_rounded_up_to_the_second() -> None:
    late = SessionKey(session_id=KEY.session_id, service="stt", expires_at_ms=1_001)

    assert keys().read(keys().issue(late)).expires_at_ms == 2_000


def test_an_expired_key_is_read_all_the_same() -> None:
    old = SessionKey(session_id=KEY.session_id, service="tts", expires_at_ms=1_000)

    assert keys().read(keys().issue(old)) == old


GOOD = {"iss": "http://gateway.test", "sub": str(UUID(int=1)), "svc": "stt", "exp": 4102444800}


@pytest.mark.parametrize(
    "claims",
    [
        {**GOOD, "iss": "http://elsewhere.test"},
        {**GOOD, "sub": "not an id"},
        {**GOOD, "exp": "tomorrow"},
        {name: value for name, value in GOOD.items() if name != "exp"},
        {name: value for name, value in GOOD.items() if name != "svc"},
        {name: value for name, value in GOOD.items() if name != "sub"},
        {name: value for name, value in GOOD.items() if name != "iss"},
    ],
)
def test_our_signature_over_other_claims_is_refused(claims: dict[str, object]) -> None:
    with pytest.raises(UnauthenticatedError):
        keys().read(signed(claims))


def test_a_key_of_another_gateway_is_refused() -> None:
    with pytest.raises(UnauthenticatedError):
        keys().read(keys(OTHER_SEED).issue(KEY))


def test_a_key_without_a_signature_is_refused() -> None:
    with pytest.raises(UnauthenticatedError):
        keys().read(jwt.encode(GOOD, "", algorithm="none"))


def test_a_key_signed_with_our_public_key_as_a_password_is_refused() -> None:
    public = base64.b64encode(Ed25519Signer(SEED).public).decode()

    with pytest.raises(UnauthenticatedError):
        keys().read(jwt.encode(GOOD, public, algorithm="HS256"))


def test_a_changed_claim_is_refused() -> None:
    header, claims, signature = keys().issue(KEY).split(".")
    content = json.loads(base64.urlsafe_b64decode(claims + "=="))
    content["svc"] = "tts"
    forged = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    with pytest.raises(UnauthenticatedError):
        keys().read(f"{header}.{forged}.{signature}")


@pytest.mark.parametrize(
    "token", ["", "x", "a.b", "a.b.c", "a.b.c.d", "é.ü.ö", "." * 10_000, "\x00"]
)
def test_garbage_is_refused(token: str) -> None:
    with pytest.raises(UnauthenticatedError):
        keys().read(token)


def test_a_refusal_does_not_repeat_the_key() -> None:
    token = keys(OTHER_SEED).issue(KEY)

    with pytest.raises(UnauthenticatedError) as refusal:
        keys().read(token)

    assert token not in str(refusal.value)


def test_a_signature_holds_for_its_message_only() -> None:
    signer = Ed25519Signer(SEED)
    signature = signer.sign(b"ten")

    assert check_signature(signer.public, b"ten", signature)
    assert not check_signature(signer.public, b"eleven", signature)


@pytest.mark.parametrize(("public", "signature"), [(b"short", b"x" * 64), (b"\x01" * 32, b"short")])
def test_a_signature_of_wrong_size_does_not_hold(public: bytes, signature: bytes) -> None:
    assert not check_signature(public, b"ten", signature)


def test_a_seed_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "log.seed"

    first = load_or_create_seed(path)

    assert load_or_create_seed(path) == first
    assert len(first) == 32


def test_a_seed_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.seed"

    load_or_create_seed(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_making_a_seed_leaves_nothing_else_behind(tmp_path: Path) -> None:
    load_or_create_seed(tmp_path / "log.seed")

    assert [path.name for path in tmp_path.iterdir()] == ["log.seed"]


def test_the_loser_of_a_race_takes_the_winners_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.seed"
    winner = "ab" * 32
    link = os.link

    def win_first(aside: Path, name: Path) -> None:
        path.write_text(winner, encoding="ascii")
        path.chmod(0o600)
        link(aside, name)

    monkeypatch.setattr(os, "link", win_first)

    assert load_or_create_seed(path).hex() == winner


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    path = tmp_path / "log.seed"
    program = (
        "import sys, pathlib; from adapters.keys import load_or_create_seed; "
        "print(load_or_create_seed(pathlib.Path(sys.argv[1])).hex())"
    )

    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        for _ in range(3)
    ]
    seeds = {process.communicate()[0] for process in running}

    assert seeds == {load_or_create_seed(path).hex() + "\n"}


def test_a_seed_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.seed"
    load_or_create_seed(path)
    path.chmod(0o644)

    with pytest.raises(KeyFileError, match="chmod 600"):
        load_or_create_seed(path)


@pytest.mark.parametrize("content", ["", "abcd", "zz" * 32, "ab" * 33, "é"])
def test_a_damaged_seed_is_not_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "log.seed"
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)

    with pytest.raises(KeyFileError, match="64 hex digits"):
        load_or_create_seed(path)

    assert path.read_text(encoding="utf-8") == content
