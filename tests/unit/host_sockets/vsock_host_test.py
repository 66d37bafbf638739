"""The host's end of guests' sockets: packets of good and bad guests on one side, unix sockets on the other."""
import selectors
import socket
import tempfile
import time
import unittest

import vsock_host
from vsock_host import (ALL, BUFFER_BYTES, CREDIT_REQUEST, CREDIT_UPDATE, DATA, NO_MORE_RECEIVED, NO_MORE_SENT, REQUEST, RESET,
                        RESPONSE, SHUTDOWN, Host, Packet)

CID, GUEST_PORT, PORT = 3, 1024, 5000


class HostTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = f"{self.folder.name}/vm"
        self.now, self.sent = 1000.0, []
        self.host = Host(self.path, self.sent.append, lambda: self.now)
        self.host.restart()  # a session
        self.listener = self.listen(self.path)
        self.server = self.listen(f"{self.path}_{PORT}")
        self.programs = []

    def tearDown(self):
        self.host.restart()
        for sock in (self.listener, self.server, *self.programs, *self.host.asking):
            sock.close()
        self.host.selector.close()
        self.folder.cleanup()

    def listen(self, path: str) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(path)
        sock.listen(4)
        sock.settimeout(5)
        return sock

    def keep(self, sock: socket.socket) -> socket.socket:
        sock.settimeout(5)
        self.programs.append(sock)
        return sock

    def guest(self, op: int, payload: bytes = b"", guest_port: int = GUEST_PORT, port: int = PORT, **fields) -> list:
        """A packet of the guest; what it leads to."""
        packet = Packet(CID, guest_port, port, op, payload=payload, **{"buffer": 1 << 18} | fields)
        data = bytearray(packet.bytes())
        data[0:16] = CID.to_bytes(8, "little") + (2).to_bytes(8, "little")
        data[16:24] = guest_port.to_bytes(4, "little") + port.to_bytes(4, "little")
        self.host.packet(bytes(data))
        return self.answers()

    def answers(self) -> list:
        found = []
        for data in self.sent:
            source, target, source_port, target_port, size, kind, op, flags, buffer, forwarded = vsock_host.HEADER.unpack_from(data)
            self.assertEqual((source, kind, size), (2, 1, len(data) - 44))
            found.append(Packet(target, target_port, source_port, op, flags, buffer, forwarded, data[44:]))
        self.sent.clear()
        return found

    def ops(self, *arguments, **fields) -> list:
        return [p.op for p in self.guest(*arguments, **fields)]

    def serve(self, seconds: float = 0.02) -> list:
        """The loop's part; what the guest gets."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for key, events in self.host.selector.select(0.005):
                what, which = key.data
                if what == "asking":
                    self.host.asked(which)
                else:
                    self.host.ready(which, events)
        return self.answers()

    def connected(self, **fields) -> socket.socket:
        self.assertEqual(self.ops(REQUEST, **fields), [RESPONSE])
        return self.keep(self.server.accept()[0])

    def ask(self, line: bytes) -> socket.socket:
        program = self.keep(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        program.connect(self.path)
        self.host.accept(self.listener)
        if line:
            program.sendall(line)
        return program

    def answered(self) -> tuple:
        """A program's connection that the guest took, and its port of the host."""
        program = self.ask(b"CONNECT 3 1024\n")
        request, = self.serve()
        self.assertEqual((request.op, request.cid, request.guest_port), (REQUEST, CID, GUEST_PORT))
        self.guest(RESPONSE, port=request.host_port)
        self.assertEqual(program.recv(100), b"OK %d\n" % request.host_port)
        return program, request.host_port

    # ---- guests that connect --------------------------------------------------------------------
    def test_VSOCK_12_nobody_is_there(self):
        self.assertEqual(self.ops(REQUEST, port=PORT + 1), [RESET])
        open(f"{self.path}_1", "w").close()
        self.assertEqual(self.ops(REQUEST, port=1), [RESET])
        self.server.close()
        self.assertEqual(self.ops(REQUEST), [RESET])
        self.assertEqual(self.host.connections, {})

    def test_VSOCK_16_streams_both_ways(self):
        program = self.connected()
        self.assertEqual(self.ops(DATA, b"hello"), [])
        self.assertEqual(program.recv(100), b"hello")
        program.sendall(b"x" * 100_000)
        got = b"".join(p.payload for p in self.serve() if p.op == DATA)
        self.assertEqual(got, b"x" * 100_000)

    def test_VSOCK_11_VSOCK_14_VSOCK_23_what_is_none_of_its_packets(self):
        program = self.connected()
        whole = Packet(CID, GUEST_PORT, PORT, DATA, payload=b"x").bytes()

        def changed(at, value, size):
            data = bytearray(whole)
            data[0:24] = (CID.to_bytes(8, "little") + (2).to_bytes(8, "little") + GUEST_PORT.to_bytes(4, "little")
                          + PORT.to_bytes(4, "little"))
            data[at:at + size] = value.to_bytes(size, "little")
            return bytes(data)

        # Another CID, its upper half, a length that lies, another type, payload with another op: RST, and once only.
        for at, value, size in ((8, 4, 8), (8, 2 | 1 << 32, 8), (24, 2, 4), (24, 0, 4), (28, 2, 2), (30, RESPONSE, 2)):
            self.host.packet(changed(at, value, size))
            self.assertEqual([p.op for p in self.answers()], [RESET], at)
        self.host.packet(changed(30, RESET, 2))
        self.assertEqual(self.answers(), [])
        for op in (DATA, RESPONSE, SHUTDOWN, CREDIT_UPDATE, CREDIT_REQUEST, 0, 8, 0xffff):  # no such connection
            self.assertEqual(self.ops(op, guest_port=7), [RESET])
        self.assertEqual(self.ops(RESET, guest_port=7), [])
        self.assertEqual(self.ops(DATA, b"still"), [])
        self.assertEqual(program.recv(100), b"still")
        for op in (0, 8, RESPONSE, REQUEST):  # of the connection, which it ends
            self.assertEqual(self.ops(op), [RESET])
            self.assertEqual(program.recv(100), b"")
            program = self.connected()

    def test_VSOCK_08_VSOCK_22_a_guest_beyond_its_credit(self):
        program = self.connected()
        for _ in range(100):
            ops = self.ops(DATA, b"x" * 65536)
            self.assertLessEqual(sum(len(c.incoming) for c in self.host.connections.values()), BUFFER_BYTES + 64)
            if RESET in ops:
                break
        self.assertEqual(self.host.connections, {})
        self.connected()
        program.close()

    def test_VSOCK_09_VSOCK_10_credit_comes_back_as_the_program_reads(self):
        program = self.connected()
        sent, forwarded, got = 0, 0, 0
        while forwarded < 1 << 20:
            while sent - forwarded + 32768 <= BUFFER_BYTES:
                for packet in self.guest(DATA, b"x" * 32768):
                    self.assertEqual((packet.op, packet.buffer), (CREDIT_UPDATE, BUFFER_BYTES))
                    forwarded = packet.forwarded
                sent += 32768
            if got < sent:
                got += len(program.recv(65536))
            for packet in self.serve(0.001):
                forwarded = packet.forwarded
            if sent - forwarded + 32768 > BUFFER_BYTES:
                *_, packet = self.guest(CREDIT_REQUEST)
                self.assertLessEqual(packet.forwarded, sent)
                forwarded = packet.forwarded

    def test_a_program_that_does_not_read_stalls_its_connection_only(self):
        self.connected()
        for _ in range(BUFFER_BYTES // 32768):
            self.guest(DATA, b"x" * 32768)
        other = self.connected(guest_port=9)
        self.guest(DATA, b"hello", guest_port=9)
        self.assertEqual(other.recv(100), b"hello")

    def test_VSOCK_08_VSOCK_24_the_guests_credit_is_kept(self):
        program = self.connected(buffer=1000)
        program.sendall(b"x" * 5000)
        self.assertEqual(sum(len(p.payload) for p in self.serve()), 1000)
        self.guest(CREDIT_UPDATE, buffer=1000, forwarded=600)
        self.assertEqual(sum(len(p.payload) for p in self.serve()), 600)
        self.guest(CREDIT_UPDATE, buffer=1500, forwarded=600)
        self.assertEqual(sum(len(p.payload) for p in self.serve()), 500)
        # Forwarded more than was sent; less than before; an endless buffer.
        for buffer, forwarded in ((1000, 5000), (1000, 0), (0, 2100)):
            self.guest(CREDIT_UPDATE, buffer=buffer, forwarded=forwarded)
            self.assertEqual(self.serve(), [])
        self.guest(CREDIT_UPDATE, buffer=0xffffffff, forwarded=2100)
        program.setblocking(False)
        sent = 0
        for _ in range(50):
            try:
                sent += program.send(b"x" * 65536)
            except BlockingIOError:
                pass
            self.serve(0.002)
        self.assertLessEqual(self.host.connections[CID, GUEST_PORT, PORT].sent, 2100 + vsock_host.IN_FLIGHT_MAX)

    def test_VSOCK_13_each_direction_ends_by_itself(self):
        program = self.connected()
        program.sendall(b"last words")
        program.shutdown(socket.SHUT_WR)
        self.assertEqual([(p.op, p.flags) for p in self.serve()], [(DATA, 0), (SHUTDOWN, NO_MORE_SENT)])
        self.guest(DATA, b"and mine")
        self.assertEqual([(p.op, p.flags) for p in self.guest(SHUTDOWN, flags=NO_MORE_SENT)], [(SHUTDOWN, ALL)])
        self.assertEqual(program.recv(100), b"and mine")
        self.assertEqual(program.recv(100), b"")
        self.assertEqual(self.ops(SHUTDOWN, flags=ALL), [RESET])
        self.assertEqual(self.host.connections, {})

    def test_VSOCK_13_who_closes_gets_all_that_was_sent(self):
        program = self.connected()
        self.guest(DATA, b"x" * 60_000)
        self.assertEqual(self.ops(SHUTDOWN, flags=ALL), [RESET])
        got = b""
        while data := program.recv(65536):
            got += data
        self.assertEqual(len(got), 60_000)

    def test_VSOCK_13_data_after_the_end(self):
        self.connected()
        self.guest(SHUTDOWN, flags=NO_MORE_SENT)
        self.assertEqual(self.ops(DATA, b"x"), [RESET])

    def test_a_guest_that_receives_no_more(self):
        program = self.connected()
        self.guest(SHUTDOWN, flags=NO_MORE_RECEIVED)
        program.sendall(b"x")
        self.assertEqual(self.serve(), [])

    def test_a_program_that_is_gone(self):
        program = self.connected()
        program.sendall(b"last words")
        program.close()
        self.assertEqual([(p.op, p.flags) for p in self.serve()], [(DATA, 0), (SHUTDOWN, NO_MORE_SENT)])
        self.assertEqual([(p.op, p.flags) for p in self.guest(DATA, b"x")], [(SHUTDOWN, ALL)])
        self.now += vsock_host.LINGER_SECONDS  # the guest does not answer
        self.host.on_time()
        self.assertEqual([p.op for p in self.answers()], [RESET])

    def test_VSOCK_25_connections_are_bounded(self):
        self.server.listen(1000)
        ops = [self.ops(REQUEST, guest_port=port) for port in range(vsock_host.CONNECTIONS_OF_GUEST + 5)]
        self.assertEqual(ops, [[RESPONSE]] * vsock_host.CONNECTIONS_OF_GUEST + [[RESET]] * 5)
        self.ops(RESET, guest_port=0)
        self.assertEqual(self.ops(REQUEST), [RESPONSE])

    def test_VSOCK_19_what_is_over_is_closed(self):
        program = self.connected()
        self.host.restart()
        self.assertEqual(program.recv(100), b"")
        self.assertEqual(self.answers(), [])
        self.assertEqual(self.ops(DATA, b"x"), [RESET])

    # ---- programs that connect ------------------------------------------------------------------
    def test_VSOCK_12_a_program_connects(self):
        program, port = self.answered()
        self.guest(DATA, b"hello", port=port)
        self.assertEqual(program.recv(100), b"hello")
        program.sendall(b"you")
        self.assertEqual([p.payload for p in self.serve()], [b"you"])
        _, other = self.answered()
        self.assertNotEqual(port, other)

    def test_what_is_said_in_advance_comes_first(self):
        program = self.ask(b"CONNECT 3 1024\nin ")
        request, = self.serve()
        program.sendall(b"advance")
        got = self.guest(RESPONSE, port=request.host_port) + self.serve()
        self.assertEqual(b"".join(p.payload for p in got), b"in advance")

    def test_bad_lines(self):
        for line in (b"\n", b"CONNECT\n", b"CONNECT 3\n", b"CONNECT 3 x\n", b"CONNECT 3 4 5\n", b"connect 3 4\n", b"CONNECT 2 4\n",
                     b"CONNECT 0 4\n", b"CONNECT 4294967295 4\n", b"CONNECT 3 4294967296\n", b"CONNECT -3 4\n", b"x" * 64,
                     b"\xff\n"):
            program = self.ask(line)
            self.assertEqual(self.serve(), [], line)
            self.assertEqual(program.recv(100), b"", line)
        self.assertEqual((self.host.asking, self.host.connections), ({}, {}))

    def test_a_line_in_pieces_and_one_that_never_ends(self):
        program, silent = self.ask(b"CONN"), self.ask(b"CONNECT 3 ")
        self.assertEqual(self.serve(), [])
        program.sendall(b"ECT 3 9\r\n")
        self.assertEqual([p.op for p in self.serve()], [REQUEST])
        self.now += vsock_host.ASK_SECONDS
        self.host.on_time()  # the guest has not answered, either
        self.assertEqual((silent.recv(100), program.recv(100)), (b"", b""))
        self.assertEqual([p.op for p in self.answers()], [RESET])

    def test_a_guest_that_refuses(self):
        program = self.ask(b"CONNECT 3 9\n")
        request, = self.serve()
        self.assertEqual(self.ops(RESET, guest_port=9, port=request.host_port), [])
        self.assertEqual(program.recv(100), b"")
        program = self.ask(b"CONNECT 3 9\n")
        request, = self.serve()
        self.assertEqual(self.ops(DATA, b"x", guest_port=9, port=request.host_port), [RESET])
        self.assertEqual(program.recv(100), b"")

    def test_who_asks_is_bounded_and_needs_a_machine(self):
        programs = [self.ask(b"") for _ in range(vsock_host.ASKING_MAX + 1)]
        self.assertEqual(programs[-1].recv(100), b"")
        self.assertEqual(len(self.host.asking), vsock_host.ASKING_MAX)
        host = Host(self.path, self.sent.append)
        program = self.keep(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        program.connect(self.path)
        host.accept(self.listener)
        self.assertEqual(program.recv(100), b"")
        host.selector.close()

    def test_nothing_is_read_while_the_line_is_busy(self):
        program = self.connected()
        self.host.busy = True
        self.host.watch(self.host.connections[CID, GUEST_PORT, PORT])
        program.sendall(b"x")
        self.assertEqual(self.serve(), [])
        self.assertEqual(self.host.connections[CID, GUEST_PORT, PORT].wants(False), selectors.EVENT_READ)


if __name__ == "__main__":
    unittest.main()
