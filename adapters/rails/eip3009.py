"""A signed permission to move dollars to us (EIP-3009), read strictly from what a client sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from eth_utils.address import to_checksum_address

from domain.errors import MalformedError

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_BYTES32 = re.compile(r"0x[0-9a-fA-F]{64}")
# Contract wallets sign at length; what fits in a header is short enough.
_SIGNATURE = re.compile(r"0x(?:[0-9a-fA-F]{2}){1,8192}")
# What a uint256 can need at most.
_WHOLE = re.compile(r"0|[1-9][0-9]{0,77}")
_FIELDS = ("from", "to", "value", "validAfter", "validBefore", "nonce")


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """One authorization, in canonical form: hex in lower case, times in Unix seconds."""

    payer: str
    pay_to: str
    value: int
    valid_after_s: int
    valid_before_s: int
    nonce: str
    signature: str

    @classmethod
    def parse(cls, payload: Mapping[str, object]) -> Authorization:
        """Read the x402 `payload` object; anything beside an authorization is refused.

        Strictness is safety: what we key and match must be what a facilitator submits.
        """
        if set(payload) != {"authorization", "signature"}:
            raise _malformed("payload", "authorization and signature", sorted(payload))
        fields = payload["authorization"]
        if not isinstance(fields, dict) or set(fields) != set(_FIELDS):
            raise _malformed("payload.authorization", ", ".join(_FIELDS), fields)
        read = _Reader(fields)
        return cls(
            payer=read.hex("from", _ADDRESS, "a 0x address"),
            pay_to=read.hex("to", _ADDRESS, "a 0x address"),
            value=read.whole("value"),
            valid_after_s=read.whole("validAfter"),
            valid_before_s=read.whole("validBefore"),
            nonce=read.hex("nonce", _BYTES32, "0x and 64 hex digits"),
            signature=_Reader(payload).hex("signature", _SIGNATURE, "0x and hex digits"),
        )

    def wire(self) -> dict[str, object]:
        """The x402 `payload` object again, the same for every spelling it came in."""
        return {
            "authorization": {
                "from": to_checksum_address(self.payer),
                "to": to_checksum_address(self.pay_to),
                "value": str(self.value),
                "validAfter": str(self.valid_after_s),
                "validBefore": str(self.valid_before_s),
                "nonce": self.nonce,
            },
            "signature": self.signature,
        }

    def key(self, *, network: str, asset: str) -> str:
        """What makes it one payment; the signature is no part, since it has a twin."""
        return f"{network}|{asset}|{self.payer}|{self.nonce}".lower()


@dataclass(frozen=True, slots=True)
class _Reader:
    fields: Mapping[str, object]

    def hex(self, name: str, pattern: re.Pattern[str], expected: str) -> str:
        return self._text(name, pattern, expected).lower()

    def whole(self, name: str) -> int:
        return int(self._text(name, _WHOLE, "a whole number as a decimal string"))

    def _text(self, name: str, pattern: re.Pattern[str], expected: str) -> str:
        text = self.fields[name]
        if not isinstance(text, str) or not pattern.fullmatch(text):
            raise _malformed(name, expected, text)
        return text


def _malformed(where: str, expected: str, got: object) -> MalformedError:
    return MalformedError(where=f"payment {where}", expected=expected, got=repr(got)[:80])
