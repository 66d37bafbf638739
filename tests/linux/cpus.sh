# A batch script for a guest of several vCPUs: all are online, go off and on `rounds` times, and stand a load for
# `seconds` without the kernel finding one of them stuck. Status 0, or the number of the step that went wrong.
cpus=${cpus:-4} rounds=${rounds:-6} seconds=${seconds:-5}
at=/sys/devices/system/cpu
[ "$(cat $at/online)" = "0-$((cpus - 1))" ] || exit 1
for round in $(seq "$rounds"); do
  cpu=$((round % (cpus - 1) + 1))
  echo 0 >$at/cpu$cpu/online || exit 2
  [ "$(nproc)" = $((cpus - 1)) ] || exit 3
  echo 1 >$at/cpu$cpu/online || exit 4
  [ "$(nproc)" = "$cpus" ] || exit 5
done
echo "off and on: $rounds"
# Twice as many that only compute as there are CPUs, some that sleep and wake each other, some that read and write.
for worker in $(seq $((2 * cpus))); do
  while :; do :; done &
done
for worker in $(seq "$cpus"); do
  (while :; do dd if=/dev/zero bs=64k count=64 2>/dev/null | gzip -1 | gunzip | sha256sum; done >/dev/null) &
  (while :; do dd if=/dev/zero of=/tmp/$worker bs=64k count=16 2>/dev/null; rm /tmp/$worker; done) &
done
ticks() { awk '/arch_timer/ { for (i = 2; i <= 1 + '"$cpus"'; ++i) print $i }' /proc/interrupts; }
ticks >/tmp/before
sleep "$seconds"
ticks >/tmp/after
kill $(jobs -p)
# Each CPU went on taking timer interrupts.
paste /tmp/before /tmp/after | awk '$2 <= $1 { exit 1 }' || exit 6
dmesg | grep -Ei 'soft lockup|hard lockup|rcu.*(stall|self-detected)|hung_task|blocked for more|Oops|BUG:|WARNING:' && exit 7
echo "load: $seconds s"
