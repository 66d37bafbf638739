// Sleeps between two `hint` instructions that mark begin and end for scripts/instruction_counter.c: idlebench SECONDS
#include <stdlib.h>
#include <unistd.h>

enum { kSecondsToSettle = 2 };

int main(int count, char** arguments) {
  if (count != 2) return 2;
  sleep(kSecondsToSettle);
  __asm__ volatile("hint #100" : : : "memory");
  sleep(atoi(arguments[1]));
  __asm__ volatile("hint #101" : : : "memory");
  return 0;
}
