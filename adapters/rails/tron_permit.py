"""A signed permit to move dollars on TRON (PaymentPermit), read strictly and signed for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from coincurve import PrivateKey, PublicKey
from eth_hash.auto import keccak

from adapters.rails.tron_address import account_of, address_of
from adapters.rails.tron_networks import TronNetwork
from domain.errors import MalformedError

KIND = "PAYMENT_ONLY"
_PAYMENT_ID = re.compile(r"0x[0-9a-fA-F]{32}")
_SIGNATURE = re.compile(r"(?:0x)?([0-9a-fA-F]{130})")
# What a uint256 can need at most.
_WHOLE = re.compile(r"0|[1-9][0-9]{0,77}")
_UINT256_MAX = 2**256 - 1
_TIME_S_MAX = 2**53
_META = ("kind", "paymentId", "nonce", "validAfter", "validBefore")
_PAYMENT = ("payToken", "payAmount", "payTo")
_FEE = ("feeTo", "feeAmount")
_PERMIT = ("meta", "buyer", "caller", "payment", "fee")
_RECOVERY_IDS = {27: b"\x00", 28: b"\x01"}
# The curve's order, halved: the contract takes the twin above it too, so we must not.
_LOW_S_MAX = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
_SIGNATURE_BYTES = 65

_META_TYPE = (
    b"PermitMeta(uint8 kind,bytes16 paymentId,uint256 nonce,uint256 validAfter,uint256 validBefore)"
)
_PAYMENT_TYPE = b"Payment(address payToken,uint256 payAmount,address payTo)"
_FEE_TYPE = b"Fee(address feeTo,uint256 feeAmount)"
_DETAILS_TYPE = (
    b"PaymentPermitDetails(PermitMeta meta,address buyer,address caller,Payment payment,Fee fee)"
    + _FEE_TYPE
    + _PAYMENT_TYPE
    + _META_TYPE
)
_DOMAIN_TYPE = b"EIP712Domain(string name,uint256 chainId,address verifyingContract)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """What a buyer signs: `amount` to `pay_to` and `fee` to `fee_to`, brought by `caller`, once.

    Amounts are token base units, times Unix seconds, addresses base58check. `nonce` is used up once
    for each buyer; `payment_id` is 16 bytes that the contract writes beside the transfer.
    """

    payment_id: bytes
    nonce: int
    valid_after_s: int
    valid_before_s: int
    buyer: str
    caller: str
    asset: str
    amount: int
    pay_to: str
    fee_to: str
    fee: int

    @classmethod
    def parse(cls, fields: object) -> Permit:
        """Read the wire's `paymentPermit`; whatever is not exactly that is refused.

        Strictness is safety: what we key and match must be what a facilitator submits.
        """
        whole = _Reader.of("paymentPermit", fields, _PERMIT)
        meta = _Reader.of("meta", whole.fields["meta"], _META)
        payment = _Reader.of("payment", whole.fields["payment"], _PAYMENT)
        fee = _Reader.of("fee", whole.fields["fee"], _FEE)
        if meta.fields["kind"] != KIND:
            raise _malformed("meta.kind", KIND, meta.fields["kind"])
        return cls(
            payment_id=bytes.fromhex(meta.text("paymentId", _PAYMENT_ID, "0x and 32 digits")[2:]),
            nonce=meta.whole("nonce"),
            valid_after_s=meta.time_s("validAfter"),
            valid_before_s=meta.time_s("validBefore"),
            buyer=whole.address("buyer"),
            caller=whole.address("caller"),
            asset=payment.address("payToken"),
            amount=payment.whole("payAmount"),
            pay_to=payment.address("payTo"),
            fee_to=fee.address("feeTo"),
            fee=fee.whole("feeAmount"),
        )

    def wire(self) -> dict[str, object]:
        """The wire's `paymentPermit` again, the same for every spelling it came in."""
        return {
            "meta": {
                "kind": KIND,
                "paymentId": f"0x{self.payment_id.hex()}",
                "nonce": str(self.nonce),
                "validAfter": self.valid_after_s,
                "validBefore": self.valid_before_s,
            },
            "buyer": self.buyer,
            "caller": self.caller,
            "payment": {
                "payToken": self.asset,
                "payAmount": str(self.amount),
                "payTo": self.pay_to,
            },
            "fee": {"feeTo": self.fee_to, "feeAmount": str(self.fee)},
        }

    def digest(self, network: TronNetwork) -> bytes:
        """The 32 bytes that are signed (EIP-712; TRON calls it TIP-712)."""
        meta = _words(
            keccak(_META_TYPE),
            0,
            self.payment_id.ljust(32, b"\x00"),
            self.nonce,
            self.valid_after_s,
            self.valid_before_s,
        )
        payment = _words(
            keccak(_PAYMENT_TYPE), account_of(self.asset), self.amount, account_of(self.pay_to)
        )
        fee = _words(keccak(_FEE_TYPE), account_of(self.fee_to), self.fee)
        details = _words(
            keccak(_DETAILS_TYPE),
            keccak(meta),
            account_of(self.buyer),
            account_of(self.caller),
            keccak(payment),
            keccak(fee),
        )
        return keccak(b"\x19\x01" + domain_separator(network) + keccak(details))

    def signed_by(self, key: PrivateKey, network: TronNetwork) -> str:
        """The signature of our own wallet, as the wire has it."""
        raw = key.sign_recoverable(self.digest(network), hasher=None)
        return raw[:64].hex() + f"{raw[64] + 27:02x}"

    def key(self, network: TronNetwork) -> str:
        """What makes it one payment; the signature is no part, since it has a twin."""
        return f"{network.name}|{self.payment_id.hex()}"


def parse_signature(text: object) -> str:
    """A signature as 130 hex digits in lower case; v is 27 or 28, s in the lower half."""
    found = _SIGNATURE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise _malformed("signature", "65 bytes in hex", text)
    raw = bytes.fromhex(found[1])
    if raw[64] not in _RECOVERY_IDS:
        # The contract would refuse it after the fee for that was spent.
        raise _malformed("signature", "v to be 27 or 28", raw[64])
    if int.from_bytes(raw[32:64]) > _LOW_S_MAX:
        raise _malformed("signature", "s in the lower half of the order", "its twin")
    return raw.hex()


def signer_of(digest: bytes, signature: str) -> str | None:
    """The address that made a parsed signature; None if none did."""
    raw = bytes.fromhex(signature)
    try:
        key = PublicKey.from_signature_and_message(
            raw[:64] + _RECOVERY_IDS[raw[64]], digest, hasher=None
        )
    except ValueError:
        # r or s is outside the curve's order, or no point has it.
        return None
    return address_of(keccak(key.format(compressed=False)[1:])[12:])


def wallet_of(key: PrivateKey) -> str:
    """The address of a key."""
    return address_of(keccak(key.public_key.format(compressed=False)[1:])[12:])


def domain_separator(network: TronNetwork) -> bytes:
    """What binds a signature to this contract on this chain."""
    return keccak(
        _words(
            keccak(_DOMAIN_TYPE),
            keccak(b"PaymentPermit"),
            network.chain_id,
            account_of(network.permit),
        )
    )


def _words(*values: int | bytes) -> bytes:
    return b"".join(
        value.to_bytes(32) if isinstance(value, int) else value.rjust(32, b"\x00")
        for value in values
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    where: str
    fields: Mapping[str, object]

    @classmethod
    def of(cls, where: str, fields: object, names: tuple[str, ...]) -> _Reader:
        if not isinstance(fields, dict) or set(fields) != set(names):
            raise _malformed(where, ", ".join(names), fields)
        return cls(where, fields)

    def address(self, name: str) -> str:
        value = self.fields[name]
        try:
            account_of(str(value))
        except ValueError:
            raise _malformed(f"{self.where}.{name}", "a TRON address (base58)", value) from None
        return str(value)

    def whole(self, name: str) -> int:
        number = int(self.text(name, _WHOLE, "a whole number as a decimal string"))
        if number > _UINT256_MAX:
            raise _malformed(f"{self.where}.{name}", "at most 2^256 - 1", "more")
        return number

    def time_s(self, name: str) -> int:
        value = self.fields[name]
        if type(value) is not int or not 0 <= value <= _TIME_S_MAX:
            raise _malformed(f"{self.where}.{name}", "whole Unix seconds", value)
        return value

    def text(self, name: str, pattern: re.Pattern[str], expected: str) -> str:
        value = self.fields[name]
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise _malformed(f"{self.where}.{name}", expected, value)
        return value


def _malformed(where: str, expected: str, got: object) -> MalformedError:
    return MalformedError(where=f"payment {where}", expected=expected, got=repr(got)[:80])
