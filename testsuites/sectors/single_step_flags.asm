; Single-stepping: DR6, and instructions that transfer control or flags.
; modes: 0
; Source: SDM 3B 18.2.3 (DR6), 18.3.1.4; SDM 2, IRET, STI, ICEBP (INT1).
%include "sector.inc"

%macro steps 1
    %push
    %define %$want %1
    mov bp, %$end
    push word 0x102
    popf
%endmacro
%macro stepped 0
%$end:
    is %$want
    %pop
%endmacro

    begin
    mov word [4], step
    mov dr6, eax
    ;= sti: it holds up interrupts, not traps
    steps 3
    sti
    cli
    nop
    stepped
    ;= dr6-bs
    mov ecx, dr6
    and cx, 0xe00f
    holds 0x4000, cx
    ;= iret: which sets TF when TF is set
    steps 4
    push word 0x102
    push cs
    push word %$end
    iret
    stepped
    ;= far-jump
    steps 1
    jmp 0:%$end
    stepped
    ;= clts
    steps 1
    clts
    stepped
    xor ax, ax
    ;= in-out
    steps 2
    out 0x80, al
    nop
    stepped
    ;= lss: it does not inhibit
    steps 2
    lss sp, [stack]
    nop
    stepped
    ;= fault-in-between: the exception clears TF, and its return sets it again
    mov word [6 * 4], skip
    steps 1
    ud2
    nop
    stepped
    ;= icebp: a trap that leaves DR6 alone
    xor cx, cx
    mov dr6, ecx
    mov word [4], .icebp
    db 0xf1
.icebp:
    xor ax, ax
    mov sp, STACK
    mov ecx, dr6
    and cx, 0xe00f
    holds 0, cx
    done
stack:
    dw STACK, 0
skip:
    push bp
    mov bp, sp
    add word [bp + 2], 2
    pop bp
    iret
step:
    inc ax
    push bx
    mov bx, sp
    cmp [bx + 2], bp
    jb .on
    and byte [bx + 7], 0xfe
.on:
    pop bx
    iret
    table
    finish
