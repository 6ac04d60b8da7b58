; RF in the flags that events push.
; modes: 16 32
; Source: SDM 3B 18.3.1.1: 1 for faults, and for traps and interrupts between iterations of a
; string instruction; 0 for INT n, INT3, INTO and traps behind an instruction; RF is cleared by the
; instruction that follows.
%define WITH_FRAME
%include "sector.inc"

%macro rf_is 1
    holds %1, [FRAME + 10]
%endmacro

    begin
    ;= ud
    try UD, ud2
    ;= ud-rf
    rf_is 1
    ;= int3
    try TRAP(3), int3
    ;= int3-rf
    rf_is 0
    ;= gp
    try GP(0), mov ss, ax
    ;= gp-rf
    rf_is 1
%if MODE == 16
    ;= int-n
    try TRAP(31), int 31
    ;= int-n-rf
    rf_is 0
%endif
    mov ax, DATA0
    mov dr0, eax
    mov eax, 0x10302
    mov dr7, eax
    xor ax, ax
    ;= data-breakpoint
    try TRAP(1), mov [DATA0], ax
    ;= data-breakpoint-rf
    rf_is 0
    ;= rep-breakpoint: in the middle, with two more to do
    mov xdi, DATA0
    mov cx, 3
    try VECTOR(1), rep stosb
    ;= rep-breakpoint-rf
    rf_is 1
    done
    table
    finish
