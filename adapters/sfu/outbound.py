"""Questions to servers that are not ours: bounded in time and size, never led elsewhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from socket import AddressFamily
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

_CONNECTIONS_MAX = 64
_OK = 200


class Outbound:
    """Posts JSON and reads JSON.

    Unless `private_ok`, addresses that are not of the open internet are not called: whoever enters
    a name in a public registry must not choose what we reach inside our own network.
    """

    def __init__(self, *, private_ok: bool) -> None:
        self._private_ok = private_ok
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, url: str, body: object, *, bytes_max: int, timeout_ms: int) -> object:
        """The decoded answer; ConnectionError for everything that is not 200 and JSON."""
        status, answer = await self.post(url, body, bytes_max=bytes_max, timeout_ms=timeout_ms)
        if status != _OK:
            msg = f"status {status}"
            raise ConnectionError(msg)
        return answer

    async def post(
        self,
        url: str,
        body: object,
        *,
        bytes_max: int,
        timeout_ms: int,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, object]:
        """The status and the decoded answer; ConnectionError for everything that is not JSON."""
        if not self._private_ok and is_private_host(urlsplit(url).hostname or ""):
            raise ConnectionError("the address is not of the open internet")
        try:
            async with (
                asyncio.timeout(timeout_ms / 1_000),
                self._opened().post(
                    url, json=body, headers=headers, allow_redirects=False
                ) as answer,
            ):
                return answer.status, json.loads(await _whole(answer.content, bytes_max))
        # The URL may hold an access key and is in the texts of what the library raises.
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
            msg = f"no answer ({type(error).__name__})"
            raise ConnectionError(msg) from None

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=_CONNECTIONS_MAX,
                    resolver=ThreadedResolver() if self._private_ok else _PublicResolver(),
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity"},
                auto_decompress=False,
            )
        return self._session


class _PublicResolver(AbstractResolver):
    """Finds only addresses of the open internet, whatever a name server says."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AddressFamily.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        public = [one for one in found if not is_private_host(one["host"])]
        if not public:
            msg = "the name leads nowhere on the open internet"
            raise OSError(msg)
        return public

    async def close(self) -> None:
        await self._inner.close()


def is_private_host(host: str) -> bool:
    """Whether this is an address, and one that is not of the open internet."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    address = mapped or address
    return not address.is_global or address.is_multicast


async def _whole(content: aiohttp.StreamReader, bytes_max: int) -> bytes:
    read = bytearray()
    async for chunk in content.iter_any():
        read += chunk
        if len(read) > bytes_max:
            msg = f"the answer has more than {bytes_max} bytes"
            raise ConnectionError(msg)
    return bytes(read)
