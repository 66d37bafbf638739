"""Runs a prepared machine: at the terminal or with a batch script; and says why it ended."""
import collections
import os
import re
import signal
import subprocess
import sys
import termios
import threading

import launch

TIMEOUT_STATUS = launch.TIMEOUT_STATUS
INTERRUPTED_STATUS = 130
FAILED_STATUS = 1
TAIL_LINES = 30
QUIT_SECONDS = 5
# A line of the hypervisor's log (Linux pads its seconds with blanks), or of a kernel that reports its own end.
HYPERVISOR_LINE = re.compile(r"^(?:\[(?:0|[1-9]\d*)\.\d{6}\] |atoll: )(.*)")
# A line of the monitor's script (--monitor), and the one that says why it failed.
MONITOR_LINE = re.compile(r"^monitor: (.*)")
SCRIPT_FAILURE = re.compile(r"line \d+: ")
# What it says without trouble, or after the reason.
NO_REASON = re.compile(r"atoll at |memory 0x|\d+ CPU|started \d+ services|VM \S+ (?:is off|resets|starts afresh.*|crashed)$|VM \S+: \d+ bytes given back|powering off")


class Tail:
    """The last lines of a console, and the last reason for trouble among them."""

    def __init__(self):
        self.lines = collections.deque(maxlen=TAIL_LINES)
        self.reason = ""
        self.script_failure = ""

    def add(self, raw: bytes) -> None:
        line = raw.decode(errors="replace").rstrip("\r\n")
        self.lines.append(line)
        found = HYPERVISOR_LINE.match(line)
        if found and not NO_REASON.match(found[1]):
            self.reason = found[1]
        script = MONITOR_LINE.match(line)
        if script and SCRIPT_FAILURE.match(script[1]):
            self.script_failure = line

    def explain(self, status: int) -> str:
        if not self.lines:
            return f"QEMU ended with status {status} before anything ran; its own message is above"
        return self.script_failure or self.reason or f"the machine ended with status {status} and gave no reason"


class Deadline:
    """Ends a process after some seconds, in a way that lets it restore the terminal."""

    def __init__(self, process: subprocess.Popen, seconds: float | None):
        self.process, self.expired = process, False
        self.timer = threading.Timer(seconds, self._expire) if seconds else None

    def __enter__(self):
        if self.timer:
            self.timer.start()
        return self

    def __exit__(self, *_):
        if self.timer:
            self.timer.cancel()
        if self.process.poll() is None:
            self._end()

    def _expire(self):
        self.expired = True
        self._end()

    def _end(self):
        self.process.terminate()
        try:
            self.process.wait(QUIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()


def run_interactive(machine: launch.Machine, timeout: float | None) -> int:
    """The guest's console is this terminal. QEMU writes it to a FIFO as well, whose reader keeps the last lines."""
    log = machine.folder / "console"
    os.mkfifo(log)
    tail = Tail()

    def read():
        with log.open("rb") as lines:
            for line in lines:
                tail.add(line)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    settings = termios.tcgetattr(sys.stdin) if sys.stdin.isatty() else None
    if settings is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the guest's
    console = f"stdio,id=console,signal=off,logfile={log},logappend=on"
    process = subprocess.Popen(machine.command(["-chardev", console, "-serial", "chardev:console"]))
    try:
        with Deadline(process, timeout) as deadline:
            status = process.wait()
    finally:
        if settings is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, settings)
    # The reader ends with QEMU; if QEMU never opened the FIFO, this lets it end.
    os.close(os.open(log, os.O_RDWR | os.O_NONBLOCK))
    reader.join(QUIT_SECONDS)
    if deadline.expired:
        launch.say(f"the machine did not power off within {timeout:g} seconds (--timeout)")
        return TIMEOUT_STATUS
    if status != 0:
        launch.say(tail.explain(status))
    return status if status >= 0 else FAILED_STATUS


class BatchFilter:
    """Passes on what the batch script printed and finds its status."""

    def __init__(self, marker: str):
        self.begin, self.end = f"{marker} begin".encode(), f"{marker} ".encode()
        self.started = False
        self.status: int | None = None

    def feed(self, raw: bytes) -> bytes:
        """What of a line of the console is the script's output."""
        line = raw.rstrip(b"\r\n")
        if not self.started:
            self.started = line.endswith(self.begin)  # a kernel message may be before it
            return b""
        if self.status is not None:
            return b""
        before, found, after = line.rpartition(self.end)
        if found and after.isdigit():
            self.status = int(after)
            return before and before + b"\n"
        return line + b"\n"


def run_batch(machine: launch.Machine, timeout: float | None) -> int:
    """Runs the machine and prints what the script prints; its status, or one that says how it did not get there."""
    script, tail = BatchFilter(machine.marker), Tail()
    process = subprocess.Popen(machine.command(["-serial", "stdio"]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    with Deadline(process, timeout) as deadline:
        for line in process.stdout:
            tail.add(line)
            monitor = MONITOR_LINE.match(line.decode(errors="replace"))
            sys.stdout.buffer.write(line.rstrip(b"\r\n") + b"\n" if monitor else script.feed(line))
            sys.stdout.buffer.flush()
        status = process.wait()
    if deadline.expired:
        launch.say(f"the script did not finish within {timeout:g} seconds (--timeout)")
        return TIMEOUT_STATUS
    if status == 0 and script.status is not None:
        return script.status
    if status == 0:
        launch.say("the guest powered off before the script came to its end; its last lines are:")
        print(*(f"  {line}" for line in tail.lines), sep="\n", file=sys.stderr)
        return FAILED_STATUS
    launch.say(tail.explain(status))
    return status if status > 0 else FAILED_STATUS
