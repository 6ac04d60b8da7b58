; Expand-down segments: offsets up to the limit are the ones that may not be used.
; modes: 16 32
; Source: SDM 3A 6.3: the effective limit is the last offset that is not allowed; B says whether the
; segment ends at FFFFh or FFFFFFFFh.
%include "sector.inc"

    begin
%macro load_es 1
    push byte %1
    pop es
%endmacro
    load_es 0x18
    ;= lowest-16: the first byte behind the limit
    try NONE, mov cl, [es:0x1000]
    ;= at-limit-16
    try GP(0), mov cl, [es:0xfff]
    load_es 0x18
    ;= straddles-limit-16: half of the word is at the limit
    try GP(0), mov [es:0xfff], cx
    load_es 0x18
    ;= highest-16: B = 0, the last byte is at FFFFh
    try NONE, mov cl, [es:dword 0xffff]
    ;= above-16
    try GP(0), mov cl, [es:dword 0x10000]
    load_es 0x18
    ;= straddles-top-16
    try GP(0), mov cx, [es:dword 0xffff]
    load_es 0x20
    ;= above-32: B = 1, the segment goes on
    try NONE, mov cl, [es:dword 0x10000]
    ;= at-limit-32
    try GP(0), mov cl, [es:0xfff]
%if MODE == 16
    load_es 0x20
    ;= top-32
    try NONE, mov cl, [es:dword 0xffffffff]
    load_es 0x28
    ;= read-only-write: type 4 may be read only
    try GP(0), mov [es:0x1000], cl
    load_es 0x28
    ;= read-only-read
    try NONE, mov cl, [es:0x1000]
%endif
    done
    table
    desc 0, 0xfff, DATA_DOWN
    desc 0, 0xfff, DATA_DOWN, BIG_
%if MODE == 16
    desc 0, 0xfff, DATA_DOWN_R
%endif
    finish
