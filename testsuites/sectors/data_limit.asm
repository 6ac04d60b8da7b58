; Reads and writes up to and beyond the limit of a data segment.
; modes: 16 32
; Source: SDM 3A 6.3 (limit checking): #GP(0) for an operand of which any byte is beyond the limit.
%include "sector.inc"

    begin
%macro es_small 0
    push byte 0x18
    pop es
%endmacro
    es_small
    ;= byte-at-limit: the limit is the last byte that may be used
    try NONE, mov cl, [es:0xfff]
    ;= word-at-limit
    try NONE, mov [es:0xffe], cx
    ;= byte-read-beyond
    try GP(0), mov cl, [es:0x1000]
%if MODE == 16
    es_small
    ;= byte-write-beyond
    try GP(0), mov [es:0x1000], cl
%endif
    es_small
    ;= word-read-crosses
    try GP(0), mov cx, [es:0xfff]
    es_small
    ;= word-write-crosses
    try GP(0), mov [es:0xfff], cx
    ;= word-write-crosses-stores-nothing: the byte below the limit is as it was
    holds 0, [0x6fff]
%if MODE == 16
    es_small
    ;= dword-crosses-by-one
    try GP(0), mov ecx, [es:0xffd]
    es_small
    ;= modify-crosses
    try GP(0), inc word [es:0xfff]
%endif
    es_small
    ;= store-string-crosses: a REP STOSW stops where the limit is, with its registers there
    mov di, 0xffc
    mov cx, 5
    try GP(0), rep stosw
    ;= store-string-di
    holds 0x1000, di
    ;= store-string-cx
    holds 3, cx
    done
    table
    desc 0x6000, 0xfff, DATA_RW
    finish
