// Numbered frames to and from a peer that does the same. A frame says which one of the peer's its sender expects next,
// so at most kWindow are on their way. A service's death may cost the one frame that it was copying, or double it:
// both are counted, and scripts/fault-campaign compares with the deaths.
#ifndef ATOLL_GUESTS_ORACLE_NETWORK_H_
#define ATOLL_GUESTS_ORACLE_NETWORK_H_

#include "guests/oracle/events.h"
#include "guests/oracle/random.h"
#include "guests/oracle/report.h"
#include "guests/oracle/virtqueue.h"

namespace oracle {

class NetworkOracle final : public Device {
 public:
  static constexpr uint32_t kWindow = 8;
  static constexpr uint32_t kBuffers = 16;  // of each direction
  static constexpr uint32_t kBufferBytes = 2048;

  explicit constexpr NetworkOracle(uint64_t seed) : random_(seed) {}

  // `peer`: number of the peer's VM. False: there is no such device, or it does not start.
  bool Start(uint32_t slot, uint32_t peer);
  // Sends up to so many frames, as the window lets it.
  void Send(uint32_t frames);
  // As Send, and waits until the peer has said that it has them, or for a while.
  void SendAndWait(uint32_t frames);
  // From now on answers each frame with one, and follows a peer that begins anew. What the peer sends is not judged.
  void Follow() { follows_ = true; }
  // Until both know how many the other has sent.
  void Finish();
  bool peer_ended() const { return peer_ended_; }
  void OnInterrupt() override;
  void Took(uint64_t began) { report_.Took(began); }

 private:
  enum class Kind : uint16_t { kHello, kNumbered, kLast };

  bool Put(Kind kind);
  void Take(uint32_t buffer, uint32_t bytes);
  void TakeNumbered(uint32_t number, uint32_t bytes, const uint8_t* payload);
  void CollectSent();
  void Answer(Kind kind, uint32_t number);
  bool IsWindowOpen();

  Report report_{"net"};
  Random random_;
  Transport transport_{0};
  uint8_t own_[6] = {}, peer_[6] = {};
  uint32_t next_ = 0;          // number of the next frame to be sent
  uint32_t acknowledged_ = 0;  // frames before it have arrived
  uint32_t expected_ = 0;      // number of the peer's next frame
  uint64_t stalled_until_ = 0;
  bool is_sent_busy_[kBuffers] = {};
  bool saw_peer_ = false;    // it has sent something: its driver is there
  bool peer_saw_ = false;    // it said the same of us
  bool peer_ended_ = false;  // it has said its last number
  bool peer_knows_ = false;  // it has heard ours
  bool follows_ = false;
  uint64_t lost_ = 0, doubled_ = 0;
};

}  // namespace oracle

#endif  // ATOLL_GUESTS_ORACLE_NETWORK_H_
