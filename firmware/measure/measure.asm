; The measuring guest of Trine: what does each instruction cost that a virtual machine monitor cares
; about? It goes to 64-bit mode by the shortest way, times a loop around each operation with the
; time stamp counter, says the times on the serial port and switches the machine off.
;
; Read it from top to bottom:
;   1. the way to 64-bit mode
;   2. how a loop is timed, and what is said of it
;   3. the operations
;   4. handlers and data
;
; It speaks in lines of words; numbers are 16 hexadecimal digits:
;   clock TSC PM            the TSC counted so much while ACPI's PM timer (3,579,545 Hz) counted so
;                           much
;   row NAME TIMES OP EMPTY a loop that does the operation TIMES times took OP ticks of the TSC, the
;                           same loop without it EMPTY ticks: the least of ROUNDS attempts each
;   end                     that was all
; Every number has the same length and no output waits, so that anyone can say beforehand how often
; each instruction is executed.
;
; Assemble with:  nasm -f bin -o measure.bin measure.asm
; The image is loaded at 8000h and entered there in real mode with CS = 0.
;
; Sources: Intel SDM vol. 3A, chapters 2 (system registers), 4 (paging), 5.8.8 (SYSCALL), 6
; (interrupts), 9.8.5 (to IA-32e mode), 10 (local APIC); ACPI 6.3, section 4.8.

PM1A_CONTROL    equ 0x604
PM_TIMER        equ 0x608
SLEEP_TYPE      equ 5           ; what \_S5 in the DSDT says
COM1            equ 0x3f8
APIC            equ 0xfee00000

ROUNDS          equ 8           ; the fastest one counts
SLEEP_TICKS     equ 100000      ; of the TSC, asleep in HLT

; Memory that is not in the image: below 7000h the stacks, from 10000h the page tables.
STACK           equ 0x7000
PML4            equ 0x10000
PDPT            equ 0x11000
PD_FIRST        equ 0x12000     ; the first GiB, one to one
PD_WINDOW       equ 0x13000     ; the second, of which nothing is there
PD_APIC         equ 0x14000     ; the fourth, with the local APIC
TABLES_END      equ 0x15000
WINDOW          equ 0x40000000

    org 0x8000
    bits 16

; ================================================================================================
; 1. The way to 64-bit mode

start:
    cli
    cld
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, STACK
    lgdt [gdt_register]
    mov eax, cr0
    and eax, ~(1 << 30 | 1 << 29)       ; caches on
    or eax, 1
    mov cr0, eax
    jmp CODE_32:protected

    bits 32
protected:
    mov ax, DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, STACK
    mov edi, PML4
    mov ecx, (TABLES_END - PML4) / 4
    xor eax, eax
    rep stosd
    ; Everything is the user's too (4), so that ring 3 can be measured without pages of its own.
    mov dword [PML4], PDPT | 7
    mov dword [PDPT], PD_FIRST | 7
    mov dword [PDPT + 8], PD_WINDOW | 7
    mov dword [PDPT + 24], PD_APIC | 7
    mov edi, PD_FIRST
    mov eax, 0x87                       ; present, writable, user, 2 MiB
.page:
    mov [edi], eax
    add edi, 8
    add eax, 0x200000
    cmp edi, PD_FIRST + 0x1000
    jb .page
    mov dword [PD_APIC + (APIC >> 21 & 511) * 8], APIC | 0x9f   ; uncacheable

    mov eax, cr4
    or eax, 1 << 5                      ; PAE
    mov cr4, eax
    mov eax, PML4
    mov cr3, eax
    mov ecx, 0xc0000080                 ; EFER
    rdmsr
    or eax, 1 << 8 | 1 << 0             ; LME; SCE: there is SYSCALL
    wrmsr
    mov eax, cr0
    or eax, 1 << 31
    mov cr0, eax
    jmp CODE_64:long_mode

    bits 64
    default rel
long_mode:
    mov ax, DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, STACK
    mov r8d, APIC                       ; stays there

    ; Interrupts: a gate for each vector that we use.
    mov ecx, 14
    mov eax, page_fault
    call gate
    mov ecx, 0x40
    mov eax, interrupt_return
    call gate
    mov ecx, 0x41
    mov eax, self_interrupt
    call gate
    mov ecx, 0x42
    mov eax, timer_interrupt
    call gate
    lidt [idt_register]

    ; No interrupts of the old controllers; the local APIC is enabled by its spurious vector.
    mov al, 0xff
    out 0x21, al
    out 0xa1, al
    mov dword [r8 + 0xf0], 0x1ff

    ; SYSCALL: where it leads, which segments it and SYSRET load, which flags it clears.
    mov ecx, 0xc0000081                 ; STAR
    xor eax, eax
    mov edx, (USER_32 | 3) << 16 | CODE_64
    wrmsr
    inc ecx                             ; LSTAR
    mov eax, system_call
    xor edx, edx
    wrmsr
    mov ecx, 0xc0000084                 ; FMASK: IF
    mov eax, 1 << 9
    xor edx, edx
    wrmsr

    ; The UART: 115200 baud, 8 data bits, no parity, one stop bit, no interrupts.
    mov rsi, uart_setup
.uart:
    movzx edx, byte [rsi]
    mov al, [rsi + 1]
    add edx, COM1
    out dx, al
    add rsi, 2
    cmp rsi, uart_setup_end
    jb .uart

    call clock
    call operations
    mov rsi, text_end
    call print

    mov dx, PM1A_CONTROL                ; soft off
    mov ax, SLEEP_TYPE << 10 | 1 << 13
    out dx, ax
.off:
    hlt
    jmp .off

; gate: makes vector ECX of the IDT lead to EAX. Changes EDX.
gate:
    mov edx, ecx
    shl edx, 4
    add edx, idt
    mov [rdx], ax
    mov word [rdx + 2], CODE_64
    mov word [rdx + 4], 0xee00          ; present, ring 3 may use it, interrupt gate
    shr eax, 16
    mov [rdx + 6], eax
    ret

; ================================================================================================
; 2. How a loop is timed, and what is said of it

; put: the character AL goes to COM1, which is taken to be ready.
put:
    mov edx, COM1
    out dx, al
    ret

; print: the string at RSI, up to a zero byte. Changes EAX, EDX, RSI.
print:
    lodsb
    test al, al
    jz .end
    call put
    jmp print
.end:
    ret

; hex: a space and RAX as 16 hexadecimal digits. Changes RAX, RBX, ECX, EDX.
hex:
    mov rbx, rax
    mov al, ' '
    call put
    mov ecx, 16
.digit:
    rol rbx, 4
    mov eax, ebx
    and eax, 15
    mov al, [hex_digits + rax]
    call put
    dec ecx
    jnz .digit
    ret

; now: RAX is the TSC; what was begun before has ended. Changes EDX.
now:
    lfence
    rdtsc
    shl rdx, 32
    or rax, rdx
    ret

; clock: says what the TSC counts in at least 10 ms of the PM timer.
clock:
    mov edx, PM_TIMER
    in eax, dx
    mov r12d, eax
    call now
    mov r13, rax
.wait:
    mov ecx, 200000
.spin:
    dec ecx
    jnz .spin
    mov edx, PM_TIMER
    in eax, dx
    sub eax, r12d
    and eax, 0xffffff                   ; the timer may have only 24 bits
    mov r14d, eax
    cmp eax, 35795
    jb .wait
    call now
    sub rax, r13
    mov r13, rax
    mov rsi, text_clock
    call print
    mov rax, r13
    call hex
    mov eax, r14d
    call hex
    mov rsi, text_newline
    jmp print

; row: says what was measured: name RSI, R12 times, R13 ticks, R14 ticks for the empty loop.
row:
    push rsi
    mov rsi, text_row
    call print
    pop rsi
    call print
    mov rax, r12
    call hex
    mov rax, r13
    call hex
    mov rax, r14
    call hex
    mov rsi, text_newline
    jmp print

; measure NAME, LOOPS, EACH ... measured: times LOOPS turns of what is between them, which does the
; operation EACH times, and of nothing. It finds RSI at some memory and RDI at a page that is not
; there, and may change all registers but RBP, RSP and R8 to R15.
%macro measure 3
    %push measurement
    %defstr %$name %1
    %assign %$loops %2
    mov r12d, %2 * %3
    mov r13, -1                         ; the least so far
    mov r14, -1
    mov r15d, ROUNDS
    jmp %$round
%$text:
    db %$name, 0
%$round:
    call now
    mov r11, rax
    mov ebp, %2
    align 16
%$empty:
    dec ebp
    jnz %$empty
    call now
    sub rax, r11
    cmp rax, r14
    cmovb r14, rax
    mov esi, scratch
    mov edi, WINDOW
    call now
    mov r11, rax
    mov ebp, %2
    align 16
%$again:
%endmacro
%macro measured 0
    dec ebp
    jnz %$again
    call now
    sub rax, r11
    cmp rax, r13
    cmovb r13, rax
    dec r15d
    jnz %$round
    mov esi, %$text
    call row
    %pop
%endmacro

; ================================================================================================
; 3. The operations

operations:
    ; What nobody has to intercept: the baseline.
    measure add, 4000, 16
    times 16 add rax, rcx
    measured

    measure memory, 4000, 16
    %assign n 0
    %rep 16
    add [rsi + n * 8], rax
    %assign n n + 1
    %endrep
    measured

    measure call, 4000, 4
    times 4 call nothing
    measured

    ; Sensitive and not privileged: they read or change what belongs to the machine, and in ring 3
    ; they do not trap.
    measure sgdt, 4000, 1
    sgdt [rsi]
    measured

    measure popf, 4000, 1
    pushfq
    popfq
    measured

    ; Privileged.
    measure cli, 4000, 1
    cli
    measured

    measure cpuid, 1000, 1
    xor eax, eax
    xor ecx, ecx
    cpuid
    measured

    measure rdtsc, 4000, 1
    rdtsc
    measured

    mov ecx, 0x1a0                      ; MISC_ENABLE
    measure rdmsr, 1000, 1
    mov ecx, 0x1a0
    rdmsr
    measured

    mov ecx, 0x277                      ; PAT, as it is
    rdmsr
    mov r9, rax
    mov r10, rdx
    measure wrmsr, 1000, 1
    mov ecx, 0x277
    mov rax, r9
    mov rdx, r10
    wrmsr
    measured

    measure cr0_read, 2000, 1
    mov rax, cr0
    measured

    measure cr3_write, 1000, 1
    mov rax, cr3
    mov cr3, rax
    measured

    measure invlpg, 1000, 1
    invlpg [rdi]
    measured

    ; Devices.
    measure in, 1000, 1
    in al, 0x61
    measured

    measure out, 1000, 1
    out 0x80, al
    measured

    measure mmio, 1000, 1
    mov eax, [r8 + 0x30]          ; the local APIC's version
    measured

    ; Changes of privilege, and events.
    measure int, 2000, 1
    int 0x40
    measured

    measure page_fault, 1000, 1
    mov eax, [rdi]                      ; two bytes; the handler steps over them
    measured

    sti
    measure self_ipi, 500, 1
    mov byte [arrived], 0
    mov dword [r8 + 0x300], 0x44041 ; to itself, fixed, vector 41h
.until_arrived:
    cmp byte [arrived], 0
    je .until_arrived
    measured
    cli

    call system_calls
    call wakes

    ; Code that changes itself: the store changes the immediate of the instruction behind it.
    measure smc, 1000, 1
    inc eax
    mov [.changed + 1], al
.changed:
    mov bl, 0
    measured
    ret

nothing:
    ret

; system_calls: SYSCALL and SYSRET, from ring 3. SYSCALL with EAX = 0 comes back at once, with
; EAX = 1 it stays in ring 0.
system_calls:
    mov r12d, 2000
    mov r13, -1
    mov r14, -1
    mov r15d, ROUNDS
.round:
    mov [kernel_stack], rsp
    mov ecx, .in_ring_3
    mov r11d, 2                         ; RFLAGS
    o64 sysret
.in_ring_3:
    call now
    mov r9, rax
    mov ebp, 2000
.empty:
    dec ebp
    jnz .empty
    call now
    sub rax, r9
    cmp rax, r14
    cmovb r14, rax
    call now
    mov r9, rax
    mov ebp, 2000
.again:
    xor eax, eax
    syscall
    dec ebp
    jnz .again
    call now
    sub rax, r9
    cmp rax, r13
    cmovb r13, rax
    mov eax, 1
    syscall
    mov rsp, [kernel_stack]
    mov ax, DATA
    mov ss, ax
    dec r15d
    jnz .round
    mov esi, text_syscall
    jmp row

; wakes: how long after its deadline an interrupt finds a CPU in its handler that HLT has put to
; sleep. The local APIC compares the deadline with the TSC itself, where it can; where not, there is
; no row.
wakes:
    mov eax, 1
    cpuid
    bt ecx, 24
    jnc .end
    mov dword [r8 + 0x320], 0x40042 ; LVT timer: TSC deadline, vector 42h
    mfence
    mov r12d, 8
    mov r13, -1
    xor r14d, r14d
    mov r15d, ROUNDS
.round:
    xor r10d, r10d
    mov ebp, 8
.again:
    call now
    mov r9, rax
    add r9, SLEEP_TICKS
    mov rax, r9
    mov rdx, r9
    shr rdx, 32
    mov ecx, 0x6e0                      ; the deadline
    wrmsr
    sti                                 ; not before the next instruction is done, so none is lost
    hlt
    cli
    mov rax, [woken_at]
    sub rax, r9
    add r10, rax
    dec ebp
    jnz .again
    cmp r10, r13
    cmovb r13, r10
    dec r15d
    jnz .round
    mov esi, text_hlt
    jmp row
.end:
    ret

; ================================================================================================
; 4. Handlers and data

; MOV EAX, [RDI] has two bytes. The handler leaves the page away and steps over
; them.
page_fault:
    add qword [rsp + 8], 2
    add rsp, 8                          ; the error code
interrupt_return:
    iretq

self_interrupt:
    mov byte [arrived], 1
    mov dword [r8 + 0xb0], 0      ; end of interrupt
    iretq

timer_interrupt:
    push rax
    push rdx
    call now
    mov [woken_at], rax
    mov dword [r8 + 0xb0], 0
    pop rdx
    pop rax
    iretq

; RCX is where SYSCALL came from, R11 the flags. The stack is still the user's.
system_call:
    test eax, eax
    jnz .stay
    o64 sysret
.stay:
    jmp rcx

    align 8
gdt:
    dq 0
    dq 0x00cf9b000000ffff       ; 32-bit code
    dq 0x00cf93000000ffff       ; data
    dq 0x00af9b000000ffff       ; 64-bit code
    dq 0x00cf93000000ffff       ; data: SYSCALL takes what follows its code
    dq 0x00cffb000000ffff       ; 32-bit code of ring 3
    dq 0x00cff3000000ffff       ; data of ring 3
    dq 0x00affb000000ffff       ; 64-bit code of ring 3: SYSRET takes these two
gdt_end:
CODE_32         equ 0x08
DATA            equ 0x10
CODE_64         equ 0x18
USER_32         equ 0x28

gdt_register:
    dw gdt_end - gdt - 1
    dd gdt
idt_register:
    dw 0x43 * 16 - 1
    dq idt

; Register and value, from COM1's base on: no interrupts; the divisor 1; 8N1; FIFOs on; DTR, RTS.
uart_setup:
    db 1, 0,  3, 0x80,  0, 1,  1, 0,  3, 3,  2, 7,  4, 3
uart_setup_end:

hex_digits:
    db "0123456789abcdef"
text_clock:
    db "clock", 0
text_row:
    db "row ", 0
text_syscall:
    db "syscall", 0
text_hlt:
    db "hlt", 0
text_end:
    db "end"
text_newline:
    db 13, 10, 0

; What follows is not in the image, and not in its pages: to write beside code would be measured as
; well.
    section .bss align=4096
scratch:        resq 16
woken_at:       resq 1
kernel_stack:   resq 1
arrived:        resb 1
    alignb 16
idt:            resb 0x43 * 16
