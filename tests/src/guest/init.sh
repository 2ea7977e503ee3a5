#!/bin/busybox sh
# The guest's first process: loads the drivers, runs the script that the host gave, and switches off.
# The script's findings go to the serial port, a line each: RESULT <name> <value>.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp

result() { echo "RESULT $*"; }

# check NAME COMMAND...: ok if the command succeeds.
check() {
    check_name=$1
    shift
    if "$@" >/tmp/check.out 2>&1; then
        result "$check_name" ok
    else
        result "$check_name" "failed ($?)"
        tail -n 20 /tmp/check.out
    fi
}

# Polls, for half a minute at most.
wait_for() {
    wait_left=300
    while ! "$@" >/dev/null 2>&1; do
        wait_left=$((wait_left - 1))
        [ $wait_left -gt 0 ] || return 1
        sleep 0.1
    done
}

# load_driver COUNT [PARAMETER...]: the SCSI driver; waits for COUNT disks.
load_driver() {
    load_count=$1
    shift
    modprobe sym53c8xx settle=0 "$@" && modprobe sd_mod && modprobe sg || return 1
    wait_for have_disks "$load_count"
}

have_disks() { [ "$(ls -d /sys/block/sd* 2>/dev/null | wc -l)" -eq "$1" ]; }

# busy NAME: whether the disk has several writes in flight.
busy() {
    read -r _ busy_writes <"/sys/block/$1/inflight" && [ "$busy_writes" -gt 4 ]
}

# What the kernel said about SCSI that is a warning or worse. Two lines are neither, though they come as warnings: that the
# card has no NVRAM, and the unit attention that every disk reports once.
complaints() {
    dmesg -r | grep -E '^<[0-4]>' |
        grep -iE 'sym|scsi|sd[a-z]|sd [0-9]|sr[0-9]|sr [0-9]|blk|I/O error|ext4' |
        grep -vE 'No NVRAM, ID 7|Power-on or device reset occurred'
}

modprobe qemu_fw_cfg
cat /sys/firmware/qemu_fw_cfg/by_name/opt/outrigger/script/raw >/script
. /script
poweroff -f
