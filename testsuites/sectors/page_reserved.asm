; Reserved bits of paging-structure entries, and fetches of what is missing, in long mode.
; modes: 64
; Source: SDM 3A 5.5.4 (4-level paging, reserved bits), 5.6, 5.7 (error code: RSVD, I/D).
%define PAGING
%include "sector.inc"

    begin
    mov byte [PT + 9 * 8 + 6], 0x08     ; bit 51, beyond MAXPHYADDR
    mov byte [PT + 10 * 8], 0
    ;= reserved-read
    try PF(9), mov cl, [0x9000]
    ;= reserved-write
    try PF(0xb), mov [0x9000], cl
    ;= fetch-missing
    try_at PF(0x10), 0xa000, jmp 0xa000
    ;= pml4-page-size: PS is reserved there
    mov byte [PML4 + 8], 0x87
    xor ecx, ecx
    bts rcx, 39
    try PF(9), mov al, [rcx]
    done
    table
    finish
