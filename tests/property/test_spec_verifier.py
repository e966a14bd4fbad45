"""Two verifiers, one in the program and one after the letter of the spec, agree on every file."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.keys import check_signature
from domain.audit import AuditError, parse_bill, verify_bill
from tests.fakes.bills import Tale, lies
from tests.fakes.log import SIGNER_KEY
from tests.property.spec_verifier import BrokenBillError, verify
from tests.property.test_bill import BILLS, CLOCKED, SPOKEN, STEPS, get, numbers, put


def ours(data: bytes) -> bool:
    try:
        verify_bill(parse_bill(data), check=check_signature, trusted=SIGNER_KEY)
    except AuditError:
        return False
    return True


def theirs(data: bytes) -> bool:
    try:
        verify(data, SIGNER_KEY.text)
    except BrokenBillError:
        return False
    return True


@given(service=st.sampled_from(["stt", "tts", "webrtc"]), steps=STEPS)
def test_both_accept_the_bill_of_any_history(service: str, steps: list[tuple[str, int]]) -> None:
    data = Tale(service=service, quantity=2_000 if service == "tts" else 120_000, steps=steps)

    assert theirs(data.file())


@settings(max_examples=400)
@given(data=st.sampled_from(BILLS), at=st.integers(0, 2**16), change=st.integers(1, 255))
def test_both_say_the_same_of_a_changed_byte(data: bytes, at: int, change: int) -> None:
    at %= len(data)
    changed = data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]

    assert theirs(changed) == ours(changed)


@pytest.mark.parametrize("tale", [CLOCKED, SPOKEN])
def test_both_find_every_wrong_posting_and_version(tale: Tale) -> None:
    for file in lies(tale):
        assert (ours(file), theirs(file)) == (False, False)


@pytest.mark.parametrize("data", BILLS)
def test_both_find_every_changed_number(data: bytes) -> None:
    document = json.loads(data)
    for where in numbers(document):
        changed = copy.deepcopy(document)
        put(changed, where, get(document, where) + 1)

        assert not theirs(json.dumps(changed).encode())
