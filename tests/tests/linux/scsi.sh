# Questions to a disk (target 0) and a CD-ROM drive (target 1), one by one; what they answer is compared with the answers of
# another controller's. The sizes of answers are what ours have, so that a longer buffer's padding does not count.
disk=/dev/sg0
cd=/dev/sg1
# TEST UNIT READY.
ready="00 00 00 00 00 00"

# ask NAME COMMAND...: the command's output and exit status.
ask() {
    ask_name=$1
    shift
    echo "ASK $ask_name"
    "$@" >/tmp/answer 2>&1
    ask_status=$?
    sed -e 's/[[:space:]]*$//' -e 's/^/| /' /tmp/answer
    echo "END $ask_name $ask_status"
}

# What both have.
primary() {
    kind=$1 unit=$2
    ask "$kind-ready" sg_raw "$unit" $ready
    ask "$kind-requests" sg_requests "$unit"
    ask "$kind-requests-descriptor" sg_requests --desc "$unit"
    ask "$kind-inq" sg_inq --descriptors "$unit"
    ask "$kind-inq-cmddt" sg_inq --cmddt --page=0x12 "$unit"
    ask "$kind-inq-padding" sg_raw --request=64 "$unit" 12 01 00 00 40 00
    ask "$kind-inq-lun" sg_raw --request=5 "$unit" 12 20 00 00 05 00
    for page in 00 80 83 86 b0 b1 b2 c0; do
        ask "$kind-inq-$page" sg_inq --page=0x$page "$unit"
    done
    ask "$kind-inq-pointer" sg_raw --request=64 "$unit" 12 01 c0 00 40 00
    ask "$kind-vpd" sg_vpd --all "$unit"
    ask "$kind-luns" sg_luns "$unit"
    for select in 1 2 3; do
        ask "$kind-luns-$select" sg_luns --select=$select "$unit"
    done

    ask "$kind-modes" sg_modes --all "$unit"
    ask "$kind-modes-changeable" sg_modes --all --control=1 "$unit"
    ask "$kind-modes-6" sg_modes --six --page=1 "$unit"
    ask "$kind-modes-default" sg_modes --page=1 --control=2 "$unit"
    ask "$kind-modes-saved" sg_modes --all --control=3 "$unit"
    ask "$kind-modes-subpage" sg_modes --page=1,1 "$unit"
    ask "$kind-modes-no-descriptor" sg_modes --dbd --page=1 "$unit"
    ask "$kind-modes-unknown" sg_modes --page=0x3e "$unit"
    ask "$kind-modes-0" sg_raw --request=12 "$unit" 1a 00 00 00 0c 00

    ask "$kind-opcodes" sg_opcodes "$unit"
    ask "$kind-opcodes-timeouts" sg_opcodes --rctd "$unit"
    ask "$kind-opcodes-read" sg_opcodes --opcode=0x28 "$unit"
    ask "$kind-opcodes-action" sg_opcodes --opcode=0xa3,0x0c "$unit"
    ask "$kind-opcodes-unknown" sg_opcodes --opcode=0xff "$unit"
    ask "$kind-opcodes-tasks" sg_opcodes --tmf "$unit"
    ask "$kind-logs" sg_logs --list "$unit"
    ask "$kind-logs-exceptions" sg_logs --page=0x2f "$unit"
    ask "$kind-logs-unknown" sg_logs --page=0x3e "$unit"
    ask "$kind-logs-reset" sg_logs --reset "$unit"

    ask "$kind-persist-keys" sg_persist --in --read-keys "$unit"
    ask "$kind-persist-capabilities" sg_persist --in --report-capabilities "$unit"
    ask "$kind-persist-register" sg_persist --out --register --param-sark=1234 "$unit"
    ask "$kind-persist-registered" sg_persist --in --read-keys "$unit"
    ask "$kind-persist-reserve" sg_persist --out --reserve --param-rk=1234 --prout-type=3 "$unit"
    ask "$kind-persist-conflict" sg_persist --out --reserve --param-rk=4321 --prout-type=3 "$unit"
    ask "$kind-persist-held" sg_persist --in --read-reservation "$unit"
    ask "$kind-persist-status" sg_persist --in --read-full-status "$unit"
    ask "$kind-persist-release" sg_persist --out --release --param-rk=1234 --prout-type=3 "$unit"
    ask "$kind-persist-move" sg_persist --out --register-move --param-rk=1234 --param-sark=9 --relative-target-port=1 "$unit"
    ask "$kind-persist-clear" sg_persist --out --clear --param-rk=1234 "$unit"
    ask "$kind-reserve" sg_raw "$unit" 16 00 00 00 00 00
    ask "$kind-release" sg_raw "$unit" 17 00 00 00 00 00

    ask "$kind-diagnostic" sg_senddiag --list "$unit"
    ask "$kind-self-test" sg_senddiag --test "$unit"
    ask "$kind-self-test-long" sg_senddiag --selftest=2 "$unit"
    ask "$kind-buffer" sg_read_buffer --mode=desc --length=4 "$unit"
    ask "$kind-buffer-echo" sg_read_buffer --mode=echo_desc --length=4 "$unit"
    ask "$kind-buffer-test" sg_test_rwbuf --size=1024 "$unit"
    ask "$kind-prevent" sg_prevent --prevent=1 "$unit"
    ask "$kind-allow" sg_prevent --allow "$unit"
    ask "$kind-identifying" sg_ident "$unit"
    ask "$kind-target-ports" sg_rtpg "$unit"
    ask "$kind-rdac" sg_rdac -m "$unit"
    ask "$kind-readcap" sg_readcap "$unit"
    ask "$kind-readcap-16" sg_readcap --16 "$unit"
    ask "$kind-verify" sg_verify --lba=0 --count=16 "$unit"
    ask "$kind-verify-beyond" sg_verify --lba=0x1ffff --count=2 "$unit"
    ask "$kind-sync" sg_sync "$unit"
    ask "$kind-seek" sg_seek --10 --lba=5 "$unit"
    ask "$kind-read-beyond" sg_raw --request=512 "$unit" 28 00 7f ff ff ff 00 00 01 00
    ask "$kind-read-protect" sg_raw --request=2048 "$unit" 28 20 00 00 00 00 00 00 01 00
    ask "$kind-unknown" sg_raw "$unit" ff 00 00 00 00 00
    ask "$kind-unknown-action" sg_raw --request=252 "$unit" a3 1f 00 00 00 00 00 00 00 fc 00 00
    ask "$kind-naca" sg_raw "$unit" 00 00 00 00 00 04
    ask "$kind-link" sg_raw "$unit" 00 00 00 00 00 01
    ask "$kind-flag" sg_raw "$unit" 00 00 00 00 00 02

    # What older initiators send.
    ask "$kind-rezero" sg_raw "$unit" 01 00 00 00 00 00
    ask "$kind-prefetch" sg_raw "$unit" 34 00 00 00 00 00 00 00 01 00
    ask "$kind-lock-cache" sg_raw "$unit" 36 00 00 00 00 00 00 00 01 00
    ask "$kind-vendor-6" sg_raw "$unit" c0 00 00 00 00 00
    ask "$kind-vendor-10" sg_raw "$unit" c6 00 00 00 00 00 00 00 00 00
    ask "$kind-vendor-12" sg_raw "$unit" d9 00 00 00 00 00 00 00 00 00 00 00
}

# What only a disk has. Block 2 of /tmp/blocks is not zero.
block() {
    dd if=/dev/zero of=/tmp/blocks bs=512 count=4 2>/dev/null
    ask verify-16 sg_verify --16 --lba=0 --count=16 $disk
    ask verify-nothing sg_verify --lba=0 --count=0 $disk
    ask write-zeroes sg_raw --send=2048 --infile=/tmp/blocks $disk 2a 00 00 00 00 00 00 00 04 00
    ask verify-compare sg_verify --ndo=2048 --in=/tmp/blocks --lba=0 --count=4 $disk
    echo x | dd of=/tmp/blocks bs=512 count=1 seek=2 conv=notrunc 2>/dev/null
    ask verify-miscompare sg_verify --ndo=2048 --in=/tmp/blocks --lba=0 --count=4 $disk
    ask readcap-field sg_raw --request=8 $disk 25 00 00 00 00 05 00 00 00 00
    ask modes-long sg_modes --llbaa --page=8 $disk

    ask unmap sg_unmap --force --lba=100 --num=8 $disk
    ask unmap-beyond sg_unmap --force --lba=0x1ffff --num=2 $disk
    ask unmap-anchor sg_unmap --force --anchor --lba=0 --num=2 $disk
    same="--lba=8 --num=8 --xferlen=512 --in=/dev/zero"
    ask write-same-10 sg_write_same --10 $same $disk
    ask write-same-10-unmap sg_write_same --10 --unmap $same $disk
    ask write-same-16 sg_write_same --16 $same $disk
    ask write-same-16-unmap sg_write_same --16 --unmap $same $disk
    ask write-same-anchor sg_write_same --16 --unmap --anchor $same $disk
    ask write-same-32 sg_write_same --32 $same $disk
    ask write-same-no-data sg_write_same --16 --ndob --lba=8 --num=8 $disk
    ask write-same-nothing sg_write_same --16 --lba=8 --num=0 --xferlen=512 --in=/dev/zero $disk
    ask write-same-beyond sg_write_same --16 --lba=0x1ffff --num=2 --xferlen=512 --in=/dev/zero $disk
    ask sync-16 sg_sync --16 --lba=1 --count=2 $disk
    ask sync-immediately sg_sync --immed $disk
    ask sync-beyond sg_sync --lba=0x1ffff --count=2 $disk
    ask format-dry-run sg_format --quick --dry-run --format $disk
    ask lba-status sg_get_lba_status --lba=0 $disk
    ask lba-status-beyond sg_get_lba_status --lba=0x20000 $disk
    ask compare-and-write sg_compare_and_write --in=/tmp/blocks --lba=0 --num=2 --xferlen=2048 $disk
    ask write-verify sg_write_verify --in=/tmp/blocks --lba=40 --num=4 --ilen=2048 $disk
    ask write-verify-read sg_verify --ndo=2048 --in=/tmp/blocks --lba=40 --count=4 $disk
    ask write-long sg_write_long --lba=3 --xfer_len=520 $disk
    ask read-long sg_read_long --lba=3 --xfer_len=520 $disk
    ask reassign sg_reassign --address=3 $disk
    ask defects-grown sg_reassign --grown $disk
    ask defects-primary sg_reassign --primary $disk
    ask sanitize sg_sanitize --quick --block $disk
    ask zones sg_rep_zones $disk
    ask write-atomic sg_write_x --atomic=0 --16 --lba=0 --num=4 --in=/tmp/blocks $disk

    ask stop sg_start --stop $disk
    ask stopped-ready sg_raw $disk $ready
    ask stopped-read sg_raw --request=16 $disk 28 00 00 00 00 00 00 00 00 00
    ask start sg_start --start $disk
    ask started-ready sg_raw $disk $ready
    ask eject-disk sg_start --eject $disk
    ask standby sg_start --pc=3 $disk

    caching=00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00,00
    ask cache-off sg_wr_mode --page=8 --contents=08,12,00,$caching $disk
    ask cache-is-off sg_modes --page=8 $disk
    ask cache-on sg_wr_mode --page=8 --contents=08,12,04,$caching $disk
    ask cache-is-on sg_modes --page=8 $disk
    ask cache-saved sg_wr_mode --save --page=8 --contents=08,12,04,$caching $disk
    ask cache-fixed-bit sg_wr_mode --page=8 --contents=08,12,05,$caching $disk
}

# What only a drive has, and what becomes of it while its tray is open.
multimedia() {
    ask configuration sg_get_config $cd
    ask configuration-current sg_get_config --current $cd
    ask configuration-one sg_raw --request=8 $cd 46 02 00 1f 00 00 00 00 08 00
    ask toc sg_raw --request=20 $cd 43 00 00 00 00 00 00 00 14 00
    ask toc-time sg_raw --request=20 $cd 43 02 00 00 00 00 00 00 14 00
    ask toc-short sg_raw --request=4 $cd 43 00 00 00 00 00 00 00 04 00
    ask toc-lead-out sg_raw --request=12 $cd 43 00 00 00 00 00 aa 00 0c 00
    ask toc-no-track sg_raw --request=12 $cd 43 00 00 00 00 00 02 00 0c 00
    ask toc-session sg_raw --request=12 $cd 43 00 01 00 00 00 00 00 0c 00
    ask toc-full sg_raw --request=48 $cd 43 02 02 00 00 00 00 00 30 00
    ask toc-full-old sg_raw --request=12 $cd 43 02 00 00 00 00 00 00 0c 40
    ask toc-atip sg_raw --request=32 $cd 43 02 04 00 00 00 00 00 20 00
    ask mechanism sg_raw --request=8 $cd bd 00 00 00 00 00 00 00 00 08 00 00
    ask disc sg_raw --request=34 $cd 51 00 00 00 00 00 00 00 22 00
    ask disc-tracks sg_raw --request=34 $cd 51 01 00 00 00 00 00 00 22 00
    ask track sg_raw --request=36 $cd 52 01 00 00 00 01 00 00 24 00
    ask event sg_raw --request=8 $cd 4a 01 00 00 10 00 00 00 08 00
    ask event-none sg_raw --request=8 $cd 4a 01 00 00 02 00 00 00 08 00
    ask event-call-back sg_raw --request=8 $cd 4a 00 00 00 10 00 00 00 08 00
    ask subchannel sg_raw --request=16 $cd 42 02 40 01 00 00 00 00 10 00
    ask speed sg_raw $cd bb 00 ff ff 00 00 00 00 00 00 00 00
    ask read-cd sg_raw --request=2048 --outfile=/tmp/read-cd $cd be 00 00 00 00 10 00 00 01 10 00 00
    ask read-cd-time sg_raw --request=2048 --outfile=/tmp/read-time $cd b9 00 00 00 02 10 00 02 11 10 00 00
    ask read-10 sg_raw --request=2048 --outfile=/tmp/read-10 $cd 28 00 00 00 00 10 00 00 01 00
    ask read-cd-same cmp /tmp/read-cd /tmp/read-10
    ask read-cd-time-same cmp /tmp/read-time /tmp/read-10
    ask read-cd-raw sg_raw --request=2352 $cd be 00 00 00 00 10 00 00 01 f8 00 00
    ask header sg_raw --request=8 $cd 44 00 00 00 00 10 00 00 08 00

    # Workstations want blocks of 512 bytes.
    printf '\000\000\000\010\000\000\000\000\000\000\002\000' >/tmp/512
    printf '\000\000\000\010\000\000\000\000\000\000\010\000' >/tmp/2048
    dd if=/tmp/read-10 of=/tmp/first bs=512 count=1 2>/dev/null
    ask blocks-512 sg_raw --send=12 --infile=/tmp/512 $cd 15 10 00 00 0c 00
    ask blocks-512-capacity sg_raw --request=8 $cd 25 00 00 00 00 00 00 00 00 00
    ask blocks-512-read sg_raw --request=512 --outfile=/tmp/read-512 $cd 28 00 00 00 00 40 00 00 01 00
    ask blocks-512-same cmp /tmp/read-512 /tmp/first
    ask blocks-512-toc sg_raw --request=12 $cd 43 00 00 00 00 00 aa 00 0c 00
    ask blocks-2048 sg_raw --send=12 --infile=/tmp/2048 $cd 15 10 00 00 0c 00
    ask blocks-2048-capacity sg_raw --request=8 $cd 25 00 00 00 00 00 00 00 00 00
    ask structure sg_raw --request=8 $cd ad 00 00 00 00 00 00 00 00 08 00 00
    ask play sg_raw $cd 45 00 00 00 00 00 00 00 01 00
    ask write sg_raw --send=2048 --infile=/tmp/blocks $cd 2a 00 00 00 00 00 00 00 01 00

    ask lock sg_prevent --prevent=1 $cd
    ask locked-eject sg_start --eject $cd
    ask unlock sg_prevent --allow $cd
    ask eject sg_start --eject $cd
    ask open-ready sg_raw $cd $ready
    ask open-read sg_raw --request=2048 $cd 28 00 00 00 00 00 00 00 01 00
    ask open-toc sg_raw --request=20 $cd 43 00 00 00 00 00 00 00 14 00
    ask open-profile sg_raw --request=8 $cd 46 00 00 00 00 00 00 00 08 00
    ask open-event sg_raw --request=8 $cd 4a 01 00 00 10 00 00 00 08 00
    ask open-mechanism sg_raw --request=8 $cd bd 00 00 00 00 00 00 00 00 08 00 00
    ask load sg_start --load $cd
    ask loaded-attention sg_raw $cd $ready
    ask loaded-ready sg_raw $cd $ready
    ask loaded-event sg_raw --request=8 $cd 4a 01 00 00 10 00 00 00 08 00
}

check load load_driver 1
# Nothing has asked the drive yet: it tells of the reset.
ask cd-attention sg_raw $cd $ready
primary disk $disk
block
primary cd $cd
multimedia
check no-complaint test -z "$(complaints)"
complaints
