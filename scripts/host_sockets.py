"""The program behind --vsock PATH (vsock_host.py): started with the machine, again if it dies, ended with the machine."""
import os
import pathlib
import socket
import stat
import subprocess
import sys
import threading

import machine_devices
from schemas import ROOT, InputError

UNIX_PATH_MAX = 107           # sockaddr_un.sun_path without its NUL
LONGEST_PORT = "_4294967295"  # behind PATH
RESTART_SECONDS = 1


class HostSockets:
    """`folder`: where the machine's files are."""

    def __init__(self, path: str, folder: pathlib.Path, say):
        self.path, self.say = path, say
        self.line = folder / "vsock"
        self.listener = listen(path)
        self.process, self.ending = None, threading.Event()
        self.keeper = threading.Thread(target=self._keep, daemon=True)

    def qemu(self) -> list[str]:
        return machine_devices.serial_line(self.line)

    def start(self) -> None:
        self._start()
        self.keeper.start()

    def stop(self) -> None:
        self.ending.set()
        if self.process is not None:
            self.process.terminate()
            self.keeper.join()
        self.listener.close()
        pathlib.Path(self.path).unlink(missing_ok=True)

    def _start(self) -> None:
        descriptor = self.listener.fileno()
        # It ends when its standard input does, which is when this program is gone.
        self.process = subprocess.Popen([sys.executable, str(ROOT / "scripts/vsock_host.py"), str(self.line), self.path,
                                         str(descriptor)], stdin=subprocess.PIPE, pass_fds=[descriptor])

    def _keep(self) -> None:
        while True:
            status = self.process.wait()
            self.process.stdin.close()
            if status == 0 or self.ending.wait(RESTART_SECONDS):
                return  # the machine is off
            self.say(f"--vsock: its program ended with status {status} and is started again")
            self._start()
            if self.ending.is_set():  # stop() may have ended the one before
                self.process.terminate()


def listen(path: str) -> socket.socket:
    """A socket that listens at `path`; InputError if that cannot be."""
    if not path or len(os.fsencode(path + LONGEST_PORT)) > UNIX_PATH_MAX:
        raise InputError(f"--vsock {path}: must have 1..{UNIX_PATH_MAX - len(LONGEST_PORT)} bytes")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_dead(path)
        listener.bind(path)
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise InputError(f"--vsock {path}: {error.strerror}") from error
    return listener


def _remove_dead(path: str) -> None:
    """Removes a socket at which nobody listens any more."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
