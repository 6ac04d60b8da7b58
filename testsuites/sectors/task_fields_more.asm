; Task switches that fail in the new task, as its TSS holds a bad selector.
; modes: 16
; Source: SDM 3A 8.3, table 8-1: #TS and #NP with the selector, in the context of the new task, at
; its first instruction.
%include "sector.inc"
NEW         equ TSS + 0x80

; field WORD, OFFSET, BAD: jumps to a task with a bad selector. Its EIP is where the check is.
%macro field 3
    mov bp, %%next
    mov byte [NEW + %2], %3
    jmp switch
%%next:
    mov byte [NEW + %2], DATA
    is %1
%endmacro

    begin
    mov word [NEW + 0x38], STACK - 64
    mov byte [NEW + 0x4c], CODE
    mov byte [NEW + 0x50], DATA
    mov byte [NEW + 0x54], DATA
    mov byte [TSS + 8], DATA
    ;= gs-rpl
    field 10 | 0x10 << 8, 0x5c, DATA | 3
    ;= gs-null: may be
    field NONE, 0x5c, 0
    ;= ds-system
    field 10 | 0x18 << 8, 0x54, 0x18
    ;= new-is-busy: the switch was done before the fault
    str ax
    is 0x20
    ;= task-switched
    mov eax, cr0
    and ax, 8
    is 8
    done
switch:
    mov [NEW + 0x20], bp
    mov [NEW + 0x3c], bp
    mov al, TSS_32
    mov [gdt + 0x1d], al
    mov [gdt + 0x25], al
    mov al, 0x18
    ltr ax
    jmp 0x20:0
    table
    desc TSS, 0x67, TSS_32
    desc NEW, 0x67, TSS_32
    desc 0, 0xffff, DATA_RW & 0x7f
    desc 0, 0xffff, CODE_X
    finish
