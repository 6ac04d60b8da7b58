; The guest of the benchmark: loops of known length between marks on COM1, or a Linux kernel.
;
; It is loaded at 1 MiB and entered there in 32-bit protected mode with flat segments and no paging:
; by the PVH protocol, or by the boot sector of boot.asm. The same bytes run on every emulator.
; Lines it prints:   @NAME begin     @NAME end COUNT RESULT      @all done
; COUNT is how many instructions the loop retires, RESULT what it computed (hexadecimal).
;
;   nasm -f bin -o work.bin work.asm

COM1     equ 0x3f8
STACK    equ 0x180000              ; and downwards
TABLES   equ 0x200000              ; PML4, PDPT, PD, then the page tables
MAPPED   equ 64                    ; MiB mapped one to one, by pages of 4 KiB as a process has them
CHASE    equ 0x2000000             ; the pointers to chase
CHASE_LINES equ 0x10000            ; 64 bytes each: 4 MiB, 1024 pages
COPY_FROM equ 0x2800000
COPY_TO  equ 0x2c35000            ; not a power of two away: no two pages share a TLB entry
COPY_LEN equ 0x100000
PARAMS   equ 0x190000              ; Linux boot_params, where the harness puts them
KERNEL   equ 0x1000000

bits 32
org 0x100000
    jmp short start
align 4, db 0
boots_kernel: dd 0                 ; at 100004h: the harness makes it 1 to boot the kernel

align 8, db 0
gdt: dq 0, 0
    dq 0x00cf9b000000ffff          ; 10h: 32-bit code, as Linux wants it
    dq 0x00cf93000000ffff          ; 18h: data
    dq 0x00af9b000000ffff          ; 20h: 64-bit code
gdt_end:
gdtr: dw gdt_end - gdt - 1
    dd gdt

start:
    cli
    cld
    mov esp, STACK
    lgdt [gdtr]
    jmp 0x10:.flat
.flat:
    mov eax, 0x18
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov fs, eax
    mov gs, eax
    ; COM1: 115200 baud, 8N1, no interrupts
    mov edx, COM1 + 3
    mov al, 0x80
    out dx, al
    mov edx, COM1
    mov al, 1
    out dx, al
    inc edx
    mov al, 0
    out dx, al
    mov edx, COM1 + 3
    mov al, 3
    out dx, al
    cmp dword [boots_kernel], 0
    jne linux
    jmp long_mode

; The 32-bit entry of the Linux boot protocol.
linux:
    mov esi, .begin
.next:
    lodsb
    test al, al
    jz .go
    mov ah, al
    mov edx, COM1 + 5
.wait:
    in al, dx
    test al, 0x20
    jz .wait
    mov edx, COM1
    mov al, ah
    out dx, al
    jmp .next
.go:
    mov edx, COM1 + 5
.drain:
    in al, dx
    test al, 0x40
    jz .drain
    mov esi, PARAMS
    xor ebp, ebp
    xor edi, edi
    xor ebx, ebx
    jmp 0x10:KERNEL
.begin: db "@kernel begin", 10, 0

long_mode:
    ; 4 KiB for each of PML4, PDPT, PD; a page table for each 2 MiB
    mov edi, TABLES
    mov ecx, (3 + MAPPED / 2) * 1024
    xor eax, eax
    rep stosd
    mov dword [TABLES], TABLES + 0x1003
    mov dword [TABLES + 0x1000], TABLES + 0x2003
    mov edi, TABLES + 0x2000
    mov eax, TABLES + 0x3003
    mov ecx, MAPPED / 2
.directory:
    mov [edi], eax
    add edi, 8
    add eax, 0x1000
    loop .directory
    mov edi, TABLES + 0x3000
    mov eax, 3
    mov ecx, MAPPED * 256
.table:
    mov [edi], eax
    add edi, 8
    add eax, 0x1000
    loop .table
    mov eax, TABLES
    mov cr3, eax
    mov eax, 0x620                 ; PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov ecx, 0xc0000080            ; EFER.LME
    rdmsr
    or eax, 0x100
    wrmsr
    mov eax, 0x80000033            ; PG, NE, ET, MP, PE
    mov cr0, eax
    jmp 0x20:long_start

bits 64
default rel
; run NAME, INSTRUCTIONS: the marks around a loop; the loop leaves its result in RAX.
%macro run 3
    mov rsi, %%begin
    call print
    call %2
    push rax
    mov rsi, %%end
    call print
    mov rax, %3
    call hex
    mov al, ' '
    call putc
    pop rax
    call hex
    mov al, 10
    call putc
    call drain
    jmp %%over
%%begin: db "@", %1, " begin", 10, 0
%%end: db "@", %1, " end ", 0
%%over:
%endmacro

long_start:
    mov eax, 0x18
    mov ss, eax
    call prepare_chase
    run "integer", integer, INTEGER_COUNT
    run "copy", copy, COPY_COUNT
    run "chase", chase, CHASE_COUNT
    run "sse2", sse2, SSE2_COUNT
    run "x87", x87, X87_COUNT
    mov rsi, .done
    call print
    call drain
.stop:
    cli
    hlt
    jmp .stop
.done: db "@all done", 10, 0

; A random number generator, a hash and a call: what integer code does between its memory accesses.
INTEGER_TURNS equ 5000000
INTEGER_COUNT equ INTEGER_TURNS * 24
integer:
    mov rbx, 0x9e3779b97f4a7c15
    xor esi, esi
    mov edi, 5381
    mov ecx, INTEGER_TURNS
align 16
.loop:
    mov rax, rbx                   ; xorshift64
    shl rax, 13
    xor rbx, rax
    mov rax, rbx
    shr rax, 7
    xor rbx, rax
    mov rax, rbx
    shl rax, 17
    xor rbx, rax
    movzx edx, bl
    lea r8, [rdi + rdi * 4 + 7]
    imul r8, rdx
    cmp edx, 128
    cmovb r8, rbx
    setb r9b
    add rsi, r8
    adc rdi, 0
    call .mix                      ; and the four instructions there
    dec ecx
    jnz .loop
    lea rax, [rsi + rdi]
    ret
.mix:
    rol rdi, 5
    xor rdi, rsi
    and r9d, 1
    ret

; A copy of 1 MiB by 64-bit loads and stores, again and again.
COPY_TURNS equ 100
COPY_COUNT equ COPY_TURNS * (COPY_LEN / 32) * 12
copy:
    mov ebx, COPY_TURNS
    xor eax, eax
.again:
    mov esi, COPY_FROM
    mov edi, COPY_TO
    mov ecx, COPY_LEN / 32
align 16
.loop:
    mov r8, [rsi]
    mov r9, [rsi + 8]
    mov r10, [rsi + 16]
    mov r11, [rsi + 24]
    mov [rdi], r8
    mov [rdi + 8], r9
    mov [rdi + 16], r10
    mov [rdi + 24], r11
    add rsi, 32
    add rdi, 32
    dec ecx
    jnz .loop
    add rax, r11
    dec ebx
    jnz .again
    ret

; One load depends on the other, in an order that no cache foresees.
CHASE_TURNS equ 6000000
CHASE_COUNT equ CHASE_TURNS * 5
chase:
    mov edx, CHASE
    xor eax, eax
    mov ecx, CHASE_TURNS
align 16
.loop:
    mov rdx, [rdx]
    add rax, [rdx + 8]
    xor rax, rdx
    dec ecx
    jnz .loop
    ret

; Each line's pointer goes to the line (5 n + 12345) mod CHASE_LINES: a full cycle (Hull and Dobell).
prepare_chase:
    xor ecx, ecx
.line:
    lea eax, [rcx + rcx * 4 + 12345]
    and eax, CHASE_LINES - 1
    shl eax, 6
    add eax, CHASE
    mov edx, ecx
    shl edx, 6
    mov [rdx + CHASE], rax
    mov [rdx + CHASE + 8], rcx
    inc ecx
    cmp ecx, CHASE_LINES
    jb .line
    mov edi, COPY_FROM
    mov ecx, COPY_LEN / 8
    mov rax, 0x0123456789abcdef
.word:
    mov [rdi], rax
    rol rax, 7
    add rax, rcx
    add rdi, 8
    loop .word
    ret

; Scalar doubles: a polynomial by Horner's rule, a division and a square root.
SSE2_TURNS equ 2500000
SSE2_COUNT equ SSE2_TURNS * 20
sse2:
    mov ecx, SSE2_TURNS
    xorpd xmm0, xmm0               ; sum
    movsd xmm5, [one]
    movsd xmm6, [step]
    movapd xmm1, xmm6              ; x
align 16
.loop:
    movapd xmm2, xmm1
    mulsd xmm2, [c4]
    addsd xmm2, [c3]
    mulsd xmm2, xmm1
    addsd xmm2, [c2]
    mulsd xmm2, xmm1
    addsd xmm2, [c1]
    mulsd xmm2, xmm1
    addsd xmm2, xmm5
    cvtsi2sd xmm3, ecx
    addsd xmm3, xmm2
    movapd xmm4, xmm2
    divsd xmm4, xmm3
    sqrtsd xmm3, xmm3
    subsd xmm3, xmm4
    addsd xmm0, xmm3
    addsd xmm1, xmm6
    ucomisd xmm1, xmm5
    dec ecx
    jnz .loop
    movq rax, xmm0
    ret

; The same on the stack of the x87, with 64 bits of precision.
X87_TURNS equ 2500000
X87_COUNT equ X87_TURNS * 20
x87:
    fninit
    mov ecx, X87_TURNS
    fldz                           ; sum
    fld qword [step]               ; x, sum
align 16
.loop:
    fld st0
    fmul qword [c4]
    fadd qword [c3]
    fmul st0, st1
    fadd qword [c2]
    fmul st0, st1
    fadd qword [c1]
    fmul st0, st1
    fld1
    faddp st1, st0                 ; p, x, sum
    mov [turn], ecx
    fild dword [turn]
    fadd st0, st1                  ; n + p, p, x, sum
    fxch st1
    fdiv st0, st1                  ; p / (n + p), n + p, x, sum
    fsubp st1, st0
    faddp st2, st0                 ; x, sum
    fadd qword [step]
    dec ecx
    jnz .loop
    fstp st0
    fstp qword [result]
    mov rax, [result]
    ret

; COM1
print:
    lodsb
    test al, al
    jz .end
    call putc
    jmp print
.end:
    ret
putc:
    mov ah, al
    mov edx, COM1 + 5
.wait:
    in al, dx
    test al, 0x20
    jz .wait
    mov edx, COM1
    mov al, ah
    out dx, al
    ret
drain:
    mov edx, COM1 + 5
.wait:
    in al, dx
    test al, 0x40
    jz .wait
    ret
; RAX in sixteen digits
hex:
    mov rbx, rax
    mov ecx, 16
.digit:
    rol rbx, 4
    mov eax, ebx
    and eax, 15
    mov al, [abs digits + rax]
    call putc
    dec ecx
    jnz .digit
    ret

digits: db "0123456789abcdef"
; Not in a page with code: every store there would have to look for a change of the code.
align 4096, db 0
one: dq 1.0
step: dq 0.0000003
c1: dq 0.9999993
c2: dq 0.5000121
c3: dq 0.1666401
c4: dq 0.0417213
result: dq 0
turn: dd 0
