// Devices that a machine need not have: oracle_devices VM SECONDS rng|ports|wdog|gpio
//
// rng    all bytes that are asked for come, and no 8 of them twice
// ports  numbered, checked records both ways through port `link`, whose other end is another guest's
// wdog   /dev/watchdog0 is fed, what is left of its time falls as the clock says, and the guest lives
// gpio   a pin of the first GPIO chip that is an output reads back; at the end the edges of the power button are told
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/watchdog.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "oracle.h"

enum {
  kRemembered = 1 << 16, kChunkWords = 64, kRecordWords = 8, kAwaitMicroseconds = 50000, kTimeout = 60, kSlack = 2,
  kFeedMicroseconds = 700000, kPinMicroseconds = 1000, kPin = 5, kEdgeMicroseconds = 1500000,
};

static double end;

static void Rng(void) {
  static uint64_t seen[kRemembered];
  const int device = open("/dev/hwrng", O_RDONLY);
  while (OracleGoesOn(end)) {
    uint64_t words[kChunkWords];
    const ssize_t count = read(device, words, sizeof(words));
    if (count <= 0) {
      OracleLost("random bytes: error %d", errno);
      return;
    }
    for (ssize_t i = 0; i < count / 8; ++i) {
      uint64_t* const last = &seen[words[i] % kRemembered];
      if (*last == words[i]) OracleLost("the same random bytes came twice: %lx", words[i]);
      *last = words[i];
    }
    ++oracle_done;
  }
}

// ---- ports

typedef struct {
  uint64_t number, last, content[kRecordWords - 2];  // last: 1: no more follow
} Record;

static int port, is_left;

static Record MakeRecord(int left, uint64_t number, uint64_t last) {
  Record record = {.number = number, .last = last};
  uint64_t word = (uint64_t)left << 56 ^ last << 48 ^ number;
  for (int i = 0; i < kRecordWords - 2; ++i) record.content[i] = word = OracleMix(word + 1);
  return record;
}

// What udev's links in /dev/virtio-ports are made of.
static int OpenPort(const char* wanted) {
  glob_t names;
  int found = -1;
  if (glob("/sys/class/virtio-ports/*/name", 0, NULL, &names) != 0) return -1;
  for (size_t i = 0; i < names.gl_pathc && found < 0; ++i) {
    char path[256], name[64] = "";
    FILE* const file = fopen(names.gl_pathv[i], "r");
    if (file != NULL && fgets(name, sizeof(name), file) != NULL) name[strcspn(name, "\n")] = '\0';
    if (file != NULL) fclose(file);
    char* const own = names.gl_pathv[i] + strlen("/sys/class/virtio-ports/");
    snprintf(path, sizeof(path), "/dev/%.*s", (int)strcspn(own, "/"), own);
    if (strcmp(name, wanted) == 0) found = open(path, O_RDWR);
  }
  globfree(&names);
  return found;
}

static void* SendRecords(void* unused) {
  uint64_t number = 0;
  for (int last = 0; !last;) {
    last = !OracleGoesOn(end);
    const Record record = MakeRecord(is_left, number++, last);
    for (size_t done = 0; done < sizeof(record);) {
      const ssize_t now = write(port, (const char*)&record + done, sizeof(record) - done);
      if (now < 0) {
        OracleLost("a write to the port: error %d after %lu records", errno, number);
        return NULL;
      }
      done += now;
    }
  }
  return unused;
}

static void Ports(void) {
  for (double patience = OracleSeconds() + 30; (port = OpenPort("link")) < 0;) {
    if (OracleSeconds() > patience) {
      OracleLost("there is no port `link`");
      return;
    }
    usleep(kAwaitMicroseconds);  // the driver finds it some time after the device
  }
  pthread_t sender;
  pthread_create(&sender, NULL, SendRecords, NULL);
  for (uint64_t number = 0, last = 0; !last; ++number) {
    Record record;
    for (size_t done = 0; done < sizeof(record);) {
      const ssize_t now = read(port, (char*)&record + done, sizeof(record) - done);
      if (now < 0) {
        OracleLost("a read from the port: error %d after %lu records", errno, number);
        return;
      }
      if (now == 0) usleep(kAwaitMicroseconds);  // the other end is not open yet
      done += now;
    }
    const Record wanted = MakeRecord(!is_left, number, record.last);
    if (record.last > 1 || memcmp(&record, &wanted, sizeof(record)) != 0) {
      OracleLost("the stream is not the peer's: record %lu says that it is %lu", number, record.number);
      return;
    }
    last = record.last;
    ++oracle_done;
  }
  pthread_join(sender, NULL);
}

// ---- watchdog

static void Watchdog(void) {
  const int device = open("/dev/watchdog0", O_WRONLY);
  int timeout = kTimeout;
  if (device < 0 || ioctl(device, WDIOC_SETTIMEOUT, &timeout) != 0) OracleLost("the watchdog: error %d", errno);
  while (device >= 0 && OracleGoesOn(end)) {
    int left = 0;
    const double before = OracleSeconds();
    if (ioctl(device, WDIOC_KEEPALIVE, 0) != 0) OracleLost("it cannot be fed: error %d", errno);
    const double fed = OracleSeconds();
    usleep(kFeedMicroseconds);
    const double asked = OracleSeconds();
    if (ioctl(device, WDIOC_GETTIMELEFT, &left) != 0) OracleLost("what is left: error %d", errno);
    const double least = timeout - (OracleSeconds() - before) - kSlack, most = timeout - (asked - fed) + kSlack;
    if (left < least || left > most) OracleLost("%d s are left of %.1f to %.1f", left, least, most);
    ++oracle_done;
  }
  if (device >= 0 && (write(device, "V", 1) != 1 || close(device) != 0)) OracleLost("it does not end: error %d", errno);
}

// ---- GPIO

static int WriteText(const char* path, const char* text) {
  const int file = open(path, O_WRONLY);
  const ssize_t count = write(file, text, strlen(text));
  close(file);
  return count == (ssize_t)strlen(text);
}

static int ReadNumber(const char* pattern) {
  glob_t names;
  int number = -1;
  if (glob(pattern, 0, NULL, &names) != 0) return -1;
  FILE* const file = fopen(names.gl_pathv[0], "r");
  if (file == NULL || fscanf(file, "%d", &number) != 1) number = -1;
  if (file != NULL) fclose(file);
  globfree(&names);
  return number;
}

// Interrupts of the button's pin, which init watches, on all CPUs.
static unsigned long Edges(void) {
  char line[512];
  unsigned long sum = 0;
  FILE* const file = fopen("/proc/interrupts", "r");
  while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
    if (strstr(line, "gpiolib") == NULL) continue;
    char* at = strchr(line, ':') + 1;
    for (char* next; at[strspn(at, " ")] >= '0' && at[strspn(at, " ")] <= '9'; at = next) sum += strtoul(at, &next, 10);
  }
  if (file != NULL) fclose(file);
  return sum;
}

static void Gpio(void) {
  char text[32], direction[64], value[64];
  const int pin = ReadNumber("/sys/class/gpio/gpiochip*/base") + kPin;
  snprintf(text, sizeof(text), "%d", pin);
  snprintf(direction, sizeof(direction), "/sys/class/gpio/gpio%d/direction", pin);
  snprintf(value, sizeof(value), "/sys/class/gpio/gpio%d/value", pin);
  if (!WriteText("/sys/class/gpio/export", text) || !WriteText(direction, "out")) OracleLost("pin %d: error %d", pin, errno);
  for (uint64_t round = 0; OracleGoesOn(end); ++round) {
    const int wanted = OracleMix(round) & 1;
    if (!WriteText(value, wanted ? "1" : "0") || ReadNumber(value) != wanted) OracleLost("pin %d does not read %d", pin, wanted);
    ++oracle_done;
    usleep(kPinMicroseconds);
  }
  usleep(kEdgeMicroseconds);  // a button that is pressed is let go
}

int main(int count, char** arguments) {
  if (count != 4) return 2;
  oracle_vm = arguments[1];
  end = OracleSeconds() + atof(arguments[2]);
  oracle_name = arguments[3];
  is_left = strcmp(oracle_vm, "left") == 0;
  if (strcmp(oracle_name, "rng") == 0) Rng();
  else if (strcmp(oracle_name, "ports") == 0) Ports();
  else if (strcmp(oracle_name, "wdog") == 0) Watchdog();
  else if (strcmp(oracle_name, "gpio") == 0) Gpio();
  else return 2;
  return strcmp(oracle_name, "gpio") == 0 ? OracleEnd(" edges=%lu", Edges()) : OracleEnd("%s", "");
}
