; Error codes of page faults: present, write, user, reserved.
; modes: 16 32
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
    ;= read-missing
    try PF(0), mov cl, [0xa000]
    ;= write-missing
    try PF(2), mov [0xa000], cl
    ;= write-read-only-wp-0: the supervisor may, while CR0.WP is 0
    try NONE, mov [0x8000], cl
    mov ecx, cr0
    bts ecx, 16
    mov cr0, ecx
    ;= write-read-only-wp-1
    try PF(3), mov [0x8000], cl
%if MODE == 16
    ;= modify-read-only
    try PF(3), inc byte [0x8000]
%endif
    ;= locked-read-only
    try PF(3), lock inc byte [0x8000]
%if MODE == 16
    ;= bit-test-read-only: BTS writes always
    try PF(3), bts word [0x8000], 0
%endif
    ;= string-read-only
    mov xdi, 0x8000
    try PF(3), stosb
    ;= fetch-missing
    try_at PF(0), 0xa000, jmp 0xa000
    done
    table
    finish
