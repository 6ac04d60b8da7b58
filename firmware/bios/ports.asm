; Serial and parallel interfaces: INT 14h and INT 17h.
;
; Source: National Semiconductor PC16550D datasheet.

UART_DATA       equ 0
UART_INTERRUPTS equ 1
UART_LINE       equ 3
UART_MODEM      equ 4
UART_STATUS     equ 5
UART_MODEM_IN   equ 6
UART_SCRATCH    equ 7
UART_DIVISOR_ON equ 0x80            ; UART_LINE

; ports_find: which interfaces are there; the BIOS data area says it.
ports_find:
    mov si, .uarts
    mov di, Bda.com
    xor bx, bx                      ; how many
.uart:
    cs lodsw
    test ax, ax
    jz .uarts_done
    lea dx, [eax + UART_SCRATCH]
    mov al, 0x5a
    out dx, al
    in al, dx
    cmp al, 0x5a
    jne .uart
    mov al, 0xa5
    out dx, al
    in al, dx
    cmp al, 0xa5
    jne .uart
    sub dx, UART_SCRATCH
    mov [di], dx
    mov byte [bx + Bda.com_timeout], 1
    inc bx
    inc di
    inc di
    jmp .uart
.uarts_done:
    shl bx, 9
    or [Bda.equipment], bx
    mov di, Bda.lpt
    xor bx, bx
.printer:
    cs lodsw
    test ax, ax
    jz .done
    mov dx, ax
    mov al, 0xaa
    out dx, al
    in al, dx
    cmp al, 0xaa
    jne .printer
    mov [di], dx
    mov byte [bx + Bda.lpt_timeout], 0x14
    inc bx
    inc di
    inc di
    jmp .printer
.done:
    shl bx, 14
    or [Bda.equipment], bx
    ret
.uarts:
    dw 0x3f8, 0x2f8, 0x3e8, 0x2e8, 0
    dw 0x378, 0x278, 0

; ------------------------------------------------------------------------------------------------
; INT 14h. In: DX, which interface.

service int_14, serial_service

serial_service:
    mov si, caller_dx
    cmp si, 4
    jae .done
    add si, si
    mov dx, [si + Bda.com]
    test dx, dx
    jz .done
    shr si, 1
    dispatch .functions, 3, .done
.functions:
    dw serial_init, serial_send, serial_receive, serial_status
.done:
    ret

; 00h: In: AL: rate in bits 7 to 5, parity, stop bit, length. Out: AX, status.
serial_init:
    movzx bx, caller_al
    shr bx, 5
    add bx, bx
    mov cx, [cs:bx + FIXED_BAUD]
    add dx, UART_LINE
    mov al, UART_DIVISOR_ON
    out dx, al
    sub dx, UART_LINE
    mov al, cl
    out dx, al
    inc dx
    mov al, ch
    out dx, al
    add dx, UART_LINE - 1
    mov al, caller_al
    and al, 0x1f
    out dx, al
    sub dx, UART_LINE - UART_INTERRUPTS
    xor al, al
    out dx, al
    dec dx
; 03h: Out: AH, line status; AL, modem status.
serial_status:
    add dx, UART_STATUS
    in al, dx
    mov caller_ah, al
    inc dx
    in al, dx
    mov caller_al, al
    ret

; 01h: In: AL. Out: AH, line status; bit 7 if it took too long.
serial_send:
    push dx
    add dx, UART_MODEM
    mov al, 0x03                    ; DTR, RTS
    out dx, al
    inc dx
    mov ah, 0x20                    ; holding register empty
    call serial_wait
    pop dx
    jc serial_late
    mov ah, al
    mov al, caller_al
    out dx, al
    mov caller_ah, ah
    ret

; 02h: Out: AL; AH, line status.
serial_receive:
    push dx
    add dx, UART_STATUS
    mov ah, 0x01
    call serial_wait
    pop dx
    jc serial_late
    and al, 0x1e
    mov caller_ah, al
    in al, dx
    mov caller_al, al
    ret
serial_late:
    or al, 0x80
    mov caller_ah, al
    ret

; serial_wait: for a bit of the line status. In: DX, its port; AH, the bit; SI, the interface. Out:
; AL, the status; carry set if it does not come.
serial_wait:
    push ebx
    mov bx, ax
    mov al, [si + Bda.com_timeout]
    mov ah, 0
    imul ax, ax, 1000
    call timeout_start
.wait:
    in al, dx
    test al, bh
    jnz .done
    call timeout_check
    jnc .wait
.done:
    pop ebx
    ret

; ------------------------------------------------------------------------------------------------
; INT 17h. In: DX, which interface. Out: AH, status.

service int_17, printer_service

printer_service:
    mov si, caller_dx
    cmp si, 3
    jae .done
    add si, si
    mov dx, [si + Bda.lpt]
    test dx, dx
    jz .done
    dispatch .functions, 2, .done
.functions:
    dw printer_print, printer_init, printer_status
.done:
    ret

; 00h: In: AL.
printer_print:
    mov al, caller_al
    out dx, al
    inc dx
    xor cx, cx
.wait:
    in al, dx
    test al, 0x80                   ; not busy
    loopz .wait
    jz .late
    inc dx
    in al, dx
    or al, 1                        ; strobe
    out dx, al
    and al, ~1
    out dx, al
    sub dx, 2
    jmp printer_status
.late:
    and al, 0xf8
    xor al, 0x48
    or al, 1
    mov caller_ah, al
    ret

; 01h
printer_init:
    add dx, 2
    mov al, 0x08
    out dx, al
    mov ax, 1
    push dx
    call delay
    pop dx
    mov al, 0x0c
    out dx, al
    sub dx, 2
; 02h
printer_status:
    inc dx
    in al, dx
    and al, 0xf8
    xor al, 0x48
    mov caller_ah, al
    ret
