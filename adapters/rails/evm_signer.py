"""Our own hand on an EVM chain, as the x402 library wants one: reads, sends and waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from eth_abi.abi import decode
from eth_utils.address import to_checksum_address
from x402.mechanisms.evm.constants import BALANCE_OF_ABI
from x402.mechanisms.evm.multicall import encode_contract_call
from x402.mechanisms.evm.types import TransactionReceipt, TypedDataDomain, TypedDataField
from x402.mechanisms.evm.verify import verify_typed_data_strict

from adapters.rails.chain import WrongChainError
from adapters.rails.evm_sender import Sender
from adapters.rails.gas import Fees
from adapters.rails.node_line import NodeLine, NodeSilentError, octets, quantity

# The library's own shape of a contract's description.
Abi = list[dict[str, Any]]


class GasKeySigner:
    """Implements the library's `FacilitatorEvmSigner` with a key that pays gas and owns nothing.

    Any number of threads may use it.
    """

    def __init__(self, line: NodeLine, sender: Sender, *, address: str, chain_id: int) -> None:
        self.address = address
        self._line = line
        self._sender = sender
        self._chain_id = chain_id
        self._chain_checked = False
        self._heard = threading.local()

    def close(self) -> None:
        """End every wait now."""
        self._sender.close()

    @contextmanager
    def silence_told(self) -> Iterator[None]:
        """Raise on the way out where the node was silent to this thread's reads meanwhile."""
        self._heard.silence = None
        yield
        silence: NodeSilentError | None = self._heard.silence
        if silence is not None:
            raise silence

    def check_chain(self) -> None:
        """Ask once which chain it is; WrongChainError for another than ours."""
        if self._chain_checked:
            return
        found = quantity(self._line.call("eth_chainId", []))
        if found != self._chain_id:
            msg = f"the node is of chain {found}, and we are paid on chain {self._chain_id}"
            raise WrongChainError(msg)
        self._chain_checked = True

    def gas_wei(self) -> int:
        """What there is to pay gas with."""
        return quantity(self._line.call("eth_getBalance", [self.address, "latest"]))

    def fees(self) -> Fees:
        """What a transaction would be sent for now."""
        return Fees.of_chain(self._line)

    def get_addresses(self) -> list[str]:
        return [self.address]

    def get_chain_id(self) -> int:
        return self._chain_id

    def get_code(self, address: str) -> bytes:
        return octets(self._asked("eth_getCode", [address, "latest"]))

    def get_balance(self, address: str, token_address: str) -> int:
        return int(self.read_contract(token_address, BALANCE_OF_ABI, "balanceOf", address))

    def read_contract(self, address: str, abi: Abi, function_name: str, *args: object) -> Any:  # noqa: ANN401 (the library's signature)
        """Call and undo; a refusal raises with the contract's words, which the library reads."""
        data = encode_contract_call(abi, function_name, *args)
        call = {"from": self.address, "to": to_checksum_address(address), "data": "0x" + data.hex()}
        answer = octets(self._asked("eth_call", [call, "latest"]))
        outputs = next(item for item in abi if item.get("name") == function_name).get("outputs", [])
        decoded = decode([_type(output) for output in outputs], answer)
        return decoded[0] if len(decoded) == 1 else decoded

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
        return self.send_transaction(address, data + octets(data_suffix or ""))

    def send_transaction(self, to: str, data: bytes) -> str:
        """As `Sender.send`; never to another chain than ours."""
        self.check_chain()
        return self._sender.send(to, data)

    def wait_for_transaction_receipt(self, tx_hash: str) -> TransactionReceipt:
        """Wait for a block to take it; TimeoutError where none does in time."""
        found = self._sender.receipt_of(tx_hash)
        logs = found.get("logs")
        return TransactionReceipt(
            status=quantity(found.get("status")),
            block_number=quantity(found.get("blockNumber")),
            tx_hash=tx_hash,
            logs=logs if isinstance(logs, list) else None,
        )

    def _asked(self, method: str, params: list[object]) -> object:
        try:
            return self._line.call(method, params)
        except NodeSilentError as silence:
            self._heard.silence = silence
            raise


def _type(item: dict[str, Any]) -> str:
    """An ABI type, tuples spelled out."""
    name = str(item["type"])
    if not name.startswith("tuple"):
        return name
    parts = ",".join(_type(part) for part in item["components"])
    return f"({parts}){name.removeprefix('tuple')}"
