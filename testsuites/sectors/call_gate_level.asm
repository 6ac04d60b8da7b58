; What may not be called, jumped to or interrupted from CPL 3.
; modes: 16
; Source: SDM 3A 6.8.5 (stack switching), 6.8.6; SDM 2, CALL, RET.
%include "sector.inc"

    begin
    task_register 0x28
    ;= dpl: a gate with DPL 0
    user GP(0x38), call 0x3b:0
    ;= jump: a jump cannot change CPL
    user GP(CODE), jmp 0x33:0
    ;= call-code: nor can a plain call
    user GP(CODE), call CODE:0x7c00
    ;= int-gate-dpl: INT n through a gate with DPL 0
    user GP(31 * 8 + 2), int 31
    done
inner:
    retf
    with_user 0x18, 0x20
    table
    desc 0, 0xffff, CODE_XR | DPL3
    desc 0, 0xfffff, DATA_RW | DPL3, BIG_ | GRAN
    desc TSS, 0x67, TSS_32
    gate CODE, inner, CALL_16 | DPL3, 3
    gate CODE, inner, CALL_16
    finish
