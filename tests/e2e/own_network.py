"""A private network for a test: nothing gets out, and its sound has an address to go by."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

ADDRESS = "10.98.0.1"
_NEW_NETWORK = 0x4000_0000


class NoOwnNetworkError(Exception):
    """Not on this machine, or not for this user."""


@contextmanager
def own_network() -> Iterator[None]:
    """Move this thread, and what it starts meanwhile, into a network of its own.

    Clients look for addresses other than loopback's to send sound by: one end of a pair of virtual
    cables has one. Raises NoOwnNetworkError; only root may do this.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    except OSError as missing:
        raise NoOwnNetworkError("no network namespaces on this system") from missing
    try:
        if libc.unshare(_NEW_NETWORK) != 0:
            raise NoOwnNetworkError(f"unshare: {os.strerror(ctypes.get_errno())}")
        try:
            _plug_in()
            yield
        finally:
            if libc.setns(before, _NEW_NETWORK) != 0:
                raise OSError(ctypes.get_errno(), "cannot leave the test's own network")
    finally:
        os.close(before)


def _plug_in() -> None:
    try:
        from pyroute2 import IPRoute, NetlinkError  # noqa: PLC0415 (only where it can work: Linux)
    except ImportError as missing:
        raise NoOwnNetworkError("pyroute2 is not installed") from missing
    try:
        with IPRoute() as network:
            network.link("set", index=network.link_lookup(ifname="lo")[0], state="up")
            network.link("add", ifname="call0", kind="veth", peer="call1")
            for name in ("call0", "call1"):
                network.link("set", index=network.link_lookup(ifname=name)[0], state="up")
            index = network.link_lookup(ifname="call0")[0]
            network.addr("add", index=index, address=ADDRESS, prefixlen=24)
    except (NetlinkError, OSError) as refused:
        raise NoOwnNetworkError(f"no virtual cable: {refused}") from refused
