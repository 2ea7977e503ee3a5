# Writes to where the host has no space for: the command times out, is aborted and sent again, and is done when there is space.
check load load_driver 1
check below dd if=/dev/urandom of=/dev/sda bs=4k count=16 oflag=direct
head -c 256k /dev/urandom >/tmp/data
dmesg -c >/dev/null
echo 3 >/sys/block/sda/device/timeout
dd if=/tmp/data of=/dev/sda bs=64k seek=64 oflag=direct >/dev/null 2>&1 &
writer=$!
aborted() { dmesg | grep -q 'ABORT operation complete'; }
check aborted wait_for aborted
result room now
check write wait $writer
echo 30 >/sys/block/sda/device/timeout
check same cmp -n 262144 /tmp/data /dev/sda 0 4194304
check after dd if=/tmp/data of=/dev/sda bs=64k seek=96 oflag=direct
