; LAR, LSL, VERR, VERW and ARPL: what they say of which descriptor.
; modes: 16
; Source: SDM 2, LAR, LSL, VERR/VERW, ARPL; SDM 3A 6.10.
%include "sector.inc"

; zf WANT, INSTRUCTION: the zero flag after it.
%macro zf 2+
    %2
    setz al
    is %1
%endmacro

    begin
    mov bx, 0x18
    ;= lar-data
    zf 1, lar cx, bx
    ;= lar-rights
    holds 0x9200, cx
    ;= lsl-pages: the limit in bytes, with G
    lsl ecx, ebx
    holds 0x2fff, cx
    ;= lar-null
    zf 0, lar cx, ax
    mov bl, 0x20
    ;= lar-interrupt-gate: LAR does not know those
    zf 0, lar cx, bx
    mov bl, 0x28
    ;= lar-call-gate
    zf 1, lar cx, bx
    ;= lsl-call-gate: a gate has no limit
    zf 0, lsl cx, bx
    ;= verr-gate
    zf 0, verr bx
    ;= verr-execute-only
    mov bl, 0x30
    zf 0, verr bx
    ;= verw-code
    mov bl, CODE
    zf 0, verw bx
    ;= verw-data
    mov bl, DATA
    zf 1, verw bx
    ;= verr-rpl: DPL 0, RPL 3
    mov bl, DATA | 3
    zf 0, verr bx
    ;= arpl: RPL is raised to that of the source
    mov cx, 3
    mov bl, DATA
    zf 1, arpl bx, cx
    ;= arpl-result
    holds DATA | 3, bx
    ;= arpl-same
    zf 0, arpl bx, cx
    done
    table
    desc 0, 2, DATA_RW, GRAN
    gate CODE, 0, INT_32
    gate CODE, 0, CALL_32
    desc 0, 0xffff, CODE_X
    finish
