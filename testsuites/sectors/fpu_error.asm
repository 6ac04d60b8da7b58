; Unmasked exceptions of the x87 with CR0.NE, and of SSE.
; modes: 16
; Source: SDM 1, 8.7 (x87 exceptions are raised by the next waiting instruction), 11.5; SDM 3A 7.15
; (#MF, #XM).
%include "sector.inc"
%if MODE == 64
    %define xcx_ rcx
%else
    %define xcx_ ecx
%endif

    begin
    mov xcx_, cr0
    or cl, 0x22                 ; NE, MP
    mov cr0, xcx_
    mov xcx_, cr4
    or ch, 6                    ; OSXMMEXCPT, OSFXSR
    mov cr4, xcx_
    fninit
    fldz
    fld1
    fnstcw [DATA0]
    and byte [DATA0], 0xfb      ; division by zero
    fldcw [DATA0]
    ;= division: does not fault itself
    try NONE, fdiv st1
    ;= next-waiting
    try MF, fld1
    ;= wait
    try MF, wait
    ;= not-waiting
    try NONE, fnstsw [DATA0 + 2]
    ;= status: ZE, and ES with B
    mov cx, [DATA0 + 2]
    and cx, 0x8084
    holds 0x8084, cx
    fnclex
    ;= cleared
    try NONE, wait
    ;= sse-division: SSE faults at once
    mov word [DATA0 + 4], 0x1d80
    ldmxcsr [DATA0 + 4]
    xorps xmm0, xmm0
    pcmpeqw xmm1, xmm1
    pslld xmm1, 25
    psrld xmm1, 2
    try VECTOR(19), divss xmm1, xmm0
    ;= mxcsr-reserved
    mov byte [DATA0 + 7], 1
    try GP(0), ldmxcsr [DATA0 + 4]
    done
    table
    finish
