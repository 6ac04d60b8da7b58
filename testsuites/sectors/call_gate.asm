; Call gates without a change of privilege, and what they must not be.
; modes: 16
; Source: SDM 3A 6.8.3, 6.8.4 (call gates); SDM 2, CALL, JMP (far).
%include "sector.inc"

    begin
    ;= gate-16: the gate's offset counts, and two words are pushed
    try NONE
    call 0x18:0x1234
    caught
    ;= gate-32: two dwords
    try NONE
    call 0x20:0x1234
    caught
    ;= not-present
    try NP(0x28), call 0x28:0
    ;= to-data
    try GP(DATA), call 0x30:0
    ;= to-null
    try GP(0), call 0x38:0
    ;= to-absent-code
    try NP(0x40), jmp 0x48:0
    ;= rpl: the gate's DPL is 0
    try GP(0x18), call 0x1b:0
    ;= beyond-limit: the offset, of the target's segment
    try GP(0), call 0x58:0
    ;= interrupt-gate: is none that a program may call
    try GP(0x60), call 0x60:0
    done
pushed_4:
    mov ax, sp
    sub ax, STACK - 4
    retf
pushed_8:
    mov ax, sp
    sub ax, STACK - 8
    o32 retf
    table
    gate CODE, pushed_4, CALL_16
    gate CODE, pushed_8, CALL_32
    gate CODE, pushed_4, CALL_16 & 0x7f
    gate DATA, pushed_4, CALL_16
    gate 0, pushed_4, CALL_16
    desc 0, 0xffff, CODE_XR & 0x7f
    gate 0x40, pushed_4, CALL_16
    desc 0, 0x6fff, CODE_XR
    gate 0x50, pushed_4, CALL_16
    gate CODE, pushed_4, INT_32
    finish
