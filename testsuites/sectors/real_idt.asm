; Real mode's own: the limit of the IDT, and instructions that do not exist there.
; modes: 0
; Source: SDM 3A 21.1.4 (interrupts; IDTR counts in real mode), 21.1.3; SDM 2.
%include "sector.inc"

    begin
    ;= lar
    try UD, lar cx, cx
    ;= sldt
    try UD, sldt cx
    ;= str
    try UD, str cx
    ;= verr
    try UD, verr cx
    ;= arpl
    try UD, arpl cx, cx
    ;= lldt
    try UD, lldt cx
    ;= ltr
    try UD, ltr cx
    ;= lgdt: exists
    try NONE, lgdt [gdtr]
    ;= smsw
    try NONE, smsw cx
    ;= clts
    try NONE, clts
    ;= sysenter
    try GP_REAL, sysenter
    ;= idt-limit: INT 31 is beyond
    lidt [idt]
    try GP_REAL, int 31
    ;= idt-limit-inside
    try VECTOR(6) & 0xffff, int 6
    done
gdtr:
    dw 7
    dd 0
idt:
    dw 31 * 4 - 1
    dd 0
    table
    finish
