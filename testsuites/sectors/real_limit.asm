; Real mode's segments end at FFFFh too.
; modes: 0
; Source: SDM 3A 23.33 (segment wrap-around); SDM 2, real-address mode exceptions: #GP, and
; #SS for the stack, for an operand beyond offset FFFFh.
%include "sector.inc"

    begin
    ;= byte-at-ffff
    try NONE, mov cl, [0xffff]
    ;= word-read-ffff
    try GP_REAL, mov cx, [0xffff]
    ;= word-write-ffff
    try GP_REAL, mov [0xffff], cx
    ;= dword-read-fffd
    try GP_REAL, mov ecx, [0xfffd]
    ;= modify-ffff
    try GP_REAL, inc word [0xffff]
    ;= offset-10000: a 32-bit offset reaches beyond the limit
    try GP_REAL, mov cl, [dword 0x10000]
    ;= stack-word-ffff
    try SS_REAL, mov cx, [ss:0xffff]
    mov si, 0xffff
    ;= lodsw-ffff
    try GP_REAL, lodsw
    ;= lodsw-keeps-si
    holds 0xffff, si
    ;= base-wraps: the sum of base and index is 16 bits wide
    mov bx, 0x8000
    mov si, 0x8500
    try NONE, mov cl, [bx + si]
    ;= pop-ffff
    mov sp, 0xffff
    try SS_REAL, pop cx
    ;= push-dword-crosses
    mov sp, 2
    try SS_REAL, push ecx
    ;= lgdt-crosses
    try GP_REAL, lgdt [0xfffb]
    done
    table
    finish
