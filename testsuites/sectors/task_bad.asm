; Task switches that fail before anything has changed.
; modes: 16
; Source: SDM 3A 8.3, table 8-1; SDM 2, JMP, CALL, IRET (task returns).
%include "sector.inc"

    begin
    task_register 0x18
    ;= busy: a task cannot be entered again
    try GP(0x18), call 0x18:0
    ;= not-present
    try NP(0x20), jmp 0x20:0
    ;= limit: one byte short
    try TS(0x28), jmp 0x28:0
    ;= limit-16
    try TS(0x30), jmp 0x30:0
    ;= gate-not-present
    try NP(0x38), jmp 0x38:0
    ;= gate-to-code: the gate names no TSS
    try GP(CODE), jmp 0x40:0
    ;= rpl: a TSS descriptor's DPL must not be below RPL
    try GP(0x28), jmp 0x2b:0
    push word 0x4002
    popf
    ;= iret-null-link: NT is set, the back link is null
    try TS(0), iret
    mov byte [TSS], 0x28
    push word 0x4002
    popf
    ;= iret-not-busy: the task that called must be busy
    try TS(0x28), iret
    mov byte [TSS], CODE
    push word 0x4002
    popf
    ;= iret-no-tss
    try TS(CODE), iret
    done
    table
    desc TSS, 0x67, TSS_32
    desc TSS, 0x67, TSS_32 & 0x7f
    desc TSS, 0x66, TSS_32
    desc TSS, 0x2a, TSS_16
    gate 0x28, 0, TASK_GATE & 0x7f
    gate CODE, 0, TASK_GATE
    finish
