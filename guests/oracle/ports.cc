#include "guests/oracle/ports.h"

#include <string_view>

#include "guests/oracle/buffers.h"

namespace oracle {
namespace {

inline constexpr uint32_t kMultiportFeature = 1u << 1;
inline constexpr uint32_t kControlReceive = 2, kControlTransmit = 3;  // 5.3.2
inline constexpr uint32_t kReceive = 4, kTransmit = 5;                // of port 1
inline constexpr uint32_t kBuffers = 16, kSentBytes = 512, kReceivedBytes = 256;
inline constexpr uint32_t kMessages = 8, kMessageBytes = 64;
inline constexpr std::string_view kName = "link";
inline constexpr uint64_t kLinger = 5'000;

ReceiveBuffers<kMessages, kMessageBytes> heard;
SendBuffers<kMessages, kMessageBytes> said;
ReceiveBuffers<kBuffers, kReceivedBytes> received;
SendBuffers<kBuffers, kSentBytes> sent;

}  // namespace

bool PortOracle::Start(uint32_t slot, uint32_t own, uint32_t peer) {
  own_ = own;
  peer_ = peer;
  stream_.Start(own, peer);
  transport_ = Transport(slot);
  if (transport_.device_id() != Transport::kConsole || !transport_.Negotiate(kMultiportFeature)) {
    report_.Lost("the console does not start", slot);
    return false;
  }
  heard.Attach(transport_, kControlReceive);
  said.Attach(transport_, kControlTransmit);
  received.Attach(transport_, kReceive);
  sent.Attach(transport_, kTransmit);
  Attach(slot, *this);
  if (!transport_.Run()) {
    report_.Lost("the console does not run", slot);
    return false;
  }
  heard.Notify(transport_);
  received.Notify(transport_);
  Say(0, Event::kDeviceReady, 1);
  if (WaitFor([&] { return is_open_; })) return true;
  report_.Lost("the port is not opened: added, named", added_, is_named_ ? 1 : 0);
  return false;
}

void PortOracle::Say(uint32_t id, Event event, uint16_t value) {
  uint8_t* buffer = nullptr;
  const uint64_t end = bare::Counter() + Ticks(patience);
  while ((buffer = said.Free(report_)) == nullptr && bare::Counter() < end) {
  }
  if (buffer == nullptr) {
    report_.Lost("control messages are not taken", static_cast<uint32_t>(event));
    return;
  }
  const Message message{id, event, value};
  memcpy(buffer, &message, sizeof(message));
  said.Send(transport_, sizeof(message));
}

void PortOracle::Hear(const uint8_t* bytes, uint32_t count) {
  Message message{};
  if (count >= sizeof(message)) memcpy(&message, bytes, sizeof(message));
  const uint32_t bit = message.id < 32 ? 1u << message.id : 0;
  const std::string_view name(reinterpret_cast<const char*>(bytes) + sizeof(message),
                              count - std::min<size_t>(count, sizeof(message)));
  bool is_news = false;
  switch (message.event) {
    case Event::kDeviceAdd:
      is_news = message.id <= kPort && (added_ & bit) == 0;
      added_ |= bit;
      Say(message.id, Event::kPortReady, 1);
      break;
    case Event::kPortName:
      is_news = message.id == kPort && !is_named_ && name == kName;
      is_named_ = true;
      Say(message.id, Event::kPortOpen, 1);
      break;
    case Event::kPortOpen:
      if (message.id != kPort) return;
      is_news = is_open_ != (message.value != 0);
      is_open_ = message.value != 0;
      break;
    case Event::kConsolePort:
      if (message.id == 0) return;
      break;
    default: break;
  }
  if (!is_news) {
    report_.Lost("a control message that says nothing new: port, event, value", message.id,
                 static_cast<uint16_t>(message.event), message.value);
  }
  ++told_;
}

void PortOracle::OnInterrupt() {
  heard.Take(transport_, report_,
             [this](const uint8_t* bytes, uint32_t count) { Hear(bytes, count); });
  received.Take(transport_, report_,
                [this](const uint8_t* bytes, uint32_t count) { stream_.Take(bytes, count); });
}

bool PortOracle::SendBytes(uint32_t bytes) {
  uint8_t* const buffer = sent.Free(report_);
  if (buffer == nullptr) return false;
  stream_.Give(buffer, bytes);
  sent.Send(transport_, bytes);
  return true;
}

bool PortOracle::SendEnd(Stream::Kind kind) {
  uint8_t* const buffer = sent.Free(report_);
  if (buffer == nullptr) return false;
  sent.Send(transport_, stream_.GiveEnd(buffer, kind));
  return true;
}

void PortOracle::Send(uint32_t buffers) {
  for (uint32_t i = 0; i < buffers && SendBytes(1 + random_.Below(kSentBytes)); ++i) {
  }
}

void PortOracle::SendAndWait() {
  const uint64_t wanted = stream_.taken() + 1;
  if (!SendBytes(Stream::kRecordBytes) || !WaitFor([&] { return stream_.taken() >= wanted; })) {
    report_.Lost("a record did not come", wanted);
  }
  if (IsLoop() && rounds_++ % kRoundsPerClose == 0) {
    for (const bool open : {false, true}) SetOpen(open);
  }
}

void PortOracle::SetOpen(bool open) {
  Say(kPort, Event::kPortOpen, open ? 1 : 0);
  if (!WaitFor([&] { return is_open_ == open; })) {
    report_.Lost("the port's end did not follow", open ? 1 : 0);
  }
}

void PortOracle::Finish() {
  const auto finish = [this](Stream::Kind kind, auto is_there) {
    const bool done = WaitFor([&] { return sent.Busy(report_) == 0; }) && SendEnd(kind) &&
                      WaitFor([&] { return is_there() || stream_.is_broken(); });
    if (!done) {
      report_.Lost("the stream does not end: given, taken, under way", stream_.given(),
                   stream_.taken(), sent.Busy(report_));
    }
    return done;
  };
  if (finish(Stream::Kind::kLast, [this] { return stream_.peer_ended(); })) {
    finish(Stream::Kind::kKnows, [this] { return stream_.peer_knows(); });
  }
  WaitFor([&] { return false; }, kLinger);
  if (!transport_.is_running()) report_.Lost("the console is not running any more");
  report_.Begin();
  report_.Pair("sent", stream_.given());
  report_.Pair("told", told_);
  report_.End();
}

}  // namespace oracle
