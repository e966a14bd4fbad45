"""What a transaction may cost, by EIP-1559."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.rails.node_line import NodeLine, NodeRefusedError, NodeSilentError, quantity

# Covers contract wallets that check signatures at length; what is not used is not paid.
GAS_LIMIT = 500_000
# What one payment costs as a rule.
GAS_TYPICAL = 90_000
# Dearer than Base has ever been for long: below it our gas is not worth an attack on our fees.
FEE_MAX_WEI = 50 * 10**9
_TIP_WEI = 1_000_000
# A node suggests what others paid of late, and one of them may have been in a great hurry.
_TIP_MAX_WEI = 10**9


class GasTooDearError(ConnectionError):
    """The chain asks for more than we are ready to pay; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Fees:
    """wei for each unit of gas: at most in all, and of that to whoever builds the block."""

    most_wei: int
    tip_wei: int

    @classmethod
    def of_chain(cls, line: NodeLine) -> Fees:
        """Enough for the base fee to double before the transaction is mined."""
        head = line.call("eth_getBlockByNumber", ["latest", False])
        if not isinstance(head, dict):
            msg = "the node has no newest block"
            raise NodeSilentError(msg)
        base_wei = quantity(head.get("baseFeePerGas"))
        try:
            suggested_wei = quantity(line.call("eth_maxPriorityFeePerGas", []))
        except NodeRefusedError:
            suggested_wei = _TIP_WEI
        tip_wei = min(suggested_wei, _TIP_MAX_WEI)
        if base_wei + tip_wei > FEE_MAX_WEI:
            msg = f"gas costs {base_wei + tip_wei} wei, and {FEE_MAX_WEI} is the most we pay"
            raise GasTooDearError(msg)
        return cls(min(2 * base_wei + tip_wei, FEE_MAX_WEI), tip_wei)

    def raised(self) -> Fees:
        """A quarter more, since nodes take no replacement for less than a tenth."""
        most_wei = min(self.most_wei * 5 // 4 + 1, FEE_MAX_WEI)
        return Fees(most_wei, min(self.tip_wei * 5 // 4 + 1, most_wei))
