; SMEP and SMAP: what the supervisor must not do with the user's pages.
; modes: 64
; Source: SDM 3A 5.6.1 (access rights), 2.5 (CR4.SMEP, SMAP); SDM 2, STAC, CLAC.
%define PAGE_RIGHTS 3
%define CR4 0x300000
%define PAGING
%include "sector.inc"

    begin
    mov byte [PT + 8 * 8], 7
    ;= smap-read
    try PF(1), mov cl, [0x8000]
    ;= smap-write
    try PF(3), mov [0x8000], cl
    ;= smap-string
    mov esi, 0x8000
    try PF(1), lodsb
    ;= smep-fetch
    try_at PF(0x11), 0x8000, jmp 0x8000
    ;= supervisor-page
    try NONE, mov cl, [0x9000]
    done
    table
    finish
