; Pages that must not be executed.
; modes: 64
; Source: SDM 3A 5.5.4 (4-level paging, reserved bits), 5.6, 5.7 (error code: RSVD, I/D).
%define PAGING
%include "sector.inc"

    begin
    mov byte [PT + 8 * 8 + 7], 0x80     ; XD
    ;= execute-disable: present, a fetch
    try_at PF(0x11), 0x8000, jmp 0x8000
    ;= execute-disable-cr2
    mov rcx, cr2
    holds 0x8000, cx
    ;= execute-disable-read
    try NONE, mov cl, [0x8000]
    ;= directory: XD of an entry of a directory holds for its pages
    mov byte [PT + 8 * 8 + 7], 0
    mov dword [PD + 8], PT | 7
    or byte [PD + 8 + 7], 0x80
    try_at PF(0x11), 0x208000, jmp 0x208000
    done
    table
    finish
