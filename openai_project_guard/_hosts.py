"""Hosts: how they are compared, and what is one."""

from __future__ import annotations

import re
from contextlib import suppress

_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


def normal_host(host: str) -> str:
    """A host as it is compared: a name as DNS has it, an IPv6 address in its short form.

    Example:
        >>> normal_host("Gateway.Example.com."), normal_host("[0:0:0:0:0:0:0:1]")
        ('gateway.example.com', '::1')
    """
    if not host.isascii():
        with suppress(UnicodeError):  # no name that DNS could have
            host = host.encode("idna").decode()
    host = host.lower().rstrip(".")
    if ":" in host:
        from ipaddress import IPv6Address

        address = host[1:-1] if host[0] + host[-1] == "[]" else host
        with suppress(ValueError):
            host = IPv6Address(address).compressed
    return host


def is_host(host: str) -> bool:
    """Whether it is the name or the address of a host, and nothing besides.

    Args:
        host: as `normal_host()` gives it.

    Example:
        >>> is_host("gateway.example.com"), is_host("::1"), is_host("cafe:443")
        (True, True, False)
    """
    # No name ends in a number (https://url.spec.whatwg.org/#ends-in-a-number-checker), and no name
    # has a colon: what is no address is a name with a port.
    if ":" in host or host.rpartition(".")[2].isdigit():
        from ipaddress import ip_address

        try:
            ip_address(host)
        except ValueError:
            return False
        return "%" not in host  # the interface, which is of one machine
    return _NAME.fullmatch(host) is not None and ".." not in host


def host_of_port(name: str) -> str | None:
    """The host that stands before a port, or `None` where it is none with a port.

    Example:
        >>> host_of_port("gateway.example.com:8080")
        'gateway.example.com'
    """
    host, _, port = name.rpartition(":")
    return host if port.isdecimal() and is_host(normal_host(host)) else None
