"""The host's end of the line to the vsock-driver: bad frames, lost bytes, sessions."""
import itertools
import random
import struct
import unittest
import zlib

import vsock_link
from vsock_link import Decoder, Frame, Kind, Link, encode

END = b"\x7e"


def packet(number: int, size: int = 60) -> bytes:
    return bytes((number * 7 + i) % 256 for i in range(size))


def framed(content: bytes) -> bytes:
    return END + (content + struct.pack("<I", zlib.crc32(content))).replace(b"\x7d", b"\x7d\x5d").replace(END, b"\x7d\x5e") + END


class DecoderTest(unittest.TestCase):
    def test_is_no_frame(self):
        good = Frame(Kind.DATA, packet(1), 1, 2, 3, 4)
        whole = bytearray(encode(good))
        damaged = bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
        header = struct.Struct("<BBHIIIII")
        bad = [b"", END, END * 3, b"\x7d" + END, END + b"\x7d" + END, END + b"\x7d\x7d" + END, framed(b""), framed(b"\0" * 23),
               framed(header.pack(4, 1, 0, 1, 0, 0, 0, 0)), framed(header.pack(4, 1, 0, 0xffffffff, 0, 0, 0, 0)),
               framed(header.pack(4, 2, 0, 0, 0, 0, 0, 0)), framed(header.pack(4, 1, 1, 0, 0, 0, 0, 0)), damaged,
               END + b"a" * 1_000_000 + END, encode(Frame(Kind.DATA, b"a" * (vsock_link.PACKET_MAX + 1)))]
        for number, data in enumerate(bad):
            with self.subTest(number):
                decoder = Decoder()
                self.assertEqual(list(decoder.feed(data)), [])
                self.assertEqual(list(decoder.feed(bytes(whole))), [good])

    def test_what_is_kept_of_an_endless_frame_is_bounded(self):
        decoder = Decoder()
        list(decoder.feed(END))
        for _ in range(100):
            self.assertEqual(list(decoder.feed(b"a" * 50_000)), [])
            self.assertLess(sum(map(len, decoder.rest)), 3 * vsock_link.CONTENT_MAX)
        self.assertEqual(len(list(decoder.feed(END + encode(Frame(Kind.ASK))))), 1)

    def test_all_payloads_in_pieces(self):
        frames = [Frame(Kind.DATA, payload, 1, 2, 3, 4) for payload in
                  (b"", END, b"\x7d", END * vsock_link.PACKET_MAX, b"\x7d" * 999, b"\x7d\x5e\x7d\x5d\x5e", bytes(range(256)))]
        data = b"".join(map(encode, frames))
        for size in (1, 7, 4096, len(data)):
            pieces = data if size > 1 else data[-2000:]
            decoder = Decoder()
            found = [f for at in range(0, len(pieces), size) for f in decoder.feed(pieces[at:at + size])]
            self.assertEqual(found, frames if size > 1 else frames[-len(found):])
            self.assertEqual(len(found) > 1, True)
            self.assertEqual(decoder.damaged, 0)

    def test_is_what_the_driver_expects(self):
        """The same bytes as in services/vsock-driver/vsock-driver_test.cc."""
        self.assertEqual(encode(Frame(Kind.DATA, b"\x7e\x7da", 0x11223344, 2, 3, 0xffffffff)).hex(),
                         "7e0301000003000000443322110200000003000000ffffffff7d5e7d5d6156d1791a7e")

    def test_any_piece_may_be_missing(self):
        frames = [Frame(Kind.DATA, packet(n, 44 + n), 1, n, n + 1, 0) for n in (1, 2, 0x7d)]
        data, last = b"".join(map(encode, frames)), Frame(Kind.ASK)
        for start, end in itertools.combinations(range(0, len(data) + 1, 3), 2):
            found = list(Decoder().feed(data[:start] + data[end:] + encode(last)))
            self.assertEqual(found[-1], last)
            self.assertTrue(set(found[:-1]) <= set(frames), (start, end))


class Driver:
    """As services/vsock-driver/host_link.cc, as far as the host can see."""

    def __init__(self, link: Link):
        self.link, self.decoder = link, Decoder()
        self.session = self.wanted = self.sent = 0
        self.position, self.epoch, self.nonce = 160, 0, 0
        self.waiting, self.received, self.greetings = [], [], 0

    def hello(self, **changed) -> None:
        self.nonce += 1
        self.greetings += 1
        self.say(Frame(Kind.HELLO, self.nonce.to_bytes(8, "little"),
                       **{"session": self.session, "sequence": self.position, "following": self.epoch,
                          "acknowledged": self.wanted} | changed))

    def say(self, frame: Frame) -> None:
        self.link.receive(encode(frame))

    def send(self, data: bytes, **changed) -> None:
        self.waiting.append(data)
        self.say(self.data(len(self.waiting) - 1, **changed))

    def data(self, index: int, **changed) -> Frame:
        return Frame(Kind.DATA, self.waiting[index], **{"session": self.session, "sequence": self.position + 16 * index,
                     "following": self.position + 16 * index + 16, "acknowledged": self.wanted} | changed)

    def listen(self, lose: int = 0) -> list:
        """What the host says, but for the first bytes."""
        self.link.fill()
        data, self.link.out[:] = bytes(self.link.out), b""
        frames = list(self.decoder.feed(data[lose:]))
        for frame in frames:
            if frame.kind == Kind.ASK:
                self.hello()
            elif frame.kind == Kind.WELCOME and frame.payload == self.nonce.to_bytes(8, "little"):
                if frame.session != self.session:
                    self.session, self.wanted = frame.session, 0
                done = (frame.acknowledged - self.position) // 16
                self.position, self.waiting = frame.acknowledged, self.waiting[done:]
                for index in range(len(self.waiting)):
                    self.say(self.data(index))
            elif frame.kind == Kind.DATA and frame.session == self.session:
                if frame.sequence == self.wanted:
                    self.wanted += 1
                    self.received.append(frame.payload)
                elif frame.sequence > self.wanted:
                    self.hello()
        return frames

    def settle(self) -> None:
        for _ in range(10):
            self.listen()
            self.say(Frame(Kind.ACK, session=self.session, acknowledged=self.wanted))


class LinkTest(unittest.TestCase):
    def setUp(self):
        self.now, self.delivered, self.restarts = 1000.0, [], 0
        self.link = Link(self.delivered.append, self.restart, lambda: self.now)
        self.driver = Driver(self.link)

    def restart(self, linked):
        self.restarts += linked
        self.linked = linked

    def open(self):
        self.driver.hello()
        self.driver.settle()

    def works(self):
        before, got = len(self.delivered), len(self.driver.received)
        self.driver.send(packet(before))
        self.link.send(packet(got + 99))
        self.driver.settle()
        self.assertEqual(self.delivered[before:], [packet(before)])
        self.assertEqual(self.driver.received[got:], [packet(got + 99)])

    def test_packets_pass_both_ways(self):
        self.open()
        for _ in range(100):
            self.works()
        self.assertEqual((self.restarts, self.driver.greetings, self.link.refused), (1, 1, 0))

    def test_nothing_is_sent_before_a_session(self):
        self.link.send(packet(1))
        self.link.fill()
        self.assertEqual(self.link.out, b"")
        self.open()
        self.works()

    def test_what_the_driver_says_is_checked(self):
        s = lambda: self.link.session
        bad = [lambda: Frame(0), lambda: Frame(99, session=s()), lambda: Frame(Kind.WELCOME, b"12345678", s()),
               lambda: Frame(Kind.HELLO, b"1234567", s()), lambda: Frame(Kind.DATA, packet(1), 0),
               lambda: Frame(Kind.DATA, packet(1), s() ^ 1), lambda: Frame(Kind.ACK, session=s(), acknowledged=1),
               lambda: Frame(Kind.DATA, packet(1, 43), s(), self.link.expected, 0, self.driver.wanted),
               lambda: Frame(Kind.DATA, packet(1), s(), self.link.expected + 16, self.link.expected + 32,
                             self.driver.wanted)]
        self.open()
        for number, frame in enumerate(bad):
            with self.subTest(number):
                refused = self.link.refused
                self.now += 10
                self.driver.say(frame())
                self.driver.settle()
                self.assertEqual(self.link.refused, refused + 1)
                self.works()
        self.assertEqual(self.restarts, 1)

    def test_VSOCK_16_each_packet_once_whatever_is_lost(self):
        for lose in range(0, 700, 9):
            self.setUp()
            self.open()
            for n in range(3):
                self.link.send(packet(n, 50 + n))
                self.driver.send(packet(n + 10))
            self.driver.listen(lose)
            self.driver.hello()  # a new instance, or one that has waited
            self.driver.settle()
            self.assertEqual(self.delivered, [packet(n + 10) for n in range(3)], lose)
            self.assertEqual(self.driver.received, [packet(n, 50 + n) for n in range(3)], lose)
            self.assertEqual(self.restarts, 1)

    def test_a_driver_that_acknowledges_nothing_is_asked(self):
        self.open()
        self.link.send(packet(1))
        self.link.fill()
        self.link.out.clear()  # lost
        self.driver.settle()
        self.assertEqual(self.driver.received, [])
        self.now += vsock_link.PATIENCE_SECONDS + 1
        self.driver.settle()
        self.assertEqual(self.driver.received, [packet(1)])

    def test_a_driver_that_is_gone_is_noticed(self):
        """Somebody waits for it, with something under way or without."""
        for busy in (False, True):
            self.setUp()
            self.open()
            self.works()
            if busy:
                self.link.send(packet(1))
            for _ in range(vsock_link.PATIENCE_SECONDS + vsock_link.LOST_SECONDS):
                self.now += 1
                self.link.watch()
                self.link.fill()
                self.assertTrue(self.linked)
            self.now += 2
            self.link.watch()
            self.assertEqual((self.linked, self.link.session, len(self.link.waiting)), (False, 0, 0))
            self.assertLess(len(self.link.out), 2000)
            self.link.send(packet(2))  # to nobody
            self.now += 100
            self.link.watch()
            self.link.out.clear()
            self.driver.waiting.clear()
            self.driver.hello()  # it comes back
            self.driver.settle()
            self.assertEqual((self.linked, self.restarts), (True, 2))
            self.works()

    def test_a_driver_that_has_nothing_to_say_is_not_gone(self):
        self.open()
        session = self.link.session
        for _ in range(100):
            self.now += 1
            self.link.watch()
            self.driver.listen()
        self.assertEqual((self.linked, self.restarts, self.link.session), (True, 1, session))
        self.assertLess(self.driver.greetings, 100 / vsock_link.PATIENCE_SECONDS + 2)
        self.now += 1000  # nobody waited
        self.link.watch()
        self.driver.listen()
        self.works()

    def test_a_hello_that_fits_nothing_begins_a_session(self):
        for changed in ({"session": 5}, {"session": 0}, {"following": 1}, {"acknowledged": 99}, {"sequence": 16 << 20},
                        {"sequence": 0xfff00000}):
            self.setUp()
            self.open()
            self.works()
            session = self.link.session
            self.link.send(packet(1))
            self.driver.hello(**changed)
            self.assertEqual(self.restarts, 2, changed)
            self.assertNotEqual(self.link.session, session)
            self.assertEqual(len(self.link.waiting), 0)

    def test_a_hello_that_comes_again_is_answered_alike(self):
        self.driver.hello()
        hello = encode(Frame(Kind.HELLO, self.driver.nonce.to_bytes(8, "little"), 0, 160, 0, 0))
        self.link.receive(hello + hello)
        frames = [f for f in self.driver.listen() if f.kind == Kind.WELCOME]
        self.assertEqual(len(frames), 3)
        self.assertEqual(len(set(frames)), 1)
        self.assertEqual(self.restarts, 1)
        self.works()

    def test_what_waits_is_bounded(self):
        """Whoever gets an answer to each packet and takes none."""
        self.link = Link(lambda data: self.link.send(packet(len(self.delivered), 4000)), self.restart, lambda: self.now)
        self.driver = Driver(self.link)
        self.open()
        for n in range(2000):
            self.driver.send(packet(n))
        self.assertLess(self.link.waiting_bytes, vsock_link.FULL_BYTES + 5000)
        self.assertLess(len(self.link.out), 2 * vsock_link.OUT_MAX)
        for _ in range(200):
            self.now += 1
            self.driver.settle()
        self.assertEqual(len(self.driver.received), 2000)

    def test_random_bytes_do_no_harm(self):
        noise = random.Random(3)
        self.open()
        for _ in range(300):
            self.link.receive(noise.randbytes(noise.randrange(200)))
        self.link.receive(END)
        self.now += 10
        self.works()


if __name__ == "__main__":
    unittest.main()
