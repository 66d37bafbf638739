"""--vsock PATH: bad paths, and the program behind it that is started, started again, and ended."""
import os
import pathlib
import signal
import socket
import stat
import tempfile
import unittest

import host_sockets
from schemas import InputError
from vsock_link import Decoder, Kind


class ListenTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = f"{self.folder.name}/vm"

    def tearDown(self):
        self.folder.cleanup()

    def refuse(self, path: str, reason: str) -> None:
        with self.assertRaises(InputError) as caught:
            host_sockets.listen(path)
        self.assertEqual(str(caught.exception), f"--vsock {path}: {reason}")

    def test_bad_paths(self):
        self.refuse("", "must have 1..96 bytes")
        self.refuse("/tmp/" + "x" * 92, "must have 1..96 bytes")
        self.refuse(f"{self.folder.name}/none/vm", "No such file or directory")
        self.refuse(self.folder.name, "Address already in use")
        pathlib.Path(self.path).write_text("a file")
        self.refuse(self.path, "Address already in use")
        self.assertEqual(pathlib.Path(self.path).read_text(), "a file")

    def test_a_socket_that_is_in_use_and_one_that_is_dead(self):
        first = host_sockets.listen(self.path)
        self.refuse(self.path, "Address already in use")
        first.close()
        host_sockets.listen(self.path).close()


class ProgramTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path, self.said = f"{self.folder.name}/vm", []
        self.line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.line.settimeout(20)

    def tearDown(self):
        self.line.close()
        self.folder.cleanup()

    def connected(self) -> socket.socket:
        """QEMU's end of the line, when the program has connected and asked for a hello."""
        line, _ = self.line.accept()
        line.settimeout(20)
        decoder, frames = Decoder(), []
        while not frames:
            frames = list(decoder.feed(line.recv(100)))
        self.assertEqual(frames[0].kind, Kind.ASK)
        return line

    def test_it_is_started_again_and_ended(self):
        sockets = host_sockets.HostSockets(self.path, pathlib.Path(self.folder.name), self.said.append)
        sockets.start()  # before QEMU
        try:
            self.line.bind(str(sockets.line))
            self.line.listen(1)
            with self.connected():
                os.kill(sockets.process.pid, signal.SIGKILL)
                with self.connected():
                    self.assertEqual(len(self.said), 1)
                    self.assertIn("is started again", self.said[0])
                    self.assertTrue(stat.S_ISSOCK(os.stat(self.path).st_mode))
        finally:
            sockets.stop()
        self.assertIsNotNone(sockets.process.poll())
        self.assertFalse(os.path.exists(self.path))

    def test_it_ends_with_the_machine(self):
        sockets = host_sockets.HostSockets(self.path, pathlib.Path(self.folder.name), self.said.append)
        self.line.bind(str(sockets.line))
        self.line.listen(1)
        sockets.start()
        try:
            self.connected().close()
            self.assertEqual(sockets.process.wait(20), 0)
        finally:
            sockets.stop()
        self.assertEqual(self.said, [])


if __name__ == "__main__":
    unittest.main()
