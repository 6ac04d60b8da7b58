; The demonstration guest of Trine: a program without an operating system that starts where every
; PC starts, in real mode, and goes all the way to 64-bit mode. It says on the serial port what it
; does and measures what things cost in each mode, and switches the machine off.
;
; Read it from top to bottom:
;   1. real mode       16-bit code, segments of 64 KiB, 1 MiB of memory
;   2. protected mode  32-bit code, descriptors, an interrupt descriptor table
;   3. long mode       64-bit code, paging
;   4. data
; What is the same in every mode (output, clocks, most measurements) is in mode.inc.
;
; Assemble with:  nasm -f bin -o demo.bin demo.asm
; The image is loaded at 8000h and entered there in real mode with CS = 0, so that an offset is the
; address in every mode.
;
; Sources: Intel SDM vol. 3A, chapters 2 (system registers), 3 (segments), 4 (paging), 6
; (interrupts), 9.8 and 9.9 (changing modes); data sheets of the 8254, 8259A and 16550; ACPI 6.3,
; section 4.8.

; The board. Another one is chosen with -D, e.g. -D SLEEP_TYPE=0.
%ifndef PM_BASE
    %define PM_BASE 0x600       ; ACPI's fixed hardware
%endif
%ifndef SLEEP_TYPE
    %define SLEEP_TYPE 5        ; what \_S5 in the DSDT says
%endif
PM1A_CONTROL    equ PM_BASE + 4
PM_TIMER        equ PM_BASE + 8
COM1            equ 0x3f8
DEBUG_EXIT      equ 0xf4

; Memory that is not in the image.
STACK           equ 0x7000      ; the stack ends here
PAGE_TABLES     equ 0x10000     ; five pages
SPARE_PAGE      equ 0x20000     ; what the page fault maps
WINDOW          equ 0x40000000  ; where it is mapped to, at 1 GiB

; Rows of the table.
ROW_INTEGER     equ 0
ROW_MEMORY      equ 1
ROW_PORT        equ 2
ROW_FAR         equ 3
ROW_INTERRUPT   equ 4
ROW_CPUID       equ 5
ROW_CR3         equ 6
ROW_PAGE_FAULT  equ 7
ROW_SSE2        equ 8
ROWS            equ 9

    org 0x8000
    bits 16

; ================================================================================================
; 1. Real mode

start:
    cli
    cld
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, STACK
    mov di, variables           ; they are not in the image
    mov cx, variables_end - variables
    rep stosb

    ; The UART: 115200 baud, 8 data bits, no parity, one stop bit, FIFOs on, no interrupts.
    mov si, uart_setup
    mov cx, 7
.uart:
    lodsb
    movzx dx, al
    add dx, COM1
    lodsb
    out dx, al
    loop .uart

    mov si, text_hello
    call print_16
    call identify_16

    ; A vector of the interrupt vector table is an offset and a segment.
    mov word [0x40*4], interrupt_return_16
    mov word [0x40*4 + 2], 0
    mov si, text_measuring
    call print_16
    call measure_all_16

    ; The 21st address line. The first PCs had 20, and programs that relied on addresses wrapping at
    ; 1 MiB; so the line can be held at zero, and may be when we start.
    mov si, text_a20_on
    call a20_is_on
    jne .a20
    in al, 0x92                 ; "fast A20" of the PS/2
    or al, 2
    and al, ~1                  ; bit 0 would reset the machine
    out 0x92, al
    mov si, text_a20_switched
    call a20_is_on
    jne .a20
    mov si, text_a20_off
.a20:
    call print_16

    ; To protected mode: a table of descriptors, bit 0 of CR0, and a far jump that loads CS from the
    ; table. CD and NW are cleared as well: they disable the caches after a reset.
    lgdt [gdt_register]
    mov eax, cr0
    and eax, ~(1 << 30 | 1 << 29)
    or eax, 1
    mov cr0, eax
    jmp CODE_32:protected

; a20_is_on: not equal where 500h and 1 MiB + 500h are different memory.
a20_is_on:
    mov ax, 0xffff
    mov es, ax
    mov word [0x500], 0x1234
    mov word [es:0x510], 0x4321 ; ffff:0510 is 100500h
    cmp word [0x500], 0x4321
    mov ax, 0
    mov es, ax
    ret

; identify: what CPU is this? There is a CPUID instruction where bit 21 (ID) of EFLAGS can be
; changed.
identify_16:
    pushfd
    pop eax
    mov ecx, eax
    xor eax, 1 << 21
    push eax
    popfd
    pushfd
    pop eax
    push ecx
    popfd
    xor eax, ecx
    test eax, 1 << 21
    mov si, text_no_cpuid
    jz print_16
    mov byte [has_cpuid], 1

    xor eax, eax
    cpuid
    mov [vendor], ebx
    mov [vendor + 4], edx
    mov [vendor + 8], ecx
    mov si, text_vendor
    call print_16

    ; The brand string: 48 characters in three leaves, perhaps with spaces in front.
    mov eax, 0x80000000
    cpuid
    mov [extended_leaves], eax
    cmp eax, 0x80000004
    jb .no_brand
    mov di, brand
    mov ebp, 0x80000002
.leaf:
    mov eax, ebp
    cpuid
    mov [di], eax
    mov [di + 4], ebx
    mov [di + 8], ecx
    mov [di + 12], edx
    add di, 16
    inc ebp
    cmp ebp, 0x80000004
    jbe .leaf
    mov si, text_brand
    call print_16
    mov si, brand - 1
.spaces:
    inc si
    cmp byte [si], ' '
    je .spaces
    call print_16
.no_brand:
    mov si, text_newline
    call print_16

    mov eax, 1
    cpuid
    mov [features], edx
    mov [signature], eax
    mov si, text_signature
    call print_16
    mov eax, [signature]
    call hex_16
    mov si, text_features
    call print_16
    mov al, [features]
    shr al, 4                   ; TSC
    and al, 1
    mov [has_tsc], al
    mov si, text_tsc
    call feature_16
    mov al, [features + 1]
    shr al, 1                   ; local APIC
    and al, 1
    mov [has_apic], al
    mov si, text_apic
    call feature_16
    mov al, [features + 3]
    shr al, 2                   ; SSE2
    and al, 1
    mov [has_sse2], al
    mov si, text_sse2
    call feature_16
    cmp dword [extended_leaves], 0x80000001
    jb .no_long_mode
    mov eax, 0x80000001
    cpuid
    shr edx, 29                 ; long mode
    and dl, 1
    mov [has_long_mode], dl
    mov al, dl
    mov si, text_long_mode
    call feature_16
.no_long_mode:
    mov si, text_newline
    jmp print_16

; feature: prints the name at SI if AL is not zero.
feature_16:
    test al, al
    jnz print_16
    ret

%define MODE 16
%include "mode.inc"

; ================================================================================================
; 2. Protected mode

    bits 32
protected:
    ; A selector is an offset into the table of descriptors. All our segments begin at 0 and end at
    ; 4 GiB: this is the "flat" model.
    mov ax, DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov fs, ax
    mov gs, ax
    mov esp, STACK

    mov esi, text_protected
    call print_32
    mov eax, cr0
    call hex_32
    mov esi, text_newline
    call print_32

    ; The interrupt descriptor table: 32 exceptions, 16 hardware interrupts, our own at 40h.
    xor ecx, ecx
.exception:
    mov eax, ecx
    shl eax, 4
    add eax, exceptions_32
    call gate_32
    inc ecx
    cmp ecx, 32
    jb .exception
.interrupt:
    mov eax, interrupt_return_32
    call gate_32
    inc ecx
    cmp ecx, 0x41
    jb .interrupt
    mov ecx, 0
    mov eax, divide_error_32
    call gate_32
    mov ecx, 6
    mov eax, invalid_opcode_32
    call gate_32
    mov ecx, 0x20
    mov eax, timer_32
    call gate_32
    lidt [idt_register]

    ; Two exceptions. The first handler steps over what it cannot mend, the second mends the cause
    ; and has the instruction done again.
    ud2
    mov eax, [exception_address]
    mov esi, text_invalid_opcode
    call exception_report_32
    mov eax, 42
    xor edx, edx
    xor ecx, ecx
.division:
    div ecx
    push eax
    mov esi, text_divide_error
    mov eax, .division
    call exception_report_32
    pop eax
    cmp eax, 42
    jne give_up_32

    call timer_ticks_32
    mov esi, text_measuring
    call print_32
    call measure_all_32

    cmp byte [has_long_mode], 0
    jne to_long_mode
    mov esi, text_no_long_mode
    call print_32
    jmp goodbye_32

; gate: makes vector ECX of the IDT lead to EAX. Changes EDX.
gate_32:
    lea edx, [idt + ecx*8]
    mov [edx], ax
    mov word [edx + 2], CODE_32
    mov word [edx + 4], 0x8e00  ; present, ring 0, 32-bit interrupt gate
    shr eax, 16
    mov [edx + 6], ax
    ret

; exception_report: prints the text at ESI and the address EAX.
exception_report_32:
    push eax
    call print_32
    pop eax
    call hex_32
    mov esi, text_newline
    jmp print_32

; For these exceptions the CPU pushes EFLAGS, CS and EIP; EIP is of the instruction that caused it.
invalid_opcode_32:
    push eax
    mov eax, [esp + 4]
    mov [exception_address], eax
    add dword [esp + 4], 2      ; UD2 has two bytes
    pop eax
    iret

divide_error_32:
    mov ecx, 1                  ; a divisor that works; DIV is done again
    iret

timer_32:
    push eax
    inc dword [ticks]
    mov al, 0x20                ; end of interrupt
    out 0x20, al
    pop eax
    iret

; timer_ticks: 20 interrupts of the 8254's channel 0 at 1000 Hz through the 8259s.
timer_ticks_32:
    ; The pair of 8259s: four initialisation words each. IRQ 0-15 become vectors 20h-2Fh, out of the
    ; way of the exceptions; of all of them, only IRQ 0 is let through.
    mov esi, pic_setup
    mov ecx, 10
.pic:
    movzx edx, byte [esi]
    mov al, [esi + 1]
    out dx, al
    add esi, 2
    dec ecx
    jnz .pic

    ; The wire from the 8259s goes through the local APIC, if there is one, which holds it back
    ; after a reset. A BIOS sets up "virtual wire mode" (MP specification 1.4, section 3.6.2.2).
    cmp byte [has_apic], 0
    je .no_apic
    mov eax, [0xfee000f0]
    or eax, 0x1ff               ; spurious vector FFh, APIC enabled
    mov [0xfee000f0], eax
    mov dword [0xfee00350], 0x700 ; LINT0: ExtINT
.no_apic:

    ; Channel 0 counts 1,193,182 times a second and interrupts every 1193 counts.
    mov al, 0x34                ; channel 0, low and high byte, mode 2
    out 0x43, al
    mov al, 1193 & 0xff
    out 0x40, al
    mov al, 1193 >> 8
    out 0x40, al

    ; The first tick may come at any time: it starts the measurement of the others.
    mov dword [ticks], 0
    mov ecx, 1
    call .until
    call begin_32
    mov ecx, 21
    call .until
    mov dx, PM_TIMER
    in eax, dx
    sub eax, [began_pm]
    and eax, 0xffffff
    push eax
    mov al, 0xff                ; no more
    out 0x21, al
    mov esi, text_timer
    call print_32
    pop eax
    mov edx, 27937              ; a tick is 0.027937 hundredths of a millisecond
    mul edx
    mov ecx, 1000000
    div ecx
    xor ecx, ecx
    call hundredths_32
    mov esi, text_timer_end
    jmp print_32

; .until: sleeps until there have been ECX ticks. STI lets interrupts in only after the next
; instruction, so none can slip between the two and leave HLT waiting for ever.
.until:
    cli
    cmp [ticks], ecx
    jae .enough
    sti
    hlt
    jmp .until
.enough:
    ret

%define MODE 32
%include "mode.inc"

; ================================================================================================
; 3. Long mode

    bits 32
to_long_mode:
    ; Page tables: five pages of 512 entries with 8 bytes each. The first entry of the top table
    ; leads to a table whose entry 0 stands for the first GiB, mapped one to one with 2 MiB pages,
    ; and entry 1 for the GiB of the window, whose only page is not there yet.
PML4        equ PAGE_TABLES
PDPT        equ PAGE_TABLES + 0x1000
PD_FIRST    equ PAGE_TABLES + 0x2000
PD_WINDOW   equ PAGE_TABLES + 0x3000
PT_WINDOW   equ PAGE_TABLES + 0x4000
    mov edi, PAGE_TABLES
    mov ecx, 5 * 0x1000 / 4
    xor eax, eax
    rep stosd
    mov dword [PML4], PDPT | 3          ; present, writable
    mov dword [PDPT], PD_FIRST | 3
    mov dword [PDPT + 8], PD_WINDOW | 3
    mov dword [PD_WINDOW], PT_WINDOW | 3
    mov edi, PD_FIRST
    mov eax, 0x83                       ; present, writable, 2 MiB
.page:
    mov [edi], eax
    add edi, 8
    add eax, 0x200000
    cmp edi, PD_FIRST + 0x1000
    jb .page

    ; The order matters: physical address extension on, CR3, long mode enabled in EFER, paging on.
    ; The CPU is then in compatibility mode; the far jump to a 64-bit segment does the rest.
    mov eax, cr4
    or eax, 1 << 5                      ; PAE
    cmp byte [has_sse2], 0
    je .no_sse
    or eax, 1 << 9 | 1 << 10            ; OSFXSR, OSXMMEXCPT: SSE may be used
.no_sse:
    mov cr4, eax
    mov eax, PML4
    mov cr3, eax
    mov ecx, 0xc0000080                 ; EFER
    rdmsr
    or eax, 1 << 8                      ; LME
    wrmsr
    mov eax, cr0
    and eax, ~(1 << 2)                  ; EM: there is an FPU
    or eax, 1 << 31 | 1 << 1            ; PG, MP
    mov cr0, eax
    jmp CODE_64:long_mode

%define MODE 64
%include "mode.inc"

long_mode:
    mov ax, DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, STACK              ; writing ESP clears the high half of RSP

    mov rsi, text_long
    call print_64
    mov rax, cr0
    call hex_64
    mov rsi, text_cr3
    call print_64
    mov rax, cr3
    call hex_64
    mov rsi, text_cr4
    call print_64
    mov rax, cr4
    call hex_64
    mov rsi, text_efer
    call print_64
    mov ecx, 0xc0000080
    rdmsr
    call hex_64
    mov rsi, text_newline
    call print_64

    ; Gates have 16 bytes here, since addresses have 8.
    xor ecx, ecx
.exception:
    mov eax, ecx
    shl eax, 4
    add eax, exceptions_64
    call gate_64
    inc ecx
    cmp ecx, 32
    jb .exception
.interrupt:
    mov eax, interrupt_return_64
    call gate_64
    inc ecx
    cmp ecx, 0x41
    jb .interrupt
    mov ecx, 14
    mov eax, page_fault_64
    call gate_64
    lidt [idt_register_64]

    ; Numbers have 64 bits.
    mov rsi, text_product
    call print_64
    mov rax, 1234567890123
    mov r8, 1000003
    mul r8
    mov rdx, rax
    shr rdx, 32
    xor ecx, ecx
    call number_64
    mov rsi, text_newline
    call print_64

    ; A page fault: the page of the window is not there. The handler puts it there, the instruction
    ; is done again and knows nothing of it.
    mov r8d, WINDOW
    mov rax, 0x0123456789abcdef
    mov [r8], rax
    cmp [abs SPARE_PAGE], rax
    jne give_up_64
    mov rsi, text_page_fault
    call print_64
    mov eax, [exception_address]
    call hex_64
    mov rsi, text_error_code
    call print_64
    mov eax, [exception_code]
    call hex_64
    mov rsi, text_mended
    call print_64

    mov rsi, text_measuring
    call print_64
    call measure_all_64

    ; A write to CR3 forgets all translations of addresses.
    measure ROW_CR3, 20000, 1
    mov rax, cr3
    mov cr3, rax
    measured

    measure ROW_PAGE_FAULT, 20000, 1
    mov qword [abs PT_WINDOW], 0
    invlpg [abs WINDOW]
    mov [abs WINDOW], eax
    measured

    cmp byte [has_sse2], 0
    je .no_sse2
    movapd xmm0, [ones]
    movapd xmm1, [ones]
    measure ROW_SSE2, 200000, 8
    mulpd xmm0, xmm1
    addpd xmm2, xmm0
    mulpd xmm0, xmm1
    addpd xmm3, xmm0
    mulpd xmm0, xmm1
    addpd xmm4, xmm0
    mulpd xmm0, xmm1
    addpd xmm5, xmm0
    measured
.no_sse2:
    jmp goodbye_64

; gate: makes vector ECX of the IDT lead to RAX. Changes EDX.
gate_64:
    mov edx, ecx
    shl edx, 4
    add edx, idt
    mov [rdx], ax
    mov word [rdx + 2], CODE_64
    mov word [rdx + 4], 0x8e00  ; present, ring 0, 64-bit interrupt gate, no stack of its own
    shr rax, 16
    mov [rdx + 6], ax
    shr rax, 16
    mov [rdx + 8], eax
    mov dword [rdx + 12], 0
    ret

; The CPU pushes an error code on top of SS, RSP, RFLAGS, CS and RIP, and CR2 is the address. Faults
; outside the window are not ours to mend.
page_fault_64:
    push rax
    mov rax, cr2
    mov [exception_address], eax
    shr rax, 12
    cmp rax, WINDOW >> 12
    jne .not_ours
    mov rax, [rsp + 8]
    mov [exception_code], eax
    mov qword [abs PT_WINDOW], SPARE_PAGE | 3
    pop rax
    add rsp, 8                  ; the error code
    iretq
.not_ours:
    pop rax
    push 14
    jmp unexpected_64

; ================================================================================================
; 4. Data

    align 16
ones:
    dq 1.0, 1.0

; Descriptors (Intel SDM vol. 3A, section 3.4.5): the first is never used.
gdt:
    dq 0
    dq 0x00cf9b000000ffff       ; 32-bit code, base 0, limit 4 GiB
    dq 0x00cf93000000ffff       ; data, the same
    dq 0x00af9b000000ffff       ; 64-bit code
gdt_end:
CODE_32         equ 0x08
DATA            equ 0x10
CODE_64         equ 0x18

gdt_register:
    dw gdt_end - gdt - 1
    dd gdt
idt_register:
    dw 0x41 * 8 - 1
    dd idt
idt_register_64:
    dw 0x41 * 16 - 1
    dq idt
far_pointer_64:
    dd far_return_64
    dw CODE_64

; Register and value, from COM1's base on: no interrupts; the divisor 1; 8N1; FIFOs on; DTR, RTS.
uart_setup:
    db 1, 0,  3, 0x80,  0, 1,  1, 0,  3, 3,  2, 7,  4, 3

; Port and value: ICW1 to ICW4 of both 8259s (edge-triggered, cascaded; vectors; wiring; 8086 mode),
; then the masks.
pic_setup:
    db 0x20, 0x11,  0xa0, 0x11,  0x21, 0x20,  0xa1, 0x28,  0x21, 0x04,  0xa1, 0x02
    db 0x21, 0x01,  0xa1, 0x01,  0x21, 0xfe,  0xa1, 0xff

text_hello:
    db 13, 10, "Hello. This is Trine's demonstration guest, in real mode.", 13, 10, 0
text_no_cpuid:
    db "  The CPU has no CPUID instruction.", 13, 10, 0
text_vendor:
    db "  CPU: "
vendor:
    times 12 db 0
    db 0
text_brand:
    db ", ", 0
text_signature:
    db "  CPUID signature ", 0
text_features:
    db ", features:", 0
text_tsc:
    db " TSC", 0
text_apic:
    db " APIC", 0
text_sse2:
    db " SSE2", 0
text_long_mode:
    db " long-mode", 0
text_measuring:
    db "  Measuring:", 13, 10, 0
text_times:
    db " times, ", 0
text_ticks:
    db " TSC ticks, ", 0
text_each:
    db " ns each", 13, 10, 0
text_a20_on:
    db "  A20 is on.", 13, 10, 0
text_a20_switched:
    db "  A20 was off, port 92h switched it on.", 13, 10, 0
text_a20_off:
    db "  A20 is off and cannot be switched on.", 13, 10, 0
text_protected:
    db 13, 10, "Now in protected mode, in 32-bit code. CR0 is ", 0
text_invalid_opcode:
    db "  Invalid opcode (6): stepped over what is at ", 0
text_divide_error:
    db "  Divide error (0): gave it another divisor at ", 0
text_timer:
    db "  20 timer interrupts at 1 kHz, asleep in between: ", 0
text_timer_end:
    db " ms by the PM timer", 13, 10, 0
text_no_long_mode:
    db 13, 10, "This CPU has no long mode, so this is the end of the journey.", 13, 10, 0
text_long:
    db 13, 10, "Now in long mode, in 64-bit code. CR0 is ", 0
text_cr3:
    db ", CR3 ", 0
text_cr4:
    db ", CR4 ", 0
text_efer:
    db ", EFER ", 0
text_product:
    db "  1234567890123 * 1000003 = ", 0
text_page_fault:
    db "  Page fault (14) at ", 0
text_mended:
    db ": mended, the write went through", 13, 10, 0
text_unexpected:
    db 13, 10, "An exception that nobody expected: ", 0
text_error_code:
    db ", error code ", 0
text_at:
    db ", at ", 0
text_table:
    db 13, 10, "Nanoseconds each", 8 dup(' ')
    db "         real    protected         long", 13, 10, 0
text_none:
    db "            -", 0
text_goodbye:
    db 13, 10, "Goodbye: switching off through ACPI.", 13, 10, 0
text_still_here:
    db "Still here: this machine cannot be switched off.", 13, 10, 0
text_newline:
    db 13, 10, 0

; Names of the rows, each ROW_NAME bytes with the zero.
row_names:
    db "  integer instruction   ", 0
ROW_NAME        equ $ - row_names
    db "  memory add            ", 0
    db "  I/O port read         ", 0
    db "  far call and return   ", 0
    db "  interrupt and return  ", 0
    db "  CPUID                 ", 0
    db "  CR3 write             ", 0
    db "  page fault, mended    ", 0
    db "  SSE2 add or multiply  ", 0
%if $ - row_names != ROWS * ROW_NAME
    %error "a row has no name, or one of the wrong length"
%endif

; What follows is not in the image. It has pages of its own: to write where
; code is would be slow, because a CPU, and even more an emulator, has to check whether the code
; changes.
    section .bss align=4096
variables:
results:        resd ROWS * 3
began_pm:       resd 1
began_tsc:      resd 2
took_tsc:       resd 2
count:          resd 1
row:            resd 1
column:         resd 1
each:           resd 1
fraction:       resd 1
scratch:        resd 1
ticks:          resd 1
exception_address: resd 1
exception_code: resd 1
features:       resd 1
signature:      resd 1
extended_leaves: resd 1
has_cpuid:      resb 1
has_tsc:        resb 1
has_apic:       resb 1
has_sse2:       resb 1
has_long_mode:  resb 1
brand:          resb 49
                resb 31
digits_end:     resb 1          ; a zero, behind the digits
    alignb 16
idt:            resb 0x41 * 16
variables_end:
