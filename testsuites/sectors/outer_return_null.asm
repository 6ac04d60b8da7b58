; Returns to an outer level: what is checked, and which segments become null.
; modes: 16
; Source: SDM 2, RET (far, to outer privilege level), IRET; SDM 3A 6.8.6.
%include "sector.inc"

    begin
    task_register 0x28
%macro fails 3
    mov bp, %%next
    push byte %3
    push word USER_STACK
    push byte %2
    push word %%next
%%insn:
    retf
%%next:
    fault_is %1, 1
%endmacro
    ;= nulls-segments: DS had DPL 0, ES DPL 3, FS is conforming code
    push byte 0x23
    pop es
    push byte 0x40
    pop fs
    mov bp, next
    push byte 0x23
    push word USER_STACK
    push byte 0x1b
    push word user_code
    retf
user_code:
    mov bx, ds
    mov cx, fs
    mov [es:DATA0], bx
    mov bx, es
    hlt
next:
    fault_is HLT_USER, 1
    ;= nulled-ds
    holds 0, [DATA0]
    ;= kept-es
    holds 0x23, bx
    ;= kept-conforming
    holds 0x40, cx
    done
    table
    desc 0, 0xffff, CODE_XR | DPL3
    desc 0, 0xfffff, DATA_RW | DPL3, BIG_ | GRAN
    desc TSS, 0x67, TSS_32
    desc 0, 0xffff, CODE_XR & 0x7f | DPL3
    desc 0, 0xffff, DATA_RW & 0x7f | DPL3
    desc 0, 0xffff, CODE_CXR
    finish
