# Units of all kinds on one controller: targets 0 to 3 are disks, 4 a drive with a disc, 5 an empty one.
check load load_driver 4 cmd_per_lun=64
check load-drives modprobe sr_mod
check drives wait_for test -b /dev/sr1
check no-complaint-at-boot test -z "$(complaints)"
complaints

unit() { echo "/sys/bus/scsi/devices/0:0:$1:0"; }
for id in 0 1 2 3; do
    name=$(ls "$(unit $id)/block")
    eval "disk$id=/dev/$name"
    queue=/sys/block/$name/queue
    result "blocks-$id" "$(cat "/sys/block/$name/size" $queue/logical_block_size $queue/physical_block_size | tr '\n' ' ')"
    result "write-cache-$id" "$(cat $queue/write_cache)"
    result "depth-$id" "$(cat "$(unit $id)/queue_depth")"
    result "names-$id" "$(cat "$(unit $id)/vendor" "$(unit $id)/model" "$(unit $id)/rev" | sed 's/ *$//' | tr '\n' '|')"
    result "wwid-$id" "$(cat "$(unit $id)/wwid")"
done
result serial "$(tail -c +5 "$(unit 1)/vpd_pg80")"

modprobe crc32c_generic
modprobe ext4
modprobe isofs
io() {
    fio --name=io --ioengine=libaio --direct=1 --iodepth=16 --bs=4k --rw=randwrite --verify=crc32c "$@"
}
for id in 0 1 2; do
    eval "disk=\$disk$id"
    check verify-$id io --filename="$disk" --size=4M
done
# The end of each disk, a block of its own size.
mark() {
    size=$(cat "/sys/block/$(basename "$1")/queue/logical_block_size")
    last=$(($(blockdev --getsize64 "$1") / size - 1))
    echo "the end of $1" | dd of="$1" bs="$size" seek=$last count=1 conv=sync,notrunc oflag=direct
}

# Blocks of 4096 bytes.
refuse() { ! "$@"; }
check half-a-block refuse fio --name=half --filename="$disk1" --direct=1 --rw=write --bs=512 --size=512
file_system() { mkfs.ext4 -q "$disk1" && mount "$disk1" /mnt && cp /bin/busybox /mnt && umount /mnt && e2fsck -fn "$disk1"; }
check file-system file_system
check mark-1 mark "$disk1"

# Beyond 2 TiB: blocks whose numbers do not fit 32 bits, and a request across the edge.
check mark-3 mark "$disk3"
edge=$(((1 << 32) - 1))
yes edge | head -c 1024 >/tmp/edge
check edge-write dd if=/tmp/edge of="$disk3" bs=1024 count=1 seek=$((edge * 512)) oflag=direct,seek_bytes conv=notrunc
across() { dd if="$disk3" of=/tmp/read bs=1024 count=1 skip=$((edge * 512)) iflag=direct,skip_bytes && cmp /tmp/edge /tmp/read; }
check edge-read across
check verify-3 io --filename="$disk3" --offset=2500g --size=4M

# The write cache of target 2 is off, and can be switched.
cache_type() { cat /sys/class/scsi_disk/0:0:2:0/cache_type; }
switch() { echo "$1" >/sys/class/scsi_disk/0:0:2:0/cache_type && [ "$(cache_type)" = "$1" ]; }
result write-cache-type "$(cache_type)"
check cache-on switch "write back"
check verify-cached io --filename="$disk2" --size=2M --end_fsync=1
check cache-off switch "write through"
check verify-uncached io --filename="$disk2" --size=2M

# Space that is given back: 8 of 16 MiB.
check fill dd if=/dev/urandom of="$disk0" bs=1M count=16 oflag=direct
check trim blkdiscard -o $((4 << 20)) -l $((8 << 20)) "$disk0"

# Linux would close the tray when the drive is opened, and then not read at once what may be another disc.
echo 0 >/proc/sys/dev/cdrom/autoclose

# The disc, as a file system and as it is; both copied to where the host can look.
mount_disc() { mount -t iso9660 -o ro /dev/sr0 /mnt; }
copy_files() { (cd /mnt && cat readme "A long name, with spaces.data" deep/er/file) | dd of="$disk0" bs=1M seek=32 conv=notrunc; }
check mount mount_disc
check copy-files copy_files
check locked-while-mounted refuse sg_start --eject /dev/sr0
check unmount umount /mnt
check copy-disc dd if=/dev/sr0 of="$disk0" bs=1M seek=48 conv=notrunc
check read-only refuse dd if=/dev/zero of=/dev/sr0 bs=2048 count=1

check eject eject /dev/sr0
check open refuse dd if=/dev/sr0 of=/dev/null bs=2048 count=1
check close eject -t /dev/sr0
check mount-again mount_disc
check same-files cmp /mnt/readme /mnt/copy
check unmount-again umount /mnt
check lock eject -i on /dev/sr0
check locked refuse sg_start --eject /dev/sr0
check unlock eject -i off /dev/sr0
check eject-again eject /dev/sr0
check empty refuse dd if=/dev/sr1 of=/dev/null bs=2048 count=1
result empty-sense "$(sg_raw /dev/sr1 00 00 00 00 00 00 2>&1 | grep 'Additional sense' | tr -s ' ')"
sync
check no-complaint test -z "$(complaints)"
complaints
