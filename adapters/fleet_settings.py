"""Settings of speech servers in processes of their own, for both ends."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from adapters.environ import Reader
from adapters.fleet.passes import SECRET_LENGTH_MIN
from adapters.http.origin import REGION_LENGTH_MAX

_REGION = re.compile(rf"[a-z0-9-]{{1,{REGION_LENGTH_MAX}}}")
_CAPACITY_MAX = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """`secret` is shared by a gateway and its speech servers; empty: there are none.

    The rest is a server's: the URLs of all the gateway's processes, what it is called among the
    others (empty: after its URL), the regions it is near to, and how many connections it takes (0:
    it does not say).
    """

    secret: str = field(default="", repr=False)
    gateways: tuple[str, ...] = ()
    name: str = ""
    regions: frozenset[str] = frozenset()
    capacity: int = 0


def read_fleet(reader: Reader) -> FleetSettings:
    """Read `PAYPHONE_FLEET_SECRET`, `_GATEWAY_URL`, `_SERVER_NAME`, `_REGIONS`, `_CAPACITY`."""
    secret = reader.text("PAYPHONE_FLEET_SECRET", secret=True)
    if secret and len(secret.encode()) < SECRET_LENGTH_MIN:
        reader.problem("PAYPHONE_FLEET_SECRET", f"{SECRET_LENGTH_MIN} bytes at least")
    return FleetSettings(
        secret=secret,
        gateways=_gateways(reader),
        name=reader.pattern("PAYPHONE_SERVER_NAME", r"[\w.:-]{1,64}", "a name without spaces"),
        regions=_regions(reader),
        capacity=reader.count("PAYPHONE_CAPACITY", least=0, most=_CAPACITY_MAX, default=0),
    )


def _gateways(reader: Reader) -> tuple[str, ...]:
    name = "PAYPHONE_GATEWAY_URL"
    urls = [part.strip() for part in reader.text(name).split(",") if part.strip()]
    one = Reader({str(number): url for number, url in enumerate(urls)})
    found = tuple(one.url(str(n), schemes=("https", "http"), path=False) for n in range(len(urls)))
    if not all(found):
        reader.problem(name, "URLs (https or http) of hosts, separated by commas")
    return found


def _regions(reader: Reader) -> frozenset[str]:
    name = "PAYPHONE_REGIONS"
    regions = [part.strip().lower() for part in reader.text(name).split(",") if part.strip()]
    if not all(_REGION.fullmatch(region) for region in regions):
        reader.problem(name, "short words (eu, us-east), separated by commas")
        return frozenset()
    return frozenset(regions)
