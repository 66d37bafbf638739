// A switch with its surroundings, and devices on its ports that send and receive through the rings.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "services/vsock-switch/switch.h"
#include "tests/unit/uart/fake_ports.h"
#include "tests/unit/virtio/memory_states.h"

namespace atoll::vsock_switch {
namespace {

using vsock::PacketHeader;

constexpr uint64_t kCid0 = 3;  // of port 0; one more for each further one
constexpr uint64_t Cid(uint32_t port) { return kCid0 + port; }

PacketHeader Header(uint32_t from, uint32_t to, uint16_t op, uint32_t tag = 0, uint32_t len = 0) {
  return {.src_cid = Cid(from),
          .dst_cid = Cid(to),
          .src_port = 1000 + from,
          .dst_port = 1000 + to,
          .len = len,
          .type = vsock::kTypeStream,
          .op = op,
          .buf_alloc = 65536,
          .fwd_cnt = tag};
}

// What is on the other side of a port's rings.
class Device final : public Peer {
 public:
  Device() { Attach(); }
  bool Notify() override {
    ++signals;
    return !off;
  }
  void Attach() {
    writer.emplace(
        net::FrameWriter::Attach(memory->span().first(vsock::kRingBytes), vsock::kMaxPacket)
            .value());
    reader.emplace(
        net::FrameReader::Attach(memory->span().subspan(vsock::kRingBytes), vsock::kMaxPacket)
            .value());
  }
  // False: no room.
  bool Send(const PacketHeader& header, uint8_t flags = 0) {
    const auto bytes = static_cast<uint32_t>(sizeof(header) + header.len);
    const auto room = writer->Reserve(bytes);
    if (room.empty()) return false;
    std::memcpy(room.data(), &header, sizeof(header));
    std::memset(room.data() + sizeof(header), static_cast<int>(header.fwd_cnt & 0xff), header.len);
    writer->Publish({.bytes = bytes, .flags = flags, .flow = vsock::EpochMark(writer->epoch())});
    return true;
  }
  std::optional<PacketHeader> Take() {
    const auto frame = reader->Next();
    if (!frame.has_value()) return std::nullopt;
    const PacketHeader header = vsock::HeaderOf(*frame).value();
    EXPECT_EQ(frame->bytes.size(), sizeof(header) + header.len);
    for (const std::byte byte : frame->bytes.subspan(sizeof(header))) {
      EXPECT_EQ(byte, static_cast<std::byte>(header.fwd_cnt & 0xff));
    }
    reader->Consume();
    return header;
  }
  // The ops of what came.
  std::vector<uint16_t> TakeOps() {
    std::vector<uint16_t> ops;
    while (const auto header = Take()) ops.push_back(+header->op);
    return ops;
  }
  // As the device does when its driver resets it and comes back.
  void Reset(bool back = true) {
    writer->SetDown(true);
    writer->StartEpoch();
    if (back) writer->SetDown(false);
  }

  std::unique_ptr<AlignedMemory<vsock::kPortBytes>> memory =
      std::make_unique<AlignedMemory<vsock::kPortBytes>>();
  std::optional<net::FrameWriter> writer;
  std::optional<net::FrameReader> reader;
  bool off = false;
  int signals = 0;
};

class Net : public SwitchLog {
 public:
  explicit Net(uint32_t count = 3) : devices(count), peers(count, ~0u) { Start(); }
  virtual ~Net() = default;

  void Start(bool blamed = false, bool failed = false) {
    the_switch = std::make_unique<Switch>(Switch::Surroundings{counter, timer, *this, *journal});
    for (uint32_t i = 0; i < devices.size(); ++i) {
      const PortSettings settings{.name = "port", .cid = Cid(i), .peers = peers[i]};
      if (!IsOk(the_switch->AddPort(i, settings, devices[i].memory->span(), devices[i])))
        std::abort();
    }
    failed ? the_switch->Fail() : the_switch->Start(blamed);
  }
  void Run() { the_switch->OnSignals((1u << devices.size()) - 1); }
  void RunPort(uint32_t i) { the_switch->OnSignals(1u << i); }
  void Pass(uint64_t milliseconds) {
    counter.ticks += milliseconds * FakeCounter::kFrequency / 1000;
    if (timer.Expire(counter.ticks)) the_switch->OnSignals(Switch::kTimerSignal);
  }
  // A connection between two ports; what they get of it is taken.
  void Connect(uint32_t asking, uint32_t asked) {
    ASSERT_TRUE(devices[asking].Send(Header(asking, asked, vsock::kOpRequest)));
    RunPort(asking);
    ASSERT_EQ(devices[asked].TakeOps(), std::vector<uint16_t>{vsock::kOpRequest});
    ASSERT_TRUE(devices[asked].Send(Header(asked, asking, vsock::kOpResponse)));
    RunPort(asked);
    ASSERT_EQ(devices[asking].TakeOps(), std::vector<uint16_t>{vsock::kOpResponse});
  }
  // A packet arrives where it is sent.
  bool Passes(uint32_t from, uint32_t to) {
    if (!devices[from].Send(Header(from, to, vsock::kOpData, 42, 100))) return false;
    RunPort(from);
    const auto got = devices[to].Take();
    return got.has_value() && got->op == vsock::kOpData && got->fwd_cnt == 42 && got->len == 100;
  }
  void Stalled(std::string_view) override { ++stalls; }
  void Quarantined(std::string_view) override { ++quarantines; }
  Device& operator[](uint32_t i) { return devices[i]; }
  PortCounters Counters(uint32_t i) { return the_switch->counters(i); }

  std::vector<Device> devices;
  std::vector<uint32_t> peers;
  std::unique_ptr<SwitchJournal> journal = std::make_unique<SwitchJournal>();
  FakeCounter counter;
  FakeTimer timer;
  int stalls = 0;
  int quarantines = 0;
  std::unique_ptr<Switch> the_switch;
};

using Ops = std::vector<uint16_t>;

TEST(VsockSwitch, VSOCK_20_a_false_sender_is_dropped) {
  Net n;
  PacketHeader header = Header(0, 1, vsock::kOpRequest);
  for (const uint64_t cid : {Cid(1), Cid(2), uint64_t{2}, Cid(0) | uint64_t{1} << 32}) {
    header.src_cid = cid;
    ASSERT_TRUE(n[0].Send(header));
    n.Run();
    for (uint32_t i : {0u, 1u, 2u}) EXPECT_FALSE(n[i].Take());
  }
  EXPECT_EQ(n.Counters(0).dropped, 4u);
  EXPECT_TRUE(n.Passes(0, 1));
}

TEST(VsockSwitch, VSOCK_11_VSOCK_12_VSOCK_14_VSOCK_23_what_leads_nowhere_gets_RST_once) {
  Net n;
  const PacketHeader good = Header(0, 1, vsock::kOpRequest);
  std::vector<PacketHeader> bad(9, good);
  bad[0].dst_cid = 77;
  bad[1].dst_cid = 2;  // there is no way to the host
  bad[2].dst_cid = 0;
  bad[3].dst_cid = Cid(0);  // itself
  bad[4].dst_cid |= uint64_t{1} << 32;
  bad[5].type = 3;
  bad[6].op = 0;
  bad[7].op = 9;
  bad[8].len = 8;  // with a payload
  for (const PacketHeader& header : bad) {
    ASSERT_TRUE(n[0].Send(header));
    n.RunPort(0);
    const auto answer = n[0].Take();
    ASSERT_TRUE(answer);
    EXPECT_EQ(+answer->op, vsock::kOpReset);
    EXPECT_EQ(+answer->src_cid, +header.dst_cid);
    EXPECT_EQ(+answer->dst_cid, Cid(0));
    EXPECT_EQ(+answer->src_port, +header.dst_port);
    EXPECT_EQ(+answer->dst_port, +header.src_port);
    EXPECT_EQ(+answer->type, +header.type);
    EXPECT_EQ(+answer->len, 0u);
    EXPECT_FALSE(n[1].Take());
  }
  ASSERT_TRUE(n[0].Send(good, vsock::kRefuse));
  n.RunPort(0);
  EXPECT_EQ(n[0].TakeOps(), Ops{vsock::kOpReset});
  EXPECT_EQ(n.Counters(0).refused, 10u);
  // RST is never answered by RST.
  PacketHeader reset = bad[0];
  reset.op = vsock::kOpReset;
  ASSERT_TRUE(n[0].Send(reset));
  ASSERT_TRUE(n[0].Send(reset, vsock::kRefuse));
  n.RunPort(0);
  EXPECT_FALSE(n[0].Take());
  EXPECT_TRUE(n.Passes(0, 1));
}

TEST(VsockSwitch, VSOCK_22_a_length_that_lies_and_a_frame_that_is_no_packet) {
  Net n;
  PacketHeader header = Header(0, 1, vsock::kOpData);
  header.len = 100;  // of a frame that ends behind the header
  const auto room = n[0].writer->Reserve(sizeof(header));
  std::memcpy(room.data(), &header, sizeof(header));
  n[0].writer->Publish({.bytes = sizeof(header)});
  ASSERT_FALSE(n[0].writer->Reserve(20).empty());
  n[0].writer->Publish({.bytes = 20});
  n.RunPort(0);
  EXPECT_EQ(n[0].TakeOps(), Ops{vsock::kOpReset});
  EXPECT_FALSE(n[1].Take());
  EXPECT_EQ(n.Counters(0).dropped, 1u);
  EXPECT_TRUE(n.Passes(0, 1));
}

TEST(VsockSwitch, VSOCK_21_who_may_not_talk_to_whom) {
  Net n;
  n.peers = {1u << 1, ~0u, ~0u};
  n.Start();
  ASSERT_TRUE(n[0].Send(Header(0, 2, vsock::kOpRequest)));
  ASSERT_TRUE(n[2].Send(Header(2, 0, vsock::kOpRequest)));
  n.Run();
  EXPECT_EQ(n[0].TakeOps(), Ops{vsock::kOpReset});
  EXPECT_EQ(n[2].TakeOps(), Ops{vsock::kOpReset});
  EXPECT_TRUE(n.Passes(0, 1) && n.Passes(1, 0) && n.Passes(1, 2));
}

TEST(VsockSwitch, VSOCK_25_connections_that_nobody_answers) {
  Net n;
  n.Connect(0, 1);
  for (uint32_t i = 0; i < 3 * Connections::kPerPort; ++i) {
    PacketHeader request = Header(0, 2, vsock::kOpRequest);
    request.src_port = i;
    ASSERT_TRUE(n[0].Send(request));
    n.RunPort(0);
    ASSERT_EQ(n[2].TakeOps(), Ops{vsock::kOpRequest});  // older ones make room
  }
  EXPECT_LE(n.journal->connections.count(), Connections::kPerPort);
  EXPECT_TRUE(n.Passes(0, 1) && n.Passes(1, 0));
  n[1].Reset();  // the answered one is still known
  n.RunPort(1);
  EXPECT_EQ(n[0].TakeOps(), Ops{vsock::kOpReset});
}

TEST(VsockSwitch, VSOCK_25_connections_beyond_those_there_may_be) {
  Net n;
  for (uint32_t i = 0; i <= Connections::kPerPort; ++i) {
    PacketHeader request = Header(0, 1, vsock::kOpRequest);
    request.src_port = i;
    ASSERT_TRUE(n[0].Send(request));
    n.RunPort(0);
    const bool room = i < Connections::kPerPort;
    ASSERT_EQ(n[1].Take().has_value(), room);
    PacketHeader response = Header(1, 0, vsock::kOpResponse);
    response.dst_port = i;
    ASSERT_TRUE(!room || n[1].Send(response));
    n.RunPort(1);
    ASSERT_EQ(n[0].TakeOps(), Ops{room ? vsock::kOpResponse : vsock::kOpReset});
  }
  // The others have their own; and one that ends makes room.
  n.Connect(2, 1);
  PacketHeader reset = Header(1, 0, vsock::kOpReset);
  reset.dst_port = 7;
  ASSERT_TRUE(n[1].Send(reset));
  n.RunPort(1);
  EXPECT_EQ(n[0].TakeOps(), Ops{vsock::kOpReset});
  n.Connect(0, 1);
}

TEST(VsockSwitch, VSOCK_15_VSOCK_19_a_driver_that_starts_anew_ends_its_connections_and_no_others) {
  Net n;
  n.Connect(0, 1);
  n.Connect(1, 2);
  n.Connect(2, 0);
  ASSERT_TRUE(n[1].Send(Header(1, 2, vsock::kOpData, 9, 10)));  // of the driver before
  n[1].Reset();
  ASSERT_TRUE(n[1].Send(Header(1, 0, vsock::kOpRequest, 7)));  // of the next one
  n.Run();
  // RST comes before what it sends now.
  EXPECT_EQ(n[0].TakeOps(), (Ops{vsock::kOpReset, vsock::kOpRequest}));
  EXPECT_EQ(n[2].TakeOps(), Ops{vsock::kOpReset});
  EXPECT_FALSE(n[1].Take());
  EXPECT_EQ(n.Counters(1).dropped, 1u);
  EXPECT_TRUE(n.Passes(2, 0) && n.Passes(0, 2));
  EXPECT_EQ(n.journal->connections.count(), 2u);
}

TEST(VsockSwitch, VSOCK_19_a_driver_that_went_while_the_switch_was_dead) {
  Net n;
  n.Connect(0, 1);
  n[1].Reset(/*back=*/false);
  n.Start();
  EXPECT_EQ(n[0].TakeOps(), Ops{vsock::kOpReset});
  ASSERT_TRUE(n[0].Send(Header(0, 1, vsock::kOpRequest)));
  n.Run();
  EXPECT_EQ(n[0].TakeOps(), Ops{vsock::kOpReset});
  EXPECT_FALSE(n[1].Take());
  n[1].writer->SetDown(false);
  n.RunPort(1);
  n.Connect(0, 1);
}

TEST(VsockSwitch, VSOCK_19_a_vm_that_is_off) {
  Net n;
  n.Connect(0, 1);
  n.Connect(0, 2);
  n[1].off = true;
  for (int i = 0; i < 3; ++i) n.Pass(1000);  // it says nothing; it is looked for
  EXPECT_EQ(n[0].TakeOps(), Ops{vsock::kOpReset});
  ASSERT_TRUE(n[0].Send(Header(0, 1, vsock::kOpRequest)));
  n.RunPort(0);
  EXPECT_EQ(n[0].TakeOps(), Ops{vsock::kOpReset});
  EXPECT_TRUE(n.Passes(0, 2));
  // One that goes later is noticed by whoever wants to connect.
  n[2].off = true;
  PacketHeader request = Header(0, 2, vsock::kOpRequest);
  request.src_port = 1;
  ASSERT_TRUE(n[0].Send(request));
  n.RunPort(0);
  EXPECT_EQ(n[0].TakeOps(), (Ops{vsock::kOpReset, vsock::kOpReset}));
  // When it is back its device says so.
  n[1].off = false;
  n[1].Reset();
  n.RunPort(1);
  n.Connect(0, 1);
}

TEST(VsockSwitch, VSOCK_07_VSOCK_16_VSOCK_26_what_finds_no_room_waits_in_order) {
  Net n;
  n.Connect(0, 1);
  uint32_t sent = 0;
  for (; n[0].Send(Header(0, 1, vsock::kOpData, sent, 8000)); ++sent) n.RunPort(0);
  EXPECT_GT(sent, 40u);  // both rings are full
  // Others do not notice, in any direction; the receiver's own packets go, too.
  EXPECT_TRUE(n.Passes(2, 0) && n.Passes(1, 0) && n.Passes(1, 2));
  for (uint32_t i = 0; i < sent; ++i) {
    const auto got = n[1].Take();
    ASSERT_TRUE(got);
    ASSERT_EQ(+got->fwd_cnt, i);
    if (n[1].reader->WriterWaits()) n.RunPort(1);
  }
  EXPECT_TRUE(n.Passes(0, 1));
  EXPECT_EQ(n.stalls, 0);
}

TEST(VsockSwitch, who_waits_first_goes_first) {
  Net n(4);
  uint32_t filled = 0;
  for (; n[0].Send(Header(0, 3, vsock::kOpData, 0, 60000)); ++filled) n.RunPort(0);
  // Three want to port 3, which is full: a large one first, then small ones, which may not overtake it.
  ASSERT_TRUE(n[1].Send(Header(1, 3, vsock::kOpData, 1, 60000)));
  n.RunPort(1);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(n[2].Send(Header(2, 3, vsock::kOpData, 2, 10)));
  n.RunPort(2);
  std::vector<uint64_t> order;
  for (int i = 0; i < 100 && order.size() < filled + 51; ++i) {
    while (const auto got = n[3].Take()) order.push_back(+got->src_cid);
    n.RunPort(3);
  }
  ASSERT_EQ(order.size(), filled + 51);
  const auto large = std::ranges::find(order, Cid(1));
  const auto small = std::ranges::find(order, Cid(2));
  EXPECT_LT(large, small);
}

TEST(VsockSwitch, VSOCK_18_VSOCK_26_a_guest_that_takes_nothing_is_cut_off_visibly) {
  Net n;
  n.Connect(0, 1);
  n.Connect(2, 1);
  n.Connect(0, 2);
  const uint32_t epoch = n[1].reader->writer_epoch();
  while (n[0].Send(Header(0, 1, vsock::kOpData, 0, 8000))) n.RunPort(0);
  for (int i = 0; i < 9; ++i) n.Pass(100);
  EXPECT_EQ(n.stalls, 0);
  EXPECT_FALSE(n[0].Take());
  n.Pass(200);
  EXPECT_EQ(n.stalls, 1);
  // The others know that these connections are over, its own guest will.
  const Ops seen = n[0].TakeOps();
  EXPECT_GE(seen.size(), 1u);
  for (const uint16_t op : seen) EXPECT_EQ(op, vsock::kOpReset);
  EXPECT_EQ(n[2].TakeOps(), Ops{vsock::kOpReset});
  EXPECT_NE(n[1].reader->writer_epoch(), epoch);
  EXPECT_GT(n[1].signals, 0);
  n.RunPort(0);
  (void)n[0].TakeOps();
  EXPECT_TRUE(n.Passes(0, 2) && n.Passes(2, 0));
  ASSERT_TRUE(n[2].Send(Header(2, 1, vsock::kOpRequest)));
  n.RunPort(2);
  EXPECT_EQ(n[2].TakeOps(), Ops{vsock::kOpReset});
  // It takes packets again.
  (void)n[1].TakeOps();
  n.RunPort(1);
  n.Connect(2, 1);
  n.Connect(1, 0);
}

TEST(VsockSwitch, VSOCK_19_an_end_waits_for_room_to_tell_the_other) {
  Net n;
  n.Connect(0, 1);
  while (n[2].Send(Header(2, 0, vsock::kOpData, 0, 8000))) n.RunPort(2);
  n[1].Reset();
  n.RunPort(1);
  ASSERT_TRUE(n[1].Send(Header(1, 2, vsock::kOpData, 3, 3)));
  n.RunPort(1);
  EXPECT_FALSE(n[2].Take());  // not before the RST
  n.Start();                  // nor is it forgotten
  Ops ops;
  for (int i = 0; i < 10; ++i) {
    const Ops more = n[0].TakeOps();
    ops.insert(ops.end(), more.begin(), more.end());
    n.RunPort(0);
  }
  EXPECT_EQ(std::ranges::count(ops, uint16_t{vsock::kOpReset}), 1);
  EXPECT_EQ(n[2].TakeOps(), Ops{vsock::kOpData});
}

TEST(VsockSwitch, a_port_that_two_instances_died_of) {
  Net n;
  n.Connect(0, 1);
  const uint32_t epoch = n[0].reader->writer_epoch();
  for (int i = 0; i < 2; ++i) {
    EXPECT_FALSE(n[0].reader->WriterIsDown());
    n.journal->quarantine.Begin(0, n[0].writer->reader_index());
    n.Start(/*blamed=*/true);
  }
  EXPECT_EQ(n.quarantines, 1);
  EXPECT_TRUE(n[0].reader->WriterIsDown());
  EXPECT_NE(n[0].reader->writer_epoch(), epoch);
  EXPECT_EQ(n[1].TakeOps(), Ops{vsock::kOpReset});
  ASSERT_TRUE(n[0].Send(Header(0, 1, vsock::kOpRequest)));
  ASSERT_TRUE(n[1].Send(Header(1, 0, vsock::kOpRequest)));
  n.Run();
  EXPECT_EQ(n[1].TakeOps(), Ops{vsock::kOpReset});
  EXPECT_TRUE(n.Passes(1, 2) && n.Passes(2, 1));
  n[0].Reset();
  n.RunPort(0);
  EXPECT_FALSE(n[0].reader->WriterIsDown());
  n.Connect(0, 1);
}

TEST(VsockSwitch, a_switch_that_is_given_up_says_so) {
  Net n(2);
  n.Connect(0, 1);
  const uint32_t epoch = n[0].reader->writer_epoch();
  n.Start(false, /*failed=*/true);
  for (uint32_t i : {0u, 1u}) EXPECT_TRUE(n[i].reader->WriterIsDown());
  EXPECT_NE(n[0].reader->writer_epoch(), epoch);
  n.Run();
  n.Start();
  for (uint32_t i : {0u, 1u}) EXPECT_FALSE(n[i].reader->WriterIsDown());
  n.Connect(1, 0);
}

TEST(VsockSwitch, VSOCK_19_VSOCK_21_the_hosts_port) {
  Net n(kPorts);
  n.peers[1] = 0b11;  // may not talk to the host
  n.Start();
  n.Connect(0, kHostPort);
  n.Connect(kHostPort, 2);
  ASSERT_TRUE(n[1].Send(Header(1, kHostPort, vsock::kOpRequest)));
  n.RunPort(1);
  EXPECT_EQ(n[1].TakeOps(), Ops{vsock::kOpReset});
  ASSERT_TRUE(n[kHostPort].Send(Header(kHostPort, 1, vsock::kOpRequest)));
  n.RunPort(kHostPort);
  EXPECT_EQ(n[kHostPort].TakeOps(), Ops{vsock::kOpReset});
  // Nobody is at the host's end any more: who was connected hears it, and who comes is refused.
  n[kHostPort].Reset(false);
  n.RunPort(kHostPort);
  for (uint32_t i : {0u, 2u}) {
    EXPECT_EQ(n[i].TakeOps(), Ops{vsock::kOpReset});
    ASSERT_TRUE(n[i].Send(Header(i, kHostPort, vsock::kOpRequest)));
    n.RunPort(i);
    EXPECT_EQ(n[i].TakeOps(), Ops{vsock::kOpReset});
  }
  EXPECT_FALSE(n[kHostPort].Take());
  n[kHostPort].writer->SetDown(false);
  n.Connect(2, kHostPort);
}

TEST(VsockSwitch, bad_ports) {
  Net n(1);
  Device device;
  const PortSettings settings{.name = "x", .cid = 9};
  EXPECT_EQ(n.the_switch->AddPort(kPorts, settings, device.memory->span(), device),
            Status::kOutOfRange);
  EXPECT_EQ(n.the_switch->AddPort(0, settings, device.memory->span(), device),
            Status::kAlreadyExists);
  EXPECT_EQ(
      n.the_switch->AddPort(1, settings, device.memory->span().first(vsock::kRingBytes), device),
      Status::kInvalidArgument);
}

TEST(VsockSwitchDeath, VSOCK_16_VSOCK_19_each_packet_passes_once_whatever_store_it_dies_at) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  Net n(2);
  n.Connect(0, 1);
  ASSERT_TRUE(n[0].Send(Header(0, 1, vsock::kOpData, 1, 40)));
  ASSERT_TRUE(n[0].Send(Header(0, 1, vsock::kOpData, 2, 40)));
  ASSERT_TRUE(n[0].Send(Header(0, 1, vsock::kOpRequest, 3), vsock::kRefuse));
  ASSERT_TRUE(n[0].Send(Header(0, 1, vsock::kOpReset, 4)));
  auto* const journal = reinterpret_cast<std::byte*>(n.journal.get());
  // All that comes before the table, and what of it there is.
  std::vector<std::span<std::byte>> watched = {
      {journal, offsetof(SwitchJournal, connections) + 64}};
  for (uint32_t i : {0u, 1u}) {
    for (const size_t ring : {size_t{0}, vsock::kRingBytes}) {
      watched.push_back(n[i].memory->span().subspan(ring, 128));
      watched.push_back(n[i].memory->span().subspan(ring + 4096, 640));
    }
  }
  MemoryStates states(watched, 300);
  ASSERT_TRUE(states.Run([&n] { n.RunPort(0); }));
  ASSERT_GT(states.size(), 20u);
  for (size_t state = 0; state < states.size(); ++state) {
    SCOPED_TRACE(state);
    states.Restore(state);
    for (Device& device : n.devices) device.Attach();
    n.Start();
    std::vector<uint32_t> tags;
    while (const auto got = n[1].Take()) tags.push_back(+got->fwd_cnt);
    ASSERT_EQ(tags, (std::vector<uint32_t>{1, 2, 4}));
    ASSERT_EQ(n[0].TakeOps(), Ops{vsock::kOpReset});
    ASSERT_EQ(n.journal->connections.count(), 0u);
  }
}

TEST(VsockSwitchDeath, a_journal_of_random_bytes_does_no_harm) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    Net n;
    uint64_t random = seed + 1;
    auto* const bytes = reinterpret_cast<uint8_t*>(n.journal.get());
    for (size_t i = 0; i < sizeof(SwitchJournal); ++i) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      bytes[i] = static_cast<uint8_t>(random >> 56);
    }
    n.Start(true);
    for (Device& device : n.devices) device.Reset();
    n.Run();
    ASSERT_TRUE(n.Passes(0, 1) && n.Passes(1, 2)) << seed;
    n.Connect(2, 0);
  }
}

}  // namespace
}  // namespace atoll::vsock_switch
