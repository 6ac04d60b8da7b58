; Stacks, tables and returns at addresses that are not canonical.
; modes: 64
; Source: SDM 2, PUSH, POP, CALL, IRET, LGDT; SDM 3A 7.14.5 (interrupt stack table), 7.15.
%include "sector.inc"

    begin
    mov word [TSS + 0x24], STACK        ; IST1
    mov byte [IDT + 12 * 16 + 4], 1
    mov byte [IDT + 13 * 16 + 4], 1
    mov al, 0x18
    ltr ax
    xor eax, eax
    xor ebx, ebx
    bts rbx, 47
    lea rsp, [rbx + 8]
    ;= push
    try SS(0), push rax
    mov rsp, rbx
    ;= pop
    try SS(0), pop rcx
    ;= call
    lea rsp, [rbx + 0x100]
    try SS(0), call rax
    mov rsp, rbx
    ;= popf
    try SS(0), popf
    mov rsp, rbx
    ;= iret
    try SS(0), iretq
    mov rsp, rbx
    ;= ret
    try SS(0), ret
    done
    table
    desc TSS, 0x67, TSS_32
    dq 0
    finish
