; Virtual-8086 mode's segments end at FFFFh.
; modes: 16
; Source: SDM 3A 22.2 (virtual-8086 mode), 22.3.1, 6.3; SDM 2.
%define GATE 0xee
%define WITH_FRAME
%include "sector.inc"

    begin
    task_register 0x18
    mov ecx, VM | IOPL3
    ;= word-at-ffff
    v86 GP(0), mov cx, [0xffff]
    ;= stack-word-at-ffff
    v86 SS(0), mov cx, [ss:0xffff]
    ;= offset-10000
    v86 GP(0), mov cl, [dword 0x10000]
    mov byte [0xffff], 0xb1
    ;= straddles-ffff: MOV CL, imm8
    mov bp, next
    call to_v86
    jmp 0xffff
next:
    fault_is GP(0), at(next) - 0xffff
    ;= segments: a selector is a base, whatever the GDT says
    v86 HLT_USER
    push word 0x0630
    pop ds
    mov byte [0], 0x77
    caught
    ;= segments-base
    holds 0x77, [0x6300]
    ;= push-wraps
    v86 HLT_USER
    xor sp, sp
    push cx
    caught
    ;= push-wraps-sp
    holds 0xfffe, [FRAME + 16]
    done
    with_v86
    table
    desc TSS, 0x67, TSS_32
    finish
