; NMIs, which the local APIC sends to itself: blocked from one's delivery to the next IRET.
; modes: 16
; Source: SDM 3A 7.7.1 (handling multiple NMIs), 7.8 (IF does not matter), 11.6.1 (ICR).
%include "sector.inc"

    begin
    mov ebx, 0xfee00300         ; ICR
    mov dword [ebx - 0x210], 0x1ff      ; SVR
    mov word [IDT + 2 * 8], nmi
    xor cx, cx
    xor di, di
    ;= taken: although IF is 0
    call send
    holds 1, cx
    ;= not-nested: with two more sent from the handler, its depth was never 2
    mov si, 2
    call send
    holds 1, dx
    ;= kept-one: one of them waited for IRET, the other is lost
    holds 3, cx
    ;= iret-unblocks: an IRET from anything within the handler does
    mov word [IDT + 2 * 8], nmi_returns
    call send
    holds 2, dx
    done
send:
    mov dword [ebx], 0x4400     ; to APIC ID 0: an NMI
    ret
nmi:
    inc di
    mov dx, di
    inc cx
.again:
    dec si
    js .enough
    call send
    jmp .again
.enough:
    dec di
    iretd
nmi_returns:
    inc di
    cmp di, 2
    je .done
    call send
    pushfd
    push dword CODE
    push dword .done
    iretd
.done:
    mov dx, di
    iretd
    table
    finish
