; Gates in long mode: their stacks, and what they must lead to.
; modes: 64
; Source: SDM 3A 6.8.3.1 (64-bit call gates), 7.14 (interrupts in 64-bit mode); SDM 2, CALL, INT n.
%include "sector.inc"

    begin
    ;= call: two quadwords are pushed
    mov rbx, rsp
    call far dword [pointer]
    sub rbx, rcx
    holds 16, bx
    ;= to-compatibility: a gate of long mode must lead to 64-bit code
    mov word [gate_64 + 2], 0x28
    try GP(0x28), call far dword [pointer]
    ;= upper-type: bits 12:8 of the last doubleword must be 0
    mov word [gate_64 + 2], CODE
    mov byte [gate_64 + 13], 1
    try GP(0x18), call far dword [pointer]
    done
inner:
    mov rcx, rsp
    retfq
pointer:
    dd 0
    dw 0x18
    table
gate_64:
    gate CODE, inner, CALL_32
    dq 0
    desc 0, 0xfffff, CODE_XR, BIG_ | GRAN
    finish
