; Alignment checks of further operands at CPL 3.
; modes: 16
; Source: SDM 3A table 7-7 (alignment requirements by data type)
%include "sector.inc"

    begin
    task_register 0x28
    mov eax, cr0
    bts eax, 18                 ; AM
    mov cr0, eax
    xor eax, eax
    pushfd
    or byte [esp + 2], 4        ; AC
    popfd
    ;= bit-string: BT uses a word
    user AC, bt word [STACK + 1], 1
    ;= stack: PUSH at an odd SP
    user 17 | 2 << 5
    dec sp
    push ax
    caught
    ;= string: a word at an odd address
    mov si, 0x7001
    user AC, lodsw
    ;= string-si
    holds 0x7001, si
    ;= fpu-80-bits-at-4: extended reals want 8
    user AC, fld tword [STACK + 4]
    ;= cmpxchg8b
    user AC, cmpxchg8b [STACK + 4]
    done
    with_user 0x18, 0x20
    table
    desc 0, 0xffff, CODE_XR | DPL3
    desc 0, 0xfffff, DATA_RW | DPL3, BIG_ | GRAN
    desc TSS, 0x67, TSS_32
    finish
