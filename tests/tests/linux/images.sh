# Disks in several formats on two controllers, all in use at once. By SCSI ID: the raw twin that the others are copied to, qcow2, qcow2
# on a backing chain, qcow2 of compressed clusters, a raw disk to be trimmed. The host has set CHAIN and GROWN.

check load load_driver 5
modprobe crc32c_generic
modprobe ext4
# Names come in the order in which Linux is done with the disks.
at() { basename "$(ls -d /sys/bus/scsi/devices/*:0:"$1":0/block/*)"; }
twin=/dev/$(at 0)
plain=/dev/$(at 1)
chain=/dev/$(at 2)
compressed=/dev/$(at 3)
trimmed=/dev/$(at 4)
qcow2="$plain $chain $compressed"
check chain test "$(sha256sum <"$chain")" = "$CHAIN  -"

verify_all() {
    fio --ioengine=libaio --direct=1 --bs=4k --rw=randwrite --iodepth=32 --offset=2M --size=4M --verify=crc32c \
        $(for disk in $qcow2; do echo "--name=$disk --filename=$disk"; done)
}
check verify verify_all
small() {
    for disk in $qcow2; do
        fio --name=$disk --filename=$disk --ioengine=libaio --direct=1 --bsrange=512-64k --rw=randwrite \
            --iodepth=16 --offset=8M --size=2M --verify=crc32c || return 1
    done
}
check verify-small small
file_system() {
    mkfs.ext4 -q $plain && mount -t ext4 -o discard $plain /mnt &&
        dd if=/dev/urandom of=/mnt/kept bs=1M count=3 && sha256sum /mnt/kept >/tmp/sum &&
        dd if=/dev/urandom of=/mnt/gone bs=1M count=3 && sync && rm /mnt/gone && fstrim /mnt &&
        umount /mnt && mount $plain /mnt && sha256sum -c /tmp/sum && umount /mnt && e2fsck -fn $plain
}
check file-system file_system
check discard blkdiscard -o 12M -l 2M $chain
check discard-compressed blkdiscard -o 14M -l 1M $compressed

copy() {
    copy_seek=0
    for disk in $qcow2; do
        dd if=$disk of=$twin bs=1M seek=$copy_seek conv=notrunc || return 1
        copy_seek=$((copy_seek + 16))
    done
    sync
}
check copy copy

# All of it was on the host's disk before; of the file system that comes next nothing is left but what it is made of.
trim() {
    blkdiscard $trimmed && cmp -n 16777216 $trimmed /dev/zero &&
        mkfs.ext4 -q -E nodiscard $trimmed && mount -t ext4 $trimmed /mnt &&
        dd if=/dev/urandom of=/mnt/file bs=1M count=8 && sync && rm /mnt/file && sync && fstrim /mnt && umount /mnt
}
check trim trim
check no-complaint test -z "$(complaints)"
complaints

# The host makes the last one larger now.
result grow now
grown() {
    echo 1 >/sys/block/$(at 4)/device/rescan
    [ "$(cat /sys/block/$(at 4)/size)" -eq "$GROWN" ]
}
check grown wait_for grown
end() { dd if=/dev/urandom of=$trimmed bs=512 seek=$((GROWN - 1)) count=1 oflag=direct; }
check end end
