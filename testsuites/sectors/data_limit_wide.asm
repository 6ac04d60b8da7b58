; Limits of large segments, and wide operands at limits.
; modes: 16 32
; Source: SDM 3A 3.4.5 (G: the low 12 bits are not tested), 6.3; SDM 2, MOVUPS, FXSAVE, BOUND, LGDT.
%include "sector.inc"

    begin
%macro load_es 1
    push byte %1
    pop es
%endmacro
    ;= pages-at-limit: with G, limit 6 is 6FFFh
    load_es 0x18
    try NONE, mov cl, [es:0x6fff]
    ;= pages-beyond
    try GP(0), mov cl, [es:0x7000]
    ;= high-offset: a 32-bit offset is not cut
    load_es 0x18
    try GP(0), mov cl, [es:dword 0x10000]
    ;= top-of-4g: the last byte of a flat segment
    try NONE, mov cl, [dword 0xffffffff]
    ;= far-pointer: LES reads all of the pointer first
    load_es 0x18
    try GP(0), les cx, [es:0x6ffd]
%if MODE == 16
    ;= bound-pair
    load_es 0x18
    try GP(0), bound cx, [es:0x6ffd]
%endif
%if MODE == 16
    ;= sgdt-six-bytes
    load_es 0x18
    try GP(0), sgdt [es:0x6ffb]
%endif
    ;= fpu-ten-bytes
    load_es 0x18
    try GP(0), fld tword [es:0x6ff7]
    ;= cmpxchg8b
    load_es 0x18
    try GP(0), cmpxchg8b [es:0x6ff9]
    ;= bit-string: BT of a register uses the operand that holds the bit
    load_es 0x18
    mov cx, 16
    try GP(0), bt [es:0x6ffe], cx
    done
    table
    desc 0, 6, DATA_RW, GRAN
    finish
