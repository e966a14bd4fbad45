"""The TRON networks that we are paid on, and what stands at which address there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TronNetwork:
    """A network as the payment clients name it, its dollars and the contract that moves them.

    USDT counts in millionths of a dollar: one base unit is one microcredit. Addresses are base58.
    """

    name: str
    chain_id: int
    usdt: str
    permit: str

    @property
    def caip2(self) -> str:
        """The network by its chain's number, as newer clients name it."""
        return f"tron:{self.chain_id:#x}"

    @property
    def names(self) -> tuple[str, ...]:
        """All that it is called, CAIP-2 first."""
        return (self.caip2, self.name, f"tron:{self.chain_id}")


TRON_MAINNET = TronNetwork(
    name="tron:mainnet",
    chain_id=728126428,
    usdt="TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t",
    permit="TT8rEWbCoNX7vpEUauxb7rWJsTgs8vDLAn",
)
TRON_NILE = TronNetwork(
    name="tron:nile",
    chain_id=3448148188,
    usdt="TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf",
    permit="TFxDcGvS7zfQrS1YzcCMp673ta2NHHzsiH",
)
TRON_SHASTA = TronNetwork(
    name="tron:shasta",
    chain_id=2494104990,
    usdt="TG3XXyExBkPp9nzdajDZsozEu4BkaSJozs",
    permit="TR2XninQ3jsvRRLGTifFyUHTBysffooUjt",
)
TRON_NETWORKS = {
    network.name.removeprefix("tron:"): network
    for network in (TRON_MAINNET, TRON_NILE, TRON_SHASTA)
}
