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
    ;= rpl-inner: CS with an RPL below CPL cannot be, so here its DPL is wrong
    fails GP(0x18), 0x19, 0x23
    ;= data
    fails GP(DATA), DATA | 3, 0x23
    ;= not-present
    fails NP(0x30), 0x33, 0x23
    ;= ss-null
    fails GP(0), 0x1b, 0
    ;= ss-rpl
    fails GP(0x20), 0x1b, 0x22
    ;= ss-dpl
    fails GP(DATA), 0x1b, DATA | 3
    ;= ss-not-present
    fails SS(0x38), 0x1b, 0x3b
    done
    table
    desc 0, 0xffff, CODE_XR | DPL3
    desc 0, 0xfffff, DATA_RW | DPL3, BIG_ | GRAN
    desc TSS, 0x67, TSS_32
    desc 0, 0xffff, CODE_XR & 0x7f | DPL3
    desc 0, 0xffff, DATA_RW & 0x7f | DPL3
    finish
