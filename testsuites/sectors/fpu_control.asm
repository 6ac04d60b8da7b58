; CR0.EM, TS and MP: which instructions raise #NM or #UD.
; modes: 16 64
; Source: SDM 3A 2.5, table 2-2 (x87, WAIT); SDM 2, the exceptions of MMX and SSE (EM is #UD).
%include "sector.inc"

%macro cr0_bits 1
    mov xcx_, cr0
    and cl, 0xf1
    or cl, %1
    mov cr0, xcx_
%endmacro
%if MODE == 64
    %define xcx_ rcx
%else
    %define xcx_ ecx
%endif

    begin
    mov xcx_, cr4
    or ch, 2                    ; OSFXSR
    mov cr4, xcx_
    cr0_bits 8
    ;= ts-x87
    try NM, fnop
    ;= ts-wait: MP is 0
    try NONE, wait
    ;= ts-sse
    try NM, xorps xmm0, xmm0
    ;= ts-mmx
    try NM, emms
%if MODE == 16
    ;= ts-integer: PREFETCH, SFENCE and the like are no SSE
    try NONE, sfence
%endif
    cr0_bits 0x0a
    ;= ts-mp-wait
    try NM, wait
    cr0_bits 4
    ;= em-x87
    try NM, fnop
    ;= em-wait
    try NONE, wait
    ;= em-sse
    try UD, xorps xmm0, xmm0
%if MODE == 16
    ;= em-mmx
    try UD, emms
    cr0_bits 0x0c
    ;= em-ts-sse: #UD comes first
    try UD, xorps xmm0, xmm0
    cr0_bits 2
    mov xcx_, cr4
    and ch, 0xfd
    mov cr4, ecx
    ;= osfxsr: SSE without CR4.OSFXSR
    try UD, xorps xmm0, xmm0
    ;= osfxsr-mmx
    try NONE, emms
%endif
    done
    table
    finish
