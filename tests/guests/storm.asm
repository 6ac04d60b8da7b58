; A guest that writes random values to every port and over the whole MMIO space, says how far it
; has come, and switches itself off. An ELF file with a PVH note, complete with its headers.
;
;   nasm -f bin -o storm.elf storm.asm
;
; It keeps off the few registers that end the run by design until it is through.

bits 32
org 0x100000
COM1 equ 0x3f8
RAM_END equ 64 << 20               ; the test gives it as much

file:
    db 0x7f, "ELF", 1, 1, 1
    times 9 db 0
    dw 2, 3                        ; an executable for the 80386
    dd 1, start, headers - file, 0, 0
    dw 52, 32, 2, 40, 0, 0
headers:
    dd 4, note - file, note, note, note_end - note, note_end - note, 4, 4
    dd 1, 0, file, file, file_end - file, file_end - file, 7, 4096
note:
    dd 4, 4, 18
    db "Xen", 0
    dd start
note_end:

    times 0x100 - ($ - $$) db 0
seed: dd 1                         ; at 100h in the file: the test replaces it, never by 0

    times 0x110 - ($ - $$) db 0
start:                             ; at 110h: the test may replace all that follows
    cli
    cld
    mov esp, stack_end
    lgdt [gdtr]
    jmp 8:.flat
.flat:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov edi, idt                   ; every interrupt and NMI returns at once
    mov ecx, 256
.gate:
    mov eax, nothing
    mov [edi], ax
    mov word [edi + 2], 8
    mov word [edi + 4], 0x8e00
    shr eax, 16
    mov [edi + 6], ax
    add edi, 8
    loop .gate
    lidt [idtr]
    mov esi, hello
    call print

; Every port, as a byte, a word and a doubleword, in an order that depends on the seed.
    xor ebp, ebp
    mov ebx, [seed]
.port:
    imul edx, ebp, 0x9e37          ; odd: a permutation of the ports
    add edx, ebx
    and edx, 0xffff
    call is_off_limits
    jc .next_port
    call random
    out dx, al
    in al, dx
    call random
    out dx, ax
    in ax, dx
    call random
    out dx, eax
    in eax, dx
.next_port:
    inc ebp
    cmp ebp, 0x10000
    jb .port
    mov esi, ports_done
    call print

; Random registers of every PCI function of bus 0, and of others.
    mov ebp, 0x4000
.function:
    call random
    and eax, 0x00fffffc
    cmp ebp, 0x1000
    ja .address
    and eax, 0x0000fffc
.address:
    or eax, 0x80000000
    mov edx, 0xcf8
    out dx, eax
    mov edx, 0xcfc
    call random
    test ebp, 3
    jz .byte
    out dx, eax
    in eax, dx
    jmp .next_function
.byte:
    out dx, al
    in al, dx
.next_function:
    dec ebp
    jnz .function
    mov esi, pci_done
    call print

; The hole for video memory and what lies behind it, up to 1 MiB.
    mov ebp, 0xa0000
.hole:
    call page
    cmp ebp, 0x100000
    jb .hole
; A doubleword in each page from the end of RAM to 4 GiB, but not the local APIC's.
    mov ebp, RAM_END
.page:
    mov eax, ebp
    shr eax, 12
    cmp eax, 0xfee00
    je .next_page
    call random
    mov edi, eax
    and edi, 0xfff
    add edi, ebp
    call random
    mov [edi], eax
    xor eax, [edi]
    mov [edi], al
.next_page:
    add ebp, 0x1000
    jnz .page
; All of the I/O APIC and of the HPET.
    mov ebp, 0xfec00000
    call page
    mov ebp, 0xfed00000
    call page
    mov esi, mmio_done
    call print
; The local APIC, but for the command register: an INIT to itself would be the end.
    mov ebp, 0xfee00000
.register:
    call random
    mov edi, ebp
    and edi, 0xff0
    cmp edi, 0x300
    je .next_register
    cmp edi, 0x310
    je .next_register
    mov [ebp], eax
    mov eax, [ebp]
.next_register:
    add ebp, 4
    test ebp, 0xfff
    jnz .register
    mov esi, apic_done
    call print
; The storm over PCI moved the ports of power management: PMBASE and PMREGMISC, in function 1:3.
    mov edx, 0xcf8
    mov eax, 0x80000b40
    out dx, eax
    mov edx, 0xcfc
    mov eax, 0x601
    out dx, eax
    mov edx, 0xcf8
    mov eax, 0x80000b80
    out dx, eax
    mov edx, 0xcfc
    mov al, 1
    out dx, al
    mov edx, 0x604                 ; PM1a control: soft off
    mov eax, 0x3400
    out dx, ax
    cli
    hlt

; Every doubleword and some bytes of the page at EBP.
page:
    call random
    mov [ebp], eax
    mov eax, [ebp]
    call random
    mov edi, ebp
    and al, 3
    xor ecx, ecx
    mov cl, al
    mov [edi + ecx], ah
    add ebp, 4
    test ebp, 0xfff
    jnz page
    ret

; CF: a doubleword at port DX reaches one that resets, switches off or exits.
is_off_limits:
    mov esi, off_limits
.next:
    movzx eax, word [esi]
    test eax, eax
    jz .free
    add esi, 2
    sub eax, edx
    cmp eax, 4
    jae .next
    ret                            ; CF is set
.free:
    clc
    ret

random:
    mov eax, [seed]
    mov ecx, eax
    shl ecx, 13
    xor eax, ecx
    mov ecx, eax
    shr ecx, 17
    xor eax, ecx
    mov ecx, eax
    shl ecx, 5
    xor eax, ecx
    mov [seed], eax
    ret

; COM1, which may be in any state: 115200 baud, 8N1, no FIFO, no loopback, no interrupts.
print:
    mov ebx, settings
.setting:
    movzx edx, byte [ebx]
    test edx, edx
    jz .next
    add edx, 0x300
    mov al, [ebx + 1]
    out dx, al
    add ebx, 2
    jmp .setting
.next:
    lodsb
    test al, al
    jz .end
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
.end:
    ret
settings: db 0xfb, 0x83, 0xf8, 1, 0xf9, 0, 0xfb, 3, 0xf9, 0, 0xfa, 0, 0xfc, 0, 0

nothing:
    iretd

; The keyboard controller's command port, port 92h, the debug exits, PM1a control, reset control.
off_limits: dw 0x64, 0x92, 0xf4, 0x501, 0x604, 0x605, 0xcf9, 0
hello: db "storm", 10, 0
ports_done: db "ports", 10, 0
pci_done: db "pci", 10, 0
mmio_done: db "mmio", 10, 0
apic_done: db "apic", 10, 0
align 8, db 0
gdt: dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr: dw 23
    dd gdt
idtr: dw 0x7ff
    dd idt
align 16, db 0
idt: times 0x800 db 0
    times 0x400 db 0
stack_end:
    times 0x4000 - ($ - $$) db 0
file_end:
