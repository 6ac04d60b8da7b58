; What may be done through a segment of each type.
; modes: 16
; Source: SDM 3A 6.5 (type checking).
%include "sector.inc"

    begin
%macro load_es 1
    push byte %1
    pop es
%endmacro
    load_es 0x18
    ;= read-only-read
    try NONE, mov cl, [es:0]
    ;= read-only-write
    try GP(0), mov [es:0], cl
    load_es 0x18
    ;= read-only-modify: it fails although nothing would change
    try GP(0), or byte [es:0], 0
    load_es CODE
    ;= code-read
    try NONE, mov cl, [es:0]
    ;= code-write
    try GP(0), mov [es:0], cl
    ;= cs-write: a code segment is never writable
    try GP(0), mov [cs:0], cl
    jmp 0x20:execute_only
execute_only:
    ;= execute-only-read
    try GP(0), mov cl, [cs:0]
    ;= execute-only-bt
    jmp 0x20:.again
.again:
    try GP(0), bt word [cs:0], 0
    load_es 0x18
    ;= cmpxchg-read-only: CMPXCHG writes even where the comparison fails
    mov al, 1
    try GP(0), cmpxchg [es:STACK], cl
    load_es 0x18
    ;= xchg-read-only
    try GP(0), xchg [es:0], cl
    done
    table
    desc 0, 0xffff, DATA_R
%if MODE == 32
    desc 0, 0xffff, CODE_X, BIG_
%else
    desc 0, 0xffff, CODE_X
%endif
    finish
