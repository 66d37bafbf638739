# A batch script for the demo guest: what is written to the disk is what is read from it, the clock is right, the
# devices interrupt. Status 0, or the number of the step that went wrong. mib: how much is written.
mib=${mib:-64}
mount /dev/vda /mnt || exit 1
dd if=/dev/urandom of=/mnt/random bs=1M count=$mib 2>/dev/null || exit 2
written=$(sha256sum </mnt/random)
sync
umount /mnt && mount /dev/vda /mnt || exit 3
echo 3 >/proc/sys/vm/drop_caches
read=$(sha256sum </mnt/random)
echo "written: $written"
echo "read:    $read"
[ "$written" = "$read" ] || exit 4
[ "$(stat -c %s /mnt/random)" = $((mib * 1024 * 1024)) ] || exit 5
grep -q . /sys/class/rtc/rtc0/since_epoch || exit 6
echo "rtc: $(cat /sys/class/rtc/rtc0/since_epoch)"
echo "cpus: $(grep -c ^processor /proc/cpuinfo)"
cat /proc/interrupts
for device in virtio0 arch_timer; do
  grep $device /proc/interrupts | awk '{ exit $2 > 0 ? 0 : 1 }' || exit 7
done
