; Far pointers: a load that fails leaves the register and the segment as they were.
; modes: 16 32
; Source: SDM 2, LDS/LES/LFS/LGS/LSS, POP; SDM 3A 7.5 (restart).
%include "sector.inc"

    begin
    mov dword [DATA0], 0x00181234
    mov bx, 0x5555
    push byte DATA
    pop fs
    ;= lfs-not-present
    try NP(0x18), lfs bx, [DATA0]
    ;= lfs-register
    holds 0x5555, bx
    ;= lfs-segment
    holds DATA, fs
    ;= lss-not-present
    try SS(0x18), lss bx, [DATA0]
    ;= pop-not-present
    push byte 0x18
    try NP(0x18), pop fs
    ;= lfs-null: may be
    and byte [DATA0 + 2], 0
    try NONE, lfs bx, [DATA0]
    ;= lss-null: may not
    try GP(0), lss bx, [DATA0]
%if MODE == 16
    ;= lds-register: the operand must be memory
    try UD, db 0x0f, 0xb4, 0xc0
    ;= call-register
    try UD, db 0xff, 0xd8
%endif
    ;= jump-register
    try UD, db 0xff, 0xe8
    ;= mov-cs: CS is no destination
    try UD, db 0x8e, 0xc8
    ;= mov-segment-6
    try UD, db 0x8e, 0xf0
    done
    table
    desc 0, 0xffff, DATA_RW & 0x7f
    finish
