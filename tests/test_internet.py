"""Only the public internet is reached: the tables, and the very address of each connection."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv6Address
from types import SimpleNamespace
from typing import Any

import aiohttp
import psutil
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.internet import (
    Lookup,
    NotPublic,
    PublicInternet,
    is_allowed,
    is_near,
    is_public,
    look_up,
)

PUBLIC = ["1.1.1.1", "8.8.8.8", "162.159.135.233", "223.255.255.254", "2606:4700::6810:84e5"]
NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "203.0.113.5",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",  # IPv4-compatible
    "::ffff:127.0.0.1",  # IPv4-mapped
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",  # NAT64 of 127.0.0.1
    "64:ff9b::a9fe:a9fe",  # NAT64 of 169.254.169.254
    "64:ff9b:1::808:808",  # NAT64 of an operator's own
    "100::1",
    "2001::1",  # Teredo
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::",  # 6to4 of 127.0.0.1
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", [*PUBLIC, "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
@example(IPv4Address("169.254.169.254"))
@example(IPv6Address("fd00:ec2::254"))
def test_nothing_is_public_that_the_standard_library_does_not_call_global(
    address: IPv4Address | IPv6Address,
) -> None:
    if is_public(str(address)):
        if address in ipaddress.ip_network("64:ff9b::/96"):  # NAT64: what it stands for counts
            address = IPv4Address(int(address) & 0xFFFFFFFF)
        assert address.is_global
        assert not any([address.is_multicast, address.is_reserved, address.is_link_local])


@given(
    st.ip_addresses(v=4),
    st.sampled_from([("::ffff:0:0", 0), ("::", 0), ("2002::", 80), ("2001::", 64), ("2001::", 0)]),
)
def test_ipv4_in_disguise_is_not_public(address: IPv4Address, form: tuple[str, int]) -> None:
    prefix, place = form
    assert not is_public(str(IPv6Address(int(IPv6Address(prefix)) | int(address) << place)))


@given(st.ip_addresses(v=4))
def test_a_translated_address_is_as_public_as_what_it_stands_for(address: IPv4Address) -> None:
    translated = IPv6Address(int(IPv6Address("64:ff9b::")) | int(address))
    assert is_public(str(translated)) == is_public(str(address))


def test_the_neighbours_of_this_machine_are_not_the_internet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interfaces() -> dict[str, list[Any]]:
        def own(family: int, address: str, netmask: str | None) -> Any:
            return SimpleNamespace(family=family, address=address, netmask=netmask)

        return {
            "eth0": [
                own(socket.AF_INET, "93.184.216.34", "255.255.255.0"),
                own(socket.AF_INET6, "2a01:4f8:1:2::5", "ffff:ffff:ffff:ffff::"),
                own(socket.AF_INET6, "fe80::1%eth0", "ffff:ffff:ffff:ffff::"),
                own(psutil.AF_LINK, "00:00:00:00:00:00", None),
            ],
            "tunnel": [own(socket.AF_INET6, "2a02:8::9", None)],
        }

    monkeypatch.setattr(psutil, "net_if_addrs", interfaces)
    near = ["93.184.216.1", "2a01:4f8:1:2::77", "2a02:8::9"]
    far = ["93.184.217.1", "2a01:4f8:1:3::77", "2a02:8::8"]
    assert [is_near(address) for address in near + far] == [True] * 3 + [False] * 3
    assert not any(is_allowed(address) for address in near)
    assert all(is_allowed(address) for address in far)


# --------------------------------------------------------------------------- names


def answers(*addresses: str) -> Lookup:
    def lookup(_: str, port: int) -> list[tuple[Any, ...]]:
        return [
            (
                socket.AF_INET6 if ":" in one else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (one, port),
            )
            for one in addresses
        ]

    return lookup


async def resolved(lookup: Lookup, name: str = "files.example") -> list[str]:
    internet = PublicInternet(lookup, allowed=is_public)
    try:
        found = await internet.connector()._resolver.resolve(name, 443)
    finally:
        internet.close()
    return [one["host"] for one in found]


async def test_all_addresses_of_a_public_name_are_used() -> None:
    assert await resolved(answers(*PUBLIC)) == PUBLIC


@pytest.mark.parametrize(
    "addresses", [[], ["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["fd00:ec2::254", "8.8.8.8"]]
)
async def test_one_address_that_is_not_public_spoils_the_name(addresses: list[str]) -> None:
    with pytest.raises(NotPublic):
        await resolved(answers(*addresses))


@settings(deadline=None)
@given(st.lists(st.ip_addresses(v=4) | st.ip_addresses(v=6), max_size=4))
@example([IPv4Address("8.8.8.8"), IPv6Address("::ffff:10.0.0.1")])
def test_no_answer_brings_in_what_is_not_global(addresses: list[Any]) -> None:
    try:
        found = asyncio.run(resolved(answers(*map(str, addresses))))
    except OSError:
        return
    assert found
    assert all(ipaddress.ip_address(one).is_global for one in found)


async def test_the_system_is_asked_for_the_addresses() -> None:
    with pytest.raises(NotPublic):
        await resolved(look_up, "127.0.0.1")
    assert look_up("127.0.0.1", 443)[0][4] == ("127.0.0.1", 443)


async def test_a_slow_name_keeps_nobody_else_waiting() -> None:
    """The threads that look names up are their own; the bot's others stay free."""
    going_on = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stuck(host: str, port: int) -> list[tuple[Any, ...]]:
        asyncio.run_coroutine_threadsafe(going_on.wait(), loop).result()
        return []

    internet = PublicInternet(stuck)
    resolver = internet.connector()._resolver
    waiting = [asyncio.create_task(resolver.resolve(f"{n}.example")) for n in range(40)]
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 60) == "free"
    going_on.set()
    assert all(
        isinstance(one, OSError) for one in await asyncio.gather(*waiting, return_exceptions=True)
    )
    internet.close()


# --------------------------------------------------------------------------- connections


@pytest.fixture
async def listener() -> AsyncIterator[tuple[int, list[str]]]:
    """A port of this machine, and who connected to it."""
    seen: list[str] = []

    async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[0])
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], seen
    server.close()
    await server.wait_closed()


async def connect(internet: PublicInternet, url: str) -> None:
    async with aiohttp.ClientSession(connector=internet.connector()) as session:
        await session.get(url)
    internet.close()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "127.1"]
)
async def test_a_literal_address_meets_the_same_rule(
    listener: tuple[int, list[str]], host: str
) -> None:
    """aiohttp asks no resolver for these, so the socket is what refuses them."""
    port, seen = listener
    with pytest.raises(aiohttp.ClientError):
        await connect(PublicInternet(answers("8.8.8.8")), f"http://{host}:{port}/")
    assert seen == []


async def test_the_address_of_the_connection_is_looked_at_itself(
    listener: tuple[int, list[str]],
) -> None:
    """Even if it had passed a moment before."""
    port, seen = listener
    verdicts = iter([True, False])
    internet = PublicInternet(answers("127.0.0.1"), allowed=lambda _: next(verdicts))
    with pytest.raises(aiohttp.ClientConnectorError):
        await connect(internet, f"http://files.example:{port}/")
    assert seen == []
    assert next(verdicts, "both were asked for") == "both were asked for"
