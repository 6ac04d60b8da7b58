; Values that control and model-specific registers refuse in 64-bit mode.
; modes: 64
; Source: SDM 2, MOV to control and debug registers, WRMSR, RDMSR; SDM 3A 2.5, 10.8.5.
%include "sector.inc"

    begin
    ;= cr0-high
    mov rcx, cr0
    bts rcx, 32
    try GP(0), mov cr0, rcx
    ;= dr7-high
    try GP(0), mov dr7, rcx
    ;= dr6-high
    try GP(0), mov dr6, rcx
    ;= cr8-high: it has 4 bits
    mov cl, 0x10
    movzx ecx, cl
    try GP(0), mov cr8, rcx
    ;= lme: cannot be changed while paging
    mov ecx, 0xc0000080
    xor edx, edx
    try GP(0), wrmsr
    ;= cr3-high: beyond MAXPHYADDR
    xor ecx, ecx
    bts rcx, 60
    try GP(0), mov cr3, rcx
    ;= pae-off
    xor ecx, ecx
    try GP(0), mov cr4, rcx
    ;= paging-off: CR0.PG cannot be cleared in 64-bit mode
    mov ecx, 0x11
    try GP(0), mov cr0, rcx
    done
    table
    finish
