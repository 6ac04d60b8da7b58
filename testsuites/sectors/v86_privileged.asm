; Virtual-8086 mode with IOPL 0: what is privileged, and what does not exist.
; modes: 16
; Source: SDM 3A 22.2.7 (sensitive instructions), 22.3.3; SDM 2, virtual-8086 mode exceptions.
%define GATE 0xee
%define NO_INTERRUPTS
%include "sector.inc"

    begin
    mov byte [TSS + 0x66], 0x68
    task_register 0x18
    mov ecx, VM
    ;= in: the I/O bitmap decides, not IOPL; this TSS has none
    v86 GP(0), in al, 0x80
    ;= sldt: not recognized
    v86 UD, sldt ax
    ;= lar
    v86 UD, lar cx, cx
    ;= arpl
    v86 UD, arpl cx, cx
    ;= lgdt: recognized, and privileged
    v86 GP(0), lgdt [gdt]
    ;= mov-cr0
    v86 GP(0), mov eax, cr0
    ;= smsw: allowed
    v86 HLT_USER, smsw cx
    ;= str: not recognized
    v86 UD, str ax
    ;= verr
    v86 UD, verr cx
    ;= clts
    v86 GP(0), clts
    done
    with_v86
    table
    desc TSS, 0x67, TSS_32
    finish
