; Breakpoints on data and I/O: traps, behind the instruction.
; modes: 16
; Source: SDM 3B 18.2.4, 18.2.5 (lengths), 18.3.1.2 (data and I/O breakpoints).
%include "sector.inc"

%macro dr6_is 1
    call take_dr6
    is %1
%endmacro

    begin
    call take_dr6
    mov eax, DATA0
    mov dr0, eax
    mov al, (DATA0 + 8) & 0xff
    mov dr1, eax
    mov eax, 0x80
    mov dr2, eax
    mov al, 8                   ; DE
    mov cr4, eax
    mov eax, 0x02f5072a         ; 0: write, 2 bytes; 1: any access, 4 bytes; 2: port, 1 byte
    mov dr7, eax
    xor eax, eax
    ;= write
    try TRAP(1), mov [DATA0 + 1], cl
    ;= write-b0
    dr6_is 1
    ;= write-breakpoint-read: it does not care
    try NONE, mov cl, [DATA0]
    ;= read
    try TRAP(1), mov cl, [DATA0 + 11]
    ;= read-b1
    dr6_is 2
    ;= beside
    try NONE, mov [DATA0 + 12], ecx
    ;= overlap: a byte of four
    try TRAP(1), mov ecx, [DATA0 + 5]
    ;= overlap-b1
    dr6_is 2
    ;= port
    try TRAP(1), out 0x80, al
    ;= port-b2
    dr6_is 4
    ;= rep: after the iteration, with the count to go on with
    mov di, DATA0 - 2
    mov cx, 3
    try VECTOR(1), rep stosw
    ;= rep-cx
    holds 1, cx
    done
take_dr6:
    mov eax, dr6
    xor ecx, ecx
    mov dr6, ecx
    and ax, 0xe00f
    ret
    table
    finish
