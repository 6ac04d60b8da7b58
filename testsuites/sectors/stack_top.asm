; Pops beyond the top of a 16-bit stack segment that expands down, at CPL 3.
; modes: 16
; Source: SDM 3A 6.3, 7.15 (#SS(0)); SDM 2, PUSH, POP, PUSHA, ENTER, CALL, RET, IRET.
%define WITH_FRAME
%include "sector.inc"

    begin
    task_register 0x30
    mov cx, 0xffff
    ;= pop
    user SS(0), pop ax
    ;= pop-keeps-sp
    holds 0xffff, [FRAME + 16]
    ;= ret
    user SS(0), ret
    ;= pop-segment
    user SS(0), pop es
    ;= push-segment
    mov ch, 0x70
    mov cl, 0
    user SS(0), push es
    ;= pop-memory
    mov cx, 0xffff
    user SS(0), pop word [0x7000]
    ;= iret
    mov cl, 0xfb
    user SS(0), iret
    ;= ret-far
    mov cl, 0xfd
    user SS(0), retf
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
