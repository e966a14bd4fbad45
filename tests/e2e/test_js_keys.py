"""A bill under a head with several signatures verifies under Node as it does here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from adapters.keys import Ed25519Signer, check_signature
from domain.audit import parse_bill, verify_bill
from domain.checkpoint import SignerKey, also_signed
from domain.cosignature import cosigned
from tests.e2e.test_js_verifier import VERIFIER, node
from tests.fakes.bills import Tale
from tests.fakes.log import SIGNER, SIGNER_KEY
from tests.fakes.witness import WITNESS, WITNESS_KEY

# Throwaway: 32 bytes of 0x41.
HEIR = Ed25519Signer(b"\x41" * 32)
HEIR_KEY = SignerKey(name=SIGNER_KEY.name, public=HEIR.public)
SCRIPT = str(VERIFIER / "cli.mjs")
TALE = Tale(steps=[("resume", 1), ("wait", 5_000), ("pause", 1)])
pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node 20 on PATH")


@pytest.fixture
def bills(tmp_path: Path) -> tuple[str, str]:
    """One bill from before a change of key and one from after it, both under the same head."""
    files = []
    for key in (SIGNER_KEY, HEIR_KEY):
        document = TALE.document(key=SIGNER_KEY, signer=SIGNER)
        note = also_signed(document["evidence"]["checkpoint"], HEIR_KEY, HEIR.sign)
        note = cosigned(note, WITNESS_KEY, WITNESS.sign, at_s=1_700_000_000)
        document["evidence"] |= {"checkpoint": note, "signer": key.text}
        path = tmp_path / f"{key.hint.hex()}.json"
        path.write_text(json.dumps(document))
        verify_bill(parse_bill(path.read_bytes()), check=check_signature, trusted=key)
        files.append(str(path))
    return files[0], files[1]


def test_other_signatures_on_the_head_do_not_matter(bills: tuple[str, str]) -> None:
    for path, key in zip(bills, (SIGNER_KEY, HEIR_KEY), strict=True):
        assert node(SCRIPT, path, "--key", key.text).stdout.startswith("VERIFIED session")


def test_of_several_keys_the_one_counts_that_the_bill_names(bills: tuple[str, str]) -> None:
    keys = ("--key", HEIR_KEY.text, "--key", SIGNER_KEY.text)

    for path in bills:
        assert node(SCRIPT, path, *keys).stdout.startswith("VERIFIED session")


def test_a_key_that_is_none_of_them_is_named(bills: tuple[str, str]) -> None:
    before, _ = bills

    assert (
        "NOT VERIFIED signer: expected "
        in node(SCRIPT, before, "--key", HEIR_KEY.text, status=1).stderr
    )
