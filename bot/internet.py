"""Connections to the public internet, and to nothing else.

This module owns which addresses are public, and that a connection goes to an address that was
looked at: names are looked up once, every answer must pass, and the socket for an address is made
only after that very address has passed once more. It must not know what is fetched.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import aiohttp
import psutil
from aiohttp.abc import AbstractResolver, ResolveResult

Lookup = Callable[[str, int], list[tuple[Any, ...]]]
"""Returns what ``socket.getaddrinfo`` does for a name and a port; may block."""

_LOOKUPS_AT_ONCE = 4
"""A name whose servers are slow blocks a thread; only other lookups wait for it."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_NOT_PUBLIC = tuple(
    ip_network(block)
    for block in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' own
        "127.0.0.0/8",
        "168.63.129.16/32",  # the host's agent, on Azure
        "169.254.0.0/16",  # link-local, with the metadata services of clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # sink for reverse lookups
        "192.52.193.0/24",  # multicast relays
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "192.175.48.0/24",  # sink for reverse lookups
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "2001::/23",  # Teredo, benchmarks, ORCHID and other protocol assignments
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which carries any IPv4 address
        "2620:4f:8000::/48",  # sink for reverse lookups
        "3fff::/20",  # documentation
    )
)
"""Blocks of IANA's special-purpose registries, inside what is public otherwise.

IPv6 outside ``2000::/3`` is not public at all: that leaves out loopback, IPv4-mapped addresses,
unique local (``fd00:ec2::254`` among them), link-local and multicast ones.
"""


class NotPublic(OSError):
    """A name or an address leads, or may lead, to something that is not on the public internet."""


def is_public(text: str) -> bool:
    """Return whether a numeric address belongs to a host of the public internet."""
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        if address in _NAT64:  # how a host without IPv4 reaches one
            return is_public(str(IPv4Address(int(address) & 0xFFFF_FFFF)))
        if address not in _GLOBAL_UNICAST:
            return False
    return not any(address in block for block in _NOT_PUBLIC)


def is_near(text: str) -> bool:
    """Return whether an address is of this machine, or of a network that it is itself part of.

    The hosts of a network with public addresses (any with IPv6) often trust each other behind a
    firewall.
    """
    address = ip_address(text)
    for interface in psutil.net_if_addrs().values():
        for own in interface:
            if own.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            host = ip_address(own.address.partition("%")[0])
            bits = int(ip_address(own.netmask)).bit_count() if own.netmask else host.max_prefixlen
            if address in ip_network((host, bits), strict=False):
                return True
    return False


def is_allowed(text: str) -> bool:
    """Return whether a link of a member may lead to a numeric address."""
    return is_public(text) and not is_near(text)


def look_up(host: str, port: int) -> list[tuple[Any, ...]]:
    """Ask the system for the addresses of a name. Blocks."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)


class PublicInternet:
    """Makes connectors that reach the public internet only. Proxies play no part in it.

    Args:
        lookup: Looks a name up, in a thread of its own.
        allowed: Decides over a numeric address.
        tls: Whom to trust, the system's authorities if left out.
    """

    def __init__(
        self,
        lookup: Lookup = look_up,
        allowed: Callable[[str], bool] = is_allowed,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed = allowed
        self._tls = tls
        self._threads = ThreadPoolExecutor(_LOOKUPS_AT_ONCE, thread_name_prefix="lookup")
        self._resolver = _Resolver(lookup, allowed, self._threads)

    def connector(self) -> aiohttp.TCPConnector:
        """Return a new connector, which a session owns."""
        return aiohttp.TCPConnector(
            resolver=self._resolver,
            use_dns_cache=False,
            socket_factory=self._socket,
            ssl=self._tls or True,
        )

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Make the socket for an address, also one that no resolver has seen: a literal one."""
        family, kind, protocol, _, address = info
        if not self._allowed(address[0]):
            raise NotPublic
        return socket.socket(family, kind, protocol)


class _Resolver(AbstractResolver):
    """Gives all addresses of a name, or none when one of them is not allowed."""

    def __init__(
        self, lookup: Lookup, allowed: Callable[[str], bool], threads: ThreadPoolExecutor
    ) -> None:
        self._lookup = lookup
        self._allowed = allowed
        self._threads = threads

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, self._lookup, host, port)
        if not found or not all(self._allowed(address[0]) for *_, address in found):
            raise NotPublic
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=address[1],
                family=of,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for of, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Leave the threads to their owner."""
