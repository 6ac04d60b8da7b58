; What a data segment register may be loaded with.
; modes: 16 32
; Source: SDM 2, MOV to Sreg, POP, LDS; SDM 3A 6.4.1, 6.5, 7.15 (#NP, #SS, #GP with a selector).
%include "sector.inc"

    begin
%macro to_ds 1
    mov cl, %1
%endmacro
    xor cx, cx
    ;= beyond-table: the limit of the GDT
    to_ds 0x48
    try GP(0x48), mov ds, cx
    ;= not-present
    to_ds 0x18
    try NP(0x18), mov ds, cx
    ;= not-present-ss: #SS for the stack segment
    try SS(0x18), mov ss, cx
    ;= execute-only: code that cannot be read
    to_ds 0x20
    try GP(0x20), mov ds, cx
    ;= rpl-3: DPL 0 is too privileged for RPL 3; TI and index make the code
    to_ds DATA | 3
    try GP(DATA), mov ds, cx
    ;= conforming-any-rpl: readable conforming code is exempt
    to_ds 0x28 | 3
    try NONE, mov ds, cx
    ;= system-descriptor: a TSS is no data
    to_ds 0x30
    try GP(0x30), mov ds, cx
    ;= ss-read-only: a stack must be writable
    to_ds 0x38
    try GP(0x38), mov ss, cx
%if MODE == 16
    ;= ss-code
    to_ds CODE
    try GP(CODE), mov ss, cx
    ;= ss-rpl: RPL must be CPL
    to_ds DATA | 1
    try GP(DATA), mov ss, cx
%endif
    ;= ss-dpl
    to_ds 0x40
    try GP(0x40), mov ss, cx
    done
    table
    desc 0, 0xffff, DATA_RW & 0x7f
    desc 0, 0xffff, CODE_X
    desc 0, 0xffff, CODE_CXR
    desc 0, 0x67, TSS_32
    desc 0, 0xffff, DATA_R
    desc 0, 0xffff, DATA_RW | DPL3
    finish
