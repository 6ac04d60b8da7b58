; The interrupt vectors, the way into services and out, and what becomes of interrupts that nobody
; takes.

; enter_service: see bios.inc. The macro `service` has pushed everything; this is called by it.
enter_service:
    mov bp, sp
    add bp, 2                       ; our own return address
    cld
    push BDA_SEGMENT
    pop ds
    mov fs, [Bda.ebda]
    ret

; leave_service: gives the caller its registers, as changed in the frame.
leave_service:
    popad
    pop gs
    pop fs
    pop ds
    pop es
    iret

; set_vectors: all 256.
set_vectors:
    xor ax, ax
    mov es, ax
    xor di, di
    mov cx, 0x78
.ignored:
    mov ax, ignored
    stosw
    mov ax, BIOS_SEGMENT
    stosw
    loop .ignored
    mov cx, 2 * (0x100 - 0x78)      ; the rest is programs'
    xor ax, ax
    rep stosw
    mov si, .vectors
.next:
    cs lodsb
    cmp al, 0xff
    je .done
    movzx di, al
    shl di, 2
    cs lodsw
    stosw
    jmp .next
.done:
    ret
%macro vector 2
    db %1
    dw %2
%endmacro
.vectors:
    vector 0x02, FIXED_NMI
    vector 0x05, FIXED_PRINT_SCREEN
    vector 0x08, FIXED_TIMER
    vector 0x09, FIXED_KEYBOARD_IRQ
    vector 0x0a, irq_ignored
    vector 0x0b, irq_ignored
    vector 0x0c, irq_ignored
    vector 0x0d, irq_ignored
    vector 0x0e, FIXED_FLOPPY_IRQ
    vector 0x0f, irq_ignored
    vector 0x10, FIXED_VIDEO
    vector 0x11, FIXED_EQUIPMENT
    vector 0x12, FIXED_MEMORY_SIZE
    vector 0x13, FIXED_DISK
    vector 0x14, FIXED_SERIAL
    vector 0x15, FIXED_SYSTEM
    vector 0x16, FIXED_KEYBOARD
    vector 0x17, FIXED_PRINTER
    vector 0x18, int_18
    vector 0x19, FIXED_BOOT
    vector 0x1a, FIXED_CLOCK
    vector 0x1d, FIXED_VIDEO_TABLE
    vector 0x1e, FIXED_FLOPPY_TABLE
    vector 0x1f, font_8x8 + 128 * 8
    vector 0x40, FIXED_FLOPPY
    vector 0x42, FIXED_VIDEO
    vector 0x43, font_8x8
    vector 0x70, int_70
    vector 0x71, int_71
    vector 0x72, irq_ignored
    vector 0x73, irq_ignored
    vector 0x74, int_74
    vector 0x75, int_75
    vector 0x76, int_76
    vector 0x77, irq_ignored
    db 0xff

; ignored: software interrupts and exceptions.
ignored:
    iret

; irq_ignored: an interrupt for which there is no driver: it is masked, as it would come back, and
; its bit kept at 40h:6Bh.
irq_ignored:
    push ax
    push ds
    push BDA_SEGMENT
    pop ds
    mov al, 0x0b                    ; which one is in service
    out PIC_1, al
    in al, PIC_1
    test al, al
    jz .spurious
    mov ah, al
    test al, 1 << 2
    jz .master
    mov al, 0x0b
    out PIC_2, al
    in al, PIC_2
    test al, al
    jz .end_1
    mov ah, al
    in al, PIC_2 + 1
    or al, ah
    out PIC_2 + 1, al
    mov al, EOI
    out PIC_2, al
    jmp .end_1
.master:
    in al, PIC_1 + 1
    or al, ah
    out PIC_1 + 1, al
.end_1:
    mov al, EOI
    out PIC_1, al
    mov [Bda.spurious], ah
    jmp .done
.spurious:
    mov byte [Bda.spurious], 0xff
.done:
    pop ds
    pop ax
    iret

; int_71: IRQ 9, which was IRQ 2 on the first PC.
int_71:
    push ax
    mov al, EOI
    out PIC_2, al
    pop ax
    int 0x0a
    iret

; int_75: IRQ 13, an x87 error: handled as an NMI by programs.
int_75:
    push ax
    xor al, al
    out 0xf0, al                    ; releases BUSY#
    mov al, EOI
    out PIC_2, al
    out PIC_1, al
    pop ax
    int 0x02
    iret

; int_76: IRQ 14, disks: notes it where INT 13h of old looked.
int_76:
    push ax
    push ds
    push BDA_SEGMENT
    pop ds
    mov byte [Bda.disk_interrupt], 0xff
    mov al, EOI
    out PIC_2, al
    out PIC_1, al
    pop ds
    pop ax
    iret
