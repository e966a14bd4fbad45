"""What a service costs: a versioned price book of whole-number rates, rounded once, upward."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from domain.money import Microcredits

SERVICES = ("webrtc", "stt", "tts")
# What a service is measured in; durations of a room are a participant's own.
UNITS = {"webrtc": "ms", "stt": "ms", "tts": "character"}
MS_PER_MINUTE = 60_000
# Far beyond any session, small enough that every product stays exact in a JSON number.
QUANTITY_MAX = 10**12


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """`microcredits` for every `per` units, e.g. 6,000 per 60,000 ms."""

    unit: str
    microcredits: int
    per: int

    def __post_init__(self) -> None:
        whole = type(self.microcredits) is int and type(self.per) is int
        if not whole or self.unit not in UNITS.values() or self.microcredits < 0 or self.per < 1:
            msg = f"not a tariff: {self.microcredits} per {self.per} {self.unit}"
            raise ValueError(msg)

    def price(self, quantity: int) -> Microcredits:
        """The price of `quantity` units (ms or characters), rounded up to a whole microcredit."""
        if not 0 <= quantity <= QUANTITY_MAX:
            msg = f"a quantity is 0 to {QUANTITY_MAX} {self.unit}s (got {quantity})"
            raise ValueError(msg)
        return Microcredits(-(-quantity * self.microcredits // self.per))


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook:
    """The rates of every service under one version name; immutable once published."""

    version: str
    tariffs: tuple[tuple[str, Tariff], ...]

    def tariff(self, service: str) -> Tariff:
        for name, tariff in self.tariffs:
            if name == service:
                return tariff
        msg = f"price book {self.version} has no tariff for {service}"
        raise LookupError(msg)

    @property
    def content(self) -> str:
        """The book as canonical JSON; its SHA-256 is the book's hash."""
        rates = {
            name: {"microcredits": t.microcredits, "per": t.per, "unit": t.unit}
            for name, t in self.tariffs
        }
        book = {"tariffs": rates, "version": self.version}
        return json.dumps(book, sort_keys=True, separators=(",", ":"))

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.content.encode()).hexdigest()

    @classmethod
    def parse(cls, content: str) -> PriceBook:
        """Read what `content` wrote; anything else is a ValueError."""
        try:
            book = json.loads(content)
            tariffs = tuple(
                (str(name), Tariff(unit=t["unit"], microcredits=t["microcredits"], per=t["per"]))
                for name, t in sorted(book["tariffs"].items())
            )
            parsed = cls(version=str(book["version"]), tariffs=tariffs)
        except (KeyError, TypeError, AttributeError) as damage:
            msg = f"not a price book: {content[:80]!r}"
            raise ValueError(msg) from damage
        if parsed.content != content:
            msg = "a price book must be canonical JSON of known fields"
            raise ValueError(msg)
        return parsed


DEFAULT_PRICE_BOOK = PriceBook(
    version="2026-1",
    tariffs=(
        ("stt", Tariff(unit="ms", microcredits=6_000, per=MS_PER_MINUTE)),
        ("tts", Tariff(unit="character", microcredits=8_000, per=1_000)),
        ("webrtc", Tariff(unit="ms", microcredits=1_000, per=MS_PER_MINUTE)),
    ),
)
