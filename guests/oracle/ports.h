// A named port of a virtio console device (VIRTIO 1.2, 5.3), whose other end is another VM's or its own: a stream both ways.
// Control messages come once each, too.
#ifndef ATOLL_GUESTS_ORACLE_PORTS_H_
#define ATOLL_GUESTS_ORACLE_PORTS_H_

#include "guests/oracle/events.h"
#include "guests/oracle/random.h"
#include "guests/oracle/report.h"
#include "guests/oracle/stream.h"
#include "guests/oracle/virtqueue.h"

namespace oracle {

class PortOracle final : public Device {
 public:
  explicit constexpr PortOracle(uint64_t seed) : random_(seed) {}

  // Numbers of this VM and of the one at the other end. False: there is no such device, or it does not start.
  bool Start(uint32_t slot, uint32_t own, uint32_t peer);
  // Sends up to so many buffers, as far as there is room.
  void Send(uint32_t buffers);
  // A record, and waits for one; now and then closes the port and opens it, if its other end is its own.
  void SendAndWait();
  // Until both ends have all of the other's.
  void Finish();
  bool peer_ended() const { return stream_.peer_ended(); }
  void OnInterrupt() override;
  void Took(uint64_t began) { report_.Took(began); }

 private:
  // VIRTIO 1.2, 5.3.6.2.
  enum class Event : uint16_t {
    kDeviceReady,
    kDeviceAdd,
    kDeviceRemove,
    kPortReady,
    kConsolePort,
    kResize,
    kPortOpen,
    kPortName,
  };
  struct Message {
    uint32_t id;
    Event event;
    uint16_t value;
  };
  static constexpr uint32_t kPort = 1;
  static constexpr uint32_t kRoundsPerClose = 4;

  bool IsLoop() const { return own_ == peer_; }
  void Say(uint32_t id, Event event, uint16_t value);
  void Hear(const uint8_t* bytes, uint32_t count);
  void SetOpen(bool open);
  bool SendBytes(uint32_t bytes);
  bool SendEnd(Stream::Kind kind);

  Report report_{"ports"};
  Random random_;
  Stream stream_{report_};
  Transport transport_{0};
  uint32_t own_ = 0, peer_ = 0;
  uint32_t added_ = 0;     // bit of each port
  bool is_named_ = false;  // the port
  bool is_open_ = false;   // its other end is, as far as was told
  uint64_t told_ = 0, rounds_ = 0;
};

}  // namespace oracle

#endif  // ATOLL_GUESTS_ORACLE_PORTS_H_
