; Instructions of 15 bytes, and longer ones.
; modes: 0 16 64
; Source: SDM 2, 2.1; SDM 3A 7.15 (#GP: an instruction longer than 15 bytes).
%include "sector.inc"

%if MODE == 0
    %define TOO_LONG GP_REAL
%else
    %define TOO_LONG GP(0)
%endif

    begin
    ;= fifteen: 14 prefixes and NOP
    try NONE
    times 14 db 0x2e
    nop
    caught
    ;= sixteen
    try TOO_LONG
    times 15 db 0x2e
    nop
    caught
    ;= sixteen-with-operand: 12 prefixes, and an instruction of 4 bytes
    try TOO_LONG
    times 12 db 0x3e
    db 0x80, 0x7c, 0, 0         ; CMP [SI] in 16-bit code, [RAX+RAX] in 64-bit code
    caught
%if MODE == 64
    ;= rex-prefixes: count too
    try TOO_LONG
    times 15 db 0x48
    nop
    caught
%endif
    done
    table
    finish
