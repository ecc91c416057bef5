"""Lets no Python process look beyond this machine: lessons and tests must work offline.

Python imports `sitecustomize` by itself when its folder is on PYTHONPATH, so tools/notebooks.py and
conftest.py need only set that variable for every kernel and child process to obey. An audit hook
sees each call at the C level: connect_ex, UDP and asyncio included. Code that opens sockets without
Python (libzmq, Chromium) is not seen.
"""

import ipaddress
import socket
import sys


class NetworkBlocked(RuntimeError):
    """A call tried to leave this machine. No OSError, since libraries take those for bad luck."""


def is_local(host: object) -> bool:
    """Whether `host` (a name or an address, None for any) is this machine's loopback."""
    if host is None:
        return True
    name = host.decode() if isinstance(host, (bytes, bytearray)) else str(host)
    if name == "" or name.lower().rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def refuse(host: object, what: str) -> None:
    if not is_local(host):
        shown = host.decode(errors="replace") if isinstance(host, bytes) else host
        raise NetworkBlocked(
            f"{what} {shown} blocked: lessons and tests must work offline. "
            "Use what the package brings along, or serve from 127.0.0.1."
        )


def guard(event: str, args: tuple) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        sock, address = args
        if sock.family in (socket.AF_INET, socket.AF_INET6) and address is not None:
            refuse(address[0], "connection to")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        refuse(args[0], "look-up of")
    elif event == "socket.getnameinfo":
        refuse(args[0][0], "look-up of")


sys.addaudithook(guard)
