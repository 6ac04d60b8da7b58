; Null selectors may be loaded into data segment registers, and not be used.
; modes: 16 32
; Source: SDM 3A 3.4.2, 6.4.1; SDM 2, MOV, POP, LSS, JMP, CALL, LLDT, LTR.
%include "sector.inc"

    begin
    ;= load
    mov ds, ax
    try NONE, mov es, ax
    mov es, ax
    ;= read
    try GP(0), mov cl, [es:0]
    ;= rpl-3: a null selector with an RPL is null as well
    mov cl, 3
    try NONE, mov es, cx
    mov es, cx
    ;= write
    try GP(0), mov [es:xbx], cl
    ;= ss: CPL is 0, and SS may be null in 64-bit mode only
    try GP(0), mov ss, ax
    ;= ss-rpl-3
    try GP(0), mov ss, cx
    push ax
    ;= pop-ss
    try GP(0), pop ss
    ;= far-jump
    try GP(0), jmp 0:0
    ;= far-call-rpl
    try GP(0), call 1:0
    ;= ltr
    try GP(0), ltr ax
    ;= lldt: a null LDT may be loaded
    try NONE, lldt ax
    ;= load-from-null-ldt: and a selector into it may not
    mov cl, 4
    try GP(4), mov es, cx
    done
    table
    finish
