"""Debian guests for a campaign: programs of guests/linux that know what they must read, and a bare guest that resets."""
import contextlib
import pathlib
import socket
import subprocess

import campaign_workloads
import launch
import machine_devices
from campaign_workloads import Options, Workload
from images import cpio, make_disk

VMS = {"left": "10.0.2.15", "right": "10.0.2.16"}
HOST = "10.0.2.2"
WORK = ("disk", "net", "rtc", "vcpu", "console", "echo", "reset", *campaign_workloads.DEVICES)
GAP_US, REST_US = 20_000, 300_000
SETTLE_US = 3_000_000
PRESSED_VM = "left"
HEARTBEAT_MS, REAL_HEARTBEAT_MS = 100, 200  # the latter where three VMs that are loaded at once keep each other waiting
# From the left guest's `boot` on, which it says when the right one can be reached, until both work.
BOOT_US = 4_000_000
FIRST_LINES = 'expect left "oracle: left.boot ok" within 900s\nwait 3s\n'
# A VM that resets begins when the others do: until then it stands still in its first life.
PAUSE, RESUME = "vm pause {vm}\n", "vm resume {vm}\n"
# In real time the script takes as long as it takes, so guests work until they are told to end, or for so much longer.
LONGER, LONGER_S = 6, 300
PORT, END_PORT, OUTSIDE_PORT, HOST_PORT = 5000, 4999, 5010, 5020
STREAMS = 2  # of oracle_stream, each with a port of its own
DISK_MIB, MEMORY_MIB = 64, 192
PROGRAMS = ("oracle_disk", "oracle_stream", "oracle_machine", "oracle_devices")
WORK_OF = {"disk": "disk", "net": "stream", "rtc": "rtc", "vcpu": "vcpu", "console": "console",
           **{name: name for name in campaign_workloads.DEVICES}}
FIRST_CID, HOST_CID = 3, 2  # of the first VM that has sockets; of this computer
LISTENER = "left"  # has the keyboard
FOLDER = launch.BUILD / "campaign"
EXECUTABLE, REGULAR, DIRECTORY = 0o100755, 0o100644, 0o040755


def programs() -> list[tuple[str, int, bytes]]:
    """Entries of an initramfs."""
    entries = []
    for name in PROGRAMS:
        source, binary = launch.ROOT / f"guests/linux/{name}.c", FOLDER / name
        newest = max(path.stat().st_mtime for path in (source, source.with_name("oracle.h")))
        if not binary.exists() or binary.stat().st_mtime < newest:
            FOLDER.mkdir(parents=True, exist_ok=True)
            subprocess.run(["aarch64-linux-gnu-gcc", "-O2", "-Wall", "-Werror", "-static", "-pthread", str(source), "-o",
                            str(binary)], check=True)
        entries.append((f"batch/{name}", EXECUTABLE, binary.read_bytes()))
    return entries


def exercise_names(options: Options) -> list[str]:
    """As their oracles report."""
    return [f"exercise{number}" for number in range(1, len(options.exercises) + 1)]


def exercise_loop(vm: str, name: str, command: str, seconds: int) -> str:
    """The user's command, which is to succeed each time, until the time is over."""
    return (f"end=$(($(cut -d. -f1 /proc/uptime) + {seconds})); n=0; bad=0; "
            f"while [ $(cut -d. -f1 /proc/uptime) -lt $end ] && [ ! -e /tmp/stop ]; do if ( {command} ) >/tmp/{name} 2>&1; then n=$((n + 1)); "
            f"else bad=$((bad + 1)); fi; done; if [ $bad = 0 ] && [ $n -gt 0 ]; then echo \"oracle: {vm}.{name} ok $n\"; "
            f"else echo \"oracle: {vm}.{name} lost $bad\"; fi")


def free_ports() -> int:
    """The first of STREAMS TCP ports of the loopback, one behind the other, that nobody listens at now."""
    while True:
        with contextlib.ExitStack() as probes:
            first = 0
            try:
                for i in range(STREAMS):
                    probe = probes.enter_context(socket.socket())
                    probe.bind((machine_devices.LOOPBACK, first and first + i))
                    first = first or probe.getsockname()[1]
                return first
            except (OSError, OverflowError):
                pass


def batch(vm: str, work: list[str], seconds: int, listens: bool, outside: int, exercises: dict[str, str], by_host: bool) -> str:
    """What the guest does after it has booted. `listens`: one of them is told when to end, and tells the other. `outside`:
    a port of the host's by which the left guest reaches the right one; 0: none."""
    commands = ["pids="]

    def start(command: str) -> None:
        commands.append(f"{command} &\npids=\"$pids $!\"")

    if vm == "left":
        commands.append(f"until ping -c 1 -W 1 {VMS['right']} >/dev/null; do :; done")
    commands.append(f"echo 'oracle: {vm}.boot ok 1'")
    if listens and vm == LISTENER:
        start(f"./oracle_machine {vm} {seconds} echo")
        start(f"(until [ -e /tmp/stop ]; do sleep 1; done; until nc {VMS['right']} {END_PORT} </dev/null; do sleep 1; done) "
              ">/dev/null 2>&1")
    elif listens:
        start(f"(echo | nc -l -p {END_PORT}; : >/tmp/stop) >/dev/null 2>&1")
    if "disk" in work:
        # One on the device itself, one on a file.
        path = "/dev/vda" if vm == "left" else "/mnt/oracle"
        if vm == "right":
            commands.append("mount /dev/vda /mnt && dd if=/dev/zero of=/mnt/oracle bs=1M count=16 2>/dev/null && sync")
        start(f"./oracle_disk {vm} {path} {seconds}")
    if "net" in work:
        start(f"./oracle_stream {vm} {seconds} {PORT} {VMS['right'] if vm == 'left' else ''}")
        if outside:
            start(f"./oracle_stream {vm}.outside {seconds} " + (f"{outside} {HOST}" if vm == "left" else f"{OUTSIDE_PORT}"))
        start(f"(end=$(($(cut -d. -f1 /proc/uptime) + {seconds})); n=0; "
              "while [ $(cut -d. -f1 /proc/uptime) -lt $end ] && [ ! -e /tmp/stop ]; do "
              f"ping -c 1 -W 1 {HOST} >/dev/null && n=$((n + 1)); done; "
              f'if [ $n -gt 0 ] && ping -c 9 -W 2 {HOST} >/dev/null; then echo "oracle: {vm}.uplink ok $n"; '
              f'else echo "oracle: {vm}.uplink lost $n"; fi)')
    for name, command in exercises.items():
        start(f"({exercise_loop(vm, name, command, seconds)})")
    if "vsock" in work:
        start(f"./oracle_stream {vm}.vsock {seconds} {PORT} vsock {FIRST_CID if vm != 'left' else ''}")
    if by_host:
        start(f"./oracle_stream {vm}.host {seconds} {HOST_PORT} vsock {HOST_CID if vm == 'left' else ''}")
    for name in ("rng", "ports", "wdog", "gpio"):
        if name in work:
            start(f"./oracle_devices {vm} {seconds} {name}")
    for name in ("rtc", "vcpu", "console"):
        if name in work:
            start(f"./oracle_machine {vm} {seconds} {name}")
    # init tells this shell of the power button.
    return "\n".join(["trap '' TERM", "cd /batch", *commands, "wait $pids", f"echo 'oracle: {vm}.end ok 1'", "echo 'oracle: bye'", ""])


def first_lines(work: list[str]) -> str:
    """Of the script: until both guests work."""
    before, after = (line.format(vm=campaign_workloads.RESETTING_VM) if "reset" in work else "" for line in (PAUSE, RESUME))
    return before + FIRST_LINES + after


def describe(work: list[str], duration_us: int, options: Options) -> Workload:
    launch.make_images()
    images = launch.demo_files()
    FOLDER.mkdir(parents=True, exist_ok=True)
    seconds = max(1, -(-duration_us // 1_000_000))
    listens = not options.icount  # what is typed comes when the host likes
    if listens:
        seconds = seconds * LONGER + LONGER_S
    text = f"heartbeat_ms: {HEARTBEAT_MS if options.icount else REAL_HEARTBEAT_MS}\n"
    services, expected, files = [], {}, {"linux": images["linux"]}
    machine_disk = FOLDER / "machine-disk"
    outside = free_ports() if listens and "net" in work else 0
    if duration_us != 0 and not options.icount:
        make_disk(machine_disk, DISK_MIB, 2)
    for index, (vm, address) in enumerate(VMS.items()):
        initrd = FOLDER / f"{vm}.cpio"
        if duration_us != 0:
            exercises = dict(zip(exercise_names(options), options.exercises))
            script = batch(vm, work, seconds, listens, outside, exercises if index == 0 else {}, options.by_host)
            entries = [("batch", DIRECTORY, b""), ("batch/script", REGULAR, script.encode()),
                       ("batch/marker", REGULAR, f"atoll-campaign-{vm}\n".encode()), *programs()]
            initrd.write_bytes(pathlib.Path(images["initramfs"]).read_bytes() + cpio(entries))
        files[f"{vm}.cpio"] = str(initrd)
        disk = f"physical {{ first_mib: {DISK_MIB * index} mib: {DISK_MIB} }}"
        if options.icount:
            files["disk"] = images["disk"]
            disk = f"zero_mib: {DISK_MIB}" if vm == "left" else 'file: "disk"'
        kinds = [name for name in campaign_workloads.DEVICES if name in work]
        more = campaign_workloads.device_texts(kinds, "", loop=False)
        services += [f"{campaign_workloads.VM_SERVICES[kind][0]}.{vm}.{2 + slot}" for slot, kind in enumerate(kinds)]
        if index == 0:
            text_of, tasks = campaign_workloads.further_devices(options, vm, 2 + len(kinds))
            more, services = more + text_of, services + tasks
        text += (f'vm {{ name: "{vm}" vcpus: 2 memory_mib: {MEMORY_MIB} kernel: "linux" initrd: "{vm}.cpio" '
                 f'command_line: "console=ttyAMA0 atoll.address={address}/24" disk {{ {disk} }} network {{ }} {more}}}\n')
        services += [f"{name}.{vm}" for name in ("vmm", "vgic", "pl011", "pl031")]
        services += [f"virtio-blk.{vm}.0", f"virtio-net.{vm}.1"]
        expected[vm] = ["boot", *(WORK_OF[name] for name in WORK_OF if name in work), *(["uplink"] if "net" in work else []),
                        *(["outside"] if outside else []), *(["host"] if options.by_host else []),
                        *(exercise_names(options) if index == 0 else []), "end"]
    if listens:
        expected[LISTENER].insert(1, "echo")
    if "reset" in work:
        reset = campaign_workloads.describe(["reset"], duration_us, options)
        text += reset.text.partition("\n")[2]  # behind the heartbeat
        files |= reset.files
        services += [name for name in reset.services if campaign_workloads.RESETTING_VM in name]
        expected |= reset.expected
    services += [name for kind in campaign_workloads.DEVICES if kind in work
                 for name in campaign_workloads.SYSTEM_SERVICES.get(kind, [])]
    services += ["vswitch", "net-driver", "console", "supervisor"] + (["vsock-driver"] if options.by_host else []) + ([] if options.icount else ["blk-driver"])
    disk = None if options.icount else machine_devices.Disk(str(machine_disk))
    forwards = [machine_devices.Forward(outside + i, VMS["right"], OUTSIDE_PORT + i) for i in range(STREAMS) if outside]
    return Workload(text, files, services, expected, disk, LISTENER if listens else "", "echo" in work,
                    range(HOST_PORT, HOST_PORT + STREAMS) if options.by_host else range(0), forwards)
