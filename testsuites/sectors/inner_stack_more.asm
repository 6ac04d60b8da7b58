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
    ;= read-only
    stack TS(0x38), 0x39
    ;= not-present
    stack SS(0x50), 0x51
    ;= too-small: the frame does not fit
    stack SS(0x58), 0x59
    ;= good
    stack HLT_USER, 0x31
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
    desc 0, 0xffff, DATA_RW & 0x7f | 0x20
    desc 0, 0x67f0, DATA_RW | 0x20
    finish
