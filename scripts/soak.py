"""Shows in full, without a limit of time, what Atoll claims to do; scripts/test does the same in short.

Each step's output goes to BUILD/soak/STEP.log. Exit status 0 if all steps passed.
"""
import argparse
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import prepare

ROOT, LOGS = prepare.ROOT, prepare.BUILD / "soak"
PYTHON = ["/usr/bin/python3", "-B"]
CPUS = ("neoverse-n1", "cortex-a76", "max")
INTERACTIVE_ROUNDS = 5
LONG = {"ATOLL_LONG": "1"}  # tests of tests/linux that have a short and a long form
KEPT_OF_LOG = 3000  # characters that are shown of a step that failed


@dataclasses.dataclass
class Step:
    name: str
    what: str
    commands: list[list[str]]
    folder: pathlib.Path = ROOT
    environment: dict[str, str] = dataclasses.field(default_factory=dict)

    def run(self) -> bool:
        begin = time.monotonic()
        with (LOGS / f"{self.name}.log").open("wb") as log:
            passed = all(subprocess.run(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                                        stderr=subprocess.STDOUT, env=os.environ | self.environment).returncode == 0
                         for command in self.commands)
        print(f"{'pass' if passed else 'FAIL'}  {self.name:14} {time.monotonic() - begin:6.0f} s  {self.what}", flush=True)
        if not passed:
            print((LOGS / f"{self.name}.log").read_text(errors="replace")[-KEPT_OF_LOG:], flush=True)
        return passed


def script(name: str, *options: str) -> list[str]:
    return [str(ROOT / "scripts" / name), *options]


def linux_test(name: str) -> list[str]:
    return [*PYTHON, str(ROOT / f"tests/linux/{name}_test.py")]


def campaign(*options: str) -> list[str]:
    return script("fault-campaign", "--no-build", *options)


# The last instruction of a sweep: each is beyond the end of what it is about.
SWEEPS = {"virtio-blk.left.0": 6000, "virtio-net.left.0": 5000, "vswitch": 4000, "pl011.left": 2000, "pl031.left": 1500,
          "vgic.left": 1500, "vmm.left": 2500, "console": 4000, "virtio-rng.left.0": 3000, "virtio-console.left.0": 3000,
          "port-switch": 2000, "virtio-vsock.left.0": 3000, "vsock-switch": 3000, "sp805.left.0": 700, "pl061.left.0": 700}
DEVICES = "virtio-rng,virtio-console,port-switch,virtio-vsock,vsock-switch,sp805,pl061"


def steps(scratch: pathlib.Path) -> list[Step]:
    clone, show = scratch / "clone", str(ROOT / "tests/linux/show.sh")
    first, second = str(scratch / "first.json"), str(scratch / "second.json")
    # The clone is what is committed, and builds in its own folder.
    fresh = {"ATOLL_BUILD": str(clone / "build")}
    return [
        Step("batch", "64 MiB to the disk and back, clock, interrupts: 1, 2 and 8 vCPUs, each CPU model",
             [script("run", "--batch", show, "--vcpus", str(vcpus)) for vcpus in (1, 2, 8)]
             + [script("run", "--batch", show, "--vcpus", "2", "--cpu", cpu) for cpu in CPUS]
             + [script("run", "--batch", show, "--icount")]),
        Step("cpus", "4 vCPUs over 1, 2 and 4 CPUs, and two such guests: off and on 100 times, 2 minutes of load",
             [linux_test("cpus")], environment=LONG),
        Step("network", "10,000 pings; 256 MiB by TCP between guests and with the host; beside a VM that crashes 50 times",
             [linux_test("network")], environment=LONG),
        Step("disk", "512 MiB on the machine's disk over a reboot and on the host; 20 hard stops",
             [linux_test("disk")], environment=LONG),
        Step("interactive", f"a shell at a terminal, poweroff, a second run: {INTERACTIVE_ROUNDS} times",
             [linux_test("interactive")] * INTERACTIVE_ROUNDS),
        Step("neighbours", "what a VM gets done beside each kind of hostile neighbour",
             [[*PYTHON, str(ROOT / "tests/neighbours/run_neighbours.py"),
               str(prepare.BUILD / "target/guests/neighbour.bin"), "--jobs", "2"]]),
        Step("fresh-clone", "every suite in a fresh clone, as continuous integration does",
             [["git", "clone", "--quiet", str(ROOT), str(clone)], [str(clone / ".ci/run")]], scratch, fresh),
        Step("faults", "10,000 fail-stop faults over all services, each at its instruction",
             [campaign("--icount", "--seed", str(seed), "--count", "1000") for seed in range(1, 11)]),
        Step("faults-linux", "2 times 1,000 of them with Debian guests, their machine's disk and network",
             [campaign("--guests", "linux", "--seed", str(seed), "--count", "1000") for seed in (1, 2)]),
        Step("faults-devices", "1,000 of them over the devices that a description asks for, with bare guests and with Debian's",
             [campaign("--icount", "--workload", "devices", "--services", DEVICES, "--seed", "21", "--count", "1000", *guests)
              for guests in ((), ("--guests", "linux"))]),
        Step("faults-sockets", "faults of what carries sockets to this computer, in real time, with bare guests and with Debian's",
             [campaign("--host-sockets", "--workload", "vsock", "--services", "vsock-driver", "--seed", "3", "--count", "300"),
              campaign("--guests", "linux", "--host-sockets", "--workload", "vsock", "--services", "vsock-driver,vsock-switch,virtio-vsock",
                       "--seed", "3", "--count", "300")]),
        Step("corruptions", "1,000 corruptions, which one VM alone may notice; 300 of devices that a description asks for",
             [campaign("--icount", "--seed", str(seed), "--count", "250", "--faults", "corruption") for seed in range(1, 5)]
             + [campaign("--icount", "--seed", "5", "--count", "300", "--faults", "corruption", "--workload", "devices")]),
        Step("upgrades", "100 upgrades of each service of two guests under load",
             [campaign("--icount", "--seed", str(seed), "--count", "400", "--faults", "upgrade", "--rest", "20000", "--workload",
                       "disk,net,uart,console,rtc,gic,vcpu") for seed in range(11, 15)]
             + [campaign("--seed", "5", "--count", "120", "--faults", "upgrade", "--machine-disk", "--services", "blk-driver",
                         "--workload", "disk,uart", "--rest", "300000"),
                campaign("--guests", "linux", "--seed", "5", "--count", "120", "--faults", "upgrade", "--services", "net-driver",
                         "--workload", "net", "--rest", "300000"),
                campaign("--seed", "5", "--count", "120", "--faults", "upgrade", "--host-sockets", "--services", "vsock-driver",
                         "--workload", "vsock", "--rest", "300000")]),
        Step("sweeps", "a kill after every instruction of each service's work",
             [campaign("--icount", "--seed", "0", "--sweep", f"{name}=1-{last}") for name, last in SWEEPS.items()]
             + [campaign("--seed", "0", "--sweep", f"{name}=1-3500", "--span", "1", "--machine-disk")
                for name in ("blk-driver", "virtio-blk.left.0")]
             + [campaign("--seed", "0", "--sweep", f"vsock-driver={what}") for what in ("1-4000", "4001-16000/3")]),
        Step("bench", "the goals, and two runs that give equal numbers",
             [script("bench", "--json", first), script("bench", "--json", second), ["cmp", first, second]]),
        Step("paths", "where the instructions of each traced path go", [script("trace-path", "--all")]),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", nargs="*", metavar="STEP", help="only these steps")
    arguments = parser.parse_args()
    prepare.build(prepare.TARGET)
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="atoll-soak-") as name:
        every = steps(pathlib.Path(name))
        for wanted in arguments.step:
            if wanted not in [step.name for step in every]:
                parser.error(f"there is no step {wanted}; there are {', '.join(step.name for step in every)}")
        results = [step.run() for step in every if not arguments.step or step.name in arguments.step]
    print(f"{sum(results)} steps passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
