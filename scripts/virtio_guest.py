"""A driver of a virtio device for scripts of guests: VIRTIO 1.2 over virtio-mmio, split queues."""
import dataclasses
import struct

import manifest
from schemas import InputError

REGISTERS = {"MagicValue": 0x000, "Version": 0x004, "DeviceID": 0x008, "VendorID": 0x00c, "DeviceFeatures": 0x010,
             "DeviceFeaturesSel": 0x014, "DriverFeatures": 0x020, "DriverFeaturesSel": 0x024, "QueueSel": 0x030,
             "QueueNumMax": 0x034, "QueueNum": 0x038, "QueueReady": 0x044, "QueueNotify": 0x050, "InterruptStatus": 0x060,
             "InterruptACK": 0x064, "Status": 0x070, "QueueDescLow": 0x080, "QueueDescHigh": 0x084, "QueueDriverLow": 0x090,
             "QueueDriverHigh": 0x094, "QueueDeviceLow": 0x0a0, "QueueDeviceHigh": 0x0a4, "ConfigGeneration": 0x0fc,
             "Config": 0x100}  # 4.2.2
MAGIC = 0x74726976
ACKNOWLEDGE_DRIVER, FEATURES_OK, DRIVER_OK = 3, 8, 4  # 2.1
QUEUE_MAX, QUEUES_MAX = 16, 64
NEXT, WRITE = 1, 2           # 2.7.5
AREA = 0x1000                # of a queue: descriptors, available at +0x400, used at +0x800
AVAILABLE, USED = 0x400, 0x800
ROOM_MAX = 1 << 20


@dataclasses.dataclass
class Queue:
    number: int
    size: int
    area: int                 # guest physical
    next_slot: int = 0
    available: int = 0        # its index
    used: int = 0             # what of the device's was seen
    room: dict = dataclasses.field(default_factory=dict)  # (address, bytes) by head of the chain


class VirtioGuest:
    """Uses the end of the first 16 MiB of guest RAM. `load(offset)` and `store(offset, value)` are accesses of 32 bits."""

    def __init__(self, memory, load, store):
        self.memory, self.load, self.store = memory, load, store
        ram = memory.region("guest_ram")
        self.free = manifest.GUEST_RAM_IPA + min(ram.bytes, 16 << 20) // 2
        self.end = manifest.GUEST_RAM_IPA + min(ram.bytes, 16 << 20)
        self.queues = {}

    def _read(self, name: str) -> int:
        return self.load(REGISTERS[name])

    def _write(self, name: str, value: int) -> None:
        self.store(REGISTERS[name], value & 0xffff_ffff)

    def _put(self, address: int, data: bytes) -> None:
        self.memory.write(manifest.GUEST_RAM_BASE + address, data)

    def _get(self, address: int, count: int) -> bytes:
        return self.memory.read(manifest.GUEST_RAM_BASE + address, count)

    def _allocate(self, count: int) -> int:
        address = self.free
        self.free += -(-count // 64) * 64
        if self.free > self.end:
            raise InputError("the driver has used up its memory")
        return address

    def bring_up(self) -> None:
        """Accepts all features and brings up all queues."""
        if self._read("MagicValue") != MAGIC:
            raise InputError("this device has no queues")
        self._write("Status", 0)
        self._write("Status", ACKNOWLEDGE_DRIVER)
        for half in (0, 1):
            self._write("DeviceFeaturesSel", half)
            self._write("DriverFeaturesSel", half)
            self._write("DriverFeatures", self._read("DeviceFeatures"))
        self._write("Status", ACKNOWLEDGE_DRIVER | FEATURES_OK)
        if not self._read("Status") & FEATURES_OK:
            raise InputError("the device refuses the features that it offers")
        self.queues = {}
        for number in range(QUEUES_MAX):
            self._write("QueueSel", number)
            most = self._read("QueueNumMax")
            if most == 0:
                continue
            queue = self.queues[number] = Queue(number, min(most, QUEUE_MAX), self._allocate(AREA))
            self._put(queue.area, bytes(AREA))
            self._write("QueueNum", queue.size)
            for name, offset in (("Desc", 0), ("Driver", AVAILABLE), ("Device", USED)):
                self._write(f"Queue{name}Low", queue.area + offset)
                self._write(f"Queue{name}High", (queue.area + offset) >> 32)
            self._write("QueueReady", 1)
        self._write("Status", ACKNOWLEDGE_DRIVER | FEATURES_OK | DRIVER_OK)

    def _queue(self, number: int) -> Queue:
        if number not in self.queues:
            raise InputError("no such queue, or no `driver` before")
        return self.queues[number]

    def send(self, number: int, data: bytes, room: int) -> None:
        """A request of these bytes and room for an answer, and a notification."""
        queue = self._queue(number)
        if room > ROOM_MAX or len(data) > ROOM_MAX:
            raise InputError("more than 1 MiB")
        parts = [(data, 0)] * bool(data) + [(bytes(room), WRITE)] * bool(room)
        if not parts:
            raise InputError("has neither bytes nor room")
        head = queue.next_slot
        for i, (content, flag) in enumerate(parts):
            address, slot = self._allocate(len(content)), queue.next_slot
            queue.next_slot = (slot + 1) % queue.size
            self._put(address, content)
            more = i + 1 < len(parts)
            self._put(queue.area + 16 * slot, struct.pack("<QIHH", address, len(content), flag | (NEXT if more else 0),
                                                          queue.next_slot if more else 0))
            queue.room[head] = (address, len(content) if flag else 0)
        self._put(queue.area + AVAILABLE + 4 + 2 * (queue.available % queue.size), struct.pack("<H", head))
        queue.available = (queue.available + 1) % (1 << 16)
        self._put(queue.area + AVAILABLE + 2, struct.pack("<H", queue.available))
        self._write("QueueNotify", number)

    def used(self, number: int) -> bytes:
        """What the device wrote into the next request that it gave back."""
        queue = self._queue(number)
        index, = struct.unpack("<H", self._get(queue.area + USED + 2, 2))
        if index == queue.used:
            raise InputError("nothing was given back")
        head, length = struct.unpack("<II", self._get(queue.area + USED + 4 + 8 * (queue.used % queue.size), 8))
        queue.used = (queue.used + 1) % (1 << 16)
        if head not in queue.room:
            raise InputError(f"request {head} was given back, which nobody made")
        address, room = queue.room[head]
        return self._get(address, min(length, room))
