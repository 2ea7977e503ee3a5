    // The driver of the LSI 53C895A, as a guest's processor runs it.
    //
    // Names in braces are constants of layout.rs and registers.rs. A function keeps only the registers that its
    // comment says; EBP is the control block from the start on.

    .pushsection .rodata.outrigger_guest, "a"
    .balign 16
    .globl outrigger_guest_begin
    .globl outrigger_guest_end
    .code32
outrigger_guest_begin:
    .long 50f - outrigger_guest_begin
    .long 20f - outrigger_guest_begin
    .long 30f - outrigger_guest_begin
    .long 40f - outrigger_guest_begin

    // Each vCPU starts here.
50: mov ebp, {CONTROL}
    test eax, eax
    jnz outrigger_guest_other
    call outrigger_guest_pci
    call outrigger_guest_pic
    call outrigger_guest_chip
    mov edx, {PORT_MARK}
    out dx, al
    mov dword ptr [ebp + {READY}], 1

    // The first vCPU: submit what may be submitted, sleep until the interrupt has taken completions, until all is done.
outrigger_guest_main:
    cli
    cmp dword ptr [ebp + {FATAL}], 0
    jne outrigger_guest_failed
    mov eax, [ebp + {COMPLETED}]
    cmp eax, [ebp + {COUNT}]
    je outrigger_guest_done
    cmp dword ptr [ebp + {OTHERS}], {OTHERS_SUBMIT}
    je 7f
    call outrigger_guest_submit
    // With nothing under way no interrupt will come: the host holds the driver back, so look again.
    mov eax, [ebp + {SUBMITTED}]
    cmp eax, [ebp + {COMPLETED}]
    jne 7f
    sti
    pause
    jmp outrigger_guest_main
7:  sti
    hlt
    jmp outrigger_guest_main

outrigger_guest_done:
    mov eax, {REPORT_DONE}
    jmp 7f
outrigger_guest_failed:
    mov eax, {REPORT_FAILED}
7:  cli
    mov edx, {PORT_REPORT}
    out dx, eax
2:  hlt
    jmp 2b

    // The other vCPUs. Those that submit take the lock in turn.
outrigger_guest_other:
    pause
    cmp dword ptr [ebp + {FATAL}], 0
    jne outrigger_guest_failed
    cmp dword ptr [ebp + {READY}], 0
    je outrigger_guest_other
    cmp dword ptr [ebp + {OTHERS}], {OTHERS_SUBMIT}
    jne 2f
7:  cmp dword ptr [ebp + {FATAL}], 0
    jne outrigger_guest_failed
    mov eax, 1
    xchg eax, [ebp + {SUBMIT_LOCK}]
    test eax, eax
    jnz 8f
    call outrigger_guest_submit
    mov dword ptr [ebp + {SUBMIT_LOCK}], 0
8:  pause
    mov eax, [ebp + {SUBMITTED}]
    cmp eax, [ebp + {COUNT}]
    jne 7b
    jmp outrigger_guest_done
2:  mov esi, [ebp + {BAR_REGISTERS}]
3:  movzx eax, byte ptr [esi + {ISTAT0}]
    inc dword ptr [ebp + {POLLS}]
    cmp dword ptr [ebp + {FATAL}], 0
    jne outrigger_guest_failed
    mov eax, [ebp + {COMPLETED}]
    cmp eax, [ebp + {COUNT}]
    jne 3b
    jmp outrigger_guest_done

    // The device's interrupt. The line goes down before the end of interrupt, which resamples it. Interrupts are on
    // only where the main loop sleeps, so nothing is to be restored and the way back is a jump: no IRET, which KVM
    // cannot interpret in protected mode.
20: add esp, 12
    mov ebp, {CONTROL}
    call outrigger_guest_service
    mov al, 0x20
    out 0x20, al
    jmp outrigger_guest_main
30: add esp, 12
    jmp outrigger_guest_main
40: mov ebp, {CONTROL}
    mov dword ptr [ebp + {FATAL}], {FATAL_EXCEPTION}
    jmp outrigger_guest_failed

    // Reads why the chip interrupts and takes completions.
outrigger_guest_service:
    inc dword ptr [ebp + {INTERRUPTS}]
    mov esi, [ebp + {BAR_REGISTERS}]
    movzx eax, byte ptr [esi + {ISTAT0}]
    test al, {INTF}
    jz 7f
    // A signal that the SCRIPTS have not seen yet must survive this write. Where other vCPUs signal, one may have
    // come since the read: one too many is harmless, one lost is not.
    and al, {SIGP}
    cmp dword ptr [ebp + {OTHERS}], {OTHERS_SUBMIT}
    jne 3f
    or al, {SIGP}
3:  or al, {INTF}
    mov [esi + {ISTAT0}], al
    movzx eax, byte ptr [esi + {ISTAT0}]
    push eax
    call outrigger_guest_completions
    pop eax
7:  test al, {SIP} + {DIP}
    jz 2f
    call outrigger_guest_chip_error
2:  cmp dword ptr [ebp + {OTHERS}], {OTHERS_SUBMIT}
    je 3f
    call outrigger_guest_submit
3:  ret

    // Empties the done queue.
outrigger_guest_completions:
    mov edi, [ebp + {DONE_POSITION}]
7:  mov ebx, [edi + {DONE_TASK}]
    test ebx, ebx
    jz 2f
    mov dword ptr [edi + {DONE_TASK}], 0
    mov edi, [edi + {DONE_NEXT}]
    movzx eax, byte ptr [ebx + {TASK_STATUS_BYTE}]
    call outrigger_guest_finish
    jmp 7b
2:  mov [ebp + {DONE_POSITION}], edi
    ret

    // The task EBX is done with status EAX. Keeps EDI.
outrigger_guest_finish:
    test ebx, {SENSE_OFFSET}
    jz 3f
    call outrigger_guest_sense
3:  test eax, eax
    jz 7f
    inc dword ptr [ebp + {ERRORS}]
7:  or eax, {RESULT_DONE}
    mov edx, [ebx + {TASK_REQUEST}]
    mov [edx + {REQUEST_RESULT}], eax
    mov ecx, [ebp + {FREE_TAIL}]
    mov eax, ecx
    and eax, {QUEUE_MASK}
    mov [eax * 4 + {FREE_RING}], ebx
    inc ecx
    mov [ebp + {FREE_TAIL}], ecx
    inc dword ptr [ebp + {COMPLETED}]
    ret

    // The REQUEST SENSE EBX is done with status EAX, so the task that it is for is done: EBX and EAX become that task's.
outrigger_guest_sense:
    mov edx, [ebx - {SENSE_OFFSET} + {TASK_REQUEST}]
    test eax, eax
    jnz 7f
    mov eax, {RESULT_SENSE}
    xor ecx, ecx
3:  push dword ptr [ebx + ecx + {SENSE_DATA}]
    pop dword ptr [edx + ecx + {REQUEST_CDB}]
    mov dword ptr [ebx + ecx + {SENSE_DATA}], 0
    add ecx, 4
    cmp ecx, 16
    jne 3b
    jmp 2f
7:  xor eax, eax
    // Ready for the next time, whatever came this time.
2:  mov dword ptr [ebx + {TASK_LAST_SEGMENT}], {SENSE_LENGTH}
    lea ecx, [ebx + {SENSE_DATA}]
    mov [ebx + {TASK_LAST_SEGMENT} + 4], ecx
    mov ecx, [ebp + {DATA_IN_END}]
    sub ecx, 8
    mov [ebx + {TASK_DATA_IN}], ecx
    sub ebx, {SENSE_OFFSET}
    mov al, [ebx + {TASK_STATUS_BYTE}]
    ret

    // The chip stopped. Nobody at that address: the request has failed and the SCRIPTS go on. Else the run has failed.
outrigger_guest_chip_error:
    mov ah, [esi + {SIST0}]
    shl eax, 16
    mov al, [esi + {SIST1}]
    mov ah, [esi + {DSTAT}]
    // Now EAX is SIST0, ISTAT0, DSTAT, SIST1 from the top.
    mov [ebp + {ERROR_STATUS}], eax
    mov ecx, eax
    and ecx, 0xff0000ff
    cmp ecx, {STO}
    jne 7f
    mov ebx, [esi + {DSA}]
    mov eax, {RESULT_NO_TARGET}
    call outrigger_guest_finish
    mov eax, [ebp + {SELECTION_FAILED}]
    mov [esi + {DSP}], eax
    ret
7:  mov eax, [esi + {DSPS}]
    mov [ebp + {ERROR_DSPS}], eax
    mov eax, [esi + {DSP}]
    mov [ebp + {ERROR_DSP}], eax
    mov dword ptr [ebp + {FATAL}], {FATAL_CHIP}
    ret

    // Starts requests while there are requests, the host allows them and tasks are free.
outrigger_guest_submit:
    mov ecx, [ebp + {SUBMITTED}]
    cmp ecx, [ebp + {COUNT}]
    jae 9f
    cmp ecx, [ebp + {LIMIT}]
    jae 9f
    mov eax, [ebp + {FREE_HEAD}]
    cmp eax, [ebp + {FREE_TAIL}]
    je 9f
    mov edx, eax
    and edx, {QUEUE_MASK}
    mov ebx, [edx * 4 + {FREE_RING}]
    inc eax
    mov [ebp + {FREE_HEAD}], eax
    mov edx, ecx
    shl edx, {REQUEST_SHIFT}
    add edx, {REQUESTS}
    inc ecx
    mov [ebp + {SUBMITTED}], ecx

    mov [ebx + {TASK_REQUEST}], edx
    mov [ebx + {TASK_COMMAND} + 4], edx
    mov eax, [edx + {REQUEST_FLAGS}]
    movzx ecx, al
    shl ecx, 16
    mov [ebx + {TASK_SELECT}], ecx
    movzx ecx, ah
    or cl, 0xc0
    mov [ebx + {TASK_MESSAGE_BYTES}], cl
    shr eax, 16
    movzx ecx, ah
    mov [ebx + {TASK_COMMAND}], ecx
    mov byte ptr [ebx + {TASK_STATUS_BYTE}], 0xff
    push eax

    // ESI is what is left, EDI where it goes, EAX the number of segments.
    mov esi, [edx + {REQUEST_LENGTH}]
    mov edi, [edx + {REQUEST_ADDRESS}]
    mov ecx, [ebp + {SEGMENT_SHIFT}]
    mov edx, 1
    shl edx, cl
    lea eax, [esi + edx - 1]
    shr eax, cl
    mov ecx, {SEGMENTS}
    sub ecx, eax
    push eax
    lea ecx, [ebx + ecx * 8 + {TASK_SEGMENTS}]
7:  test esi, esi
    jz 3f
    cmp edx, esi
    jbe 2f
    mov edx, esi
2:  mov [ecx], edx
    mov [ecx + 4], edi
    add edi, edx
    sub esi, edx
    add ecx, 8
    jmp 7b
3:  pop ecx
    pop eax
    shl ecx, 3
    mov esi, [ebp + {OVERRUN}]
    mov edi, esi
    jecxz 5f
    test al, 1
    jnz 4f
    mov esi, [ebp + {DATA_IN_END}]
    sub esi, ecx
    jmp 5f
4:  mov edi, [ebp + {DATA_OUT_END}]
    sub edi, ecx
5:  mov [ebx + {TASK_DATA_IN}], esi
    mov [ebx + {TASK_DATA_OUT}], edi

    // The next slot is empty before this one is not.
    mov esi, [ebp + {START_POSITION}]
    mov edi, [esi + {SLOT_NEXT}]
    mov eax, [ebp + {IDLE}]
    mov [edi + {SLOT_JUMP}], eax
    mov [esi + {SLOT_TASK}], ebx
    mov eax, [ebp + {START}]
    mov [esi + {SLOT_JUMP}], eax
    mov [ebp + {START_POSITION}], edi
    mov esi, [ebp + {BAR_REGISTERS}]
    mov byte ptr [esi + {ISTAT0}], {SIGP}
    jmp outrigger_guest_submit
9:  ret

    // Config space: the right device, its BARs, decoding and bus mastering.
outrigger_guest_pci:
    xor ecx, ecx
    call outrigger_guest_config
    in eax, dx
    cmp eax, [ebp + {DEVICE_ID}]
    jne 7f
    mov ecx, 0x10
    call outrigger_guest_config
    mov eax, [ebp + {BAR_IO}]
    out dx, eax
    mov ecx, 0x14
    call outrigger_guest_config
    mov eax, [ebp + {BAR_REGISTERS}]
    out dx, eax
    mov ecx, 0x18
    call outrigger_guest_config
    mov eax, [ebp + {BAR_SCRIPTS}]
    out dx, eax
    mov ecx, 0x3c
    call outrigger_guest_config
    mov al, {LINE}
    out dx, al
    mov ecx, 0x04
    call outrigger_guest_config
    mov eax, 7
    out dx, ax
    ret
7:  mov dword ptr [ebp + {FATAL}], {FATAL_NO_DEVICE}
    jmp outrigger_guest_failed

    // Addresses register ECX of device 1; EDX is the data port.
outrigger_guest_config:
    lea eax, [ecx + 0x80000800]
    mov edx, 0xcf8
    out dx, eax
    mov edx, 0xcfc
    ret

    // The interrupt controllers: vectors 0x20 and 0x28, one line open, level-triggered.
outrigger_guest_pic:
    mov al, 0x11
    out 0x20, al
    out 0xa0, al
    mov al, 0x20
    out 0x21, al
    mov al, 0x28
    out 0xa1, al
    mov al, 0x04
    out 0x21, al
    mov al, 0x02
    out 0xa1, al
    mov al, 0x01
    out 0x21, al
    out 0xa1, al
    mov al, {PIC_MASK}
    out 0x21, al
    mov al, 0xff
    out 0xa1, al
    mov edx, 0x4d0
    mov al, {PIC_LEVEL}
    out dx, al
    ret

    // The chip: reset, setup, SCRIPTS, start.
outrigger_guest_chip:
    mov edx, [ebp + {BAR_REGISTERS}]
    mov byte ptr [edx + {ISTAT0}], {SRST}
    mov byte ptr [edx + {ISTAT0}], 0
    mov esi, {SETUP_TABLE}
    mov ecx, [ebp + {SETUP_COUNT}]
7:  jecxz 2f
    mov eax, [esi]
    movzx ebx, ah
    mov [edx + ebx], al
    add esi, 4
    dec ecx
    jmp 7b
2:  mov esi, {SCRIPTS_IMAGE}
    mov edi, [ebp + {BAR_SCRIPTS}]
    mov ecx, [ebp + {SCRIPTS_WORDS}]
3:  jecxz 4f
    mov eax, [esi]
    mov [edi], eax
    add esi, 4
    add edi, 4
    dec ecx
    jmp 3b
4:  mov eax, [ebp + {ENTRY}]
    mov [edx + {DSP}], eax
    ret
outrigger_guest_end:
    .code64
    .popsection
