#include "services/pl031/state.h"

#include "services/pl031/registers.h"

namespace atoll {

Copies LoadPl031State(Pl031Journal& journal, Pl031State& state) {
  Pl031State found;
  const Copies copies = journal.Load(found);
  if (copies == Copies::kFresh || copies == Copies::kLost) return copies;
  if (found.format != Pl031State::kFormat) return Copies::kLost;
  // Whatever has passed the check: no bit is taken that a register does not have.
  found.mask &= pl031::kInterruptAlarm;
  found.interrupt &= pl031::kInterruptAlarm;
  state = found;
  return copies;
}

}  // namespace atoll
