; Accessed and dirty bits: who sets them, and when not.
; modes: 16
; Source: SDM 3A 5.8 (accessed and dirty flags).
%define PAGING
%define CR0 0x10000           ; WP
%include "sector.inc"
%macro paging 0
    pages_4
    mov byte [PT + 9 * 4], 6
%endmacro
; The A and D bits of the entry of page 8, which are cleared.
%macro bits_are 1
    call a_and_d
    is %1
%endmacro

    begin
    mov word [0x8000], 0x90c3
    call a_and_d
    xor ax, ax
    ;= read: A
    mov cl, [0x8000]
    bits_are 0x27
    ;= write: A and D
    mov [0x8000], cl
    bits_are 0x67
    ;= compare: no write, no D
    cmp [0x8000], cl
    bits_are 0x27
    ;= cmpxchg-that-fails: it writes back what it read
    lock cmpxchg [0x8001], cl
    bits_are 0x67
    ;= fetch
    call 0x8000
    bits_are 0x27
    ;= push
    mov sp, 0x8100
    push ax
    mov sp, STACK
    bits_are 0x67
    ;= write-protected
    mov byte [PT + 8 * 4], 5
    try PF(3), mov [0x8000], cl
    ;= write-protected-not-dirty: a write that faults does not set D
    mov al, [PT + 8 * 4]
    and ax, 0x40
    is 0
    ;= directory: A in the directory's entry
    mov byte [PD], 7
    mov ecx, cr3
    mov cr3, ecx
    mov cl, [0x8000]
    holds 0x5027, [PD]
    done
a_and_d:
    mov ax, 7
    xchg al, [PT + 8 * 4]
    mov edx, cr3
    mov cr3, edx
    ret
    table
    finish
