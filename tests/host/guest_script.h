// A guest as lines of text: `write WDOGLOAD 100`, `expect WDOGVALUE 100`, ... (docs/host-run.md).
#ifndef ATOLL_TESTS_HOST_GUEST_SCRIPT_H_
#define ATOLL_TESTS_HOST_GUEST_SCRIPT_H_

#include <cstdint>
#include <cstdio>
#include <istream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/unit/uart/fake_ports.h"

namespace atoll {

// The device and what surrounds it. Whatever cannot be done throws std::runtime_error with a sentence.
class HostMachine {
 public:
  virtual ~HostMachine() = default;
  virtual uint64_t Load(uint64_t offset, uint32_t size) = 0;
  virtual void Store(uint64_t offset, uint32_t size, uint64_t value) = 0;
  virtual std::optional<uint64_t> OffsetOf(const std::string& name) = 0;
  virtual void Pass(uint64_t ticks) = 0;
  virtual void Signal(uint64_t bits) = 0;
  virtual void Restart() = 0;  // ends the instance as a kill would
  virtual bool Line() = 0;
  // virtio: brings the device up with what it offers; a request of one readable and one writable part.
  virtual void Driver() { throw std::runtime_error("this device has no queues"); }
  virtual void Send(uint32_t, const std::string&, uint32_t) { Driver(); }
  // Of the next request that was given back: what the device wrote.
  virtual std::string Used(uint32_t) { return Driver(), ""; }
};

class GuestScript {
 public:
  explicit GuestScript(HostMachine& machine) : machine_(machine) {}

  // All lines; false after the first that is wrong or not met, which is said.
  bool Run(std::istream& lines, const std::string& name) {
    std::string text;
    for (int number = 1; std::getline(lines, text); ++number) {
      try {
        Line(text);
      } catch (const std::exception& problem) {
        std::printf("%s: line %d: %s\n", name.c_str(), number, problem.what());
        return false;
      }
    }
    return true;
  }

 private:
  struct Place {
    uint64_t offset;
    uint32_t size;
  };

  void Line(const std::string& text) {
    words_ = std::istringstream(text.substr(0, text.find('#')));
    std::string verb;
    if (!(words_ >> verb)) return;
    if (verb == "write") {
      const Place place = ReadPlace();
      machine_.Store(place.offset, place.size, Number());
    } else if (verb == "read" || verb == "expect") {
      const Place place = ReadPlace();
      const uint64_t value = machine_.Load(place.offset, place.size);
      if (verb == "read") {
        std::printf("%#llx\n", static_cast<unsigned long long>(value));
      } else {
        Expect(value);
      }
    } else if (verb == "line") {
      Expect(machine_.Line() ? 1 : 0);
    } else if (verb == "pass") {
      machine_.Pass(Ticks());
    } else if (verb == "signal") {
      machine_.Signal(Number());
    } else if (verb == "restart") {
      machine_.Restart();
    } else if (verb == "driver") {
      machine_.Driver();
    } else if (verb == "send") {
      const auto queue = static_cast<uint32_t>(Number());
      std::string bytes;
      std::string word;
      uint64_t room = 0;
      while (words_ >> word) {
        if (word[0] == '+') {
          room = ToNumber(word.substr(1));
          break;
        }
        bytes += ToBytes(word);
      }
      if (room > kMaxBytes) throw std::runtime_error("more than 1 MiB");
      machine_.Send(queue, bytes, static_cast<uint32_t>(room));
    } else if (verb == "used") {
      for (const unsigned char byte : machine_.Used(static_cast<uint32_t>(Number()))) {
        std::printf("%02x", byte);
      }
      std::printf("\n");
    } else {
      throw std::runtime_error('"' + verb + "\" is no command");
    }
    if (std::string more; words_ >> more) throw std::runtime_error("too much: \"" + more + '"');
  }

  static constexpr uint64_t kMaxBytes = 1 << 20;

  std::string Word() {
    std::string word;
    if (!(words_ >> word)) throw std::runtime_error("something is missing at its end");
    return word;
  }
  static uint64_t ToNumber(const std::string& word) {
    size_t used = 0;
    uint64_t value = 0;
    try {
      value = std::stoull(word, &used, 0);
    } catch (const std::exception&) {
      used = 0;
    }
    if (used == 0 || used != word.size()) throw std::runtime_error('"' + word + "\" is no number");
    return value;
  }
  uint64_t Number() { return ToNumber(Word()); }
  static std::string ToBytes(const std::string& word) {
    std::string bytes;
    for (size_t i = 0; i < word.size(); i += 2) {
      bytes += static_cast<char>(ToNumber("0x" + word.substr(i, 2)));
    }
    return bytes;
  }
  // NAME or OFFSET, and /WIDTH in bytes.
  Place ReadPlace() {
    std::string word = Word();
    uint32_t size = 4;
    if (const size_t slash = word.find('/'); slash != std::string::npos) {
      const uint64_t width = ToNumber(word.substr(slash + 1));
      if (width != 1 && width != 2 && width != 4 && width != 8) {
        throw std::runtime_error("a width is 1, 2, 4 or 8");
      }
      size = static_cast<uint32_t>(width);
      word.resize(slash);
    }
    const std::optional<uint64_t> named = machine_.OffsetOf(word);
    return {named.has_value() ? *named : ToNumber(word), size};
  }
  // 50us, 10ms, 2s.
  uint64_t Ticks() {
    const std::string word = Word();
    const size_t unit = word.find_first_not_of("0123456789");
    const std::string name = unit == std::string::npos ? "" : word.substr(unit);
    const uint64_t parts = name == "s" ? 1 : name == "ms" ? 1'000 : name == "us" ? 1'000'000 : 0;
    if (parts == 0 || unit == 0) throw std::runtime_error('"' + word + "\" is no time, as 10ms is");
    const uint64_t number = ToNumber(word.substr(0, unit));
    if (number > kMaxBytes * 1000) throw std::runtime_error("too long");
    return number * FakeCounter::kFrequency / parts;
  }
  void Expect(uint64_t value) {
    const uint64_t wanted = Number();
    if (value == wanted) return;
    char text[80];
    std::snprintf(text, sizeof(text), "it is %#llx, not %#llx",
                  static_cast<unsigned long long>(value), static_cast<unsigned long long>(wanted));
    throw std::runtime_error(text);
  }

  HostMachine& machine_;
  std::istringstream words_;
};

}  // namespace atoll

#endif  // ATOLL_TESTS_HOST_GUEST_SCRIPT_H_
