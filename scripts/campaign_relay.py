"""Streams between two guests by way of this computer: what one of them says to a port of the host comes to the same port of
the other one, by the unix sockets of --vsock."""
import contextlib
import re
import socket
import threading
import time

PIECE = 1 << 16
TRIES, BETWEEN_SECONDS = 600, 0.1  # until the other guest listens


class Relay:
    """Use as a context. `path`: of --vsock; `cid`: the guest that is asked."""

    def __init__(self, path: str, ports: range, cid: int):
        self.path, self.cid, self.listeners = path, cid, []
        for port in ports:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(f"{path}_{port}")
            listener.listen(8)
            self.listeners.append((port, listener))

    def __enter__(self):
        for port, listener in self.listeners:
            threading.Thread(target=self._serve, args=(port, listener), daemon=True).start()
        return self

    def __exit__(self, *_):
        for _, listener in self.listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _serve(self, port: int, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._carry, args=(listener.accept()[0], port), daemon=True).start()

    def _carry(self, asking: socket.socket, port: int) -> None:
        with asking:
            other = self._connect(port)
            if other is None:
                return
            with other:
                back = threading.Thread(target=_copy, args=(other, asking), daemon=True)
                back.start()
                _copy(asking, other)
                back.join()

    def _connect(self, port: int) -> socket.socket | None:
        for _ in range(TRIES):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with contextlib.suppress(OSError):
                sock.connect(self.path)
                sock.sendall(b"CONNECT %d %d\n" % (self.cid, port))
                answer = b""
                while not answer.endswith(b"\n") and (byte := sock.recv(1)):  # what is behind it is the stream
                    answer += byte
                if re.fullmatch(rb"OK \d+\n", answer):
                    return sock
            sock.close()
            time.sleep(BETWEEN_SECONDS)
        return None


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(PIECE):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
