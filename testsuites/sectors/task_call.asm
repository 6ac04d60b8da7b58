; A task switch by CALL, and its return: back link, NT and busy.
; modes: 16
; Source: SDM 3A 8.3, 8.4 (task linking), table 8-2; SDM 2, CALL, IRET.
%include "sector.inc"
NEW         equ TSS + 0x80
OLD_SEL     equ 0x18
NEW_SEL     equ 0x20

    begin
    task_register OLD_SEL
    mov word [NEW + 0x20], there
    mov byte [NEW + 0x24], 2
    mov word [NEW + 0x38], STACK - 64
    mov byte [NEW + 0x48], DATA
    mov byte [NEW + 0x4c], CODE
    mov byte [NEW + 0x50], DATA
    mov byte [NEW + 0x54], DATA
    mov cx, 0x5678
    jmp go
there:
    ;= called-nt
    pushf
    pop ax
    and ax, 0x4000
    is 0x4000
    ;= called-back-link
    holds OLD_SEL, [NEW]
    ;= called-old-busy
    holds TSS_BUSY << 8, [gdt + OLD_SEL + 4]
    mov cx, 0
    iret
.end:
go:
    call 0x28:0
    ;= returned: by IRET, with the registers of then
    holds 0x5678, cx
    ;= returned-task-register
    str ax
    is OLD_SEL
    ;= returned-busy
    holds TSS_BUSY << 8, [gdt + OLD_SEL + 4]
    ;= returned-not-busy
    holds TSS_32 << 8, [gdt + NEW_SEL + 4]
    ;= saved-nt: what the called task saved has NT clear
    mov ax, [NEW + 0x24]
    and ax, 0x4000
    is 0
    ;= saved-eip: and resumes behind the IRET
    holds there.end, [NEW + 0x20]
    ;= returned-nt
    pushf
    pop ax
    and ax, 0x4000
    is 0
    done
    table
    desc TSS, 0x67, TSS_32
    desc NEW, 0x67, TSS_32
    gate NEW_SEL, 0, TASK_GATE
    finish
