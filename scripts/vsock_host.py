"""The host's end of the guests' sockets (CID 2): connects them with unix sockets, as the option --vsock PATH promises.

A guest that connects to port P of CID 2 is connected to the unix socket PATH_P. A program that connects to PATH and
writes "CONNECT CID PORT\\n" reads "OK LOCALPORT\\n" and is connected to that port of that guest.

Usage: vsock_host.py LINE PATH FD, by scripts/run: the unix socket of the machine's line, PATH, and a file descriptor that
listens at PATH. Ends with its standard input.
"""
import dataclasses
import errno
import re
import selectors
import socket
import struct
import sys
import time

from vsock_link import PACKET_MAX, Link

HOST_CID = 2
HEADER = struct.Struct("<QQIIIHHIII")  # PacketHeader, services/vsock/packet.h
STREAM = 1
REQUEST, RESPONSE, RESET, SHUTDOWN, DATA, CREDIT_UPDATE, CREDIT_REQUEST = range(1, 8)
NO_MORE_RECEIVED, NO_MORE_SENT, ALL = 1, 2, 3  # flags of SHUTDOWN
PAYLOAD_MAX = PACKET_MAX - HEADER.size
BUFFER_BYTES = 1 << 17        # of each connection: what its guest may send before the program has read it
IN_FLIGHT_MAX = 1 << 18       # to a guest, in one connection, whatever it allows
CONNECTIONS_MAX, CONNECTIONS_OF_GUEST = 512, 256
ASKING_MAX = 64               # programs that have not said yet whom they want, or have not got it
LINE_MAX = 64                 # bytes of CONNECT
ASK_SECONDS = LINGER_SECONDS = 10
LINK_BUSY = 1 << 19           # bytes that wait for the line: connections are not read
FIRST_LOCAL_PORT = 1 << 30
READ_BYTES = 1 << 16
NUMBERS = 1 << 32
CONNECT = re.compile(rb"CONNECT (\d{1,10}) (\d{1,10})\r?\n")


@dataclasses.dataclass
class Packet:
    cid: int  # of the guest
    guest_port: int
    host_port: int
    op: int
    flags: int = 0
    buffer: int = 0     # buf_alloc
    forwarded: int = 0  # fwd_cnt
    payload: bytes = b""

    @staticmethod
    def parse(data: bytes):
        """None if it is not one for the host."""
        source, target, source_port, target_port, size, kind, op, flags, buffer, forwarded = HEADER.unpack_from(data)
        payload = data[HEADER.size:]
        if target != HOST_CID or kind != STREAM or size != len(payload) or (payload and op != DATA):
            return None
        return Packet(source, source_port, target_port, op, flags, buffer, forwarded, payload)

    def bytes(self) -> bytes:
        return HEADER.pack(HOST_CID, self.cid, self.host_port, self.guest_port, len(self.payload), STREAM, self.op,
                           self.flags, self.buffer, self.forwarded) + self.payload


class Connection:
    """A guest's port and a program's socket."""

    def __init__(self, sock: socket.socket, cid: int, guest_port: int, host_port: int, asked: bool):
        self.sock, self.cid, self.guest_port, self.host_port = sock, cid, guest_port, host_port
        self.asking = asked           # the guest has not answered
        self.ahead = b""              # what the program wrote behind its CONNECT
        self.incoming = bytearray()   # for the program
        self.forwarded = 0            # bytes that it got
        self.announced = 0            # of these, as the guest knows
        self.sent = 0                 # bytes to the guest
        self.peer_buffer = self.peer_forwarded = 0
        self.own_end = self.guest_end = 0  # flags of SHUTDOWN
        self.shut = False             # the program knows that no more comes
        self.deadline = None
        self.registered = 0           # events that are waited for

    @property
    def key(self):
        return self.cid, self.guest_port, self.host_port

    def credit(self) -> int:
        """Bytes that the guest takes now."""
        flying = (self.sent - self.peer_forwarded) % NUMBERS
        return max(min(self.peer_buffer, IN_FLIGHT_MAX) - flying, 0)

    def wants(self, busy: bool) -> int:
        """Events to wait for."""
        reads = not (self.asking or busy or self.own_end & NO_MORE_SENT) and self.credit() > 0
        return (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if self.incoming else 0)


class Host:
    """All connections; `send(bytes)` gives a packet to the guests."""

    def __init__(self, path: str, send, clock=time.monotonic):
        self.path, self.send, self.clock = path, send, clock
        self.selector = selectors.DefaultSelector()
        self.connections = {}
        self.asking = {}  # sockets that have not said whom they want: (what they have said, deadline)
        self.next_port = FIRST_LOCAL_PORT
        self.linked = False
        self.busy = False  # enough waits for the line

    # ---- from the guests ------------------------------------------------------------------------
    def packet(self, data: bytes) -> None:
        packet = Packet.parse(data)
        if packet is None:
            found = HEADER.unpack_from(data)
            if found[6] != RESET:
                self.reset(found[0], found[2], found[3])
            return
        connection = self.connections.get((packet.cid, packet.guest_port, packet.host_port))
        if packet.op == REQUEST and connection is None:
            self.request(packet)
        elif connection is None or packet.op == REQUEST or not REQUEST <= packet.op <= CREDIT_REQUEST:
            if packet.op != RESET:
                self.end(connection, tell=False)
                self.reset(packet.cid, packet.guest_port, packet.host_port)
        elif packet.op == RESET:
            self.end(connection, tell=False)
        elif not self.for_connection(connection, packet):
            self.end(connection)

    def request(self, packet: Packet) -> None:
        sock = None
        if self.has_room(packet.cid):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.setblocking(False)
            try:
                sock.connect(f"{self.path}_{packet.host_port}")
            except OSError:  # nobody is there, or too many wait for it
                sock.close()
                sock = None
        if sock is None:
            self.reset(packet.cid, packet.guest_port, packet.host_port)
            return
        connection = Connection(sock, packet.cid, packet.guest_port, packet.host_port, asked=False)
        connection.peer_buffer, connection.peer_forwarded = packet.buffer, packet.forwarded
        self.add(connection)
        self.say(connection, RESPONSE)
        self.watch(connection)

    def for_connection(self, connection: Connection, packet: Packet) -> bool:
        """False: the guest breaks the rules, and the connection is to be ended."""
        connection.peer_buffer, connection.peer_forwarded = packet.buffer, packet.forwarded
        if connection.asking:
            if packet.op != RESPONSE:
                return False
            connection.asking, connection.deadline = False, None
            connection.incoming += b"OK %d\n" % connection.host_port
            connection.forwarded = -len(connection.incoming)  # which the guest did not send
        elif packet.op == RESPONSE:
            return False
        elif packet.op == DATA:
            if connection.guest_end & NO_MORE_SENT or len(connection.incoming) + len(packet.payload) > BUFFER_BYTES + LINE_MAX:
                return False
            if not connection.own_end & NO_MORE_RECEIVED:
                connection.incoming += packet.payload
        elif packet.op == CREDIT_REQUEST:
            self.say(connection, CREDIT_UPDATE)
        elif packet.op == SHUTDOWN:
            connection.guest_end |= packet.flags & ALL
            if connection.guest_end & NO_MORE_RECEIVED:
                connection.own_end |= NO_MORE_SENT
        self.write(connection)
        return True

    # ---- from programs --------------------------------------------------------------------------
    def ready(self, connection: Connection, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self.write(connection)
        if events & selectors.EVENT_READ and self.connections.get(connection.key) is connection:
            self.read(connection)

    def read(self, connection: Connection) -> None:
        size = min(connection.credit(), PAYLOAD_MAX)
        if connection.asking or size == 0 or connection.own_end & NO_MORE_SENT:
            return
        data, connection.ahead = connection.ahead[:size], connection.ahead[size:]
        if not data:
            try:
                data = connection.sock.recv(size)
            except BlockingIOError:
                return
            except OSError:
                data = b""
        if data:
            connection.sent = (connection.sent + len(data)) % NUMBERS
            self.say(connection, DATA, payload=data)
        else:
            self.finish(connection, NO_MORE_SENT)
        self.watch(connection)

    def write(self, connection: Connection) -> None:
        """Gives the program what is there for it."""
        try:
            while connection.incoming:
                count = connection.sock.send(connection.incoming)
                del connection.incoming[:count]
                connection.forwarded += count
        except BlockingIOError:
            pass
        except OSError:  # it takes no more; what it has written is still to be read
            connection.forwarded += len(connection.incoming)
            connection.incoming.clear()
            self.finish(connection, NO_MORE_RECEIVED)
        if not connection.incoming:
            if connection.guest_end == ALL:
                self.end(connection)
                return
            if connection.guest_end & NO_MORE_SENT and not connection.shut:
                connection.shut = True
                try:
                    connection.sock.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
                if connection.own_end & NO_MORE_SENT:
                    self.finish(connection, NO_MORE_RECEIVED)
        # In time before the guest has nothing left, and not for each byte.
        if connection.forwarded - connection.announced >= BUFFER_BYTES // 4:
            self.say(connection, CREDIT_UPDATE)
        if connection.ahead and not connection.asking:
            self.read(connection)
        self.watch(connection)

    def finish(self, connection: Connection, flag: int) -> None:
        """Tells the guest that one direction, or both, are over."""
        before = connection.own_end
        connection.own_end |= flag
        if connection.shut and connection.own_end & NO_MORE_SENT:
            connection.own_end = ALL
        if connection.own_end != before:
            self.say(connection, SHUTDOWN, connection.own_end)
        if connection.own_end == ALL and connection.deadline is None:
            connection.deadline = self.clock() + LINGER_SECONDS

    def accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        if len(self.asking) >= ASKING_MAX or not self.linked:
            sock.close()
            return
        sock.setblocking(False)
        self.asking[sock] = b"", self.clock() + ASK_SECONDS
        self.selector.register(sock, selectors.EVENT_READ, ("asking", sock))

    def asked(self, sock: socket.socket) -> None:
        said, deadline = self.asking[sock]
        try:
            data = sock.recv(LINE_MAX - len(said))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        said += data
        found = CONNECT.match(said)
        if found:
            self.forget(sock)
            self.connect(sock, int(found[1]), int(found[2]), said[found.end():])
        elif not data or b"\n" in said or len(said) >= LINE_MAX:
            self.forget(sock)
            sock.close()
        else:
            self.asking[sock] = said, deadline

    def connect(self, sock: socket.socket, cid: int, port: int, ahead: bytes) -> None:
        waiting = sum(c.asking for c in self.connections.values())
        if not (HOST_CID < cid < NUMBERS - 1 and port < NUMBERS and self.has_room(cid) and waiting < ASKING_MAX and self.linked):
            sock.close()
            return
        while (cid, port, self.next_port) in self.connections:
            self.advance()
        connection = Connection(sock, cid, port, self.next_port, asked=True)
        self.advance()
        connection.ahead = ahead
        connection.deadline = self.clock() + ASK_SECONDS
        self.add(connection)
        self.say(connection, REQUEST)

    def advance(self) -> None:
        self.next_port += 1
        if self.next_port == NUMBERS - 1:  # VMADDR_PORT_ANY
            self.next_port = FIRST_LOCAL_PORT

    # ---- both -----------------------------------------------------------------------------------
    def has_room(self, cid: int) -> bool:
        return (len(self.connections) < CONNECTIONS_MAX
                and sum(key[0] == cid for key in self.connections) < CONNECTIONS_OF_GUEST)

    def say(self, connection: Connection, op: int, flags: int = 0, payload: bytes = b"") -> None:
        connection.announced = connection.forwarded
        self.send(Packet(connection.cid, connection.guest_port, connection.host_port, op, flags, BUFFER_BYTES,
                         max(connection.forwarded, 0) % NUMBERS, payload).bytes())

    def reset(self, cid: int, guest_port: int, host_port: int) -> None:
        self.send(Packet(cid, guest_port, host_port, RESET).bytes())

    def add(self, connection: Connection) -> None:
        self.connections[connection.key] = connection

    def watch(self, connection: Connection) -> None:
        if self.connections.get(connection.key) is not connection:
            return
        wanted = connection.wants(self.busy)
        if wanted == connection.registered:
            return
        if not connection.registered:
            self.selector.register(connection.sock, wanted, ("connection", connection))
        elif not wanted:
            self.selector.unregister(connection.sock)
        else:
            self.selector.modify(connection.sock, wanted, ("connection", connection))
        connection.registered = wanted

    def end(self, connection: Connection | None, tell: bool = True) -> None:
        if connection is None or self.connections.get(connection.key) is not connection:
            return
        if connection.registered:
            self.selector.unregister(connection.sock)
        del self.connections[connection.key]
        connection.sock.close()
        if tell:
            self.reset(*connection.key)

    def forget(self, sock: socket.socket) -> None:
        self.selector.unregister(sock)
        del self.asking[sock]

    def restart(self, linked: bool = True) -> None:
        """The guests know of no connection any more. `linked`: they can be reached."""
        self.linked = linked
        for connection in list(self.connections.values()):
            self.end(connection, tell=False)

    def on_time(self) -> None:
        now = self.clock()
        for sock, (_, deadline) in list(self.asking.items()):
            if now >= deadline:
                self.forget(sock)
                sock.close()
        for connection in list(self.connections.values()):
            if connection.deadline is not None and now >= connection.deadline:
                self.end(connection)


class Program:
    """The line, the connections, and the loop that serves both."""

    def __init__(self, line: socket.socket, path: str, listener: socket.socket):
        self.line, self.listener = line, listener
        self.host = Host(path, lambda packet: self.link.send(packet))
        self.link = Link(self.host.packet, self.host.restart)
        self.selector = self.host.selector
        self.line_events = selectors.EVENT_READ
        line.setblocking(False)
        listener.setblocking(False)
        self.selector.register(line, self.line_events, ("line", None))
        self.selector.register(listener, selectors.EVENT_READ, ("listener", None))
        self.selector.register(sys.stdin, selectors.EVENT_READ, ("parent", None))

    def run(self) -> None:
        self.link.ask()
        while True:
            self.link.fill()
            self.adjust()
            for key, events in self.selector.select(1):
                what, which = key.data
                if what == "parent":
                    return
                if what == "line":
                    if not self.serve_line(events):
                        return
                elif what == "listener":
                    self.host.accept(self.listener)
                elif what == "asking" and which in self.host.asking:
                    self.host.asked(which)
                elif what == "connection":
                    self.host.ready(which, events)
            self.host.on_time()
            if self.host.connections:
                self.link.watch()

    def serve_line(self, events: int) -> bool:
        try:
            if events & selectors.EVENT_READ:
                data = self.line.recv(READ_BYTES)
                if not data:
                    return False
                self.link.receive(data)
                self.link.fill()
            if self.link.out:
                del self.link.out[:self.line.send(self.link.out)]
        except BlockingIOError:
            pass
        return True

    def adjust(self) -> None:
        """Waits for what can be served now."""
        busy = self.link.waiting_bytes > LINK_BUSY
        if busy != self.host.busy:
            self.host.busy = busy
            for connection in self.host.connections.values():
                self.host.watch(connection)
        wanted = selectors.EVENT_READ
        if self.link.out:
            wanted |= selectors.EVENT_WRITE
        if wanted != self.line_events:
            self.selector.modify(self.line, wanted, ("line", None))
            self.line_events = wanted


def connect_line(path: str) -> socket.socket:
    """QEMU makes it when it starts."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    waiting = selectors.DefaultSelector()
    waiting.register(sys.stdin, selectors.EVENT_READ)
    while True:
        try:
            line.connect(path)
            return line
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN):
                raise
        if waiting.select(0.1):
            sys.exit(0)


def main() -> None:
    line_path, path, listener = sys.argv[1], sys.argv[2], socket.socket(fileno=int(sys.argv[3]))
    try:
        Program(connect_line(line_path), path, listener).run()
    except (KeyboardInterrupt, ConnectionResetError, BrokenPipeError):
        pass


if __name__ == "__main__":
    main()
