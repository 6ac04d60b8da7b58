; Values that control registers refuse.
; modes: 16 32
; Source: SDM 2, MOV to control registers; SDM 3A 2.5 (CR0: PG without PE, NW without CD).
%include "sector.inc"

    begin
    mov ecx, cr0
    mov ebx, ecx
    ;= nw-without-cd
    mov ecx, 0x20000011
    try GP(0), mov cr0, ecx
    ;= cr0-reserved: a reserved bit below 32 is ignored
    lea ecx, [ebx + 0x40]
    try NONE, mov cr0, ecx
    ;= cr0-reserved-reads-0
    mov ecx, cr0
    and cx, 0x40
    holds 0, cx
    ;= et: is always 1
    lea ecx, [ebx - 0x10]
    mov cr0, ecx
    mov ecx, cr0
    and cx, 0x10
    holds 0x10, cx
    ;= cr1
    try UD, db 0x0f, 0x22, 0xc9
%if MODE == 16
    ;= cr5
    try UD, db 0x0f, 0x22, 0xe9
%endif
    ;= lmsw-keeps-pe: LMSW cannot clear PE
    xor cx, cx
    lmsw cx
    smsw cx
    and cx, 1
    holds 1, cx
    ;= dr4-without-de: is DR6
    mov dr4, eax
    try NONE, mov ecx, dr4
    ;= unknown-msr
    mov ecx, 0x12345678
    try GP(0), rdmsr
    ;= cr4-reserved
    mov ecx, 0x80000000
    try GP(0), mov cr4, ecx
    ;= pg-without-pe
    mov ecx, 0x80000010
    try GP(0), mov cr0, ecx
    done
    table
    finish
