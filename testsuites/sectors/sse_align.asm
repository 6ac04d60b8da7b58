; Operands of 16 bytes that must be aligned, whatever CR0.AM says.
; modes: 16 64
; Source: SDM 2, exceptions of MOVAPS, FXSAVE, MOVNTDQ, CMPXCHG16B: #GP(0).
%include "sector.inc"
%if MODE == 64
    %define xcx_ rcx
%else
    %define xcx_ ecx
%endif

    begin
    mov xcx_, cr4
    or ch, 6
    mov cr4, xcx_
    ;= movaps
    try GP(0), movaps xmm0, [DATA0 + 8]
    ;= movaps-aligned
    try NONE, movaps xmm0, [DATA0]
%if MODE == 16
    ;= movups
    try NONE, movups xmm0, [DATA0 + 1]
%endif
    ;= addps: an operand in memory
    try GP(0), addps xmm0, [DATA0 + 8]
    ;= movntdq
    try GP(0), movntdq [DATA0 + 8], xmm0
    ;= fxsave
    try GP(0), fxsave [DATA0 + 8]
    ;= scalar
    try NONE, addss xmm0, [DATA0 + 1]
%if MODE == 64
    ;= cmpxchg16b
    try GP(0), cmpxchg16b [DATA0 + 8]
%endif
    done
    table
    finish
