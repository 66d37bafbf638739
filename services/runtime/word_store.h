// A store of one word that is still to be made, so that somebody can make it in one step with others: a service that is
// killed between two of them would else leave one without the other (SetCommitWindow, proto/kernel.proto).
#ifndef ATOLL_SERVICES_RUNTIME_WORD_STORE_H_
#define ATOLL_SERVICES_RUNTIME_WORD_STORE_H_

#include <cstdint>

namespace atoll {

struct WordStore {
  uint32_t* word = nullptr;  // null: no store
  uint32_t value = 0;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_WORD_STORE_H_
