"""A guest, and whatever else a service deals with, as lines of text (docs/host-run.md)."""
import re

import interfaces
import virtio_guest
from host_task import BLAMED, FAILED, HERTZ, Delivery, HostTask
from schemas import ROOT, InputError

UNITS = {"us": 1_000_000, "ms": 1_000, "s": 1, "ticks": HERTZ}
TIME = re.compile(r"(\d+)(us|ms|s|ticks)\Z")
REGISTER = re.compile(r'\{"([\w/]+)",\s*(0x[0-9a-f]+|\d+),')  # of a table of registers (services/runtime/register_table.h)
SECONDS_MAX = 1_000_000
WIDTHS = (1, 2, 4, 8)
SHOWN_MAX = 1 << 20
BEFORE_START = ("memory", "answer", "config", "pass")  # what comes first is there when the service starts


def register_names(service: str) -> dict:
    """Offsets of its registers by name, from the table in its source, or those of a virtio device."""
    names = dict(virtio_guest.REGISTERS) if service.startswith("virtio") else {}
    for file in ("device.h", "registers.h"):
        path = ROOT / "services" / service / file
        if path.is_file():
            for name, offset in REGISTER.findall(path.read_text(encoding="utf-8")):
                names |= {part: int(offset, 0) for part in name.split("/")}
    return names


class GuestScript:
    """Executes lines. InputError or Died for the first that is wrong or not met."""

    def __init__(self, task: HostTask):
        self.task, self.plan = task, task.plan
        self.names = register_names(task.plan.service)
        self.driver = None
        self.started = False
        self.words = []

    def line(self, text: str) -> None:
        self.words = text.partition("#")[0].split()
        if not self.words:
            return
        verb = self.words.pop(0)
        if not self.started and verb not in BEFORE_START:
            self.start()
        method = getattr(self, f"do_{verb}", None)
        if method is None:
            raise InputError(f'"{verb}" is no command')
        method()
        if self.words:
            raise InputError(f'too much: "{self.words[0]}"')

    def start(self) -> None:
        if not self.started:
            self.started = True
            self.task.start()

    # ---- words ---------------------------------------------------------------------------------------------------------
    def _word(self) -> str:
        if not self.words:
            raise InputError("something is missing at its end")
        return self.words.pop(0)

    def _number(self) -> int:
        value = interfaces.number_of(self._word())
        if not 0 <= value < 1 << 64:
            raise InputError(f"{value} is no number of 64 bits")
        return value

    def _bytes(self) -> bytes:
        word = self._word()
        try:
            return bytes.fromhex(word)
        except ValueError:
            raise InputError(f'"{word}" is no number in hexadecimal digits, two for each byte') from None

    def _place(self) -> tuple[int, int, int]:
        """(badge, offset, size) of [RANGE+]REGISTER[/WIDTH]."""
        word, slash, width = self._word().partition("/")
        size = interfaces.number_of(width) if slash else 4
        if size not in WIDTHS:
            raise InputError("a width is 1, 2, 4 or 8")
        name, plus, rest = word.partition("+")
        badge = 0
        if plus:
            if name not in self.plan.ranges:
                raise InputError(f'there is no range "{name}"; there are {", ".join(self.plan.ranges) or "none"}')
            badge, word = self.plan.ranges.index(name), rest
        elif not self.plan.ranges:
            raise InputError("this service has no registers")
        return badge, self.names[word] if word in self.names else interfaces.number_of(word), size

    def _address(self) -> int:
        """ADDRESS, or NAME+OFFSET of a mapping of the manifest, `journal`, `guest_ram`."""
        name, plus, offset = self._word().partition("+")
        if not plus and name[:1].isdigit():
            return interfaces.number_of(name)
        return self.task.memory.region(name).address + (interfaces.number_of(offset) if plus else 0)

    def _expect(self, value: int) -> None:
        wanted = self._number()
        if value != wanted:
            raise InputError(f"it is {value:#x}, not {wanted:#x}")

    def _fields(self, words: list) -> dict:
        fields = {}
        for word in words:
            name, equals, value = word.partition("=")
            if not equals:
                raise InputError(f'"{word}" is not FIELD=VALUE')
            fields[name] = value
        return fields

    # ---- the guest -----------------------------------------------------------------------------------------------------
    def _access(self, badge: int, offset: int, size: int, write: bool, value: int = 0) -> int:
        for bell_badge, bell, first, count in self.plan.doorbells:
            if write and (badge, offset, size) == (bell_badge, bell, 4) and value < count:
                self.task.signal(1 << first + value)
                return 0
        rpc = self.task.rpcs.rpc("Device.MmioAccess")
        words, _ = self.task.rpcs.fill(rpc, rpc.request, {"offset": str(offset), "size": str(size), "write": str(int(write)),
                                                          "value": str(value)})
        reply = self.task.call(Delivery(self.task.rpcs.label(rpc), words, badge))
        if reply is None:
            raise InputError("the vCPU waits: the service has set the access aside")
        if reply[0] & 0xffff:
            raise InputError(f"the guest takes an external abort: {interfaces.status_name(reply[0] & 0xffff)}")
        return reply[1][0] & (1 << 8 * size) - 1

    def do_write(self):
        place = self._place()
        self._access(*place, True, self._number())

    def do_read(self):
        print(f"{self._access(*self._place(), False):#x}")

    def do_expect(self):
        self._expect(self._access(*self._place(), False))

    def do_line(self):
        names = [n for slot, n in self.plan.handles.items() if self.plan.kinds[slot] == "IRQ_LINE"]
        if not names:
            raise InputError("this service has no interrupt line")
        self._expect(self.task.lines.get(names[0], 0))

    def _driver(self) -> virtio_guest.VirtioGuest:
        if self.driver is None:
            if "guest_ram" not in [r.name for r in self.plan.regions] or not self.plan.ranges:
                raise InputError("this device has no queues")
            self.driver = virtio_guest.VirtioGuest(self.task.memory, lambda offset: self._access(0, offset, 4, False),
                                                   lambda offset, value: self._access(0, offset, 4, True, value))
        return self.driver

    def do_driver(self):
        self._driver().bring_up()

    def do_send(self):
        queue, data, room = self._number(), b"", 0
        while self.words and not self.words[0].startswith("+"):
            data += self._bytes()
        if self.words:
            room = interfaces.number_of(self._word()[1:])
        self._driver().send(queue, data, room)

    def do_used(self):
        print(self._driver().used(self._number()).hex())

    # ---- others --------------------------------------------------------------------------------------------------------
    def do_pass(self):
        word = self._word()
        found = TIME.match(word)
        if not found:
            raise InputError(f'"{word}" is no time, as 10ms is')
        if int(found[1]) > SECONDS_MAX * UNITS[found[2]]:
            raise InputError("too long")
        self.task.pass_time(int(found[1]) * HERTZ // UNITS[found[2]])

    def do_signal(self):
        """BITS, or NAME[.INDEX] of the manifest."""
        name, _, index = self._word().partition(".")
        if name[:1].isdigit():
            bits = interfaces.number_of(name)
            if bits >= 1 << 64:
                raise InputError("a signal has 64 bits")
            return self.task.signal(bits)
        if name not in self.plan.signals:
            raise InputError(f'"{name}" is no number and no signal; there are {", ".join(self.plan.signals) or "none"}')
        first, count = self.plan.signals[name]
        number = interfaces.number_of(index or "0")
        if not 0 <= number < count:
            raise InputError(f"{name} has {count} bits")
        return self.task.signal(1 << first + number)

    def do_restart(self):
        how = self._word() if self.words else "killed"
        if how not in ("killed", "blamed", "failed"):
            raise InputError(f'"{how}" is not killed, blamed or failed')
        self.task.restart({"killed": 0, "blamed": BLAMED, "failed": FAILED}[how])

    def do_memory(self):
        address, data = self._address(), b""
        while self.words:
            data += self._bytes()
        if not data:
            raise InputError("something is missing at its end")
        self.task.memory.write(address, data)

    def do_config(self):
        """HEX: its start configuration."""
        data = self._bytes()
        region = self.task.memory.region("config")
        if self.started or len(data) > region.bytes:
            raise InputError("comes too late, or is too long")
        self.task.memory.write(region.address, data)
        self.plan.config_bytes = len(data)

    def do_show(self):
        address, count = self._address(), self._number()
        if count > SHOWN_MAX:
            raise InputError("more than 1 MiB")
        print(self.task.memory.read(address, count).hex())

    def do_signalled(self):
        name = self._word()
        if name not in self.plan.handles.values():
            raise InputError(f'"{name}" is no handle; there are {", ".join(self.plan.handles.values()) or "none"}')
        if not self.task.signalled.pop(name, 0):
            raise InputError(f"{name} was not signalled")

    def do_call(self):
        """INTERFACE.METHOD [FIELD=VALUE...] [badge=N] [-> STATUS [FIELD=VALUE...]]"""
        rpc = self.task.rpcs.rpc(self._word())
        if rpc.service.kernel:
            raise InputError("a kernel call is the service's to make")
        arrow = self.words.index("->") if "->" in self.words else len(self.words)
        fields, wanted = self._fields(self.words[:arrow]), self.words[arrow + 1:]
        expected = arrow < len(self.words)
        self.words = []
        badge = interfaces.number_of(fields.pop("badge", "0"))
        words, data = self.task.rpcs.fill(rpc, rpc.request, fields)
        reply = self.task.call(Delivery(self.task.rpcs.label(rpc, data), words, badge, data=data))
        if reply is None:
            shown, status = "no answer yet", ""
        else:
            status = interfaces.status_name(reply[0] & 0xffff)
            shown = f"{status} {self.task.rpcs.show(rpc, rpc.reply, reply[1], reply[2])}".strip() if status == "OK" else status
        if not expected:
            print(shown)
            return
        problem = not wanted or wanted[0] != status
        if not problem and status == "OK":
            words, data = self.task.rpcs.fill(rpc, rpc.reply, self._fields(wanted[1:]))
            problem = (words, data) != (reply[1], reply[2])
        if problem:
            raise InputError(f"it is {shown}, not {' '.join(wanted)}")

    def do_answer(self):
        """INTERFACE.METHOD STATUS [FIELD=VALUE...]: what the service's next such call of a peer or the kernel gives."""
        name = self._word()
        rpc, status = self.task.rpcs.rpc(name), self._word()
        if status not in interfaces.STATUS:
            raise InputError(f'"{status}" is no status; some are {", ".join(interfaces.STATUS[:4])}')
        words, data = self.task.rpcs.fill(rpc, rpc.reply, self._fields(self.words))
        self.words = []
        self.task.answers[name].append((interfaces.STATUS.index(status), words, data))
