; Floppy drives: 82077 and channel 2 of the 8237; INT 13h for drives 0 and 1, INT 0Eh (IRQ 6).
;
; Sources: Intel 82077AA datasheet, chapter 5; Intel 8237A datasheet; IBM PS/2 BIOS Interface
; Technical Reference (INT 13h, diskette parameter table).

FDC_STATUS          equ 0x3f4
FDC_DATA            equ 0x3f5
FDC_RATE            equ 0x3f7

FDC_DOR_RESET       equ 0x00
FDC_READY           equ 0x80        ; FDC_STATUS
FDC_TO_HOST         equ 0x40

FDC_SPECIFY         equ 0x03
FDC_WRITE           equ 0xc5        ; both sides, MFM
FDC_READ            equ 0xe6        ; and without deleted data
FDC_RECALIBRATE     equ 0x07
FDC_SENSE           equ 0x08
FDC_FORMAT          equ 0x4d
FDC_SEEK            equ 0x0f

DMA_ADDRESS_2       equ 0x04
DMA_COUNT_2         equ 0x05
DMA_MASK            equ 0x0a
DMA_MODE            equ 0x0b
DMA_FLIP_FLOP       equ 0x0c
DMA_PAGE_2          equ 0x81
DMA_MASTER_MASK     equ 0xde        ; of the second 8237, which the first is behind

DMA_TO_MEMORY       equ 0x46        ; single, channel 2
DMA_FROM_MEMORY     equ 0x4a
DMA_VERIFY          equ 0x42

FLOPPY_DMA          equ 0x08        ; status: DMA overrun
FLOPPY_BOUNDARY     equ 0x09        ; across 64 KiB
FLOPPY_CHANGED      equ 0x06

FLOPPY_INTERRUPT    equ 0x80        ; Bda.floppy_ready
MOTOR_TICKS         equ 37

; Kinds of drives, as in the CMOS: their cylinders less 1 and sectors, and the data rate.
floppy_kinds:
    db 0, 0, 0, 0
    db 39, 9, 2, 1                  ; 360 KiB
    db 79, 15, 0, 2                 ; 1.2 MiB
    db 79, 9, 2, 3                  ; 720 KiB
    db 79, 18, 0, 4                 ; 1.44 MiB
    db 79, 36, 3, 6                 ; 2.88 MiB, called 5 or 6
    db 79, 36, 3, 6

; floppy_find: how many drives there are, which the CMOS knows.
floppy_find:
    call cmos_floppies
    xor cl, cl
    mov bl, al
    shr bl, 4
    jz .second
    inc cl
.second:
    test al, 0x0f
    jz .count
    inc cl
.count:
    mov [fs:Ebda.floppies], cl
    test cl, cl
    jz .done
    dec cl
    shl cl, 6
    or cl, EQUIPMENT_FLOPPY
    or [Bda.equipment], cl
    mov byte [Bda.floppy_kinds], 0x77
    mov cl, 6
    jmp irq_enable
.done:
    ret

; cmos_floppies: Out: AL, kinds of drives 0 (upper half) and 1.
cmos_floppies:
    mov al, CMOS_FLOPPIES
    jmp cmos_read

; floppy_kind: In: DL, drive. Out: BX (of CS), its row of floppy_kinds; AL, its kind, 0 and ZF for
; none.
floppy_kind:
    call cmos_floppies
    cmp dl, 1
    ja .none
    je .second
    shr al, 4
.second:
    and al, 0x0f
    cmp al, 6
    ja .none
    movzx bx, al
    shl bx, 2
    add bx, floppy_kinds
    test al, al
    ret
.none:
    xor al, al
    ret

; INT 0Eh: IRQ 6
int_0e:
    push ax
    push ds
    push BDA_SEGMENT
    pop ds
    or byte [Bda.floppy_ready], FLOPPY_INTERRUPT
    mov al, EOI
    out PIC_1, al
    pop ds
    pop ax
    iret

; ------------------------------------------------------------------------------------------------
; INT 13h, drives 0 and 1; INT 40h is the same.

service int_40, floppy_of_caller
floppy_of_caller:
    sti
    mov dl, caller_dl

; floppy_service: In: DL, the drive.
floppy_service:
    mov al, caller_ah
    mov si, floppy_functions
    jmp by_code

floppy_functions:
    code 0x00, floppy_resets
    code 0x01, floppy_last
    code 0x02, floppy_reads
    code 0x03, floppy_writes
    code 0x04, floppy_verifies
    code 0x05, floppy_formats
    code 0x08, floppy_parameters
    code 0x15, floppy_what
    code 0x16, floppy_change
    code 0x17, floppy_fine
    code 0x18, floppy_set_media
    code 0xff, floppy_bad

floppy_bad:
    mov ah, DISK_BAD_COMMAND
    jmp floppy_ends
floppy_fine:
    mov ah, DISK_OK
; floppy_ends: In: AH.
floppy_ends:
    mov caller_ah, ah
    mov [Bda.floppy_status], ah
    clear_carry
    test ah, ah
    jz .done
    set_carry
.done:
    ret

; 00h
floppy_resets:
    cmp byte [fs:Ebda.floppies], 0
    je floppy_fine
    call floppy_reset
    jmp floppy_ends

; 01h
floppy_last:
    mov ah, [Bda.floppy_status]
    jmp floppy_ends

; 08h: Out: BL, kind; CH, CL, DH, the last cylinder, sector and head; DL, drives; ES:DI, a table.
floppy_parameters:
    mov al, [fs:Ebda.floppies]
    mov caller_dl, al
    mov caller_ax, 0
    mov caller_bx, 0
    mov caller_cx, 0
    mov caller_dh, 0
    call floppy_kind
    jz floppy_fine
    mov ax, [cs:bx]
    xchg al, ah
    mov caller_cx, ax
    mov al, [cs:bx + 3]
    mov caller_bl, al
    mov caller_dh, 1
    mov caller_es, BIOS_SEGMENT
    mov caller_di, FIXED_FLOPPY_TABLE
    jmp floppy_fine

; 15h: Out: AH, 1: a drive that does not tell of changes.
floppy_what:
    call floppy_kind
    mov ah, 0
    jz .there
    inc ah
.there:
    mov caller_ah, ah
    clear_carry
    ret

; 16h: Was the medium changed? Nobody knows.
floppy_change:
    mov ah, FLOPPY_CHANGED
    jmp floppy_ends

; 18h: In: CH, CL, the medium. Out: ES:DI.
floppy_set_media:
    call floppy_kind
    mov ah, 0x80
    jz floppy_ends
    mov caller_es, BIOS_SEGMENT
    mov caller_di, FIXED_FLOPPY_TABLE
    jmp floppy_fine

; 02h to 05h: In: AL, sectors; CH, CL, DH, where; ES:BX. Out: AL, sectors moved.
floppy_reads:
    mov cx, DMA_TO_MEMORY << 8 | FDC_READ
    jmp floppy_moves
floppy_writes:
    mov cx, DMA_FROM_MEMORY << 8 | FDC_WRITE
    jmp floppy_moves
floppy_verifies:
    mov cx, DMA_VERIFY << 8 | FDC_READ
    jmp floppy_moves
floppy_formats:
    mov cx, DMA_FROM_MEMORY << 8 | FDC_FORMAT

; floppy_moves: In: CL, command; CH, DMA mode; DL, drive.
floppy_moves:
    call floppy_kind
    mov ah, DISK_TIMEOUT
    jz .ends
    mov [fs:Ebda.floppy_command], cl
    mov [fs:Ebda.floppy_mode], ch
    mov [fs:Ebda.floppy_drive], dl
    call .check
    jc .ends
    call floppy_dma
    jc .ends
    call floppy_start
    jc .ends
    call floppy_command
.ends:
    mov al, caller_al
    test ah, ah
    jz .count
    xor al, al
.count:
    mov caller_al, al
    mov byte [Bda.floppy_timeout], MOTOR_TICKS
    jmp floppy_ends
; Do the numbers make sense?
.check:
    mov ah, DISK_BAD_COMMAND
    mov al, caller_al
    test al, al
    jz .no
    cmp caller_dh, 1
    ja .no
    cmp byte [fs:Ebda.floppy_command], FDC_FORMAT
    je .yes
    mov al, caller_cl
    test al, al
    jz .no
    mov ah, DISK_NOT_FOUND
    cmp al, [cs:bx + 1]
    ja .no
    mov al, caller_ch
    cmp al, [cs:bx]
    ja .no
.yes:
    clc
    ret
.no:
    stc
    ret

; floppy_dma: channel 2 moves the sectors. In: the caller's AL, ES:BX. Out: AH, carry.
floppy_dma:
    movzx ecx, caller_al
    shl ecx, 9
    cmp byte [fs:Ebda.floppy_command], FDC_FORMAT
    jne .sectors
    shr ecx, 7                      ; four bytes for each sector
.sectors:
    dec ecx
    movzx eax, caller_es
    shl eax, 4
    movzx edx, caller_bx
    add eax, edx
    cmp byte [fs:Ebda.floppy_mode], DMA_VERIFY
    je .inside
    movzx edx, ax
    add edx, ecx
    shr edx, 16
    jz .inside
    mov ah, FLOPPY_BOUNDARY
    stc
    ret
.inside:
    mov ebx, eax
    cli
    write_port DMA_MASK, 0x06
    out DMA_FLIP_FLOP, al
    write_port DMA_MODE, [fs:Ebda.floppy_mode]
    write_port DMA_ADDRESS_2, bl
    write_port DMA_ADDRESS_2, bh
    shr ebx, 16
    write_port DMA_PAGE_2, bl
    write_port DMA_COUNT_2, cl
    write_port DMA_COUNT_2, ch
    write_port 0xd6, 0xc0           ; the cascade
    write_port 0xd4, 0x00
    write_port DMA_MASK, 0x02
    sti
    clc
    ret

; floppy_start: the motor turns, the drive is known, the head is on its cylinder. Out: AH,
; carry.
floppy_start:
    mov byte [Bda.floppy_timeout], 0xff
    mov cl, [fs:Ebda.floppy_drive]
    mov al, 1
    shl al, cl
    test [Bda.floppy_motor], al
    jnz .turns
    mov [Bda.floppy_motor], al
    mov dx, FDC_DOR
    in al, dx
    test al, 1 << 2
    jnz .on
    call floppy_reset
    jc .done
.on:
    mov al, [Bda.floppy_motor]
    shl al, 4
    or al, [fs:Ebda.floppy_drive]
    or al, FDC_DOR_ON
    mov dx, FDC_DOR
    out dx, al
.turns:
    mov dl, [fs:Ebda.floppy_drive]
    call floppy_kind
    mov al, [cs:bx + 2]
    mov dx, FDC_RATE
    out dx, al
    mov cl, [fs:Ebda.floppy_drive]
    mov al, 1
    shl al, cl
    test [Bda.floppy_ready], al
    jnz .seek
    or [Bda.floppy_ready], al
    mov al, FDC_SPECIFY
    call fdc_send
    jc .done
    mov al, 0xaf
    call fdc_send
    mov al, 0x02
    call fdc_send
    mov al, FDC_RECALIBRATE
    call fdc_begin
    jc .done
    mov al, [fs:Ebda.floppy_drive]
    call fdc_send
    call floppy_sense
    jc .done
.seek:
    mov al, FDC_SEEK
    call fdc_begin
    jc .done
    mov al, caller_dh
    shl al, 2
    or al, [fs:Ebda.floppy_drive]
    call fdc_send
    mov al, caller_ch
    call fdc_send
    call floppy_sense
.done:
    ret

; floppy_sense: waits for the end of a movement. Out: AH, carry.
floppy_sense:
    call fdc_interrupt
    jc .done
    mov al, FDC_SENSE
    call fdc_send
    jc .done
    call fdc_results
    test byte [Bda.floppy_result], 0xc0
    jz .done
    mov ah, 0x40                    ; seek failed
    stc
.done:
    ret

; floppy_command: reads, writes, verifies or formats. Out: AH, carry.
floppy_command:
    mov al, [fs:Ebda.floppy_command]
    call fdc_begin
    jc .done
    mov al, caller_dh
    shl al, 2
    or al, [fs:Ebda.floppy_drive]
    call fdc_send
    cmp byte [fs:Ebda.floppy_command], FDC_FORMAT
    je .format
    mov al, caller_ch
    call fdc_send
    mov al, caller_dh
    call fdc_send
    mov al, caller_cl
    call fdc_send
    mov al, 2                       ; 512 bytes
    call fdc_send
    mov dl, [fs:Ebda.floppy_drive]
    call floppy_kind
    mov al, [cs:bx + 1]             ; the last sector
    call fdc_send
    mov al, 0x1b                    ; gap
    call fdc_send
    mov al, 0xff
    call fdc_send
    jmp .wait
.format:
    mov al, 2
    call fdc_send
    mov al, caller_al
    call fdc_send
    mov al, 0x6c
    call fdc_send
    mov al, 0xf6
    call fdc_send
.wait:
    jc .done
    call fdc_interrupt
    jc .late
    call fdc_results
    test byte [Bda.floppy_result], 0xc0
    jz .fine
    mov al, [Bda.floppy_result + 1]
    mov ah, 0x03                    ; protected
    test al, 1 << 1
    jnz .failed
    mov ah, FLOPPY_DMA
    test al, 1 << 4
    jnz .failed
    mov ah, 0x10
    test al, 1 << 5
    jnz .failed
    mov ah, 0x02                    ; no address mark
    test al, 1 << 0
    jnz .failed
    mov ah, DISK_NOT_FOUND
    test al, 1 << 2 | 1 << 7
    jnz .failed
    mov ah, DISK_CONTROLLER
.failed:
    stc
    ret
.late:
    call floppy_reset
    mov ah, DISK_TIMEOUT
    stc
    ret
.fine:
    xor ah, ah
.done:
    ret

; floppy_reset: Out: AH, carry.
floppy_reset:
    and byte [Bda.floppy_ready], 0
    mov dx, FDC_DOR
    mov al, FDC_DOR_RESET
    out dx, al
    mov ax, 1
    call delay
    mov al, [Bda.floppy_motor]
    shl al, 4
    or al, FDC_DOR_ON
    mov dx, FDC_DOR
    out dx, al
    call fdc_interrupt
    jc .failed
    mov cx, 4                       ; each of four drives has something to say
.drive:
    mov al, FDC_SENSE
    call fdc_send
    jc .failed
    call fdc_results
    loop .drive
    xor ah, ah
    ret
.failed:
    mov ah, DISK_TIMEOUT
    stc
    ret

; fdc_begin: the first byte of a command that ends with an interrupt. In: AL. Out: AH, carry.
fdc_begin:
    and byte [Bda.floppy_ready], ~FLOPPY_INTERRUPT
; fdc_send: In: AL. Out: AH and carry set if the controller does not take it. Clobbers DX.
fdc_send:
    push cx
    push ax
    mov dx, FDC_STATUS
    xor cx, cx
.wait:
    in al, dx
    and al, FDC_READY | FDC_TO_HOST
    cmp al, FDC_READY
    loopne .wait
    pop ax
    pop cx
    jne .no
    inc dx
    out dx, al
    clc
    ret
.no:
    mov ah, DISK_TIMEOUT
    stc
    ret

; fdc_interrupt: waits for it. Out: AH and carry set if it does not come.
fdc_interrupt:
    mov ax, 3000
    call timeout_start
.wait:
    sti
    test byte [Bda.floppy_ready], FLOPPY_INTERRUPT
    jnz .there
    call timeout_check
    jnc .wait
    mov ah, DISK_TIMEOUT
    ret
.there:
    and byte [Bda.floppy_ready], ~FLOPPY_INTERRUPT
    ret

; fdc_results: what the controller says, into Bda.floppy_result. Clobbers AX, DX, DI.
fdc_results:
    push cx
    mov di, Bda.floppy_result
    mov dx, FDC_STATUS
    xor cx, cx
.next:
    in al, dx
    and al, FDC_READY | FDC_TO_HOST
    cmp al, FDC_READY | FDC_TO_HOST
    je .byte
    cmp al, FDC_READY
    je .done                        ; that was all
    loop .next
    jmp .done
.byte:
    inc dx
    in al, dx
    dec dx
    cmp di, Bda.floppy_result + 7
    jae .next
    mov [di], al
    inc di
    jmp .next
.done:
    pop cx
    clc
    ret
