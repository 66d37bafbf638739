// services/console/commit.S for a process that nobody kills in between.
#include <atomic>
#include <cstdint>

extern "C" {

extern const char atoll_commit_window[];
extern const char atoll_commit_window_end[];
const char atoll_commit_window[1] = {};
const char atoll_commit_window_end[1] = {};

void atoll_read_into(volatile uint32_t* source, uint32_t mark, uint32_t* word) {
  *word = *source | mark;
}

void atoll_commit(volatile uint32_t* word0, uint32_t value0, volatile uint32_t* word1,
                  uint32_t value1, volatile uint32_t* word2, uint32_t value2,
                  volatile uint32_t* word3, uint32_t value3) {
  const auto store = [](volatile uint32_t* word, uint32_t value) {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    *word = value;
  };
  store(word0, value0);
  store(word1, value1);
  store(word2, value2);
  store(word3, value3);
}

}  // extern "C"
