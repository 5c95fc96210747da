# SPDX-License-Identifier: BSD-3-Clause
"""reader -- a server that keeps what it reads, by the port of who sent it

    reader.py ADDRESS PORT...    the last port is served with SO_OOBINLINE

Says `ready`. At each line on its standard input it reads all there is and answers with that, as
JSON; it reads nothing in between, so that what was there to be read does not depend on the clock.
"""

import json
import socket
import sys


class Server:
    """The connections to one port."""

    def __init__(self, address: str, port: int, inline: bool) -> None:
        self.listener = socket.create_server((address, port), family=family_of(address))
        self.listener.setblocking(False)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, inline)
        self.open: dict[int, socket.socket] = {}

    def read(self) -> dict[int, str]:
        """What has come since the last time, by port, and each new connection."""
        found = dict.fromkeys(self.accept(), "")
        for port in list(self.open):
            if data := self.drain(port):
                found[port] = data.decode("latin-1")
        return found

    def accept(self) -> list[int]:
        ports = []
        while True:
            try:
                connection, peer = self.listener.accept()
            except BlockingIOError:
                return ports
            connection.setblocking(False)
            self.open[peer[1]] = connection
            ports.append(peer[1])

    def drain(self, port: int) -> bytes:
        """To the end of what is there, of the connection, or to its reset."""
        data = b""
        try:
            while piece := self.open[port].recv(65536):
                data += piece
        except BlockingIOError:
            return data
        except OSError:
            pass
        self.open.pop(port).close()
        return data


def main(address: str, *ports: str) -> None:
    servers = [Server(address, int(port), port == ports[-1]) for port in ports]
    print("ready", flush=True)
    for _ in sys.stdin:
        found = {port: text for server in servers for port, text in server.read().items()}
        print(json.dumps(found), flush=True)


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


if __name__ == "__main__":
    main(*sys.argv[1:])
