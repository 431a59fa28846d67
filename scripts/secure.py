#!/usr/bin/env python3
"""Peers for scripts/secure.sh that do what ordinary ones do not.

    secure.py tls ADDRESS CA          a client in plain text, resets in the handshake, streams cut short, a reader who does not read, a silent one
    secure.py tls-farewell ADDRESS CA waits in an open session for the server to end it
    secure.py versions ADDRESS        asks for a version of QUIC that there is not
    secure.py garbage ADDRESS SECONDS sends datagrams of chance, and some that look like QUIC, for so long

A line for each check; exit code 1 when one fails.
"""

import os
import random
import socket
import ssl
import struct
import sys
import threading
import time

PORT = 4433
PATIENCE = 30
# More than the buffers of both ends and of the way hold: who can send so much unread is not held up.
STALLED_BYTES = 32 << 20
failures = 0


def check(name, good, found=""):
    global failures
    failures += not good
    print(f"{'ok' if good else 'FAILED'}: {name}{f': {found}' if found else ''}", flush=True)


def connect(address):
    return socket.create_connection((address, PORT), timeout=PATIENCE)


def read_all(sock):
    """What comes until the end of the stream."""
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


class Session:
    """A TLS session whose records pass through our hands."""

    def __init__(self, address, ca):
        context = ssl.create_default_context(cafile=ca)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=address)
        self.sock = connect(address)

    def hello(self):
        """The first flight of the client."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return self.outgoing.read()

    def flush(self):
        # Not even nothing may be written to a side that is closed.
        if self.outgoing.pending:
            self.sock.sendall(self.outgoing.read())

    def drive(self, step):
        """Repeats a step until it needs nothing more from the server."""
        while True:
            try:
                result = step()
                self.flush()
                return result
            except ssl.SSLWantReadError:
                self.flush()
                piece = self.sock.recv(65536)
                self.incoming.write(piece) if piece else self.incoming.write_eof()

    def open(self):
        self.drive(self.tls.do_handshake)
        return self

    def read(self, count):
        """So many bytes, or those before the end. Writes nothing: another thread may."""
        data = bytearray()
        while len(data) < count:
            try:
                data += self.tls.read(65536)
            except ssl.SSLWantReadError:
                piece = self.sock.recv(65536)
                if not piece:
                    break
                self.incoming.write(piece)
        return bytes(data)

    def at_clean_end(self):
        """True when the server ends the session with close_notify, and then the stream."""
        try:
            return self.drive(lambda: self.tls.read(1)) == b"" and self.sock.recv(1) == b""
        except ssl.SSLZeroReturnError:
            return self.sock.recv(1) == b""
        except (ssl.SSLError, OSError):
            return False


def reset(sock):
    """Ends with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def wrong_client(address):
    sock = connect(address)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: plain\r\n\r\n")
    answer = read_all(sock)
    # A record of content type 21, two bytes long: level 2 is fatal (RFC 8446 6).
    good = len(answer) == 7 and answer[0] == 21 and answer[3:6] == b"\0\2\2"
    check("plain text gets an alert and the end of the stream", good, answer.hex())


def resets_in_the_handshake(address, ca):
    for nth in range(20):
        session = Session(address, ca)
        hello = session.hello()
        session.sock.sendall(hello[: len(hello) // 2] if nth % 2 else hello)
        if nth % 4 == 0:
            session.sock.recv(100)
        reset(session.sock)
    session = Session(address, ca).open()
    session.tls.write(b"hello")
    session.flush()
    check("after 20 clients that reset their connection in the handshake another is served", session.read(5) == b"hello")
    session.sock.close()


def cut_in_the_handshake(address, ca):
    session = Session(address, ca)
    hello = session.hello()
    session.sock.sendall(hello[: len(hello) // 2])
    session.sock.shutdown(socket.SHUT_WR)
    check("half a ClientHello and the end of the stream", len(read_all(session.sock)) <= 7)


def cut_short(address, ca):
    session = Session(address, ca).open()
    data = os.urandom(300_000)
    session.tls.write(data)
    writer = threading.Thread(target=lambda: (session.flush(), session.sock.shutdown(socket.SHUT_WR)))
    writer.start()
    got = session.read(len(data))
    writer.join()
    check("a stream cut short is echoed as far as it came, then ended", got == data and session.at_clean_end())


def half_close(address, ca):
    session = Session(address, ca).open()
    data = os.urandom(1_000_000)
    session.tls.write(data)
    try:
        session.tls.unwrap()
    except ssl.SSLWantReadError:
        pass
    writer = threading.Thread(target=session.flush)
    writer.start()
    got = session.read(len(data))
    writer.join()
    check("all that was sent before close_notify comes back after it", got == data and session.at_clean_end())


def does_not_read(address, ca):
    session = Session(address, ca).open()
    session.sock.settimeout(2)
    block, sent = os.urandom(1 << 16), 0
    pending = b""
    try:
        while sent < STALLED_BYTES:
            if not pending:
                session.tls.write(block)
                pending = session.outgoing.read()
            count = session.sock.send(pending)
            pending, sent = pending[count:], sent + count
    except TimeoutError:
        pass
    stalled = sent < STALLED_BYTES
    session.sock.settimeout(PATIENCE)
    # What lies on the way comes back once it is read: of all blocks that left whole, less than 1,000 bytes each are records' heads.
    whole = sent // (len(block) + 1000) * len(block)
    got = session.read(whole)
    good = stalled and got[: len(block)] == block and len(got) >= whole
    check("a client that does not read is kept from writing, and loses nothing", good, f"{sent >> 10} KiB until it had to wait")
    reset(session.sock)


def silent(address, found):
    start = time.monotonic()
    sock = connect(address)
    try:
        found.append(sock.recv(1))
    except ConnectionResetError:
        found.append(time.monotonic() - start)


def tls(address, ca):
    waited = []
    waiter = threading.Thread(target=silent, args=(address, waited))
    waiter.start()
    wrong_client(address)
    resets_in_the_handshake(address, ca)
    cut_in_the_handshake(address, ca)
    cut_short(address, ca)
    half_close(address, ca)
    does_not_read(address, ca)
    waiter.join()
    good = waited and isinstance(waited[0], float) and 9 < waited[0] < 15
    check("who says nothing is reset after 10 s", good, str(waited))


def tls_farewell(address, ca):
    session = Session(address, ca).open()
    print("ready", flush=True)
    check("a stop ends an open session with close_notify", session.at_clean_end())


def versions(address):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(2)
    target, source = os.urandom(8), os.urandom(5)
    head = b"\xc0" + bytes.fromhex("1a2a3a4a") + bytes([len(target)]) + target + bytes([len(source)]) + source
    # Smaller ones must be dropped (RFC 9000 5.2.2).
    sock.sendto(head.ljust(600, b"\0"), (address, PORT))
    sock.sendto(head.ljust(1200, b"\0"), (address, PORT))
    answer = sock.recv(2000)
    expected = b"\0\0\0\0" + bytes([len(source)]) + source + bytes([len(target)]) + target
    head, rest = answer[1 : 1 + len(expected)], answer[1 + len(expected) :]
    listed = [rest[at : at + 4].hex() for at in range(0, len(rest), 4)]
    good = answer[0] & 0x80 and head == expected and "00000001" in listed
    check("a version that there is not is answered with those that there are", good, " ".join(listed))
    try:
        sock.recv(2000)
        check("only the datagram of 1200 bytes is answered", False)
    except TimeoutError:
        check("only the datagram of 1200 bytes is answered", True)


def garbage(address, seconds):
    chance = random.Random(7)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    initial = bytes.fromhex("c300000001")
    kinds = [
        lambda: chance.randbytes(chance.randrange(0, 1400)),
        # An Initial of version 1, as long as one has to be, whose contents are of chance.
        lambda: initial + b"\x08" + chance.randbytes(8) + b"\0\0\x44\x90" + chance.randbytes(1180),
        # The same with lengths of chance.
        lambda: initial + chance.randbytes(1200),
        # One of an established connection that nobody knows.
        lambda: b"\x40" + chance.randbytes(chance.randrange(20, 1200)),
        # Handshake and 0-RTT packets without a connection; a Retry; a version negotiation.
        lambda: bytes([chance.choice([0xD0, 0xE0, 0xF0, 0x80])]) + chance.randbytes(1200),
        lambda: b"\x80\0\0\0\0" + chance.randbytes(50),
    ]
    until, sent, answers, answered = time.monotonic() + seconds, 0, 0, 0
    offered = 0
    while time.monotonic() < until:
        for _ in range(20):
            datagram = chance.choice(kinds)()
            try:
                sock.sendto(datagram, (address, PORT))
                sent, offered = sent + 1, offered + len(datagram)
            except BlockingIOError:
                time.sleep(0.001)
        try:
            while True:
                answered += len(sock.recv(2000))
                answers += 1
        except BlockingIOError:
            pass
    good = sent > 1000 * seconds and answered < offered
    check("garbage is not amplified", good, f"{sent} datagrams, {answers} answers of {answered} bytes for {offered}")


def main():
    match sys.argv[1:]:
        case ["tls", address, ca]:
            tls(address, ca)
        case ["tls-farewell", address, ca]:
            tls_farewell(address, ca)
        case ["versions", address]:
            versions(address)
        case ["garbage", address, seconds]:
            garbage(address, int(seconds))
        case _:
            sys.exit(__doc__)
    sys.exit(1 if failures else 0)


main()
