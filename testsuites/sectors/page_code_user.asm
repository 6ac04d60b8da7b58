; Error codes of page faults at CPL 3.
; modes: 16
; Source: SDM 3A 5.7 (page-fault error code), 5.6 (access rights), CR0.WP in 2.5.
%define PAGING
%include "sector.inc"
%macro paging 0
    pages_4
    mov word [PT + 8 * 4], 0x8005       ; user, read only
    mov word [PT + 9 * 4], 0x9003       ; supervisor
    mov byte [PT + 10 * 4], 0
%endmacro

    begin
    task_register 0x28
    ;= user-read-missing
    user PF(4), mov cl, [0xa000]
    ;= user-write-missing
    user PF(6), mov [0xa000], cl
    ;= user-read-supervisor
    user PF(5), mov cl, [0x9000]
    ;= user-write-supervisor
    user PF(7), mov [0x9000], cl
    ;= user-write-read-only
    user PF(7), mov [0x8000], cl
    ;= user-read-read-only
    user HLT_USER, mov cl, [0x8000]
    done
    with_user 0x18, 0x20
    table
    desc 0, 0xffff, CODE_XR | DPL3
    desc 0, 0xffff, DATA_RW | DPL3
    desc TSS, 0x67, TSS_32
    finish
