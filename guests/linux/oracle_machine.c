// The rest of a guest's machine: oracle_machine VM SECONDS rtc|vcpu|console|echo
//
// rtc      the clock's seconds never go back and run as the kernel's own
// vcpu     the second vCPU is turned off and on, and works
// console  numbered lines
// echo     each line that is typed, as it came; those of scripts/campaign_typist.py say themselves which is which. The
//          line "end" ends all oracles of this guest
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/rtc.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "oracle.h"

enum { kRtcMicroseconds = 3000, kLineMicroseconds = 20000, kCpuMicroseconds = 30000, kTypedBytes = 64, kPollMilliseconds = 200 };

static double end;

static void Rtc(void) {
  const int clock = open("/dev/rtc0", O_RDONLY);
  long first = -1, last = 0;
  double begin = 0, begun = 0;  // the first read
  if (clock < 0) OracleLost("/dev/rtc0: error %d", errno);
  while (clock >= 0 && OracleGoesOn(end)) {
    struct rtc_time now;
    const double before = OracleSeconds();  // a read may take long: it is of some moment until it is done
    if (ioctl(clock, RTC_RD_TIME, &now) != 0) OracleLost("a read of the clock: error %d", errno);
    struct tm time = {.tm_sec = now.tm_sec, .tm_min = now.tm_min, .tm_hour = now.tm_hour, .tm_mday = now.tm_mday,
                      .tm_mon = now.tm_mon, .tm_year = now.tm_year};
    const long seconds = timegm(&time);
    if (first < 0) {
      first = last = seconds;
      begin = before;
      begun = OracleSeconds();
    }
    const long least = (long)(before - begun) - 2, most = (long)(OracleSeconds() - begin) + 2;
    if (seconds < last) OracleLost("the clock went back from %ld to %ld", last, seconds);
    if (seconds - first < least || seconds - first > most) {
      OracleLost("the clock is wrong: %ld s of %ld to %ld", seconds - first, least + 2, most - 2);
    }
    last = seconds;
    ++oracle_done;
    usleep(kRtcMicroseconds);
  }
}

static int SetOnline(int online) {
  const int file = open("/sys/devices/system/cpu/cpu1/online", O_WRONLY);
  const int good = file >= 0 && write(file, online ? "1" : "0", 1) == 1;
  if (!good) OracleLost("cpu1 does not go %s: error %d", online ? "on" : "off", errno);
  close(file);
  return good;
}

static void Vcpu(void) {
  while (OracleGoesOn(end) && SetOnline(0) && SetOnline(1)) {
    cpu_set_t second, all;
    CPU_ZERO(&second);
    CPU_SET(1, &second);
    sched_getaffinity(0, sizeof(all), &all);
    if (sched_setaffinity(0, sizeof(second), &second) != 0 || sched_getcpu() != 1) OracleLost("nothing runs on cpu1");
    sched_setaffinity(0, sizeof(all), &all);
    ++oracle_done;
    usleep(kCpuMicroseconds);
  }
}

static void Console(void) {
  while (OracleGoesOn(end)) {
    OracleLine("%lu", oracle_done++);
    usleep(kLineMicroseconds);
  }
}

// What is typed reaches this program byte by byte as it came: the terminal neither echoes nor edits nor ends lines.
static int OpenKeyboard(void) {
  const int keyboard = open("/dev/ttyAMA0", O_RDONLY | O_NOCTTY);
  struct termios settings;
  if (keyboard < 0 || tcgetattr(keyboard, &settings) != 0) return -1;
  settings.c_lflag &= ~(ICANON | ECHO | ECHONL | ISIG | IEXTEN);
  settings.c_iflag &= ~(ICRNL | INLCR | IGNCR | IXON | ISTRIP);
  settings.c_cc[VMIN] = 1;
  settings.c_cc[VTIME] = 0;
  return tcsetattr(keyboard, TCSANOW, &settings) == 0 ? keyboard : -1;
}

static void Echo(void) {
  char line[kTypedBytes];
  int length = 0;
  struct pollfd keyboard = {.fd = OpenKeyboard(), .events = POLLIN};
  if (keyboard.fd < 0) {
    OracleLost("the keyboard: error %d", errno);
    return;
  }
  OracleLine("%lu", oracle_done++);  // it listens
  while (OracleSeconds() < end) {
    if (poll(&keyboard, 1, kPollMilliseconds) <= 0) continue;
    char next;
    if (read(keyboard.fd, &next, 1) != 1) continue;
    if (next != '\n' && length < kTypedBytes - 1) {
      line[length++] = next;
      continue;
    }
    line[length] = '\0';
    length = 0;
    if (strcmp(line, "end") == 0) break;
    OracleLine("%s", line);
    ++oracle_done;
    usleep(kLineMicroseconds);
  }
  close(open(ORACLE_STOP, O_CREAT | O_WRONLY, 0600));
}

int main(int count, char** arguments) {
  if (count != 4) return 2;
  oracle_vm = arguments[1];
  oracle_name = arguments[3];
  end = OracleSeconds() + atof(arguments[2]);
  if (strcmp(oracle_name, "rtc") == 0) Rtc();
  if (strcmp(oracle_name, "vcpu") == 0) Vcpu();
  if (strcmp(oracle_name, "console") == 0) Console();
  if (strcmp(oracle_name, "echo") == 0) Echo();
  return OracleEnd("%s", "");
}
