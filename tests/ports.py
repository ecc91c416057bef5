"""Ports of this machine for the processes that tests start."""

import socket


def free_port():
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]
