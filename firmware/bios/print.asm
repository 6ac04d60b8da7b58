; Messages, on the screen and on the debug console.

; debug_find: a debug console reads as its own port number (Bochs).
debug_find:
    in al, DEBUG_CONSOLE
    cmp al, DEBUG_CONSOLE
    sete [fs:Ebda.has_debug]
    ret

; print: In: CS:SI, a zero-terminated text. Clobbers SI.
print:
    push es
    push cs
    pop es
    call print_es
    pop es
    ret

; print_es: In: ES:SI, a zero-terminated text. Clobbers SI.
print_es:
    push ax
.next:
    es lodsb
    test al, al
    jz .done
    call print_char
    jmp .next
.done:
    pop ax
    ret

; print_char: In: AL.
print_char:
    pusha
    cmp byte [fs:Ebda.has_debug], 0
    je .screen
    out DEBUG_CONSOLE, al
.screen:
    mov ah, 0x0e
    mov bx, 7
    int 0x10
    popa
    ret

; print_hex: In: AL.
print_hex:
    push ax
    push ax
    shr al, 4
    call .digit
    pop ax
    call .digit
    pop ax
    ret
.digit:
    and al, 0x0f
    cmp al, 10
    sbb al, 0x69
    das
    jmp print_char

; print_decimal: In: AX.
print_decimal:
    pusha
    mov bx, 10
    xor cx, cx
.divide:
    xor dx, dx
    div bx
    push dx
    inc cx
    test ax, ax
    jnz .divide
.print:
    pop ax
    add al, '0'
    call print_char
    loop .print
    popa
    ret
