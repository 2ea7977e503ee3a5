# Several controllers and disks: each disk is its own, and all work at once. The kernel's names follow no order, so disks are
# told apart by their sizes, which differ: 32 MiB, 40 MiB, …
check load load_driver "$DISKS"
check no-complaint-at-boot test -z "$(complaints)"
complaints
result controllers "$(ls /sys/bus/pci/drivers/sym53c8xx | grep -c :)"
result vcpus "$(nproc)"
modprobe crc32c_generic

names=
for path in /sys/block/sd*; do
    name=$(basename "$path")
    names="$names $name"
    result size "$(cat "$path/size")"
done
for name in $names; do
    fio --name="$name" --filename="/dev/$name" --ioengine=libaio --direct=1 --bs=4k --rw=randwrite --iodepth=16 \
        --size=8M --verify=crc32c --loops=$rounds >"/tmp/$name.out" 2>&1 &
    eval "pid_$name=\$!"
done
for name in $names; do
    eval "check verify-$name wait \$pid_$name"
done
# A mark of its own at the end of each.
mark() {
    cat "/sys/block/$1/size" | dd of="/dev/$1" bs=512 seek=$(($(cat "/sys/block/$1/size") - 1)) conv=sync
}
for name in $names; do
    check "mark-$name" mark "$name"
done
sync
check no-complaint-under-load test -z "$(complaints)"
complaints
