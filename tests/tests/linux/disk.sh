# A disk on the controller, from cold to unload: everything that Linux does with one.
# Its name and whereabouts are the first disk's; it holds nothing that is needed.
disk=/dev/sda

# cmd_per_lun: how deep the driver queues.
check load load_driver 1 cmd_per_lun=64
check no-complaint-at-boot test -z "$(complaints)"
complaints
result depth "$(cat /sys/block/sda/device/queue_depth)"
modprobe crc32c_generic
modprobe ext4

round_trip() {
    mkfs.ext4 -q $disk &&
        mount $disk /mnt &&
        dd if=/dev/urandom of=/mnt/file bs=1M count=8 &&
        sha256sum /mnt/file >/tmp/sum &&
        sync &&
        umount /mnt &&
        mount $disk /mnt &&
        sha256sum -c /tmp/sum &&
        umount /mnt
}
check file-system round_trip
check e2fsck e2fsck -fn $disk

io() {
    fio --filename=$disk --ioengine=libaio --direct=1 --bs=4k "$@"
}
check verify-32 io --name=verify --rw=randwrite --iodepth=32 --size=24M --verify=crc32c --loops=$rounds
check verify-64 io --name=verify --rw=randwrite --iodepth=64 --size=24M --verify=crc32c --bsrange=512-64k --offset=24M --loops=$rounds
check no-complaint-under-load test -z "$(complaints)"
complaints

# Each reset hits a queue of verified writes: nothing that was acknowledged may be lost, the rest is done again.
reset_under_load() {
    io --name=reset --rw=randwrite --iodepth=32 --size=24M --verify=crc32c --verify_backlog=512 --loops=2 >/tmp/fio.out 2>&1 &
    load=$!
    wait_for busy sda
    sg_reset $* /dev/sg0 || return 1
    wait $load || { cat /tmp/fio.out; return 2; }
}
# The driver has no reset of a logical unit alone: it escalates to its target. It does not survive that under load, whatever the
# controller (docs/qemu.md), so these come between loads that leave data behind and loads that check them.
reset_between_loads() {
    io --name=between --rw=randwrite --iodepth=32 --size=4M --verify=crc32c --do_verify=0 &&
        sg_reset "$@" /dev/sg0 &&
        io --name=between --rw=randwrite --iodepth=32 --size=4M --verify=crc32c --verify_only
}
check device-reset reset_between_loads --device
check target-reset reset_between_loads --no-escalate --target
again_and_again() {
    for round in $(seq "$rounds"); do
        reset_under_load "$@" || return
    done
}
check bus-reset again_and_again --no-escalate --bus
check host-reset again_and_again --no-escalate --host
# Linux tells of each reset; none of it may have cost a request or the disk.
faults() { dmesg | grep -iE 'I/O error|offline|timed out|abort|BUG:|Oops:|RIP:|lockup|blocked for'; }
check no-fault-at-resets test -z "$(faults)"
faults

# The driver frees its memory with interrupts off, which Linux warns of, whatever the controller (docs/qemu.md).
dmesg -c >/dev/null
check remove rmmod sym53c8xx
check no-disk have_disks 0
warnings() { dmesg | grep -E 'WARNING:|BUG:|Oops' | grep -v 'WARNING: .* dma_free_attrs+'; }
check no-warning-at-removal test -z "$(warnings)"
warnings
dmesg -c >/dev/null
check load-again load_driver 1
check no-complaint-again test -z "$(complaints)"
complaints
check verify-again io --name=verify --rw=randwrite --iodepth=8 --size=4M --verify=crc32c
