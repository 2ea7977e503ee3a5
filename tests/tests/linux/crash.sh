# Writes records, each flushed before it is acknowledged, on both disks at once, until the power fails. The host has set ROUND.
check load load_driver 2
at() { basename "$(ls -d /sys/bus/scsi/devices/*:0:"$1":0/block/*)"; }
# records ID: 4 KiB each, one after the other.
records() {
    disk=/dev/$(at "$1")
    record=0
    while [ $record -lt 2000 ]; do
        yes "round $ROUND record $record" | head -c 4096 |
            dd of="$disk" bs=4k seek=$record conv=notrunc,fsync iflag=fullblock 2>/dev/null || break
        result "acknowledged-$1" $record
        record=$((record + 1))
    done
}
records 0 &
records 1 &
wait
