; Virtual-8086 mode with IOPL 3, and its segments.
; modes: 16
; Source: SDM 3A 22.2 (virtual-8086 mode), 22.3.1, 6.3; SDM 2.
%define GATE 0xee
%define WITH_FRAME
%include "sector.inc"

    begin
    mov byte [TSS + 0x66], 0x68
    task_register 0x18
    mov ecx, VM | IOPL3
    ;= int-n: goes through the IDT
    v86 TRAP(31 | 1 << 5), int 31
    ;= int-n-sp: CPL 0's stack has the caller's SP
    holds USER_STACK, [FRAME + 16]
    ;= int-n-flags: with VM, IOPL and the reserved bit
    holds (VM | IOPL3) >> 16, [FRAME + 10]
    ;= cli
    v86 HLT_USER, cli
    ;= pushf-popf
    v86 HLT_USER
    pushf
    popf
    caught
    ;= out: IOPL is of no use where the bitmap forbids
    v86 GP(0), out 0x80, al
    ;= popf-iopl: POPF of 2000h cannot change IOPL
    v86 HLT_USER
    push ax
    popf
    caught
    ;= popf-iopl-flags
    holds IOPL3 | 2, [FRAME + 8]
    done
    with_v86
    table
    desc TSS, 0x67, TSS_32
    finish
