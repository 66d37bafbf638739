"""Types numbered lines into a VM's console while an oracle there prints each as it got it; and the line that ends it."""
import re

import campaign_output
import campaign_workloads

READY = 0                  # the number of the line that says that it listens
AHEAD = 4                  # lines on their way
LOOK_EVERY = 50            # lines of output: the one that was waited for may have been broken for another's


def line(number: int) -> str:
    """What is typed: no two lines have many bytes in common, so one that is lost or doubled is seen."""
    return f"{number} {campaign_output.check_of(number)}"


class Typist:
    """The machine's keyboard: a pipe."""

    def __init__(self, pipe, workload: campaign_workloads.Workload, last_keys: bytes = b""):
        self.pipe, self.vm, self.types, self.last_keys = pipe, workload.listener, workload.types, last_keys
        self.typed, self.come, self.said, self.ended = 0, -1, 0, False
        self.pattern = re.compile(rf"oracle: {self.vm}\.{campaign_output.ECHO} line (\d+)")

    def _write(self, keys: bytes) -> None:
        self.pipe.write(keys)
        self.pipe.flush()

    def see(self, text: str, lines: list[str]) -> None:
        """`text` is the last of the output's `lines`."""
        if not self.types or self.ended:
            return
        self.said += 1
        if found := self.pattern.match(text):
            self.come = max(self.come, int(found[1]))
        elif self.said % LOOK_EVERY == 0 and self.typed > self.come:
            self.come = max(self._came(campaign_output.parse("".join(lines), self.vm)), default=self.come)
        while self.come >= READY and self.typed < self.come + AHEAD:
            self.typed += 1
            self._write(line(self.typed).encode() + b"\n")

    def end(self) -> None:
        """Tells guests that wait for it that the script is over."""
        self.ended = True
        if self.vm or self.last_keys:
            self._write(b"end\n" if self.vm else self.last_keys)

    def _came(self, output: campaign_output.Output) -> list[int]:
        return output.lines.get((self.vm, campaign_output.ECHO), [])

    def problems(self, output: campaign_output.Output) -> list[str]:
        """All that was typed has come back, once and in order, and something was."""
        came = self._came(output)
        if not self.types or came == list(range(self.typed + 1)) and self.typed != 0:
            return []
        return [f"{self.vm}.{campaign_output.ECHO}: of {self.typed} typed lines came {campaign_output.ranges(came)}"]
