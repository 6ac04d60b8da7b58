; Segment loads in 64-bit mode, where most of them still check the descriptor.
; modes: 64
; Source: SDM 3A 3.4.4, 6.4.1, 6.14.4; SDM 2, MOV, LFS, JMP, RETF, LTR, PUSH ES (invalid).
%include "sector.inc"

    begin
    ;= null-ss: at CPL 0, in 64-bit mode
    try NONE, mov ss, eax
    mov cl, 3
    ;= null-ss-rpl: RPL must be CPL
    try GP(0), mov ss, ecx
    mov cl, 0x18
    ;= not-present
    try NP(0x18), mov ds, ecx
    ;= ss-not-present
    try SS(0x18), mov ss, ecx
    mov cl, 0x20
    ;= l-and-d: a code segment with both
    push rcx
    push rax
    try GP(0x20), retfq
    ;= far-jump-direct
    try UD, db 0xea, 0, 0, 0, 0, 8, 0
    ;= lds
    try UD, db 0xc5, 0x03
    ;= ltr-16: there are no 16-bit TSSs
    mov cl, 0x28
    try GP(0x28), ltr cx
    done
    table
    desc 0, 0xffff, DATA_RW & 0x7f
    desc 0, 0, CODE_XR, LONG_ | BIG_
    desc TSS, 0x67, TSS_16
    dq 0
    finish
