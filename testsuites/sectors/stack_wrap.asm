; A 16-bit stack in protected mode: SP wraps at 64 KiB and the upper half of ESP is left.
; modes: 16
; Source: SDM 1, 6.2.2, 6.2.3 (stack width is the B bit of SS); SDM 2, PUSH, LEAVE, ENTER.
%include "sector.inc"

; on_16 SP: the stack segment at 18h, B = 0.
%macro on_16 1
    push byte 0x18
    pop ss
    mov esp, 0xabcd0000 | (%1)
%endmacro
; Back to the flat one; ECX is what ESP was.
%macro back 0
    mov ecx, esp
    mov ss, [cs:flat]
    mov esp, STACK
%endmacro

    begin
    on_16 0
    push ax
    back
    ;= push-wraps
    holds 0xfffe, cx
    shr ecx, 16
    ;= push-keeps-high
    holds 0xabcd, cx
    on_16 0xfffe
    pop ax
    back
    ;= pop-wraps
    holds 0, cx
    shr ecx, 16
    ;= pop-keeps-high
    holds 0xabcd, cx
    on_16 2
    mov bp, 0x6f00
    ;= enter
    enter 16, 0
    back
    holds 0xfff0, cx
    ;= call-wraps
    on_16 0
    call here
here:
    back
    holds 0xfffe, cx
    done
flat:
    dw DATA
    table
    desc 0, 0xffff, DATA_RW
    finish
