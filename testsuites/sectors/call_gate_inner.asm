; Call gates from CPL 3 to CPL 0: the inner stack, parameters, and the way back.
; modes: 16
; Source: SDM 3A 6.8.5 (stack switching), 6.8.6; SDM 2, CALL, RET.
%include "sector.inc"

    begin
    task_register 0x28
    ;= parameters: three words are copied, and RET drops them from both stacks
    user HLT_USER
    push word 0x1111
    push word 0x2222
    push word 0x3333
    call 0x33:0
    mov bx, sp
    caught
    ;= parameters-copied: the first pushed is the farthest
    holds 0x1111, [DATA0]
    ;= inner-cs: CPL is 0 there
    holds CODE, [DATA0 + 2]
    ;= outer-sp: on the inner stack, above the parameters
    holds USER_STACK - 6, [DATA0 + 4]
    ;= outer-ss
    holds 0x23, [DATA0 + 6]
    ;= returned-sp
    holds USER_STACK, bx
    done
inner:
    mov bx, sp
    mov ax, [ss:bx + 8]
    mov [DATA0], ax
    mov [DATA0 + 2], cs
    mov ax, [ss:bx + 10]
    mov [DATA0 + 4], ax
    mov ax, [ss:bx + 12]
    mov [DATA0 + 6], ax
    xor ax, ax
    retf 6
    with_user 0x18, 0x20
    table
    desc 0, 0xffff, CODE_XR | DPL3
    desc 0, 0xfffff, DATA_RW | DPL3, BIG_ | GRAN
    desc TSS, 0x67, TSS_32
    gate CODE, inner, CALL_16 | DPL3, 3
    finish
