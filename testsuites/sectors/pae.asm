; PAE paging in 32-bit code: reserved bits of PDPTEs are found when CR3 is loaded, those of other
; entries when they are used.
; modes: 16
; Source: SDM 3A 5.4.1 (PDPTE registers: #GP), 5.4.2, 5.7.
%define PAGING
%define CR0 0
%include "sector.inc"
%macro paging 0
    mov word [PDPT], PD | 1
    mov word [PD], PT | 7
    pages_8
    mov eax, PDPT
    mov cr3, eax
    mov ax, 0x20
    mov cr4, eax
    mov byte [PT + 9 * 8 + 7], 0x40     ; bit 62 is reserved
    mov byte [PD + 8], 0xe7             ; 2 MiB
    mov byte [PD + 9], 0x20             ; bit 13 is reserved
%endmacro

    begin
    ;= reserved-read
    try PF(9), mov cl, [0x9000]
    ;= large-page-reserved
    try PF(9), mov cl, [dword 0x200000]
    ;= pdpte-missing
    try PF(0), mov cl, [dword 0x40000000]
    mov ecx, cr3
    ;= pdpte-changed: is not looked at before CR3 is loaded
    or byte [PDPT], 2
    try NONE, mov bl, [0x8000]
    ;= pdpte-reserved: R/W is reserved in a PDPTE
    try GP(0), mov cr3, ecx
    and byte [PDPT], 0xfd
    ;= pdpte-good
    try NONE, mov cr3, ecx
    mov byte [PDPT + 8], 6
    ;= pdpte-not-present: has no reserved bits
    try NONE, mov cr3, ecx
    ;= accessed: a PDPTE has no A bit
    holds PD | 1, [PDPT]
    ;= xd-without-nxe: bit 63 is reserved
    mov byte [PT + 8 * 8 + 7], 0x80
    mov cr3, ecx
    try PF(9), mov bl, [0x8000]
    done
    table
    finish
