# First boot: leaves known data, then reboots under load. Second boot: the data is there, the controller works as from cold.
disk=/dev/sda
check load load_driver 1
modprobe crc32c_generic
io() {
    fio --filename=$disk --ioengine=libaio --direct=1 --bs=4k "$@"
}
if [ "$(dd if=$disk bs=8 count=1 2>/dev/null)" != rebooted ]; then
    check write io --name=known --rw=write --offset=1M --size=4M --verify=crc32c --do_verify=0 --end_fsync=1
    echo rebooted | dd of=$disk conv=notrunc,sync oflag=direct bs=512 2>/dev/null
    io --name=load --rw=randwrite --iodepth=32 --offset=16M --size=16M --time_based --runtime=60 >/dev/null 2>&1 &
    check in-flight wait_for busy sda
    reboot -f
fi
check no-complaint-after-reboot test -z "$(complaints)"
complaints
check known io --name=known --rw=write --offset=1M --size=4M --verify=crc32c --verify_only
check verify io --name=verify --rw=randwrite --iodepth=32 --offset=16M --size=8M --verify=crc32c
