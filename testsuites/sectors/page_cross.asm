; Operands of which the second page is missing: nothing is written to the first.
; modes: 16 32
; Source: SDM 3A 5.7 (page-fault exceptions), 7.15 (#PF: CR2 is the address that faulted), 7.5
; (restart: a fault leaves the state as it was).
%define PAGING
%include "sector.inc"
%macro paging 0
    pages_4
    mov byte [PT + 9 * 4], 6    ; 9000h-9FFFh
%endmacro

    begin
    xor eax, eax
    mov [0x8ffc], eax
    mov cx, 0x1111
    ;= word-write
    try PF(2), mov [0x8fff], cx
    ;= cr2: the first byte of the missing page
    mov ecx, cr2
    holds 0x9000, cx
    ;= nothing-stored
    holds 0, [0x8ffe]
    ;= dword-read
    try PF(0), mov ecx, [0x8ffd]
    ;= modify
    try PF(2), not word [0x8fff]
    ;= nothing-modified
    holds 0, [0x8ffe]
%if MODE == 16
    ;= locked
    try PF(2), lock not dword [0x8ffe]
    ;= fsave: 94 bytes in 16-bit protected mode
    try PF(2), fnsave [0x8fb0]
    mov cx, 0x55aa
    ;= xchg
    try PF(2), xchg [0x8fff], cx
    ;= xchg-keeps-register
    holds 0x55aa, cx
%endif
    mov xdi, 0x8ffd
    mov cl, 9
    ;= rep-stosb
    try PF(2), rep stosb
    ;= rep-stosb-di: the elements before the fault are done
    holds 0x9000, di
    done
    table
    finish
