; What interrupts push in 64-bit mode, and the interrupt stack table.
; modes: 64
; Source: SDM 3A 7.14.1 (IDT descriptors), 7.14.2 (stack frame), 7.14.5 (IST).
%define NO_INTERRUPTS
%include "sector.inc"

    begin
    mov word [TSS + 0x24], DATA0 + 0x108        ; IST1, not aligned
    mov al, 0x18
    ltr ax
    mov word [IDT + 3 * 16], handler
    sub rsp, 9
    int3
    mov rsp, STACK
    xor eax, eax
    ;= frame: RSP is aligned before five quadwords are pushed
    holds STACK - 16 - 40, bx
    ;= frame-rsp: the old one
    holds STACK - 9, di
    ;= ist: RSP is the table's, aligned
    mov byte [IDT + 3 * 16 + 4], 1
    int3
    holds DATA0 + 0x100 - 40, bx
    ;= to-compatibility: a gate must lead to 64-bit code
    mov byte [IDT + 6 * 16 + 2], 0x28
    try GP(0x28 | 1), ud2
    ;= int-to-compatibility: by INT n, EXT is 0
    mov byte [IDT + 31 * 16 + 2], 0x28
    try GP(0x28), int 31
    done
handler:
    mov rbx, rsp
    mov rdi, [rsp + 24]
    iretq
    table
    desc TSS, 0x67, TSS_32
    dq 0
    desc 0, 0xfffff, CODE_XR, BIG_ | GRAN
    finish
