; Time: the ticks since midnight (INT 8, INT 1Ah), the real-time clock, and waiting.
;
; Sources: Intel 8254 and Motorola MC146818A datasheets.

TICKS_A_DAY     equ 0x1800b0
PIT_HZ          equ 1193182

; timer_init: counter 0 at 18.2 Hz. It counts by one (mode 2), so that waits can read it.
timer_init:
    write_port PIT_CONTROL, 0x34
    write_port PIT_COUNTER_0, 0
    write_port PIT_COUNTER_0, 0
    xor cl, cl
    jmp irq_enable

; clock_init: the real-time clock runs, and says what time it is.
clock_init:
    mov ax, 0x26 << 8 | CMOS_STATUS_A
    call cmos_write
    mov ax, 0x02 << 8 | CMOS_STATUS_B ; 24 hours, BCD
    call cmos_write
    mov al, CMOS_STATUS_C
    call cmos_read
    mov cl, 2
    call irq_enable
    mov cl, 8
    call irq_enable
    mov al, 4                       ; hours
    call .field
    imul ebx, eax, 60
    mov al, 2
    call .field
    add ebx, eax
    imul ebx, ebx, 60
    mov al, 0
    call .field
    add eax, ebx
    mov ebx, PIT_HZ
    mul ebx
    shrd eax, edx, 16
    mov [Bda.ticks], eax
    ret
.field:
    call clock_read
    mov ah, al
    and ax, 0xf00f
    shr ah, 4
    aad
    movzx eax, al
    ret

; clock_read: a register of the clock while it is not just changing. In: AL. Out: AL. Clobbers AH.
clock_read:
    push cx
    mov ah, al
    xor cx, cx
.wait:
    mov al, CMOS_STATUS_A
    out CMOS_INDEX, al
    in al, CMOS_DATA
    test al, 0x80
    loopnz .wait
    mov al, ah
    pop cx
    jmp cmos_read

; ------------------------------------------------------------------------------------------------
; Waiting

; timeout_start: In: AX, milliseconds. Clobbers EAX.
timeout_start:
    movzx eax, ax
    imul eax, eax, PIT_HZ / 1000
; timeout_start_ticks: In: EAX, ticks of the 8254.
timeout_start_ticks:
    mov [fs:Ebda.ticks_left], eax
    call timer_count
    mov [fs:Ebda.ticks_seen], ax
    ret

; timeout_check: to be called every 55 ms at least. Out: carry set when the time is over.
timeout_check:
    push eax
    push ebx
    call timer_count
    movzx ebx, word [fs:Ebda.ticks_seen]
    mov [fs:Ebda.ticks_seen], ax
    sub bx, ax                      ; it counts down
    sub [fs:Ebda.ticks_left], ebx
    jnc .done
    mov dword [fs:Ebda.ticks_left], 0
    stc
.done:
    pop ebx
    pop eax
    ret

; delay: In: AX, milliseconds. Clobbers EAX.
delay:
    call timeout_start
.wait:
    call timeout_check
    jnc .wait
    ret

; timer_count: Out: AX, what counter 0 shows.
timer_count:
    pushf
    cli
    mov al, 0
    out PIT_CONTROL, al
    in al, PIT_COUNTER_0
    mov ah, al
    in al, PIT_COUNTER_0
    xchg al, ah
    popf
    ret

; ------------------------------------------------------------------------------------------------
; INT 8: IRQ 0

int_8:
    sti
    push eax
    push dx
    push ds
    push BDA_SEGMENT
    pop ds
    mov eax, [Bda.ticks]
    inc eax
    cmp eax, TICKS_A_DAY
    jb .today
    xor eax, eax
    inc byte [Bda.midnight]
.today:
    mov [Bda.ticks], eax
    cmp byte [Bda.floppy_timeout], 0
    je .program
    dec byte [Bda.floppy_timeout]
    jnz .program
    and byte [Bda.floppy_motor], 0xf0
    write_port FDC_DOR, FDC_DOR_ON
.program:
    int 0x1c
    cli
    mov al, EOI
    out PIC_1, al
    pop ds
    pop dx
    pop eax
    iret

; ------------------------------------------------------------------------------------------------
; INT 70h: IRQ 8. An alarm calls INT 4Ah; the periodic interrupt counts INT 15h 83h's time.

RTC_PERIODIC    equ 1 << 6
RTC_ALARM       equ 1 << 5
RTC_PERIOD_US   equ 976

int_70:
    push eax
    push bx
    push ds
    push es
    push BDA_SEGMENT
    pop ds
    mov al, CMOS_STATUS_B
    call cmos_read
    mov bl, al
    mov al, CMOS_STATUS_C
    call cmos_read
    and bl, al
    test bl, RTC_ALARM
    jz .no_alarm
    sti
    int 0x4a
    cli
.no_alarm:
    test bl, RTC_PERIODIC
    jz .end
    cmp byte [Bda.waiting], 0
    je .end
    sub dword [Bda.wait_left], RTC_PERIOD_US
    ja .end
    call periodic_off
    les bx, [Bda.wait_flag]
    or byte [es:bx], 0x80
.end:
    mov al, EOI
    out PIC_2, al
    out PIC_1, al
    pop es
    pop ds
    pop bx
    pop eax
    iret

; periodic_off: no more periodic interrupts. Clobbers AX.
periodic_off:
    mov byte [Bda.waiting], 0
    mov al, CMOS_STATUS_B
    call cmos_read
    and al, ~RTC_PERIODIC
    mov ah, al
    mov al, CMOS_STATUS_B
    jmp cmos_write

; periodic_on: Clobbers AX.
periodic_on:
    mov byte [Bda.waiting], 1
    mov al, CMOS_STATUS_B
    call cmos_read
    or al, RTC_PERIODIC
    mov ah, al
    mov al, CMOS_STATUS_B
    jmp cmos_write

; ------------------------------------------------------------------------------------------------
; INT 1Ah

service int_1a, clock_service

clock_service:
    cmp caller_ah, 0xb1
    je pci_service
    dispatch .functions, 7, .unknown
.functions:
    dw clock_ticks, clock_set_ticks, clock_time, clock_set_time
    dw clock_date, clock_set_date, clock_set_alarm, clock_reset_alarm
.unknown:
    set_carry
    ret

; 00h: ticks since midnight. Out: CX:DX; AL, whether midnight has passed since the last call.
clock_ticks:
    mov eax, [Bda.ticks]
    mov caller_dx, ax
    shr eax, 16
    mov caller_cx, ax
    xor al, al
    xchg al, [Bda.midnight]
    mov caller_al, al
    clear_carry
    ret

; 01h: sets them. In: CX:DX.
clock_set_ticks:
    mov ax, caller_dx
    mov dx, caller_cx
    mov [Bda.ticks], ax
    mov [Bda.ticks + 2], dx
    mov byte [Bda.midnight], 0
    mov caller_ah, 0
    clear_carry
    ret

; 02h: the time in BCD. Out: CH:CL:DH; DL, daylight saving.
clock_time:
    mov al, 4
    call clock_read
    mov caller_ch, al
    mov al, 2
    call clock_read
    mov caller_cl, al
    mov al, 0
    call clock_read
    mov caller_dh, al
    mov al, CMOS_STATUS_B
    call cmos_read
    and al, 1
    mov caller_dl, al
    mov caller_ah, 0
    clear_carry
    ret

; clock_field: sets a register. In: AL, which; AH, to what.
clock_field equ cmos_write

; clock_hold, clock_release: the clock stands still while it is set. Clobbers AX.
clock_hold:
    mov al, CMOS_STATUS_B
    call cmos_read
    or al, 0x80
    jmp clock_status
clock_release:
    mov al, CMOS_STATUS_B
    call cmos_read
    and al, 0x7f
clock_status:
    mov ah, al
    mov al, CMOS_STATUS_B
    jmp cmos_write

; 03h: sets the time. In: CH:CL:DH; DL.
clock_set_time:
    call clock_hold
    mov al, 4
    mov ah, caller_ch
    call clock_field
    mov al, 2
    mov ah, caller_cl
    call clock_field
    mov al, 0
    mov ah, caller_dh
    call clock_field
    mov al, CMOS_STATUS_B
    call cmos_read
    and al, ~1
    mov ah, caller_dl
    and ah, 1
    or al, ah
    call clock_status
    call clock_release
    clear_carry
    ret

; 04h: the date in BCD. Out: CX, year; DH, month; DL, day.
clock_date:
    mov al, CMOS_CENTURY
    call clock_read
    mov caller_ch, al
    mov al, 9
    call clock_read
    mov caller_cl, al
    mov al, 8
    call clock_read
    mov caller_dh, al
    mov al, 7
    call clock_read
    mov caller_dl, al
    mov caller_ah, 0
    clear_carry
    ret

; 05h: sets the date. In: CX, DH, DL.
clock_set_date:
    call clock_hold
    mov al, CMOS_CENTURY
    mov ah, caller_ch
    call clock_field
    mov al, 9
    mov ah, caller_cl
    call clock_field
    mov al, 8
    mov ah, caller_dh
    call clock_field
    mov al, 7
    mov ah, caller_dl
    call clock_field
    call clock_release
    clear_carry
    ret

; 06h: sets an alarm, INT 4Ah. In: CH:CL:DH. Carry set if there is one already.
clock_set_alarm:
    mov al, CMOS_STATUS_B
    call cmos_read
    test al, RTC_ALARM
    jnz .taken
    mov al, 5
    mov ah, caller_ch
    call clock_field
    mov al, 3
    mov ah, caller_cl
    call clock_field
    mov al, 1
    mov ah, caller_dh
    call clock_field
    mov al, CMOS_STATUS_B
    call cmos_read
    or al, RTC_ALARM
    call clock_status
    clear_carry
    ret
.taken:
    set_carry
    ret

; 07h: no alarm.
clock_reset_alarm:
    mov al, CMOS_STATUS_B
    call cmos_read
    and al, ~RTC_ALARM
    call clock_status
    clear_carry
    ret
