; Interrupts and returns from and to virtual-8086 mode that are refused.
; modes: 16
; Source: SDM 3A 22.3.1 (interrupts through gates: to CPL 0 only); SDM 2, INT n, IRET.
%define GATE 0xee
%define WITH_FRAME
%include "sector.inc"

    begin
    task_register 0x18
    mov ecx, VM | IOPL3
    mov byte [IDT + 31 * 8 + 2], 0x20
    ;= to-ring-1: the code is of the segment
    v86 GP(0x20), int 31
    mov byte [IDT + 31 * 8 + 2], 0x28
    ;= to-conforming: it would stay at CPL 3
    v86 GP(0x28), int 31
    mov byte [IDT + 31 * 8 + 2], CODE
    ;= gate-dpl: INT n of DPL 0
    mov byte [IDT + 31 * 8 + 5], INT_32
    v86 GP(31 * 8 + 2), int 31
    ;= exception-to-conforming: EXT
    mov byte [IDT + 6 * 8 + 2], 0x28
    v86 GP(0x28 + 1), ud2
    ;= frame-ss: of the caller, 0
    holds 0, [FRAME + 24]
    ;= int3
    push byte DATA
    pop fs
    v86 TRAP(3 | 1 << 5), int3
    ;= handler-fs: is null, though the segment of V86 mode was 0, too
    holds 0, fs
    done
    with_v86
    table
    desc TSS, 0x67, TSS_32
    desc 0, 0xffff, CODE_XR | 0x20
    desc 0, 0xffff, CODE_CXR
    finish
