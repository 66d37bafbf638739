"""Runs scripts/run for the tests of this folder. ATOLL_BUILD names the build folder, as meson test sets it."""
import os
import pathlib
import pty
import select
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
sys.dont_write_bytecode = True

RUN = [str(ROOT / "scripts/run"), "--no-build"]
LIMIT_SECONDS = 400  # of one machine; only a hang takes that long


def run(*options: str, limit: float = LIMIT_SECONDS, **more) -> subprocess.CompletedProcess:
    """scripts/run with these options, no input, its output as text."""
    return subprocess.run([*RUN, "--timeout", str(limit), *options], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, errors="replace", **more)


def run_batch(script: str, *options: str, **more) -> subprocess.CompletedProcess:
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        return run("--batch", file.name, *options, **more)


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *command: str):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)
        self.output, self.seen = b"", 0

    def type(self, keys: bytes) -> None:
        os.write(self.terminal, keys)

    def expect(self, text: bytes, seconds: float = LIMIT_SECONDS) -> None:
        """Waits for `text` after what was expected before; AssertionError if it does not come."""
        end = time.monotonic() + seconds
        while (at := self.output.find(text, self.seen)) < 0:
            if not self._read(end - time.monotonic()):
                raise AssertionError(f"{text!r} did not come; the last output was {self.output[-500:]!r}")
        self.seen = at + len(text)

    def wait(self, seconds: float = LIMIT_SECONDS) -> int:
        """Exit status of the program."""
        end = time.monotonic() + seconds
        while self._read(end - time.monotonic()):
            pass
        if time.monotonic() >= end:
            raise AssertionError(f"it did not end; the last output was {self.output[-500:]!r}")
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, 15)
            os.waitpid(self.pid, 0)
            self.pid = 0
        if self.terminal >= 0:
            os.close(self.terminal)
            self.terminal = -1

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self.terminal], [], [], max(seconds, 0))
        if not ready:
            return False
        try:
            data = os.read(self.terminal, 4096)
        except OSError:  # EIO: nobody has the other end any more
            return False
        self.output += data
        return bool(data)
