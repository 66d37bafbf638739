// Makes of a service one that dies at once whenever it is started, until it is given up: then it is what it is in failed
// mode. Its own ServiceMain has been compiled under another name.
#undef ServiceMain
#include "services/runtime/service.h"

namespace atoll {

void RealServiceMain(const StartInfo& start);

void ServiceMain(const StartInfo& start) {
  if (!start.failed) asm volatile("udf #0");
  RealServiceMain(start);
}

}  // namespace atoll
