; LOCK, where it is allowed and where it is #UD.
; modes: 0 16 64
; Source: SDM 2, LOCK: only ADD, ADC, AND, BTC, BTR, BTS, CMPXCHG, CMPXCHG8B, DEC, INC, NEG, NOT, OR,
; SBB, SUB, XOR, XADD and XCHG with a destination in memory.
%include "sector.inc"

    begin
    ;= nop
    try UD, db 0xf0, 0x90
    ;= register: the destination is not memory
    try UD, db 0xf0, 0x01, 0xc9
    ;= load
    try UD, db 0xf0, 0x8b, 0x0f
    ;= add-to-register: a memory operand that is the source
    try UD, db 0xf0, 0x03, 0x0f
    ;= cmp
    try UD, db 0xf0, 0x39, 0x0f
    ;= test
    try UD, db 0xf0, 0x85, 0x0f
    ;= bit-test: BT writes nothing
    try UD, db 0xf0, 0x0f, 0xa3, 0x0f
    ;= shift
    try UD, db 0xf0, 0xd1, 0x27
%if MODE == 0 || MODE == 16
    ;= move-string
    try UD, db 0xf0, 0xa4
    ;= jump
    try UD, db 0xf0, 0xeb, 0
    ;= xchg-register
    try UD, db 0xf0, 0x87, 0xc9
%endif
    ;= xchg-memory
    try NONE, lock xchg [DATA0], cx
    ;= not-memory
    try NONE, lock not word [DATA0]
    done
    table
    finish
