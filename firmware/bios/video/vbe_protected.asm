; INT 10h 4F0Ah: windows, display start and palette for callers in protected mode.
;
; Source: VESA BIOS Extension Core Functions 3.0, section 4.13.

; 0Ah: In: BL = 0. Out: ES:DI, CX: a table and code for protected mode, to be copied and called.

vbe_protected:
    cmp caller_bl, 0
    jne vbe_fails
    mov caller_es, cs
    mov caller_di, vbe_code
    mov caller_cx, vbe_code_end - vbe_code
    jmp vbe_done

    align 4
vbe_code:
    dw .window - vbe_code
    dw .start - vbe_code
    dw .palette - vbe_code
    dw 0                            ; no list of ports

    bits 32
; 05h: In: BX = 0, DX.
.window:
    push eax
    push edx
    mov eax, edx
    mov dx, DISPI_INDEX
    push eax
    mov ax, DISPI_BANK
    out dx, ax
    pop eax
    inc edx
    out dx, ax
    pop edx
    pop eax
    ret
; 07h: In: DX:CX, the first byte shown divided by 4.
.start:
    pushad
    movzx eax, cx
    shl edx, 16
    or eax, edx
    shl eax, 2
    mov ebx, eax
    mov dx, DISPI_INDEX
    mov ax, DISPI_BITS
    out dx, ax
    inc edx
    in ax, dx
    movzx ecx, ax
    add ecx, 7
    shr ecx, 3
    dec edx
    mov ax, DISPI_PITCH
    out dx, ax
    inc edx
    in ax, dx
    movzx esi, ax
    imul esi, ecx                   ; bytes of a line
    test esi, esi
    jz .done
    mov eax, ebx
    xor edx, edx
    div esi
    mov edi, eax                    ; line
    mov eax, edx
    xor edx, edx
    div ecx
    mov ebx, eax                    ; pixel
    mov dx, DISPI_INDEX
    mov ax, DISPI_X
    out dx, ax
    inc edx
    mov eax, ebx
    out dx, ax
    dec edx
    mov ax, DISPI_Y
    out dx, ax
    inc edx
    mov eax, edi
    out dx, ax
.done:
    popad
    ret
; 09h: In: CX, DX, ES:EDI as in real mode.
.palette:
    pushad
    mov eax, edx
    mov dx, VGA_DAC_WRITE
    out dx, al
    inc edx
    movzx ecx, cx
    jecxz .set
.color:
    mov al, [es:edi + 2]
    out dx, al
    mov al, [es:edi + 1]
    out dx, al
    mov al, [es:edi]
    out dx, al
    add edi, 4
    dec ecx
    jnz .color
.set:
    popad
    ret
vbe_code_end:
    bits 16
