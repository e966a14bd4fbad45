"""The facilitator's hand on the sandbox chain: reads, sends and waits as on a real one."""

from __future__ import annotations

from typing import Any

from eth_abi.abi import decode
from x402.mechanisms.evm.multicall import encode_contract_call
from x402.mechanisms.evm.types import TransactionReceipt, TypedDataDomain, TypedDataField
from x402.mechanisms.evm.verify import verify_typed_data_strict

from adapters.sandbox.evm import CHAIN_ID, SandboxChain
from adapters.sandbox.wallets import fresh_evm_wallet

# The library's own shape of a contract's description.
Abi = list[dict[str, Any]]


class SandboxSigner:
    """Implements the library's `FacilitatorEvmSigner`; any number of threads may use it.

    Transactions are sent in the name of a fresh address that holds gas money and no tokens.
    Nothing is signed: the sandbox takes the sender's word.
    """

    def __init__(self, chain: SandboxChain) -> None:
        self._chain = chain
        self.address = fresh_evm_wallet().address
        chain.fund_gas(self.address)

    def get_addresses(self) -> list[str]:
        return [self.address]

    def get_chain_id(self) -> int:
        return CHAIN_ID

    def get_code(self, address: str) -> bytes:
        return self._chain.code(address)

    def get_balance(self, address: str, token_address: str) -> int:
        return self._chain.balance(address)

    def read_contract(self, address: str, abi: Abi, function_name: str, *args: object) -> Any:  # noqa: ANN401 (the library's signature)
        """Call and undo; a refusal raises with the contract's words, which the library reads."""
        data = encode_contract_call(abi, function_name, *args)
        answer = self._chain.read(to=address, data=data, caller=self.address)
        outputs = [output["type"] for output in abi[0].get("outputs", [])]
        decoded = decode(outputs, answer)
        return decoded[0] if len(decoded) == 1 else decoded

    def write_contract(
        self,
        address: str,
        abi: Abi,
        function_name: str,
        *args: object,
        data_suffix: str | None = None,
    ) -> str:
        """Send and return the hash; whether it reverted is in the receipt."""
        data = encode_contract_call(abi, function_name, *args)
        suffix = bytes.fromhex((data_suffix or "").removeprefix("0x"))
        return self._chain.transact(caller=self.address, to=address, data=data + suffix)

    def send_transaction(self, to: str, data: bytes) -> str:
        return self._chain.transact(caller=self.address, to=to, data=data)

    def wait_for_transaction_receipt(self, tx_hash: str) -> TransactionReceipt:
        receipt = self._chain.receipt(tx_hash)
        if receipt is None:
            msg = f"no transaction {tx_hash}"
            raise LookupError(msg)
        return TransactionReceipt(
            status=int(receipt.succeeded),
            block_number=receipt.block,
            tx_hash=tx_hash,
            logs=list(receipt.logs),
        )

    def verify_typed_data(
        self,
        address: str,
        domain: TypedDataDomain,
        types: dict[str, list[TypedDataField]],
        primary_type: str,
        message: dict[str, Any],
        signature: bytes,
    ) -> bool:
        loose: dict[str, list[TypedDataField | dict[Any, Any]]] = {
            name: [*fields] for name, fields in types.items()
        }
        return verify_typed_data_strict(
            self, address, domain, loose, primary_type, message, signature
        )
