"""Which network addresses a webhook may reach: none of this machine, nor of the networks that it stands in.

A URL that somebody typed into a settings page must not reach a cloud's metadata service. The name is resolved once,
every address it has is looked at, and the connection goes to one that was looked at: a name that changes its address
between the look and the call gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

import anyio

__all__ = ("PrivateAddressError", "is_public", "public_addresses")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class PrivateAddressError(ValueError):
    """A host is, or resolves to, an address that is not public."""


def is_public(address: str) -> bool:
    """Whether anybody on the internet would reach the same machine under this numeric address."""
    found: _Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        # IPv4 in IPv6's clothes.
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if inner is None and found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


async def public_addresses(host: str, port: int) -> list[str]:
    """The numeric addresses of ``host``, in the resolver's order.

    Raises:
        PrivateAddressError: One of them is not public.
        OSError: The name does not resolve.
    """
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    if not addresses or not all(map(is_public, addresses)):
        msg = f"{host} is a private address, which a webhook reaches only with allow_private=True"
        raise PrivateAddressError(msg)
    return addresses
