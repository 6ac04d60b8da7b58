; Pops and the like beyond the limit of the stack segment, which is 6FFFh; the frame that delivers
; the exception still fits.
; modes: 16 32
; Source: SDM 3A 6.3, 7.15 (#SS(0)); SDM 2, POP, POPA, POPF, LEAVE, ENTER, RET, IRET, LSS.
%include "sector.inc"

    begin
%macro small 1
    push byte 0x18
    pop ss
    mov sp, %1
%endmacro
    small 0x7000
    ;= pop
    try SS(0), pop cx
    small 0x6ffe
    ;= popa-partly: the second word is missing
    try SS(0), popa
%if MODE == 16
    small 0x7000
    ;= popf
    try SS(0), popf
    small 0x7000
    ;= ret
    try SS(0), ret
%endif
    small 0x6ffe
    ;= ret-far
    try SS(0), retf
    small 0x6ffc
    ;= iret
    try SS(0), iret
    small 0x6f00
    ;= leave: the frame is beyond the limit
    try SS(0), leave
    small 0x6f00
    ;= enter-nested: reads the frame pointers of the caller
    try SS(0), enter 0, 2
%if MODE == 16
    ;= bp-default: BP addresses the stack segment
    small 0x6f00
    try SS(0), mov cl, [xbp]
%endif
    ;= sp-default
    small 0x6f00
    try SS(0), mov cl, [esp + 0x100]
    done
    table
%if MODE == 32
    desc 0, 0x6fff, DATA_RW, BIG_
%else
    desc 0, 0x6fff, DATA_RW
%endif
    finish
