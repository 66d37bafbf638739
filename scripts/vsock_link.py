"""The host's end of the line to the vsock-driver: packets, each once and in order, over bytes of which some may get lost.

services/vsock-driver/link_frame.h and host_link.h have the other end, and say how it works.
"""
import collections
import enum
import os
import struct
import time
import zlib
from typing import NamedTuple

END, ESCAPE = b"\x7e", b"\x7d"
ESCAPED_END, ESCAPED_ESCAPE = b"\x7d\x5e", b"\x7d\x5d"
HEADER = struct.Struct("<BBHIIIII")  # LinkHeader
CHECK = struct.Struct("<I")
VERSION = 1
PACKET_MIN, PACKET_MAX = 44, 44 + 65536  # header and payload (services/vsock/packet.h)
CONTENT_MAX = HEADER.size + PACKET_MAX + CHECK.size
RING_BYTES = 1 << 18    # of the ring to the host: no more is ever under way from there
OUT_MAX = 1 << 18       # bytes that wait for the line before more are made
FULL_BYTES = 1 << 20    # that wait to be acknowledged: nothing more is taken, as it may have to be answered
ASK_SECONDS = 1         # between two that ask
PATIENCE_SECONDS = 5    # with a driver that acknowledges nothing, or says nothing while somebody waits for it
LOST_SECONDS = 10       # with one that then does not answer
NUMBERS = 1 << 32


class Kind(enum.IntEnum):
    HELLO = 1
    WELCOME = 2
    DATA = 3
    ACK = 4
    ASK = 5


class Frame(NamedTuple):
    kind: int
    payload: bytes = b""
    session: int = 0
    sequence: int = 0
    following: int = 0
    acknowledged: int = 0


def encode(frame: Frame) -> bytes:
    content = HEADER.pack(frame.kind, VERSION, 0, len(frame.payload), frame.session, frame.sequence, frame.following,
                          frame.acknowledged) + frame.payload
    content += CHECK.pack(zlib.crc32(content))
    return END + content.replace(ESCAPE, ESCAPED_ESCAPE).replace(END, ESCAPED_END) + END


def decode(content: bytes) -> Frame | None:
    """What is between two ENDs; None: that is no frame."""
    content = content.replace(ESCAPED_END, END).replace(ESCAPED_ESCAPE, ESCAPE)
    if not HEADER.size + CHECK.size <= len(content) <= CONTENT_MAX:
        return None
    kind, version, reserved, size, *numbers = HEADER.unpack_from(content)
    payload = content[HEADER.size:-CHECK.size]
    if version != VERSION or reserved != 0 or size != len(payload):
        return None
    if zlib.crc32(content[:-CHECK.size]) != CHECK.unpack(content[-CHECK.size:])[0]:
        return None
    return Frame(kind, payload, *numbers)


class Decoder:
    """Finds frames in bytes that may begin and break off anywhere."""

    def __init__(self):
        self.rest, self.size = [], 0
        self.hunting = True  # for the end of what cannot be a frame
        self.damaged = 0

    def feed(self, data: bytes):
        first, *others = data.split(END)
        self._add(first)
        for part in others:
            content, hunting = b"".join(self.rest), self.hunting
            self.rest, self.size, self.hunting = [], 0, False
            self._add(part)
            if hunting or not content:
                continue
            frame = decode(content)
            if frame is None:
                self.damaged += 1
            else:
                yield frame

    def _add(self, part: bytes) -> None:
        self.size += len(part)
        if self.size > 2 * CONTENT_MAX:
            self.hunting = True
        if self.hunting:
            self.rest = []
        elif part:
            self.rest.append(part)


class Link:
    """`deliver(packet)` for each packet that comes; `restart(linked)` when all that was is over: whether something new begins."""

    def __init__(self, deliver, restart, clock=time.monotonic):
        self.deliver, self.restart, self.clock = deliver, restart, clock
        self.decoder = Decoder()
        self.out = bytearray()              # for the line
        self.session = 0                    # 0: none yet
        self.expected = self.epoch = 0      # of the driver's packets: the next; the epoch of their ring
        self.nonce = b""
        self.first = 0                      # number of the oldest packet that is not acknowledged
        self.waiting = collections.deque()  # packets from that one on
        self.waiting_bytes = 0
        self.sent = 0                       # how many of these were sent
        self.ack_due = False
        self.starved = False                # something was not taken for want of room
        self.asked = -ASK_SECONDS
        self.progress = 0.0                 # when something was acknowledged, or there was nothing to be
        self.heard = clock()                # when the driver last said something
        self.unanswered = None              # since when it has been asked in vain
        self.refused = 0

    def send(self, packet: bytes) -> None:
        if self.session == 0:
            return
        if not self.waiting:
            self.progress = self.clock()
        self.waiting.append(packet)
        self.waiting_bytes += len(packet)

    def receive(self, data: bytes) -> None:
        for frame in self.decoder.feed(data):
            self.heard, self.unanswered = self.clock(), None
            self._frame(frame)

    def fill(self) -> None:
        """Puts into `out` what is to be said."""
        now = self.clock()
        if self.waiting and now - self.progress > PATIENCE_SECONDS:
            self.progress = now
            self.ask()
        if self.starved and self.waiting_bytes < FULL_BYTES // 2:
            self.starved = not self.ask()
        while self.session and self.sent < len(self.waiting) and len(self.out) < OUT_MAX:
            number = (self.first + self.sent) % NUMBERS
            self._say(Frame(Kind.DATA, self.waiting[self.sent], self.session, number, (number + 1) % NUMBERS, self.expected))
            self.sent += 1
            self.ack_due = False
        if self.ack_due:
            self._say(Frame(Kind.ACK, session=self.session, acknowledged=self.expected))
            self.ack_due = False

    def watch(self) -> None:
        """To be said now and then while somebody waits for the driver: whether it is there. If not, all is over."""
        now = self.clock()
        if self.session == 0 or now - self.heard <= PATIENCE_SECONDS:
            return
        if self.unanswered is None:
            self.unanswered = now
        self.ask()
        if now - self.unanswered > LOST_SECONDS:
            self._forget(0)
            self.restart(False)

    def ask(self) -> bool:
        """Asks the driver to say hello; not so soon again."""
        now = self.clock()
        if now - self.asked < ASK_SECONDS:
            return False
        self.asked = now
        self._say(Frame(Kind.ASK))
        return True

    def _say(self, frame: Frame) -> None:
        self.out += encode(frame)

    def _frame(self, frame: Frame) -> None:
        if frame.kind == Kind.HELLO:
            self._hello(frame)
        elif frame.kind not in (Kind.DATA, Kind.ACK) or not frame.session:
            self.refused += 1
        elif frame.session != self.session:
            self.refused += 1
            self.ask()
        else:
            self._acknowledged(frame.acknowledged)
            if frame.kind == Kind.DATA:
                self._data(frame)

    def _data(self, frame: Frame) -> None:
        if self.waiting_bytes > FULL_BYTES:
            self.starved = True
            return
        if frame.sequence == self.expected and PACKET_MIN <= len(frame.payload) <= PACKET_MAX:
            self.expected = frame.following
            self.ack_due = True
            self.deliver(frame.payload)
            return
        self.refused += 1
        if 0 < (self.expected - frame.sequence) % NUMBERS <= RING_BYTES:  # it comes again
            self.ack_due = True
        else:
            self.ask()

    def _hello(self, frame: Frame) -> None:
        if len(frame.payload) != 8:
            self.refused += 1
            return
        wanted = (frame.acknowledged - self.first) % NUMBERS
        fits = (0 != frame.session == self.session and frame.following == self.epoch and wanted <= len(self.waiting)
                and (self.expected - frame.sequence) % NUMBERS <= RING_BYTES)
        if fits:
            self._acknowledged(frame.acknowledged)
            self.sent = 0
        elif frame.payload != self.nonce:
            self._begin(frame)
        else:  # the answer to it was lost, and with it what came behind
            self.sent = 0
        self.nonce = frame.payload
        self._say(Frame(Kind.WELCOME, frame.payload, self.session, self.first, 0, self.expected))

    def _begin(self, frame: Frame) -> None:
        """A new session."""
        self.restart(True)
        self._forget(int.from_bytes(os.urandom(4), "little") or 1)
        self.expected, self.epoch = frame.sequence, frame.following

    def _forget(self, session: int) -> None:
        self.session = session
        self.first = self.sent = self.waiting_bytes = 0
        self.waiting.clear()
        self.ack_due = False

    def _acknowledged(self, number: int) -> None:
        count = (number - self.first) % NUMBERS
        if count > len(self.waiting):
            self.refused += 1
            return
        for _ in range(count):
            self.waiting_bytes -= len(self.waiting.popleft())
        if count:
            self.first = number
            self.sent = max(self.sent - count, 0)
            self.progress = self.clock()
