"""scripts/host-run: services in processes of this computer, with good and bad guests and peers."""
import contextlib
import functools
import importlib
import io
import pathlib
import re
import sys
import tempfile
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import describe  # noqa: E402
import discover  # noqa: E402
import host_task  # noqa: E402

tool = importlib.import_module("host-run")
describe.load_schemas = functools.cache(describe.load_schemas)  # protoc need not run for each script
describe.load_schemas_of_interfaces = functools.cache(describe.load_schemas_of_interfaces)

WATCHDOG = """
write WDOGLOAD 24000000      # a second
write WDOGCONTROL 1
pass 250ms
expect WDOGVALUE 18000000
restart                      # the service is killed, and goes on
expect WDOGVALUE 18000000
pass 750ms
line 1
expect WDOGRIS/1 1
write 0x00c 1
line 0
read 0xfe0/1
read WDOGPERIPHID1
"""
FRAME = "000000000000000000000000" + "ffffffffffff" + "028000001001" + "0800" + "00" * 46


def host_run(name: str, script: str, *options: str):
    """(exit status or the sentence instead of it, what it printed, what the sanitizers printed)."""
    output, errors = io.StringIO(), io.StringIO()
    with tempfile.NamedTemporaryFile("w", suffix=".guest") as file:
        file.write(script)
        file.flush()
        arguments = ["host-run", name, file.name, "--no-build", *options]
        with mock.patch.object(sys, "argv", arguments), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                status = tool.main()
            except SystemExit as end:
                status = end.code
        return status, output.getvalue().replace(file.name, "SCRIPT"), errors.getvalue()


class HostRun(unittest.TestCase):
    def plays(self, name: str, script: str, output: str = "", options: tuple = ()):
        self.assertEqual(host_run(name, script, *options), (0, output, ""))

    def fails(self, name: str, script: str, problem: str):
        status, output, _ = host_run(name, script)
        self.assertEqual(status, 1, script)
        self.assertIn(problem, output)

    def test_a_guest_and_a_death(self):
        self.plays("sp805", WATCHDOG, "0x5\n0x18\n")
        self.plays("pl061", "write GPIOIEV 8\nwrite GPIOIE 8\nsignal 2\nline 1\nread 0x3fc\n", "0x8\n")

    def test_a_uart_and_its_console(self):
        # The first byte in the ring to the console, told after a while.
        self.plays("pl011", "write UARTCR 0x301\nwrite UARTLCR_H 0x70\nwrite UARTDR 0x41\npass 1s\nsignalled console\n"
                   "show ring+0 4\nshow ring+128 1\n", "01000000\n41\n")
        self.plays("console", "signal guest.0\nrestart\nsignal flush\nsignalled flushed\n")

    def test_virtio_devices_with_a_driver(self):
        self.plays("virtio-blk", f"driver\nsend 0 01000000 00000000 0000000000000000 {'5a' * 512} +1\nused 0\n"
                   "restart\nsend 0 00000000 00000000 0000000000000000 +513\nused 0\n", "00\n" + "5a" * 512 + "00\n")
        self.plays("virtio-net", f"driver\nsend 1 {FRAME}\nused 1\nsignalled switch\n", "\n")
        self.fails("virtio-net", "driver\nsend 0 +2048\nused 0\n", "line 3: nothing was given back")
        for name in ("virtio-rng", "virtio-console", "virtio-vsock"):
            self.plays(name, "driver\nrestart\nread Status\nread Config/8\nrestart blamed\n", host_run(name, "driver\nread Status\nread Config/8\n")[1])
        self.plays("virtio-console:columns:100 rows:40", "read Config/2\n", "0x64\n")

    def test_calls_and_answers(self):
        self.plays("vmm", "call Hypercall.Smccc x0=0x84000000 -> OK x0=0x10001\n"
                   "call Keeper.Keep part=2 word3=7 badge=65536 -> OK\nrestart\ncall Keeper.Recall part=2 badge=65536 -> OK word3=7\n")
        self.plays("vmm", "call Keeper.Recall kind=1 part=24\ncall Device.MmioAccess size=4\n", "INVALID_ARGUMENT\nUNIMPLEMENTED\n")
        self.plays("vmm", "call Hypercall.Smccc x0=0x84000008\n", "GetVmState vm\nGetVmState vm\nGetVcpuState vcpu.0\nStartVcpu vcpu.0 entry=0x40080000 context=0x40000000\n"
                   "StopVm vm state=0x2\nno answer yet\n", ("--trace",))
        self.plays("vgic", "signal 0\nanswer Kernel.GetInterrupts OK value=0x5a\nread 0x104\nread 0x104\n", "0x5a\n0x0\n")
        self.fails("vmm", "call Keeper.Recall kind=1 part=2 -> OK word3=7\n", "line 1: it is OK word0=0x0 word1=0x0 word2=0x0 word3=0x0, not")

    def test_vmm_looks_at_what_another_instance_left(self):
        answers = "call Hypercall.Smccc x0=0x84000000 -> OK x0=0x10001\nanswer Kernel.GetVmState OK state=1\nanswer Kernel.GetVcpuState OK state={}\nrestart\n"
        self.plays("vmm", answers.format(1), "")
        output = host_run("vmm", answers.format(1) + answers.format(0), "--trace")[1]
        self.assertTrue(output.endswith("log: the VM has to end: vCPU 0 is off, and its guest did not ask for that\nStopVm vm state=0x4\n"), output)
        status, output, _ = host_run("vmm", "memory journal+24624 4154564d4d000032\nrestart\n")  # ATVMM2
        self.assertEqual(status, 1)
        self.assertRegex(output, r"^log: the journal is of another layout than this program's \(ATVMM1\)\n.* ended itself with code 0x10c0\n$")
        unnumbered = f"call Hypercall.Smccc x0=0x84000000 -> OK x0=0x10001\nmemory journal+24624 {'00' * 72}\nanswer Kernel.GetVmState OK state=1\n"
        output = host_run("vmm", unnumbered + "answer Kernel.GetVcpuState OK state=1\nrestart\n")[1]
        self.assertRegex(output, r"^log: the journal is of the layout before ATVMM1: ")

    def test_every_service_starts_and_is_started_again(self):
        for name in set(discover.services(ROOT)) - set(tool.REFUSED):
            with self.subTest(name):
                status, output, errors = host_run(name, "restart\nrestart blamed\nrestart failed\nsignal 0\n")
                self.assertEqual((status, errors), (0, ""))
                self.assertNotIn("panic", output)

    def test_what_is_not_met_is_said(self):
        self.fails("sp805", "\nexpect WDOGLOAD 5\nread WDOGLOAD", "SCRIPT: line 2: it is 0xffffffff, not 0x5\n")
        self.fails("pl061", "signalled switch", "line 1: ")
        self.fails("virtio-net", "driver\nsignalled switch\nsignalled switch", "line 3: switch was not signalled")

    def test_bad_lines(self):
        for line, problem in (("jump", '"jump" is no command'), ("write WDOGLOAD", "something is missing at its end"),
                              ("write WDOG 1", '"WDOG" is no number'), ("read 0/3", "a width is 1, 2, 4 or 8"),
                              ("write 0 1 2", 'too much: "2"'), ("pass 10", '"10" is no time, as 10ms is'),
                              ("pass ms", '"ms" is no time'), ("pass 99999999999s", "too long"),
                              ("expect 0 99999999999999999999", "is no number"), ("driver", "this device has no queues"),
                              ("read other+0", 'there is no range "other"; there are registers'), ("signal bell", "is no number and no signal"),
                              ("signal timer.1", "timer has 1 bits"), ("restart now", '"now" is not killed, blamed or failed'),
                              ("memory 0x1000 00", "has no 1 bytes of memory at 0x1000"), ("memory journal+0 0", "hexadecimal"),
                              ("memory journal+0xfff 0000", "has no 2 bytes"), ("memory rings+0 00", 'there is no memory "rings"'),
                              ("memory journal+0", "missing at its end"), ("show journal+0 0x200000", "more than 1 MiB"),
                              ("call Nobody.Nothing", '"Nobody.Nothing" is no method'), ("call Kernel.Log", "a kernel call"),
                              ("call Device.MmioAccess size", '"size" is not FIELD=VALUE'), ("call Device.MmioAccess width=4", 'has no field "width"'),
                              ("answer Kernel.SetTimer FINE", '"FINE" is no status'), ("call Device.MmioAccess -> ", "not ")):
            with self.subTest(line):
                self.fails("sp805", line, "SCRIPT: line 1: ")
                self.fails("sp805", line, problem)
        self.fails("virtio-rng", "driver\nsend 0 xy", '"xy" is no number')
        self.fails("virtio-rng", "send 0 +4", "no `driver` before")
        self.fails("blk-driver", "read 0", "this service has no registers")
        self.fails("blk-driver", "line 0", "this service has no interrupt line")

    def test_bad_names(self):
        for name in ("floppy", "../services/sp805", ""):
            self.assertRegex(host_run(name, "")[0], f'atoll: "{re.escape(name.partition(".")[0])}" is no service; there are .*pl061, .*sp805')
        self.assertIn("is the other half of the kernel", host_run("supervisor", "")[0])
        self.assertIn("config", host_run("virtio-console:colums:100", "")[0])
        self.assertIn("/nowhere: cannot be read", host_run("sp805", "", "--config", "/nowhere")[0])
        two = ["--config", str(ROOT / "guests/two-vms.textproto"), "--file", "linux=/bin/true", "--file", "initramfs=/bin/true"]
        self.assertIn('there is no "sp805.vm0.0"; there are', host_run("sp805.vm0.0", "", *two)[0])

    def test_a_service_that_dies_is_named_with_its_place(self):
        self.plays("sp805", "signal 0\nmemory journal+0 " + "ff" * 4096 + "\nrestart\n", "log: the journal is damaged: the device is as after a reset\n")
        with mock.patch.object(host_task, "HANG_SECONDS", 1), mock.patch.object(host_task.HostTask, "_answer", lambda *_: None):
            status, output, errors = host_run("sp805", "")
        self.assertEqual(status, 1)
        self.assertRegex(output, r"^SCRIPT: line 0: sp805\.guest\.\d hangs in atoll::KernelInterruptLine<.*>::Set\(bool\) "
                         r"at services/runtime/kernel_ports.h:\d+\n$")
        self.assertIn("SystemCall", errors)


if __name__ == "__main__":
    unittest.main()
