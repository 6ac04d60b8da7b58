; SMAP while EFLAGS.AC is set.
; modes: 64
; Source: SDM 3A 5.6.1 (access rights), 2.5 (CR4.SMEP, SMAP); SDM 2, STAC, CLAC.
%define PAGE_RIGHTS 3
%define CR4 0x300000
%define PAGING
%include "sector.inc"

    begin
    mov byte [PT + 8 * 8], 7
    ;= stac
    stac
    try NONE, mov cl, [0x8000]
    ;= stac-smep: AC does not help a fetch
    try_at PF(0x11), 0x8000, jmp 0x8000
    ;= clac
    clac
    try PF(1), mov cl, [0x8000]
    done
    table
    finish
