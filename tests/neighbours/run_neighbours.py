#!/usr/bin/python3
"""Measures what a guest gets done beside a hostile one, on one CPU in deterministic time.

Usage: run_neighbours.py BINARY [MODE ...] [--build FOLDER]

A worker guest (guests/neighbours) computes, reads a device register, reads its disk and sleeps by its timer, for a
while each, and prints how much it got done. Its share is what it does beside a neighbour that only computes. Beside
each hostile neighbour it must do at least 90 % of that, and wake from sleep as often.
"""
import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
sys.dont_write_bytecode = True

MODES = ["spin_masked", "device", "alarm", "gic", "sgi", "ppi", "wfi", "hvc", "uart", "lines", "doorbell", "disk"]
NETWORK_MODES = ["broadcast", "unicast", "deaf"]
WANTED = 0.9
NOISE = re.compile(r"\[neighbour\] |[xy\r\n]")
TIMEOUT_SECONDS = 120
SYSTEM = """
vm {{ name: "worker" memory_mib: 32 kernel: "guest" command_line: "mode=worker" disk {{ zero_mib: 2 }} cpu: 0 }}
vm {{ name: "neighbour" memory_mib: 32 kernel: "guest" command_line: "mode={}" disk {{ zero_mib: 2 }} cpu: 0 }}
"""
NETWORK_SYSTEM = "".join(
    f'vm {{{{ name: "{name}" memory_mib: 32 kernel: "guest" command_line: "mode={mode}"\n'
    f'     disk {{{{ zero_mib: 2 }}}} network {{{{ }}}} cpu: 0 }}}}\n'
    for name, mode in (("worker", "sender"), ("neighbour", "{}"), ("sink", "sink")))


@dataclasses.dataclass(frozen=True)
class Bench:
    """What is measured, and beside whom."""
    system: str
    kinds: list[str]
    modes: list[str]


BENCHES = [Bench(SYSTEM, ["compute", "device", "disk", "wakes"], MODES),
           Bench(NETWORK_SYSTEM, ["compute", "network", "wakes"], NETWORK_MODES)]


def measure(launch, binary: str, description: str, mode: str) -> dict[str, int]:
    """What the worker did, by kind, as far as it came."""
    options = launch.Options(config="", files={"guest": binary}, icount=True)
    with launch.Machine(options) as machine:
        system = machine.folder / "neighbours.textproto"
        system.write_text(description.format(mode))
        options.config = str(system)
        machine.prepare()
        process = subprocess.Popen(machine.command(["-serial", "stdio"]), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        watchdog = threading.Timer(TIMEOUT_SECONDS, process.kill)
        watchdog.start()
        text = ""
        try:
            for raw in process.stdout:
                # What the neighbour prints may come between any two bytes of the worker.
                text += NOISE.sub("", raw.decode(errors="replace"))
                if "DONE" in text:
                    break
        finally:
            watchdog.cancel()
            process.kill()
            process.wait()
    for word in ("FAILED", "died", "panic"):
        if word in text:
            print(f"{mode}: {text}")
    return {kind: int(number) for kind, number in re.findall(r"DID ([a-z_]+) (\d+)", text)}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures what a guest gets done beside a hostile one.")
    parser.add_argument("binary")
    parser.add_argument("mode", nargs="*")
    parser.add_argument("--build", help="native build folder")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.build:
        os.environ["ATOLL_BUILD"] = arguments.build
    import launch

    if set(arguments.mode) - set(MODES + NETWORK_MODES):
        parser.error(f"the modes are {MODES + NETWORK_MODES}")
    problems = []
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for bench in BENCHES:
            modes = [mode for mode in bench.modes if not arguments.mode or mode in arguments.mode]
            if modes:
                problems += compare(pool, launch, arguments.binary, bench, ["busy", *modes])
    print(*problems, sep="\n")
    return 1 if problems else 0


def compare(pool, launch, binary: str, bench: Bench, modes: list[str]) -> list[str]:
    """Prints the shares beside each; the first is a good neighbour. What is wrong with them."""
    results = list(pool.map(lambda mode: measure(launch, binary, bench.system, mode), modes))
    share = results[0]
    if set(bench.kinds) - set(share):
        return [f"the worker did not come to its end beside a busy neighbour: {share}"]
    problems = []
    print(f"{'neighbour':12}" + "".join(f"{kind:>10}" for kind in bench.kinds) + "  latest wake")
    for mode, did in zip(modes, results):
        ratios = {kind: did.get(kind, 0) / share[kind] for kind in bench.kinds}
        print(f"{mode:12}" + "".join(f"{ratio:10.2f}" for ratio in ratios.values()) +
              f"  {did.get('latest_us', 0):8} us", flush=True)
        problems += [f"{kind} beside {mode}: {ratio:.2f} of its share, less than {WANTED}"
                     for kind, ratio in ratios.items() if ratio < WANTED]
    return problems


if __name__ == "__main__":
    sys.exit(main())
