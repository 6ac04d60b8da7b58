; Virtual-8086 mode with IOPL 0: what traps, and what does not exist.
; modes: 16
; Source: SDM 3A 22.2.7 (sensitive instructions), 22.3.3; SDM 2, virtual-8086 mode exceptions.
%define GATE 0xee
%include "sector.inc"

    begin
    task_register 0x18
    mov ecx, VM
    ;= cli
    v86 GP(0), cli
    ;= sti
    v86 GP(0), sti
    ;= pushf
    v86 GP(0), pushf
    ;= popf
    v86 GP(0), popf
    ;= iret
    v86 GP(0), iret
    ;= int-n: although the gate's DPL is 3
    v86 GP(0), int 31
    ;= int3: it is not sensitive to IOPL
    v86 TRAP(0x23), int3
    done
    with_v86
    table
    desc TSS, 0x67, TSS_32
    finish
