; REP with a fault in the middle: what is done stays done, and the registers say where it stopped.
; modes: 16 32
; Source: SDM 2, REP (exceptions); SDM 3A 7.5 (restart).
%define PAGING
%include "sector.inc"
%macro paging 0
    pages_4
    mov byte [PT + 9 * 4], 6    ; 9000h-9FFFh
%endmacro

    begin
    mov xsi, 0x8fc0
    mov xdi, 0x8ffa
    mov cx, 5
    ;= movsw: two and a half words fit: the third crosses
    inc di
    try PF(2), rep movsw
    ;= movsw-cx
    holds 3, cx
    ;= movsw-si
    holds 0x8fc4, si
    ;= movsw-di
    holds 0x8fff, di
    ;= cmpsb: the fault is the second operand's
    mov xsi, 0x8ff0
    mov xdi, 0x8ffe
    mov [0x8ff0], di
    mov [0x8ffe], di
    mov cl, 9
    try PF(0), repe cmpsb
    ;= cmpsb-cx
    holds 7, cx
    ;= backwards: from the top of the missing page's neighbour
    std
    mov xdi, 0xa001
    mov cl, 9
    try PF(2), rep stosb
%if MODE == 16
    ;= backwards-di
    holds 0x9fff, di
    ;= cx-zero: nothing is accessed
    mov cx, 0
    try NONE, rep stosb
    cld
%endif
    done
    table
    finish
