; What IRETQ takes in 64-bit mode.
; modes: 64
; Source: SDM 3A 7.14.3 (IRET); SDM 2, IRET.
%include "sector.inc"

; returns WANT, CS, SS, FLAGS: IRETQ to behind it.
%macro returns 4
    mov bp, %%next
    push byte %3
    push STACK
    push %4
    push byte %2
    push %%next
    iretq
%%next:
    fault_is %1, 2
%endmacro

    begin
    ;= good
    returns NONE, CODE, DATA, 2
    ;= null-ss: at CPL 0
    returns NONE, CODE, 0, 2
    ;= ss-rpl
    returns GP(DATA), CODE, DATA | 1, 2
    ;= cs-null
    returns GP(0), 0, DATA, 2
    ;= nt: there is no task to return to
    push word 0x4002
    popf
    try GP(0), iretq
    done
    table
    finish
