from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.keys import Ed25519Signer, check_signature
from adapters.witness.memory import WitnessMemory
from adapters.witness.request import AddCheckpoint
from adapters.witness.witness import RefusedError, Witness
from domain.checkpoint import Checkpoint, SignerKey, parse_signatures
from domain.cosignature import cosignatures, with_signatures
from tests.fakes.log import SIGNER_KEY
from tests.fakes.witness import WITNESS, WITNESS_KEY, ShownLog

AT_S = 1_700_000_000
LOG = ShownLog(20)
# Throwaway: 32 bytes of 0x32.
OTHER = Ed25519Signer(b"\x32" * 32)


def witness_over(memory: WitnessMemory, *logs: SignerKey) -> Witness:
    return Witness(
        memory,
        key=WITNESS_KEY,
        sign=WITNESS.sign,
        check=check_signature,
        logs=logs or (SIGNER_KEY,),
        now_s=lambda: AT_S,
    )


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[WitnessMemory]:
    with closing(WitnessMemory(tmp_path / "witness.db")) as kept:
        yield kept


@pytest.fixture
def witness(memory: WitnessMemory) -> Witness:
    return witness_over(memory)


def refused(witness: Witness, data: bytes) -> tuple[int, int | None]:
    with pytest.raises(RefusedError) as refusal:
        witness.add_checkpoint(data)
    return refusal.value.status, refusal.value.size


def test_a_head_that_continues_the_last_one_is_cosigned(witness: Witness) -> None:
    witness.add_checkpoint(LOG.request(0, 5))

    line = witness.add_checkpoint(LOG.request(5, 12))

    note = with_signatures(LOG.note(12), parse_signatures(line))
    (seen,) = cosignatures(note, witnesses=[WITNESS_KEY], check=check_signature)
    assert seen.at_s == AT_S


def test_the_same_head_is_cosigned_again(witness: Witness) -> None:
    assert witness.add_checkpoint(LOG.request(0, 5)) == witness.add_checkpoint(LOG.request(5, 5))


def test_an_empty_log_is_a_beginning(witness: Witness) -> None:
    witness.add_checkpoint(LOG.request(0, 0))

    assert witness.add_checkpoint(LOG.request(0, 5))


def test_what_was_cosigned_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "memory"
    with closing(WitnessMemory(path)) as memory:
        witness_over(memory).add_checkpoint(LOG.request(0, 5))

    with closing(WitnessMemory(path)) as memory:
        assert memory.heads() == (LOG.head(5),)
        assert refused(witness_over(memory), LOG.request(0, 5)) == (409, 5)


def test_an_old_size_that_is_not_the_last_one_is_told_it(witness: Witness) -> None:
    witness.add_checkpoint(LOG.request(0, 5))

    assert refused(witness, LOG.request(4, 12)) == (409, 5)
    assert refused(witness, LOG.request(0, 12)) == (409, 5)


def test_a_shorter_log_after_a_longer_one_is_refused(witness: Witness) -> None:
    witness.add_checkpoint(LOG.request(0, 12))

    assert refused(witness, LOG.request(5, 5)) == (409, 12)


def test_a_second_history_of_one_size_is_never_signed(
    witness: Witness, memory: WitnessMemory
) -> None:
    witness.add_checkpoint(LOG.request(0, 5))

    assert refused(witness, ShownLog(5, b"forged").request(5, 5)) == (409, 5)
    assert memory.heads() == (LOG.head(5),)


def test_a_history_that_does_not_begin_with_the_last_head_is_refused(
    witness: Witness, memory: WitnessMemory
) -> None:
    witness.add_checkpoint(LOG.request(0, 5))

    assert refused(witness, ShownLog(12, b"forged").request(5, 12))[0] == 422
    assert memory.heads() == (LOG.head(5),)


def test_a_first_head_needs_no_proof_and_takes_none(witness: Witness) -> None:
    data = AddCheckpoint(old=0, proof=(bytes(32),), note=LOG.note(5)).text.encode()

    assert refused(witness, data)[0] == 422


def test_an_unknown_log_is_refused(witness: Witness) -> None:
    head = Checkpoint(origin="other.test", size=1, root=bytes(32))
    key = SignerKey(name="other.test", public=OTHER.public)
    note = head.signed(key, OTHER.sign)

    assert refused(witness, AddCheckpoint(old=0, proof=(), note=note).text.encode())[0] == 404


def test_a_head_that_another_signed_is_refused(witness: Witness) -> None:
    key = SignerKey(name=SIGNER_KEY.name, public=OTHER.public)
    note = LOG.note(5, key=key, by=OTHER)

    assert refused(witness, AddCheckpoint(old=0, proof=(), note=note).text.encode())[0] == 403


def test_a_log_goes_on_under_a_key_that_followed(memory: WitnessMemory) -> None:
    heir = SignerKey(name=SIGNER_KEY.name, public=OTHER.public)
    witness = witness_over(memory, SIGNER_KEY, heir)
    witness.add_checkpoint(LOG.request(0, 5))
    note = LOG.note(12, key=heir, by=OTHER)
    proof = LOG.tree.consistency_proof(5, 12)

    assert witness.add_checkpoint(AddCheckpoint(old=5, proof=proof, note=note).text.encode())
    assert refused(witness, ShownLog(20, b"forged").request(12, 20))[0] == 422


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"old 0", b"new 0"),
        (b"old 0", b"old"),
        (b"old 0", b"old 00"),
        (b"old 0", b"old -1"),
        (b"old 0", b"old 6"),
        (b"old 0", b"old 0\nAAAA"),
        (b"old 0", b"old 0" + b"\n" + b"A" * 43 + b"=" + (b"\n" + b"A" * 43 + b"=") * 63),
        (b"old 0", b"old \xff"),
        (b"\n\n", b"\n"),
        (b"\n5\n", b"\n-5\n"),
        (b"\n5\n", b"\n" + b"9" * 19 + b"\n"),
        (b"\n5\n", b"\n5\nmore\n"),
    ],
)
def test_what_is_no_request_is_refused(witness: Witness, old: bytes, new: bytes) -> None:
    assert refused(witness, LOG.request(0, 5).replace(old, new, 1))[0] in (400, 403)


def test_a_root_that_is_no_hash_is_not_remembered(witness: Witness, memory: WitnessMemory) -> None:
    head = Checkpoint(origin=SIGNER_KEY.name, size=5, root=b"short")
    note = head.signed(SIGNER_KEY, Ed25519Signer(b"\x05" * 32).sign)

    assert refused(witness, AddCheckpoint(old=0, proof=(), note=note).text.encode())[0] == 400
    assert memory.heads() == ()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.integers(0, 20)), max_size=30))
def test_all_that_is_ever_signed_is_one_history(asked: list[tuple[bool, int, int]]) -> None:
    forged = ShownLog(20, b"forged")
    signed: dict[int, bytes] = {}
    with closing(WitnessMemory(Path(":memory:"))) as memory:
        witness = witness_over(memory)
        for is_honest, old, size in asked:
            log = LOG if is_honest else forged
            try:
                witness.add_checkpoint(log.request(old, size))
            except RefusedError:
                continue
            # One root a size, and never a shorter log after a longer one.
            assert signed.setdefault(size, log.tree.root(size)) == log.tree.root(size)
            assert size == max(signed)
    # The empty log is the beginning of both.
    assert len({root == LOG.tree.root(size) for size, root in signed.items() if size}) <= 1


@given(st.integers(0, 20), st.integers(0, 20))
def test_a_request_reads_back_equal(old: int, size: int) -> None:
    data = LOG.request(old, size)

    assert AddCheckpoint.parse(data).text.encode() == data
