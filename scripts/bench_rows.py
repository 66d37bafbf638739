"""What scripts/bench measures: the rows, their goals, and the table of values."""
import dataclasses
import json

import launch

PEERS = json.loads((launch.ROOT / "scripts/peers.json").read_text())
KVM = "KVM+QEMU"


@dataclasses.dataclass(frozen=True)
class Row:
    what: str
    measure: str                      # the function of bench_measures that gives it
    unit: str = "instructions"
    at_most: float | None = None      # goals
    at_least: float | None = None
    share_of_bare: float | None = None
    times_kvm: float | None = None    # known only with --peers

    def goal(self) -> str:
        def number(value: float) -> str:
            return f"{value:,.0f}" if value >= 1 else f"{value:g}"

        shown = [f"<= {number(self.at_most)}" if self.at_most is not None else "",
                 f">= {number(self.at_least)}" if self.at_least is not None else "",
                 f">= {self.share_of_bare:.0%} of bare" if self.share_of_bare is not None else "",
                 f">= {self.times_kvm:g} x KVM" if self.times_kvm is not None else ""]
        return ", ".join(filter(None, shown))

    def is_met(self, atoll: float, bare: float | None, kvm: float | None) -> bool | None:
        """None: there is no goal, or nothing to compare with."""
        checks = [(self.at_most, 1, lambda limit: atoll <= limit), (self.at_least, 1, lambda limit: atoll >= limit),
                  (self.share_of_bare, bare, lambda share: atoll >= share * bare),
                  (self.times_kvm, kvm, lambda times: atoll >= times * kvm)]
        found = [check(goal) for goal, other, check in checks if goal is not None and other is not None]
        return all(found) if found else None


MB_PER_SECOND, EXITS, PER_BYTE, PERCENT = "MB per guest second", "exits", "instructions per byte", "% of a CPU"
ROWS = {
    "uart_status_read": Row("UART register read, answered by its service", "flat", at_most=300),
    "rtc_data_read": Row("RTC register read, answered by its service", "flat", at_most=300),
    "virtio_magic_read": Row("virtio-mmio register read", "flat", at_most=300),
    "gicd_typer_read": Row("GICD_TYPER read, answered by vgic", "flat", at_most=300),
    "hvc_psci_version": Row("hvc PSCI_VERSION, answered by vmm", "flat", at_most=250),
    "null_ipc": Row("EL0 to EL0: null call and reply", "ipc", at_most=210),
    "call_and_reply_256_bytes": Row("  with 256 bytes each way", "ipc"),
    "call_and_reply_4096_bytes": Row("  with 4096 bytes each way", "ipc"),
    "signal_round_trip": Row("EL0 to EL0: a signal each way", "ipc"),
    "id_register_read": Row("trapped ID register read", "flat"),
    "sgi_to_self": Row("SGI to self: sent, taken, ended", "flat", at_most=700),
    "ipi_waiting": Row("SGI to another vCPU in WFI, own CPU: write to handler", "ipi"),
    "ipi_spinning": Row("  both spin: what is left of a time slice", "ipi"),
    "timer_lateness": Row("virtual timer: due to handler", "flat", at_most=600),
    "wfi_wake": Row("WFI, woken by the virtual timer", "flat", at_most=1100),
    "first_touch_4k": Row("first touch of RAM, per 4 KiB", "flat"),
    "linux_run_init": Row("Linux: its clock's start to `Run /init`", "linux", at_most=810_000_000),
    "memory_disk_read_p50": Row("virtio-blk 4 KiB read, disk in memory, p50", "linux", at_most=22_000),
    "memory_disk_write_p50": Row("virtio-blk 4 KiB write, disk in memory, p50", "linux", at_most=25_000),
    "null_disk_read_p50": Row("virtio-blk 4 KiB read, null disk, p50", "linux"),
    "null_disk_write_p50": Row("virtio-blk 4 KiB write, null disk, p50", "linux"),
    "memory_journal_read": Row("  its journal's part, 4 KiB read, disk in memory", "journal", "%", at_most=3),
    "memory_journal_write": Row("  its journal's part, 4 KiB write, disk in memory", "journal", "%", at_most=3),
    "null_journal_read": Row("  its journal's part, 4 KiB read, null disk", "journal", "%", at_most=3),
    "null_journal_write": Row("  its journal's part, 4 KiB write, null disk", "journal", "%", at_most=3),
    "memory_disk_read_32": Row("4 KiB read, 32 at a time, disk in memory, each", "linux"),
    "memory_disk_write_32": Row("4 KiB write, 32 at a time, disk in memory, each", "linux"),
    "null_disk_read_32": Row("4 KiB read, 32 at a time, null disk, each", "linux"),
    "null_disk_write_32": Row("4 KiB write, 32 at a time, null disk, each", "linux"),
    "read_32_exits": Row("  exits per read, disk in memory", "linux", EXITS, at_most=0.2),
    "write_32_exits": Row("  exits per write, disk in memory", "linux", EXITS, at_most=0.2),
    "null_disk_read_1m": Row("1 MiB reads, null disk", "linux", MB_PER_SECOND, share_of_bare=0.9),
    "null_disk_write_1m": Row("1 MiB writes, null disk", "linux", MB_PER_SECOND, share_of_bare=0.9),
    "memory_disk_read_1m": Row("1 MiB reads, disk in memory", "linux", MB_PER_SECOND),
    "memory_disk_write_1m": Row("1 MiB writes, disk in memory", "linux", MB_PER_SECOND),
    "polling_read_32": Row("polling guest: 4 KiB read, 32 at a time, each", "polling"),
    "polling_write_32": Row("polling guest: 4 KiB write, 32 at a time, each", "polling"),
    "polling_read_exits": Row("  exits per read", "polling", EXITS, at_most=0.1),
    "polling_write_exits": Row("  exits per write", "polling", EXITS, at_most=0.1),
    "net_round_trip": Row("VM to VM: UDP 64 bytes there and back, p50", "net"),
    "net_stream": Row("VM to VM: TCP stream", "net", MB_PER_SECOND, times_kvm=5),
    "net_outside": Row("  of it outside the guests", "net", PER_BYTE, at_most=0.5),
    "vsock_to": Row("VM to VM: virtio-vsock stream to who waited", "vsock", MB_PER_SECOND),
    "vsock_to_outside": Row("  of it outside the guests", "vsock", PER_BYTE),
    "vsock_from": Row("VM to VM: virtio-vsock stream from who waited", "vsock", MB_PER_SECOND),
    "vsock_from_outside": Row("  of it outside the guests", "vsock", PER_BYTE),
    "host_to": Row("virtio-vsock stream to the host, in real time", "host", "MB per second"),
    "host_to_outside": Row("  of it outside the guest", "host", PER_BYTE),
    "host_from": Row("virtio-vsock stream from the host, in real time", "host", "MB per second"),
    "host_from_outside": Row("  of it outside the guest", "host", PER_BYTE),
    "idle_linux": Row("an idle Linux guest, all it causes", "idle", PERCENT, at_most=0.1),
    "share_1": Row("device reads and hypercalls, 1 VM: each", "share"),
    "share_2": Row("  2 VMs at once", "share"),
    "share_4": Row("  4 VMs at once", "share"),
    "share_8": Row("  8 VMs at once", "share"),
    "share_growth": Row("  most of these over 1 VM", "share", "%", at_most=5),
    "power_on_to_guest": Row("power-on to the guest's first instruction, 64 MiB", "start"),
    "clearing_and_copying": Row("  of these, clearing RAM and copying images", "start"),
    "kernel_entry": Row("  the rest", "start", at_most=5_000_000),
    "kernel_text": Row("the kernel's text", "size", "bytes", at_most=65536),
}


def number(value: float | None) -> str:
    if value is None:
        return "-"
    if value >= 1e6:
        return f"{value / 1e6:.1f} M"
    return f"{value:.0f}" if not value % 1 or value >= 1000 else f"{value:.3f}" if value < 1 else f"{value:.1f}"


@dataclasses.dataclass
class Table:
    """Values by row, of Atoll, without a hypervisor, and under KVM (measured in this run)."""
    names: list[str]
    atoll: dict[str, float] = dataclasses.field(default_factory=dict)
    bare: dict[str, float] = dataclasses.field(default_factory=dict)
    kvm: dict[str, float] = dataclasses.field(default_factory=dict)

    def verdict(self, row: str) -> str:
        if row not in self.atoll:
            return "missing"
        return {None: "", True: "ok", False: "MISSED"}[
            ROWS[row].is_met(self.atoll[row], self.bare.get(row), self.kvm.get(row))]

    def is_good(self) -> bool:
        return not any(self.verdict(row) in ("MISSED", "missing") for row in self.names)

    def as_json(self) -> dict:
        return {name: {"what": ROWS[name].what.strip(), "unit": ROWS[name].unit, "goal": ROWS[name].goal(),
                       "atoll": self.atoll.get(name), "bare": self.bare.get(name), "kvm": self.kvm.get(name),
                       "peers": dict(zip(PEERS["systems"], PEERS["rows"].get(name, []))), "verdict": self.verdict(name)}
                for name in self.names}

    def print(self) -> None:
        def ratio(a: float | None, b: float | None) -> str:
            return f"{a / b:.2f}" if a and b else "-"

        systems = PEERS["systems"] if not self.kvm else [KVM]
        heads = ["operation", "goal", "Atoll", "", "bare", *systems, "Atoll/bare", f"{KVM}/Atoll"]
        lines = []
        for name in self.names:
            row, atoll, bare = ROWS[name], self.atoll.get(name), self.bare.get(name)
            others = dict(zip(PEERS["systems"], PEERS["rows"].get(name, []))) if not self.kvm else {KVM: self.kvm.get(name)}
            what = row.what if row.unit == "instructions" else f"{row.what}, {row.unit}"
            lines.append([what, row.goal(), number(atoll), self.verdict(name), number(bare),
                          *(number(others.get(system)) for system in systems), ratio(atoll, bare),
                          ratio(others.get(KVM), atoll)])
        widths = [max(len(line[i]) for line in [heads, *lines]) for i in range(len(heads))]
        for line in [heads, *lines]:
            print(line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:])), sep="  ")
