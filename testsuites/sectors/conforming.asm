; Conforming code: it runs at the caller's level, and CPL stays.
; modes: 16
; Source: SDM 3A 6.8.1.2; SDM 2, JMP, CALL, RET.
%include "sector.inc"

    begin
    task_register 0x28
    ;= call-from-3: DPL 0 is no hindrance
    user HLT_USER
    call 0x30:inside
    caught
    ;= cs: CPL is still 3
    holds 0x33, cx
    ;= outer: from CPL 0 to DPL 3 it is refused
    try GP(0x38), jmp 0x38:0
    ;= non-conforming: DPL 3 is refused at CPL 0, too
    try GP(0x18), jmp 0x18:0
    ;= rpl-above-cpl
    try GP(CODE), jmp (CODE | 1):0
    ;= not-present
    try NP(0x40), jmp 0x40:0
    ;= data
    try GP(DATA), call DATA:0
    done
inside:
    mov cx, cs
    retf
    with_user 0x18, 0x20
    table
    desc 0, 0xffff, CODE_XR | DPL3
    desc 0, 0xfffff, DATA_RW | DPL3, BIG_ | GRAN
    desc TSS, 0x67, TSS_32
    desc 0, 0xffff, CODE_CXR
    desc 0, 0xffff, CODE_CXR | DPL3
    desc 0, 0xffff, CODE_XR & 0x7f
    finish
