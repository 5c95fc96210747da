# SPDX-License-Identifier: BSD-3-Clause
"""reader -- a server that keeps what it reads, by the port of who sent it

    reader.py ADDRESS PORT...    the last port is served with SO_OOBINLINE

Says `ready`, and at each line on its standard input what was read so far, as JSON.
"""

import json
import socket
import sys
import threading


def serve(listener: socket.socket, read: dict[int, str]) -> None:
    while True:
        connection, peer = listener.accept()
        read[peer[1]] = ""
        threading.Thread(target=keep, args=(connection, peer[1], read), daemon=True).start()


def keep(connection: socket.socket, port: int, read: dict[int, str]) -> None:
    """Reads to the end of the connection, or its reset."""
    try:
        while data := connection.recv(65536):
            read[port] += data.decode("latin-1")
    except OSError:
        pass


def main(address: str, *ports: str) -> None:
    read: dict[int, str] = {}
    for port in ports:
        listener = socket.create_server((address, int(port)), family=family_of(address))
        if port == ports[-1]:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        threading.Thread(target=serve, args=(listener, read), daemon=True).start()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(read), flush=True)


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


if __name__ == "__main__":
    main(*sys.argv[1:])
