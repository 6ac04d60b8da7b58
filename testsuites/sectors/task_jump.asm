; A task switch by JMP and back: what it loads and marks.
; modes: 16
; Source: SDM 3A 8.3 (task switching), table 8-1 (exceptions), table 8-2 (busy, NT, back link).
%include "sector.inc"
NEW         equ TSS + 0x80
OLD_SEL     equ 0x18
NEW_SEL     equ 0x20

    begin
    task_register OLD_SEL
    mov word [NEW + 0x20], there        ; EIP
    mov word [NEW + 0x24], 0x3002       ; EFLAGS
    mov word [NEW + 0x2c], 0x1234       ; ECX
    mov word [NEW + 0x38], STACK - 64   ; ESP
    mov byte [NEW + 0x48], DATA         ; ES
    mov byte [NEW + 0x4c], CODE
    mov byte [NEW + 0x50], DATA
    mov byte [NEW + 0x54], DATA
    mov cx, 0x5678
    jmp NEW_SEL:0
there:
    ;= register
    holds 0x1234, cx
    ;= saved-register
    holds 0x5678, [TSS + 0x2c]
    ;= saved-eip
    holds there, [TSS + 0x20]
    ;= task-register
    str ax
    is NEW_SEL
    ;= old-not-busy: 89h
    holds TSS_32 << 8 | 0, [gdt + OLD_SEL + 4]
    ;= new-busy: 8Bh
    holds TSS_BUSY << 8 | 0, [gdt + NEW_SEL + 4]
    ;= ts: CR0.TS is set
    mov ecx, cr0
    and cx, 8
    holds 8, cx
    ;= flags: from the TSS, NT is not set by a jump
    pushf
    pop ax
    and ax, 0x7000
    is 0x3000
    ;= ldt: from the TSS, null
    sldt ax
    is 0
    ;= busy-target: to itself
    try GP(NEW_SEL), jmp NEW_SEL:0
    done
    table
    desc TSS, 0x67, TSS_32
    desc NEW, 0x67, TSS_32
    finish
