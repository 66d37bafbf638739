#include "services/supervisor/log_relay.h"

#include <algorithm>

#include "services/supervisor/journal.h"
#include "services/supervisor/log_line.h"
#include "services/supervisor/manifest.h"

namespace atoll {
namespace {

constexpr std::byte kLineEnd{'\n'};

// Bytes up to the first line's end, that included.
size_t FirstLine(std::span<const std::byte> text) {
  const auto end = std::ranges::find(text, kLineEnd);
  return static_cast<size_t>(end - text.begin()) + (end != text.end() ? 1 : 0);
}

}  // namespace

Status LogRelay::Start(std::span<std::byte> memory) {
  const Result<ByteRingWriter> ring = ByteRingWriter::Attach(memory);
  if (!ring.has_value()) return ring.error();
  const auto reply = kernel_.SetLogOutput({.bits = supervisor_manifest::kLogSignal});
  if (!reply.has_value()) return reply.error();
  ring_ = *ring;
  next_ = reply->next;
  NoteBase();
  Journal(JournalOf(kernel_).relays, uint32_t{1});
  return Status::kOk;
}

Status LogRelay::Resume(std::span<std::byte> memory) {
  const SupervisorJournal& journal = JournalOf(kernel_);
  if (journal.relays == 0) return Start(memory);
  const Result<ByteRingWriter> ring = ByteRingWriter::Attach(memory);
  if (!ring.has_value()) return ring.error();
  const auto reply = kernel_.SetLogOutput({.bits = supervisor_manifest::kLogSignal});
  if (!reply.has_value()) return reply.error();
  ring_ = *ring;
  // The last place up to the log's end that fits.
  const uint32_t place = journal.log_base + ring_->written();
  next_ = reply->next - (static_cast<uint32_t>(reply->next) - place);
  return Status::kOk;
}

// Where in the log the ring's bytes come from. It changes with a loss alone, so a ring that was written to says by itself
// how far it has come.
void LogRelay::NoteBase() {
  Journal(JournalOf(kernel_).log_base, static_cast<uint32_t>(next_) - ring_->written());
}

void LogRelay::Pass() {
  if (!ring_.has_value()) return;
  bool wrote = false;
  while (true) {
    const auto reply = kernel_.ReadLog({.from = next_});
    if (!reply.has_value()) break;
    std::span<const std::byte> text = kernel_.IpcPage().first(reply->bytes);
    const uint64_t begin = reply->next - reply->bytes;
    if (begin != next_) {  // the kernel has overwritten what was next, in the middle of a line too
      const size_t rest_of_line = FirstLine(text);
      lost_ += begin + rest_of_line - next_;
      next_ = begin + rest_of_line;
      NoteBase();
      text = text.subspan(rest_of_line);
    }
    const size_t written = WriteLines(text);
    if (written == 0) break;
    next_ += written;
    wrote = true;
  }
  if (!wrote) return;
  (void)kernel_.SetSignal(supervisor_manifest::kConsoleLog);
  if (lost_ != 0) ReportLoss();
}

size_t LogRelay::WriteLines(std::span<const std::byte> text) {
  size_t bytes = std::min(text.size(), ring_->Free());
  while (bytes != 0 && text[bytes - 1] != kLineEnd) --bytes;
  return ring_->Write(text.first(bytes));
}

// A line as any other: the signal that it sets brings it through the ring.
void LogRelay::ReportLoss() {
  kernel_.Log(
      LogLine("log: ").Decimal(lost_).Append(" bytes were lost: too many lines at once").view());
  lost_ = 0;
}

void LogRelay::Stop() {
  if (!ring_.has_value()) return;
  const uint64_t untaken = ring_->capacity() - ring_->Free();
  const auto reply = kernel_.SetLogOutput({.bits = 0, .from = next_ - std::min(untaken, next_)});
  if (reply.has_value()) ring_.reset();
}

}  // namespace atoll
