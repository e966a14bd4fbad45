from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.keys import Ed25519Signer, check_signature
from domain.checkpoint import Checkpoint, CheckpointError, SignerKey
from domain.rotation import Rotation, RotationError, follow, open_rotation, outlived
from tests.fakes.log import SIGNER, SIGNER_KEY

# Throwaway: 32 bytes each of 0x21, 0x22 and 0x23.
SECOND, THIRD, FORGER = (Ed25519Signer(bytes([n]) * 32) for n in (0x21, 0x22, 0x23))


def named(signer: Ed25519Signer, name: str = SIGNER_KEY.name) -> SignerKey:
    return SignerKey(name=name, public=signer.public)


def rotation(
    former: Ed25519Signer = SIGNER, signer: Ed25519Signer = SECOND, *, size: int = 7
) -> Rotation:
    head = Checkpoint(origin=SIGNER_KEY.name, size=size, root=bytes(32))
    return Rotation(since=head, former=named(former), key=named(signer))


def note(former: Ed25519Signer = SIGNER, signer: Ed25519Signer = SECOND, *, size: int = 7) -> str:
    change = rotation(former, signer, size=size)
    return change.signed(sign_former=former.sign, sign=signer.sign)


def followed(*notes: str, trusted: SignerKey = SIGNER_KEY) -> tuple[SignerKey, ...]:
    return follow(notes, trusted=[trusted], check=check_signature)


def test_a_change_of_key_opens_to_itself() -> None:
    assert open_rotation(note(), check=check_signature) == rotation()


def test_who_trusts_the_first_key_comes_to_the_last() -> None:
    keys = followed(note(), note(SECOND, THIRD, size=9))

    assert keys == (named(THIRD), named(SECOND), SIGNER_KEY)


def test_who_trusts_a_later_key_does_not_come_to_an_earlier_one() -> None:
    keys = followed(note(), note(SECOND, THIRD, size=9), trusted=named(SECOND))

    assert keys == (named(THIRD), named(SECOND))


def test_a_change_that_does_not_begin_at_a_trusted_key_leads_nowhere() -> None:
    assert followed(note(FORGER, THIRD)) == (SIGNER_KEY,)


def test_a_change_signed_by_another_than_the_former_key_is_a_forgery() -> None:
    forged = rotation(SIGNER, FORGER).signed(sign_former=FORGER.sign, sign=FORGER.sign)

    with pytest.raises(RotationError, match=f"not signed by .*{SIGNER_KEY.hint.hex()}"):
        followed(forged)


def test_a_change_to_a_key_that_did_not_sign_is_a_forgery() -> None:
    forged = rotation().signed(sign_former=SIGNER.sign, sign=SIGNER.sign)

    with pytest.raises(RotationError, match=f"not signed by .*{named(SECOND).hint.hex()}"):
        followed(forged)


def test_signatures_of_one_change_do_not_serve_another() -> None:
    forged = note(size=7).replace("size 7", "size 8")

    with pytest.raises(RotationError, match="not signed by"):
        followed(forged)


def test_a_head_that_somebody_else_signed_too_is_no_change_of_key() -> None:
    head = rotation().since
    both = head.signed(SIGNER_KEY, SIGNER.sign) + head.signed(named(FORGER), FORGER.sign)[-100:]

    with pytest.raises(CheckpointError):
        followed(both)


def test_a_key_names_one_heir() -> None:
    with pytest.raises(RotationError, match="named two keys"):
        followed(note(), note(SIGNER, THIRD))


def test_keys_follow_in_the_order_of_the_log() -> None:
    with pytest.raises(RotationError, match="at size 5, after one at size 7"):
        followed(note(), note(SECOND, THIRD, size=5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace(rotation(), key=SIGNER_KEY), "names two keys"),
        (replace(rotation(), key=named(SECOND, "other.test")), "keeps the log's name"),
    ],
)
def test_what_cannot_be_a_change_of_key_is_refused(change: Rotation, message: str) -> None:
    with pytest.raises(RotationError, match=message):
        followed(change.signed(sign_former=SIGNER.sign, sign=SECOND.sign))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("payphone-log-key-1", "payphone-log-key-2"),
        ("size 7", "size 07"),
        ("size 7", "size seven"),
        ("size 7", "length 7"),
        ("root ", "root !"),
        ("former gateway.test", "former gatevay.test"),
    ],
)
def test_a_change_in_another_spelling_is_refused(old: str, new: str) -> None:
    with pytest.raises(RotationError):
        followed(note().replace(old, new))


@pytest.mark.parametrize(
    ("size", "signers", "is_late"),
    [
        (7, [SIGNER_KEY], False),
        (8, [SIGNER_KEY], True),
        (8, [SIGNER_KEY, named(SECOND)], False),
        (8, [named(SECOND)], False),
        (8, [], False),
    ],
)
def test_a_former_key_counts_up_to_its_last_head(
    *, size: int, signers: list[SignerKey], is_late: bool
) -> None:
    late = outlived(size, signers, [rotation()])

    assert (late is not None) == is_late
