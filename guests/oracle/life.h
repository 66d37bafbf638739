// A VM that resets again and again counts its lives on its disk.
#ifndef ATOLL_GUESTS_ORACLE_LIFE_H_
#define ATOLL_GUESTS_ORACLE_LIFE_H_

#include <cstdint>

namespace oracle {

// The number of this life, from 0; the disk says the next one. False: the disk does not do it.
bool CountLife(uint32_t slot, uint32_t& life);

}  // namespace oracle

#endif  // ATOLL_GUESTS_ORACLE_LIFE_H_
