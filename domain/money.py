"""Money is a whole number of microcredits; one US dollar of credit is a million of them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation

MICROCREDITS_PER_USD = 1_000_000
# The log writes amounts as JSON numbers, which are exact up to here.
MICROCREDITS_MAX = 2**53 - 1


@dataclass(frozen=True, slots=True, order=True)
class Microcredits:
    """An amount of credit, never negative; a debt is a refused subtraction."""

    value: int

    def __post_init__(self) -> None:
        if type(self.value) is not int or not 0 <= self.value <= MICROCREDITS_MAX:
            msg = f"microcredits are whole numbers from 0 to 2^53 - 1 (got {self.value!r})"
            raise ValueError(msg)

    def __add__(self, other: Microcredits) -> Microcredits:
        return Microcredits(self.value + other.value)

    def __sub__(self, other: Microcredits) -> Microcredits:
        return Microcredits(self.value - other.value)

    def __bool__(self) -> bool:
        return self.value != 0

    def __str__(self) -> str:
        return f"{self.value} µcr"

    @property
    def usd(self) -> str:
        """The amount in US dollars, exact, without exponent: `0.1`."""
        whole, part = divmod(self.value, MICROCREDITS_PER_USD)
        return f"{whole}.{part:06d}".rstrip("0").rstrip(".")

    @classmethod
    def from_usd(cls, text: str) -> Microcredits:
        """Read a decimal dollar amount; more than six places or a sign is a ValueError."""
        plain = set(text) <= _USD_CHARACTERS and len(text) <= _USD_TEXT_LENGTH_MAX
        try:
            # Decimal alone would take signs, underscores, blanks and digits of other scripts.
            scaled = _EXACT.scaleb(Decimal(text), 6)
            exact = plain and text[:1] not in "+-" and scaled == scaled.to_integral_value()
            # Before int(): an exponent of a few characters can name a number of a million digits.
            small = exact and scaled <= MICROCREDITS_MAX
        except InvalidOperation:
            small = False
        if not small:
            msg = f"expected a dollar amount with at most 6 decimal places (got {text[:40]!r})"
            raise ValueError(msg)
        return cls(int(scaled))


_USD_CHARACTERS = frozenset("0123456789.eE+-")
_USD_TEXT_LENGTH_MAX = 32
# More digits than such a text can hold: nothing is rounded on the way.
_EXACT = Context(prec=40, traps=[InvalidOperation])
NOTHING = Microcredits(0)
