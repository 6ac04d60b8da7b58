; Pushes and pops beyond the limits of the stack segment, at CPL 3, where the stack segment expands
; down: offsets from 7000h on may be used.
; modes: 16 32
; Source: SDM 3A 6.3, 7.15 (#SS(0)); SDM 2, PUSH, POP, PUSHA, ENTER, CALL, RET, IRET.
%define WITH_FRAME
%include "sector.inc"

    begin
    task_register 0x30
    mov cx, 0x7000
    ;= push
    user SS(0), push ax
    ;= push-keeps-sp: a fault leaves the stack pointer
    holds 0x7000, [FRAME + 16]
    ;= call
    user SS(0), call near 0x7c00
%if MODE == 16
    ;= enter
    user SS(0), enter 0, 0
%endif
%if MODE == 16
    ;= call-far
    user SS(0), call 0x1b:0x7c00
%endif
    mov cl, 2
%if MODE == 16
    ;= push-fits
    user HLT_USER, push ax
%endif
    ;= push-crosses: two bytes of four fit
    user SS(0)
    push eax
    caught
    ;= pusha: what does not fit altogether
    mov cl, 14
    user SS(0), pusha
%if MODE == 16
    ;= enter-frame: the frame is tested too, though nothing is stored there
    mov cl, 8
    user SS(0), enter 16, 0
%endif
    done
to_user:
    pop xdx
    push byte 0x2b
    push xcx
    pushf
    push byte 0x1b
    push xdx
%if MODE == 32
    iretd
%else
    iret
%endif
    table
%if MODE == 32
    desc 0, 0xfffff, CODE_XR | DPL3, BIG_ | GRAN
%else
    desc 0, 0xffff, CODE_XR | DPL3
%endif
    desc 0, 0xfffff, DATA_RW | DPL3, BIG_ | GRAN
%if MODE == 32
    desc 0, 0x6fff, DATA_DOWN | DPL3, BIG_
%else
    desc 0, 0x6fff, DATA_DOWN | DPL3
%endif
    desc TSS, 0x67, TSS_32
    finish
