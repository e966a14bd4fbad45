"""A contract wallet on the sandbox chain, with real code (smart_wallet.sol)."""

from __future__ import annotations

from pathlib import Path

from eth_abi.abi import encode
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from x402.schemas import PaymentPayload

from adapters.sandbox.evm import SandboxChain
from tests.fakes.sandbox import CANCEL_TYPES, DOMAIN, sign

CODE = Path(__file__).with_suffix(".hex")


class SmartWallet:
    """Owned by a key, but it pays and signs as a contract (ERC-1271)."""

    def __init__(self, chain: SandboxChain, *, owner: LocalAccount) -> None:
        self.address: str = Account.create().address
        self._owner = owner
        self._chain = chain
        chain.place_code(self.address, bytes.fromhex(CODE.read_text("ascii").strip()))
        chain.fund_gas(owner.address)
        self._send(keccak(text="adopt(address)")[:4] + encode(["address"], [owner.address]))

    def sign(self, payment: PaymentPayload) -> bytes:
        """The owner's signature in the wallet's own format."""
        return sign(payment.payload["authorization"], self._owner) + b"\x01"

    def cancellation(self, nonce: bytes) -> bytes:
        """The token call that withdraws an authorization, signed by the owner."""
        signed = self._owner.sign_typed_data(
            DOMAIN, CANCEL_TYPES, {"authorizer": self.address, "nonce": nonce}
        )
        return keccak(text="cancelAuthorization(address,bytes32,bytes)")[:4] + encode(
            ["address", "bytes32", "bytes"],
            [self.address, nonce, bytes(signed.signature) + b"\x01"],
        )

    def run(self, target: str, calls: list[bytes]) -> None:
        """Several calls in one transaction."""
        self._send(
            keccak(text="run(address,bytes[])")[:4]
            + encode(["address", "bytes[]"], [target, calls])
        )

    def _send(self, data: bytes) -> None:
        sent = self._chain.transact(caller=self._owner.address, to=self.address, data=data)
        receipt = self._chain.receipt(sent)
        assert receipt is not None
        assert receipt.succeeded
