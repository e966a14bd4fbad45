"""A log that a witness is shown, and what it is asked to sign."""

from __future__ import annotations

from adapters.keys import Ed25519Signer
from adapters.witness.request import AddCheckpoint
from domain.checkpoint import Checkpoint, SignerKey
from domain.cosignature import WitnessKey
from domain.merkle import MerkleTree, leaf_hash
from tests.fakes.log import SIGNER, SIGNER_KEY

# Throwaway: 32 bytes of 0x31.
WITNESS = Ed25519Signer(b"\x31" * 32)
WITNESS_KEY = WitnessKey(name="witness.test", public=WITNESS.public)


class ShownLog:
    """A log of `size` events; another `salt` is another history."""

    def __init__(self, size: int, salt: bytes = b"") -> None:
        self.tree = MerkleTree()
        for number in range(size):
            self.tree.append(leaf_hash(b"%d" % number + salt))

    def head(self, size: int) -> Checkpoint:
        return Checkpoint(origin=SIGNER_KEY.name, size=size, root=self.tree.root(size))

    def note(self, size: int, *, key: SignerKey = SIGNER_KEY, by: Ed25519Signer = SIGNER) -> str:
        return self.head(size).signed(key, by.sign)

    def request(self, old: int, size: int) -> bytes:
        """The honest request to go on from `old` to `size`."""
        proof = self.tree.consistency_proof(old, size) if 0 < old < size else ()
        return AddCheckpoint(old=old, proof=proof, note=self.note(size)).text.encode()
