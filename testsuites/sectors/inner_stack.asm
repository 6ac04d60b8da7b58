; Stacks of inner levels that are bad: a call gate from CPL 3 to CPL 1.
; modes: 16
; Source: SDM 2, CALL (call gate to more privilege): #TS with the selector of the new stack segment
; in the TSS, #SS if it is not present or too small; SDM 3A 7.15.
%include "sector.inc"

; stack WANT, SELECTOR
%macro stack 2
    mov byte [TSS + 0x10], %2
    user %1, call 0x4b:0
%endmacro

    begin
    task_register 0x28
    mov word [TSS + 0x0c], 0x6800       ; ESP1
    ;= null
    stack TS(0), 0
    ;= beyond-table: the code is of the selector, without its RPL
    stack TS(0x60), 0x61
    ;= rpl: must be that of the level
    stack TS(0x30), 0x30
    ;= dpl: must be that of the level
    stack TS(0x20), 0x21
    done
inner:
    retf
    with_user 0x18, 0x20
    table
    desc 0, 0xffff, CODE_XR | DPL3
    desc 0, 0xfffff, DATA_RW | DPL3, BIG_ | GRAN
    desc TSS, 0x67, TSS_32
    desc 0, 0xffff, DATA_RW | 0x20
    desc 0, 0xffff, DATA_R | 0x20
    desc 0, 0xffff, CODE_XR | 0x20
    gate 0x40, inner, CALL_16 | DPL3
    finish
