// A QEMU plugin that counts the instructions a machine executes, by where they lie, and the exits of its guests.
//
//   -plugin file=...,out=FILE,kernel=FROM-TO,services=FROM-TO,entry=ADDRESS,entry=ADDRESS[,profile=on]
//
// A guest marks moments by `hint #N`, N from 100 on, which processors execute as no operation. For each, FILE gets a
// line: N, then the instructions of guests, kernel and services until then, and the exits. What a CPU sleeps is not
// counted. An exit is an arrival at an `entry`, with instructions of guests since the last one. With a profile, mark 101
// is followed by lines "@ADDRESS COUNT" of kernel and services, of what was executed since mark 100.
//
// The declarations are those of QEMU's qemu-plugin.h, interface version 1, which Debian does not package.
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void TranslationCallback(qemu_plugin_id_t id, struct qemu_plugin_tb* block);
typedef void ExecutionCallback(unsigned int cpu, void* data);
enum { kNoRegisters = 0, kInlineAdd = 0, kInterfaceVersion = 1 };
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, TranslationCallback* callback);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb* block);
struct qemu_plugin_insn* qemu_plugin_tb_get_insn(const struct qemu_plugin_tb* block, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn* instruction);
const void* qemu_plugin_insn_data(const struct qemu_plugin_insn* instruction);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn* instruction, int operation, void* value,
                                                uint64_t addend);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn* instruction, ExecutionCallback* callback,
                                            int registers, void* data);
extern int qemu_plugin_version;
int qemu_plugin_version = kInterfaceVersion;

enum { kGuests, kKernel, kServices, kPlaces, kMaxEntries = 8 };
static const uint32_t kHintMask = 0xfffff01f, kHint = 0xd503201f, kFirstMark = 100;

static uint64_t counts[kPlaces], guests_at_entry, exits;
static struct {
  uint64_t from, to;
} places[kPlaces];
static uint64_t entries[kMaxEntries];
static size_t entry_count;
static FILE* out;

// Of each address outside the guests: a hash table without removal.
enum { kProfileSlots = 1 << 17, kMarkBegin = 100, kMarkEnd = 101 };
static struct {
  uint64_t address, count;
} profile[kProfileSlots];
static bool with_profile;

static uint64_t* ProfileOf(uint64_t address) {
  size_t slot = address / 4 % kProfileSlots;
  for (size_t i = 0; i < kProfileSlots; ++i, slot = (slot + 1) % kProfileSlots) {
    if (profile[slot].address == 0) profile[slot].address = address;
    if (profile[slot].address == address) return &profile[slot].count;
  }
  return NULL;  // it is full
}

static void OnEntry(unsigned int cpu, void* data) {
  (void)cpu, (void)data;
  exits += counts[kGuests] != guests_at_entry;
  guests_at_entry = counts[kGuests];
}

static void OnMark(unsigned int cpu, void* data) {
  (void)cpu;
  const unsigned int mark = (unsigned int)(uintptr_t)data;
  fprintf(out, "%u %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", mark, counts[kGuests], counts[kKernel],
          counts[kServices], exits);
  for (size_t slot = 0; with_profile && slot < kProfileSlots; ++slot) {
    if (mark == kMarkEnd && profile[slot].count != 0) {
      fprintf(out, "@%" PRIx64 " %" PRIu64 "\n", profile[slot].address, profile[slot].count);
    }
    if (mark == kMarkBegin) profile[slot].count = 0;
  }
  fflush(out);
}

static size_t PlaceOf(uint64_t address) {
  for (size_t place = kKernel; place < kPlaces; ++place) {
    if (address >= places[place].from && address < places[place].to) return place;
  }
  return kGuests;
}

static void OnTranslation(qemu_plugin_id_t id, struct qemu_plugin_tb* block) {
  (void)id;
  for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); ++i) {
    struct qemu_plugin_insn* instruction = qemu_plugin_tb_get_insn(block, i);
    const uint64_t address = qemu_plugin_insn_vaddr(instruction);
    const size_t place = PlaceOf(address);
    qemu_plugin_register_vcpu_insn_exec_inline(instruction, kInlineAdd, &counts[place], 1);
    uint64_t* own = with_profile && place != kGuests ? ProfileOf(address) : NULL;
    if (own != NULL) qemu_plugin_register_vcpu_insn_exec_inline(instruction, kInlineAdd, own, 1);
    for (size_t entry = 0; entry < entry_count; ++entry) {
      if (address == entries[entry]) qemu_plugin_register_vcpu_insn_exec_cb(instruction, OnEntry, kNoRegisters, NULL);
    }
    uint32_t code;
    memcpy(&code, qemu_plugin_insn_data(instruction), sizeof(code));
    const uint32_t hint = code >> 5 & 0x7f;
    if ((code & kHintMask) == kHint && hint >= kFirstMark) {
      qemu_plugin_register_vcpu_insn_exec_cb(instruction, OnMark, kNoRegisters, (void*)(uintptr_t)hint);
    }
  }
}

static bool TakeRange(const char* text, size_t place) {
  return sscanf(text, "%" SCNx64 "-%" SCNx64, &places[place].from, &places[place].to) == 2;
}

static bool TakeOption(const char* option) {
  if (strncmp(option, "out=", 4) == 0) return (out = fopen(option + 4, "w")) != NULL;
  if (strcmp(option, "profile=on") == 0) return with_profile = true;
  if (strncmp(option, "kernel=", 7) == 0) return TakeRange(option + 7, kKernel);
  if (strncmp(option, "services=", 9) == 0) return TakeRange(option + 9, kServices);
  if (strncmp(option, "entry=", 6) == 0 && entry_count < kMaxEntries) {
    return sscanf(option + 6, "%" SCNx64, &entries[entry_count++]) == 1;
  }
  return false;
}

int qemu_plugin_install(qemu_plugin_id_t id, const void* machine, int count, char** options);
int qemu_plugin_install(qemu_plugin_id_t id, const void* machine, int count, char** options) {
  (void)machine;
  for (int i = 0; i < count; ++i) {
    if (!TakeOption(options[i])) {
      fprintf(stderr, "instruction_counter: cannot take %s\n", options[i]);
      return 1;
    }
  }
  if (out == NULL) return 1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, OnTranslation);
  return 0;
}
