// A connection over virtio-vsock (VIRTIO 1.2, 5.10) with the other VM that does the same: a stream both ways, within the
// credit that the receiver gives. The VM with the lower CID asks. Or one of them only sends back what comes: then the other
// one's stream has both directions.
// By way of the host: it asks that, and the host the other one.
#ifndef ATOLL_GUESTS_ORACLE_SOCKETS_H_
#define ATOLL_GUESTS_ORACLE_SOCKETS_H_

#include "guests/oracle/events.h"
#include "guests/oracle/random.h"
#include "guests/oracle/report.h"
#include "guests/oracle/stream.h"
#include "guests/oracle/virtqueue.h"

namespace oracle {

class SocketOracle final : public Device {
 public:
  explicit constexpr SocketOracle(uint64_t seed) : random_(seed) {}

  // From now on, which is before the start: sends back what comes, to a peer that may begin anew. What comes is not judged.
  void Follow() { follows_ = true; }
  // From now on, which is before the start: packets go to the host, which passes the stream on to the peer and back.
  void GoByHost() { by_host_ = true; }
  // `echoed`: the peer follows. False: there is no such device, it does not start, or nobody is at the other end.
  bool Start(uint32_t slot, bool echoed);
  // Sends up to so many packets, as far as credit and buffers last; one that follows, what it has.
  void Send(uint32_t packets);
  // A record, and waits for one.
  void SendAndWait();
  // Until both ends have all of the other's; then the connection is shut down.
  void Finish();
  bool peer_ended() const { return stream_.peer_ended(); }
  void OnInterrupt() override;
  void Took(uint64_t began) { report_.Took(began); }

 private:
  static constexpr uint32_t kPort = 5000;  // of both ends

  enum class Op : uint16_t {
    kRequest = 1,
    kResponse,
    kReset,
    kShutdown,
    kData,
    kCreditUpdate,
    kCreditRequest,
  };
  struct [[gnu::packed]] Packet {
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port;
    uint32_t bytes;
    uint16_t type;
    Op op;
    uint32_t flags, buf_alloc, fwd_cnt;
  };
  static_assert(sizeof(Packet) == 44);

  bool Connect();
  uint8_t* Buffer();
  void Put(uint8_t* buffer, Op op, uint32_t bytes);
  void Say(Op op);
  void Take(const uint8_t* bytes, uint32_t count);
  void Answer(const Packet& packet);
  void AnswerAsFollower(const Packet& packet, const uint8_t* payload, uint32_t came);
  void SendBack();
  uint32_t Credit() const { return peer_alloc_ - (sent_bytes_ - peer_taken_); }
  bool SendBytes(uint32_t bytes);
  bool SendEnd(Stream::Kind kind);
  void EndStream();

  Report report_{"vsock"};
  Random random_;
  Stream stream_{report_};
  Transport transport_{0};
  uint64_t own_ = 0, peer_ = 0;  // CIDs of the two ends
  uint64_t way_ = 0;             // the CID that packets go to: the peer's, or the host's
  uint32_t way_port_ = kPort;    // ... and its port
  bool follows_ = false, by_host_ = false;
  bool is_open_ = false, is_refused_ = false, is_over_ = false;
  // Of the stream. Told: to the peer. A follower takes what it sends back, so what came it may still have.
  uint32_t sent_bytes_ = 0, taken_bytes_ = 0, told_bytes_ = 0, came_bytes_ = 0;
  uint32_t peer_alloc_ = 0, peer_taken_ = 0;
};

}  // namespace oracle

#endif  // ATOLL_GUESTS_ORACLE_SOCKETS_H_
