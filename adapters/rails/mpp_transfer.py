"""One transfer on Tempo, as it was signed and as we keep it: enough to send it and to find it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import rlp  # type: ignore[import-untyped]  # ships no types
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

# Private, and the one thing that must not differ from the library: what a transaction is called.
from mpp.methods.tempo.intents import _canonical_raw_transaction

from adapters.rails.mpp_node import MemoTransfer, TempoReceipt
from domain.ports.payments import Proof

_TYPE = 0x76
_TRANSFER_WITH_MEMO = bytes.fromhex("95777d59")
_APPROVE = bytes.fromhex("095ea7b3")
# Gas is priced in attodollars, tokens count in microdollars.
_ATTO_PER_MICRO = 10**12


@dataclass(frozen=True, slots=True, kw_only=True)
class TempoTransfer:
    """What moves, and how it is known on the chain; hex in lower case, amounts in base units.

    `raw` is the signed transaction, "" where its payer sent it. `valid_before_s` is the Unix second
    from which the chain refuses it. `fee_token` and `fee_max` are what it may cost beside the
    amount ("" where it does not say in which token); `swaps` where it buys the token first.
    `offered_until_ms` is when the challenge it answers expires.
    """

    hash: str
    payer: str
    pay_to: str
    token: str
    amount: int
    memo: str
    valid_before_s: int
    offered_until_ms: int
    raw: str = ""
    fee_token: str = ""
    fee_max: int = 0
    swaps: bool = False

    def key(self, network: str) -> str:
        """The same for every way it is shown to us: one transaction may pay several challenges."""
        return f"{network}|{self.hash}|{self.memo}"

    def text(self) -> str:
        """As JSON, for `of`."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def of(cls, proof: Proof) -> TempoTransfer:
        """Read back what `text` wrote."""
        return cls(**json.loads(proof.payload))

    def is_in(self, receipt: TempoReceipt) -> bool:
        """Whether this receipt shows exactly this transfer."""
        wanted = MemoTransfer(
            token=self.token,
            payer=self.payer,
            pay_to=self.pay_to,
            amount=self.amount,
            memo=self.memo,
        )
        return receipt.succeeded and wanted in receipt.transfers


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTransaction:
    """The parts of a signed Tempo transaction that we go by; hex in lower case."""

    raw: str
    hash: str
    memo: str
    valid_before_s: int
    fee_token: str
    fee_max: int
    swaps: bool


def read_signed(raw: str) -> SignedTransaction:
    """Take a transaction apart whose calls the library has checked; ValueError says what is wrong.

    Its raw form is made canonical first, as the chain does it: the same transaction has one hash.
    """
    canonical = _canonical_raw_transaction(raw.lower())
    octets = bytes.fromhex(canonical.removeprefix("0x"))
    if octets[:1] != bytes([_TYPE]):
        raise ValueError("the transaction is not a plain Tempo transaction (type 0x76)")
    try:
        return _read(canonical, octets)
    except (
        rlp.DecodingError,
        DecodingError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError("the transaction does not have the fields of one") from error


def _read(canonical: str, octets: bytes) -> SignedTransaction:
    fields = rlp.decode(octets[1:])
    calls: list[list[bytes]] = fields[4]
    memos = [data for _, _, data in calls if data[:4] == _TRANSFER_WITH_MEMO]
    _, _, memo = decode(["address", "uint256", "bytes32"], memos[0][4:])
    return SignedTransaction(
        raw=canonical,
        hash="0x" + keccak(octets).hex(),
        memo="0x" + bytes(memo).hex(),
        valid_before_s=int.from_bytes(fields[8]),
        fee_token="0x" + fields[10].hex() if fields[10] else "",
        # With a second signature somebody else pays the fee.
        fee_max=0 if fields[11] else _fee(price=fields[2], gas=fields[3]),
        swaps=calls[0][2][:4] == _APPROVE,
    )


def _fee(*, price: bytes, gas: bytes) -> int:
    """The most it can cost, in microdollars."""
    return -(-int.from_bytes(price) * int.from_bytes(gas) // _ATTO_PER_MICRO)
