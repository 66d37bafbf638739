"""The drivers of Debian's kernel with the smaller devices, whose services die all the time: one machine for all of them.

A device adds a Part: its entries in the descriptions of two VMs, what each of them does with it, and what the monitor does
to its services meanwhile. VMs go through the parts in order, and the monitor too. The test of the part looks at what the
VMs printed in it.
"""
import dataclasses
import pathlib
import re
import tempfile
import unittest

from scripted import System, Vm

LIMIT = 300
VMS = ("left", "right")
SYSTEM_SERVICES = ("console", "port-switch")


@dataclasses.dataclass
class Part:
    name: str
    devices: dict[str, list[str]]  # of each VM: texts of `device`, the service first: 'service: "virtio-rng"'
    scripts: dict[str, str]
    monitor: str = ""              # {left.virtio-rng}: the task of the service in that VM, as the monitor names it


# ---- parts ------------------------------------------------------------------------------------------------------

RNG_BYTES, RNG_BLOCK, RNG_DEATHS = 1 << 18, 4096, 25
RNG = Part("rng", {vm: ['service: "virtio-rng"'] for vm in VMS}, {vm: f"""
cat /sys/class/misc/hw_random/rng_current
dd if=/dev/hwrng of=/tmp/rng bs={RNG_BLOCK} count={RNG_BYTES // RNG_BLOCK} iflag=fullblock 2>/dev/null && wc -c </tmp/rng
od -An -v -tx8 -w16 /tmp/rng | sort | uniq -d | wc -l
gzip -c /tmp/rng | wc -c
od -An -v -tx8 -w16 /tmp/rng | head -n 4
""" for vm in VMS}, "".join("wait 2ms\nkill {left.virtio-rng}\n" for _ in range(RNG_DEATHS)))

# The left VM has two ports, one to the right VM and a loop; what goes through them must be what comes out. Its hvc0 is
# beside its pl011, at the same console.
CONSOLE_KIB, CONSOLE_LINES, CONSOLE_DEATHS = 192, 40, 12
# What udev's links in /dev/virtio-ports are made of; the driver finds ports some time after the device.
CONSOLE_SHARED = f"""
port() {{
  while :; do
    for name in /sys/class/virtio-ports/*/name; do
      if [ "$(cat $name 2>/dev/null)" = $1 ]; then echo /dev/$(basename $(dirname $name)); return; fi
    done
  done
}}
link=$(port link)
dd if=/dev/urandom of=/tmp/out bs=1024 count={CONSOLE_KIB} 2>/dev/null
exec 3<>$link
echo hello >&3  # waits until the other end is open; before that a reader is told that nothing will come
head -c {(CONSOLE_KIB << 10) + 6} <&3 >/tmp/in &
cat /tmp/out >&3
wait
exec 3>&-
sha256sum </tmp/out
tail -c +7 /tmp/in | sha256sum
"""
CONSOLE = Part("console", {
    "left": ["service: \"virtio-console\" config: \"port { name: 'link' } port { name: 'echo' loop: true } rows: 50\""],
    "right": ["service: \"virtio-console\" config: \"port { name: 'link' }\""]}, {
    "left": CONSOLE_SHARED + f"""
exec 3<>$(port echo)
head -c {CONSOLE_KIB << 10} <&3 >/tmp/in &
cat /tmp/out >&3
wait
exec 3>&-
sha256sum </tmp/in
n=0
while [ $n -lt {CONSOLE_LINES} ]; do n=$((n + 1)); echo "line $n of hvc0" >/dev/hvc0; done
""", "right": CONSOLE_SHARED},
    "".join(f"wait {gap}ms\nkill {{{who}}}\n" for gap, who in zip((3, 5, 7, 2) * CONSOLE_DEATHS, (
        "left.virtio-console", "right.virtio-console", "left.virtio-console", "port-switch", "console") * CONSOLE_DEATHS)))

PARTS = [RNG, CONSOLE]


# ---- the machine ------------------------------------------------------------------------------------------------

def tasks() -> dict[str, str]:
    """VM.SERVICE: the task's name, with its virtio slot."""
    names = {name: name for name in SYSTEM_SERVICES}
    for vm in VMS:
        texts = [text for part in PARTS for text in part.devices.get(vm, [])]
        for slot, text in enumerate(texts):
            service = re.match(r'service: "([^"]+)"', text)[1]
            names[f"{vm}.{service}"] = f"{service}.{vm}.{slot}"
    return names


def monitor() -> str:
    text = "".join(f'expect left "part {part.name} begins"\n{part.monitor}' for part in PARTS if part.monitor)
    return re.sub(r"\{([^}]+)\}", lambda found: tasks()[found[1]], text)


# The monitor comes to its end, too.
END = 'echo "part end begins"\nsleep 3\n'


def script(vm: str) -> str:
    return "".join(f'echo "part {part.name} begins"\n{part.scripts.get(vm, "")}\n' for part in PARTS) + END


# What the machine and consoles say between the lines of the guests' first consoles.
MACHINE_LINE = re.compile(r"monitor: |\[[a-z0-9_-]+\.hvc\d+\] |\[ *\d+\.\d{6}\] ")


class Devices(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        vms = [Vm(vm, script(vm), " ".join(f"device {{ {text} }}" for part in PARTS for text in part.devices.get(vm, [])))
               for vm in VMS]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "monitor"
            path.write_text(monitor() + "ps\n")
            with System(*vms, monitor=str(path), icount=True) as system:
                system.start()
                cls.status = system.wait(LIMIT)
                cls.output = system.output
                results = {vm: system.result(vm) for vm in VMS}
        cls.parts = {vm: dict(re.findall(r"(?ms)^part (\S+) begins\n(.*?)(?=^part )", text)) for vm, (_, text) in results.items()}
        cls.statuses = [status for status, _ in results.values()]

    def lines(self, vm: str, part: str) -> list[str]:
        self.assertIn(part, self.parts[vm], self.output)
        return [line for line in self.parts[vm][part].splitlines() if not MACHINE_LINE.match(line)]

    def deaths(self, task: str) -> int:
        """How often the task died, as ps says at the end of the monitor's script."""
        found = re.search(rf"monitor: {re.escape(tasks()[task])} +running +(\d+) ", self.output)
        self.assertTrue(found, self.output)
        return int(found[1])

    def test_machine_ends_well(self):
        self.assertEqual((self.status, self.statuses), (0, [0, 0]), self.output)
        self.assertIn("monitor: the script has ended", self.output)
        self.assertNotRegex(self.output, r"journal is damaged|given up|panic|Oops")

    def test_RNG_01_RNG_04_rng(self):
        """All bytes come, none of 16 in a row twice, in either VM; and they cannot be compressed."""
        blocks = []
        for vm in VMS:
            driver, count, twice, packed, *rest = self.lines(vm, "rng")
            self.assertRegex(driver, r"^virtio_rng\.\d")
            self.assertEqual((count, twice), (str(RNG_BYTES), "0"))
            self.assertGreaterEqual(int(packed), RNG_BYTES)
            self.assertEqual(len(rest), 4)
            blocks += rest
        self.assertEqual(len(set(blocks)), len(blocks))
        self.assertEqual(self.deaths("left.virtio-rng"), RNG_DEATHS)

    def test_CON_06_CON_07_CON_16_console(self):
        """What one end of a port sends the other receives, in both directions at once; and all lines of hvc0 are there."""
        left, right = (self.lines(vm, "console") for vm in VMS)
        left_out, left_in, left_loop = left[:3]
        self.assertEqual([left_out, left_in], list(reversed(right[:2])), self.output)
        self.assertEqual(left_loop, left_out)
        self.assertEqual(re.findall(r"line \d+ of hvc0$", self.output, re.MULTILINE),
                         [f"line {n} of hvc0" for n in range(1, CONSOLE_LINES + 1)])
        self.assertGreaterEqual(self.deaths("left.virtio-console") + self.deaths("right.virtio-console"), CONSOLE_DEATHS)


if __name__ == "__main__":
    unittest.main()
