; INT 11h, INT 12h and INT 15h.

service int_11, .equipment
.equipment:
    mov ax, [Bda.equipment]
    mov caller_ax, ax
    ret

service int_12, .memory
.memory:
    mov ax, [Bda.memory_kib]
    mov caller_ax, ax
    ret

service int_15, system_service

SYSTEM_UNKNOWN  equ 0x86

system_service:
    mov al, caller_ah
    mov si, system_functions
; by_code: jumps to the routine of code AL in the table at CS:SI, or to the one at its end.
by_code:
    mov ah, al
.next:
    cs lodsb
    cmp al, ah
    je .found
    cmp al, 0xff
    je .found
    add si, 2
    jmp .next
.found:
    jmp [cs:si]

%macro code 2
    db %1
    dw %2
%endmacro
system_functions:
    code 0x24, a20_service
    code 0x4f, key_intercept
    code 0x52, system_fine          ; a medium may be ejected
    code 0x83, wait_in_background
    code 0x85, system_fine          ; SysRq
    code 0x86, wait_here
    code 0x87, move_memory
    code 0x88, memory_beyond_1m
    code 0x90, system_fine          ; a device is busy; an operating system could do something else
    code 0x91, system_fine
    code 0xc0, configuration
    code 0xc1, ebda_where
    code 0xc2, mouse_service
    code 0xe8, memory_service
    code 0xff, system_unknown

system_unknown:
    mov caller_ah, SYSTEM_UNKNOWN
    set_carry
    ret

system_fine:
    mov caller_ah, 0
    clear_carry
    ret

; 4Fh: a key is coming. Carry set, as it came: it goes on.
key_intercept:
    ret

; 83h: marks a byte when a time is over. In: AL, 0 set, 1 cancel; CX:DX, microseconds; ES:BX, the
; byte.
wait_in_background:
    cmp caller_al, 1
    je .cancel
    ja system_unknown
    cmp byte [Bda.waiting], 0
    jne .busy
    mov ax, caller_es
    mov bx, caller_bx
    mov [Bda.wait_flag], bx
    mov [Bda.wait_flag + 2], ax
    mov ax, caller_dx
    mov bx, caller_cx
    mov [Bda.wait_left], ax
    mov [Bda.wait_left + 2], bx
    call periodic_on
    jmp system_fine
.cancel:
    call periodic_off
    jmp system_fine
.busy:
    mov caller_ah, 0x83
    set_carry
    ret

; 86h: waits. In: CX:DX, microseconds.
wait_here:
    mov ax, caller_cx
    shl eax, 16
    mov ax, caller_dx
    mov ebx, PIT_HZ / 1000
    mul ebx
    mov ebx, 1000
    cmp edx, ebx                    ; an hour and more: as long as it can be
    jae .long
    div ebx
    jmp .start
.long:
    mov eax, -1
.start:
    call timeout_start_ticks
    sti
.wait:
    call timeout_check
    jnc .wait
    jmp system_fine

; C0h: Out: ES:BX.
configuration:
    mov caller_bx, FIXED_CONFIGURATION
    mov caller_es, BIOS_SEGMENT
    jmp system_fine

; C1h: Out: ES.
ebda_where:
    mov ax, fs
    mov caller_es, ax
    clear_carry
    ret
