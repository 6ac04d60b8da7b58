; The guest of the benchmarks: a program without an operating system, which runs the programs of its
; plan one after the other, with marks around them on COM1, and switches the machine off; or which
; enters a Linux kernel that was loaded with it. The same bytes run on every emulator.
;
; The image is an ELF file with a PVH note, for -kernel. It is one segment and begins with its own
; header, so a boot sector can as well load the file as it is and enter it where its header says
; (boot.asm). It is entered in 32-bit protected mode with flat segments and without paging.
;
;   nasm -f bin -o guest.elf guest.asm
;   trine run --kernel guest.elf --append "fib*20 crc"
;
; The plan is the kernel's command line (PVH), or else what the harness writes at `plan`: names of
; programs, each with its number of turns if that is not one, as "fib*20 crc". Without any, all run
; once.
; Lines it prints:   @NAME begin     @NAME end TURNS RESULT TICKS      @all done
; RESULT is what each turn computed; TICKS of the TSC passed. All numbers are hexadecimal.

%include "layout.inc"

COM1     equ 0x3f8
PM1A_CONTROL equ 0x604             ; of Trine and QEMU
SOFT_OFF equ 0x2000                ; SLP_EN; QEMU has S5 as sleep type 0,
SOFT_OFF_TRINE equ 0x3400          ; Trine as 5

CODE_32  equ 0x10                  ; selectors; the first two are as Linux wants them
DATA     equ 0x18
CODE_64  equ 0x20
USER_DATA equ 0x3b
USER_CODE equ 0x43
TSS      equ 0x48

bits 32
org IMAGE
; ELF header (System V ABI, "ELF Header"), two program headers, the note
    db 0x7f, "ELF", 1, 1, 1, 0
    dq 0
    dw 2, 3                        ; an executable for the 80386
    dd 1, start, program_headers - $$, 0, 0
    dw 52, 32, 2, 40, 0, 0
program_headers:
    dd 1, 0, IMAGE, IMAGE, image_end - $$, image_end - $$, 7, 4
    dd 4, note - $$, note, note, note_end - note, note_end - note, 4, 4
note:
    dd 4, 4, 18                    ; XEN_ELFNOTE_PHYS32_ENTRY
    db "Xen", 0
    dd start
note_end:

; What the harness writes to, at fixed places.
    times BOOTS_KERNEL - IMAGE - ($ - $$) db 0
boots_kernel: dd 0                 ; not 0: boot the kernel
    times PLAN - IMAGE - ($ - $$) db 0
plan: times PLAN_ROOM db 0

align 8, db 0
gdt: dq 0, 0
    dq 0x00cf9b000000ffff          ; 10h: 32-bit code
    dq 0x00cf93000000ffff          ; 18h: data
    dq 0x00af9b000000ffff          ; 20h: 64-bit code, and what SYSCALL loads into SS
    dq 0x00cf93000000ffff          ; 28h
    dq 0x00cffb000000ffff          ; 30h: what SYSRET counts from
    dq 0x00cff3000000ffff          ; 38h: data of user mode
    dq 0x00affb000000ffff          ; 40h: 64-bit code of user mode
tss_descriptor: dq 0, 0            ; 48h
gdt_end:
gdtr: dw gdt_end - gdt - 1
    dd gdt, 0

start:
    cli
    cld
    mov esp, STACK
    lgdt [gdtr]
    jmp CODE_32:.flat
.flat:
    mov eax, DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov fs, eax
    mov gs, eax
    ; The command line of PVH, if there is one that says something
    test ebx, ebx
    jz .uart
    cmp dword [ebx], 0x336ec578    ; hvm_start_info
    jne .uart
    mov eax, [ebx + 24]
    test eax, eax
    jz .uart
    cmp byte [eax], 0
    je .uart
    mov [plan_at], eax
.uart:
    ; 115200 baud, 8N1, no interrupts
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
    jmp CODE_32:KERNEL
.begin: db "@kernel begin", 10, 0

long_mode:
    ; 4 KiB for each of PML4, PDPT, PD; a page table for each 2 MiB. User mode may use all of it.
    mov edi, TABLES
    mov ecx, (3 + MAPPED / 2) * 1024
    xor eax, eax
    rep stosd
    mov dword [TABLES], TABLES + 0x1007
    mov dword [TABLES + 0x1000], TABLES + 0x2007
    mov edi, TABLES + 0x2000
    mov eax, TABLES + 0x3007
    mov ecx, MAPPED / 2
.directory:
    mov [edi], eax
    add edi, 8
    add eax, 0x1000
    loop .directory
    mov edi, TABLES + 0x3000
    mov eax, 7
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
    mov ecx, 0xc0000080            ; EFER: LME, SCE
    rdmsr
    or eax, 0x101
    wrmsr
    mov eax, 0x80010033            ; PG, WP, NE, ET, MP, PE
    mov cr0, eax
    jmp CODE_64:long_start

bits 64
default rel
long_start:
    mov eax, DATA
    mov ss, eax
    call prepare_system
    mov esi, plan
    mov eax, [plan_at]
    test eax, eax
    cmovnz esi, eax
    call perform
    mov edx, PM1A_CONTROL
    mov ax, SOFT_OFF_TRINE
    out dx, ax
    mov ax, SOFT_OFF
    out dx, ax
.stop:
    cli
    hlt
    jmp .stop

plan_at: dd 0

; COM1. AL is the character; both keep all registers but RAX and RDX.
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
; All that was printed has left.
drain:
    mov edx, COM1 + 5
.wait:
    in al, dx
    test al, 0x40
    jz .wait
    ret

%include "driver.inc"
%include "system.inc"

    times PROGRAMS - IMAGE - ($ - $$) db 0
%include "programs.inc"
    times PROGRAMS_LEN - ($ - programs) db 0
image_end:
