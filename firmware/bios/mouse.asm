; The PS/2 mouse: INT 74h (IRQ 12) and INT 15h C2h.
;
; Source: IBM PS/2 BIOS Interface Technical Reference (pointing device interface).

MOUSE_DRIVER    equ 0x80            ; Ebda.mouse_flags
MOUSE_SIZE      equ 0x07

; mouse_init: Is there one?
mouse_init:
    cli
    mov byte [fs:Ebda.mouse_flags], 2
    mov al, 0x20
    call i8042_command
    call i8042_read
    jc .none
    mov ah, al
    mov al, 0xa8
    call i8042_command
    mov al, 0xf5                    ; no data
    call mouse_send
    jc .none
    mov al, 0x60
    call i8042_command
    mov al, CCB_KEYBOARD | CCB_MOUSE | CCB_SYSTEM | CCB_TRANSLATE
    call i8042_write
    mov cl, 12
    call irq_enable
    sti
    ret
.none:
    mov al, 0xa7
    call i8042_command
    and word [Bda.equipment], ~EQUIPMENT_MOUSE
    sti
    ret

; mouse_send: a byte to the mouse, with interrupts off. In: AL. Out: carry set if it is not
; acknowledged. Clobbers AX.
mouse_send:
    push ax
    mov al, 0xd4
    call i8042_command
    pop ax
    call i8042_write
.read:
    call i8042_read
    jc .done
    cmp al, KEYBOARD_ACK            ; what else is there was moved before
    jne .read
.done:
    ret

; ------------------------------------------------------------------------------------------------
; INT 74h: IRQ 12

int_74:
    push es
    push ds
    push fs
    push gs
    pushad
    call enter_service
    in al, I8042_STATUS
    and al, I8042_OUTPUT | I8042_AUX
    cmp al, I8042_OUTPUT | I8042_AUX
    jne .end
    in al, I8042_DATA
    test byte [fs:Ebda.mouse_flags], MOUSE_DRIVER
    jz .end
    movzx bx, byte [fs:Ebda.mouse_count]
    and bx, 7
    mov [fs:bx + Ebda.mouse_packet], al
    mov al, [fs:Ebda.mouse_flags]
    and al, MOUSE_SIZE
    cmp bl, al
    jae .packet
    inc bx
    mov [fs:Ebda.mouse_count], bl
.end:
    mov al, EOI
    out PIC_2, al
    out PIC_1, al
    jmp leave_service
.packet:
    mov byte [fs:Ebda.mouse_count], 0
    mov al, EOI
    out PIC_2, al
    out PIC_1, al
    movzx ax, byte [fs:Ebda.mouse_packet]
    push ax
    mov al, [fs:Ebda.mouse_packet + 1]
    push ax
    mov al, [fs:Ebda.mouse_packet + 2]
    push ax
    xor al, al
    cmp byte [fs:Ebda.mouse_flags], MOUSE_DRIVER | 3
    jb .no_wheel
    mov al, [fs:Ebda.mouse_packet + 3]
.no_wheel:
    push ax
    sti
    call far [fs:Ebda.mouse_driver]
    add sp, 8
    jmp leave_service

; ------------------------------------------------------------------------------------------------
; INT 15h C2h. Out: carry clear and AH = 0, or carry set and AH:

MOUSE_BAD_FUNCTION  equ 1
MOUSE_BAD_INPUT     equ 2
MOUSE_ERROR         equ 3
MOUSE_NO_DRIVER     equ 5

mouse_service:
    test word [Bda.equipment], EQUIPMENT_MOUSE
    mov ah, MOUSE_ERROR
    jz mouse_fails
    movzx bx, caller_al
    cmp bl, 7
    mov ah, MOUSE_BAD_FUNCTION
    ja mouse_fails
    mov byte [fs:Ebda.mouse_count], 0
    add bx, bx
    jmp [cs:bx + .functions]
.functions:
    dw mouse_enable, mouse_reset, mouse_rate, mouse_resolution
    dw mouse_type, mouse_initialize, mouse_extended, mouse_set_driver

mouse_fails:
    mov caller_ah, ah
    set_carry
    ret

; mouse_sent: ends a function. In: carry, whether the mouse did not answer.
mouse_sent:
    mov ah, MOUSE_ERROR
    jc mouse_fails
mouse_done:
    mov caller_ah, 0
    clear_carry
    ret

; 00h: In: BH, 0 off, 1 on.
mouse_enable:
    mov al, caller_bh
    cmp al, 1
    mov ah, MOUSE_BAD_INPUT
    ja mouse_fails
    jb .off
    test byte [fs:Ebda.mouse_flags], MOUSE_DRIVER
    mov ah, MOUSE_NO_DRIVER
    jz mouse_fails
    mov al, 0xf4
    call mouse_send
    jmp mouse_sent
.off:
    mov al, 0xf5
    call mouse_send
    jmp mouse_sent

; 05h: In: BH, bytes of a packet.
mouse_initialize:
    mov al, caller_bh
    dec al
    cmp al, 7
    mov ah, MOUSE_BAD_INPUT
    ja mouse_fails
    and byte [fs:Ebda.mouse_flags], MOUSE_DRIVER
    or [fs:Ebda.mouse_flags], al
; 01h: Out: BL = AAh, BH = 0.
mouse_reset:
    mov al, 0xff
    call mouse_send
    jc mouse_sent
    call i8042_read
    jc mouse_sent
    mov caller_bl, al
    call i8042_read
    jc mouse_sent
    mov caller_bh, al
    jmp mouse_done

; 02h: In: BH, samples a second, as a number from 0 to 6.
mouse_rate:
    movzx bx, caller_bh
    cmp bl, 6
    mov ah, MOUSE_BAD_INPUT
    ja mouse_fails
    mov ah, [cs:bx + .rates]
    mov al, 0xf3
    jmp mouse_set
.rates:
    db 10, 20, 40, 60, 80, 100, 200

; 03h: In: BH, dots a millimetre, as a power of two.
mouse_resolution:
    mov ah, caller_bh
    cmp ah, 3
    mov al, 0xe8
    jbe mouse_set
    mov ah, MOUSE_BAD_INPUT
    jmp mouse_fails

; mouse_set: In: AL, a command; AH, its parameter.
mouse_set:
    push ax
    call mouse_send
    pop ax
    jc mouse_sent
    mov al, ah
    call mouse_send
    jmp mouse_sent

; 04h: Out: BH.
mouse_type:
    mov al, 0xf2
    call mouse_send
    jc mouse_sent
    call i8042_read
    jc mouse_sent
    mov caller_bh, al
    jmp mouse_done

; 06h: In: BH, 0 status, 1 and 2 scaling. Out: BL, CL, DL.
mouse_extended:
    mov al, caller_bh
    cmp al, 2
    mov ah, MOUSE_BAD_INPUT
    ja mouse_fails
    test al, al
    jz .status
    add al, 0xe6 - 1
    call mouse_send
    jmp mouse_sent
.status:
    mov al, 0xe9
    call mouse_send
    jc mouse_sent
    call i8042_read
    jc mouse_sent
    mov caller_bl, al
    call i8042_read
    jc mouse_sent
    mov caller_cl, al
    call i8042_read
    jc mouse_sent
    mov caller_dl, al
    jmp mouse_done

; 07h: In: ES:BX, what is called with each packet; 0 for none.
mouse_set_driver:
    mov ax, caller_bx
    mov dx, caller_es
    mov [fs:Ebda.mouse_driver], ax
    mov [fs:Ebda.mouse_driver + 2], dx
    and byte [fs:Ebda.mouse_flags], MOUSE_SIZE
    or ax, dx
    jz mouse_done
    or byte [fs:Ebda.mouse_flags], MOUSE_DRIVER
    jmp mouse_done
