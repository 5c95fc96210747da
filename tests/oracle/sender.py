# SPDX-License-Identifier: BSD-3-Clause
"""sender -- sends the IP packets it is told, byte for byte

    sender.py INTERFACE MAC

Says `ready`. A line on its standard input is a JSON object: {"send": hex} is sent, and the answer
is `sent`; {"syn": hex} is a SYN, and the sequence number of the SYN/ACK that comes back the answer.
"""

import json
import os
import socket
import struct
import sys
import time

ETH_P_ALL = 3


def frame(mac: bytes, mine: bytes, packet: bytes) -> bytes:
    return mac + mine + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet


def answer(link: socket.socket, syn: bytes) -> int:
    """The sequence number of the SYN/ACK that answers."""
    at = 40 if syn[0] >> 4 == 6 else 20
    port = syn[at : at + 2]
    end = time.monotonic() + 2
    while time.monotonic() < end:
        data = link.recv(65536)[14:]
        at = 40 if data and data[0] >> 4 == 6 else 20
        if data[at + 2 : at + 4] == port and len(data) > at + 13 and data[at + 13] == 0x12:
            return int(struct.unpack("!I", data[at + 4 : at + 8])[0])
    raise SystemExit("no SYN/ACK came")


def main(interface: str, mac: str) -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # packets of two CPUs may overtake
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    link.bind((interface, 0))
    link.settimeout(2)
    mine, theirs = link.getsockname()[4], bytes.fromhex(mac.replace(":", ""))
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        packet = bytes.fromhex(order.get("send") or order["syn"])
        link.send(frame(theirs, mine, packet))
        print(answer(link, packet) if "syn" in order else "sent", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
