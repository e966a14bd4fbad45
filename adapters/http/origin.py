"""Where a request comes from: the peer, or what a proxy we trust says about it."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from aiohttp import web

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

REGION_LENGTH_MAX = 32
# Remembered: the same callers come again, and each request asks several times.
ADDRESSES_MAX = 4_096
_HOPS_MAX = 32
_FOR = re.compile(r"(?:^|;)\s*for\s*=\s*(\"[^\"]*\"|[^;\s]+)", re.IGNORECASE)
_WITH_PORT = re.compile(r"\[([^\]]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")
_HOUSEHOLD_BITS = 64


def networks_of(text: str) -> tuple[Network, ...]:
    """Networks and single addresses, separated by commas; ValueError where one is neither."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


@lru_cache(maxsize=ADDRESSES_MAX)
def address_of(text: str) -> Address | None:
    """`ip`, `ip:port` or `[v6]:port` as an address; IPv4 in IPv6 is IPv4, zones are dropped."""
    text = text.strip()
    found = _WITH_PORT.fullmatch(text)
    host = (found[1] or found[2]) if found else text
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def household(ip: str) -> Hashable:
    """What counts as one caller: an IPv4 address, or the /64 of IPv6 that one line is given."""
    address = address_of(ip)
    if isinstance(address, IPv6Address):
        return 6, int(address) >> _HOUSEHOLD_BITS
    return (4, int(address)) if address is not None else ip


class Origins:
    """Believes `X-Forwarded-For` and `Forwarded` of trusted proxies only, from the right.

    The right-most address that is no trusted proxy's is the caller's: what stands left of it was
    written by the caller. Where the two headers disagree, one of them went past the proxy
    unchanged, nobody knows which, and the peer's own address counts.
    """

    def __init__(self, trusted: Sequence[Network] = (), *, region_header: str = "") -> None:
        self._trusted = tuple(trusted)
        self._region_header = region_header

    def region_of(self, request: web.BaseRequest) -> str:
        """The region a trusted proxy says the caller is in, "" where none says so."""
        peer = address_of(request.remote or "")
        if not self._region_header or peer is None or not self._is_trusted(peer):
            return ""
        return request.headers.get(self._region_header, "").strip().lower()[:REGION_LENGTH_MAX]

    def of(self, request: web.BaseRequest) -> str:
        """The caller's address, "" where there is none (a local socket)."""
        peer = address_of(request.remote or "")
        if peer is None:
            return ""
        if not self._is_trusted(peer):
            return str(peer)
        told = {
            self._walked(peer, hops)
            for hops in (
                _last(request, "X-Forwarded-For"),
                [_hop_of(element) for element in _last(request, "Forwarded")],
            )
            if hops
        }
        return str(told.pop() if len(told) == 1 else peer)

    def _walked(self, peer: Address, hops: Sequence[str]) -> Address:
        """The first address from the right that is not trusted; what is no address ends it."""
        reached = peer
        for address in _addresses(reversed(hops)):
            reached = address
            if not self._is_trusted(address):
                break
        return reached

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _last(request: web.BaseRequest, header: str) -> list[str]:
    """The elements nearest to us of all the header's lines; nobody has more proxies."""
    whole = ",".join(request.headers.getall(header, ()))
    return whole.rsplit(",", _HOPS_MAX)[-_HOPS_MAX:] if whole else []


def _hop_of(element: str) -> str:
    found = _FOR.search(element)
    return found[1].strip('"') if found else ""


def _addresses(hops: Iterator[str]) -> Iterator[Address]:
    for hop in hops:
        address = address_of(hop)
        if address is None:
            return
        yield address
