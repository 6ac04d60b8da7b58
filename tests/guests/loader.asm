; A boot sector that loads Linux with nothing but a BIOS: INT 13h 42h reads, INT 15h 87h moves what
; is read above 1 MiB. The kernel's own set-up then asks the BIOS for all it wants to know.
;
;   nasm -f bin -o loader.bin loader.asm
;
; On the disk follow a sector with the command line, the kernel (a bzImage) and the initrd, each
; from a sector of its own; their sizes are written into this one.
;
; Source: Linux, Documentation/arch/x86/boot.rst.

bits 16
org 0x7c00

SETUP           equ 0x9000          ; segment of the kernel's set-up; its stack and heap behind
COMMAND_LINE    equ 0x9e00          ; its offset there
BUFFER          equ 0x2000          ; segment of what goes further
CHUNK           equ 64              ; sectors
KERNEL          equ 0x10_0000
INITRD          equ 0x800_0000
FIRST_SECTOR    equ 2               ; of the kernel

; In the kernel's header.
SETUP_SECTORS   equ 0x1f1
LOADER          equ 0x210
FLAGS           equ 0x211
RAMDISK         equ 0x218
RAMDISK_SIZE    equ 0x21c
HEAP_END        equ 0x224
COMMAND_LINE_AT equ 0x228

start:
    jmp 0:.here
.here:
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x7c00
    cld
    mov [drive], dl
    mov eax, FIRST_SECTOR           ; the first sectors tell how many there are
    mov bx, SETUP
    mov cx, 64
    call read
    mov ax, SETUP
    mov es, ax
    mov eax, 1
    mov bx, SETUP + COMMAND_LINE / 16
    mov cx, 1
    call read
    movzx ecx, byte [es:SETUP_SECTORS]
    inc cx
    mov eax, [kernel_sectors]
    sub eax, ecx
    add ecx, FIRST_SECTOR
    mov edi, KERNEL
    call load
    mov ecx, [kernel_sectors]
    add ecx, FIRST_SECTOR
    mov eax, [initrd_sectors]
    mov edi, INITRD
    call load
    mov byte [es:LOADER], 0xff
    or byte [es:FLAGS], 0x80        ; there is a heap
    mov word [es:HEAP_END], COMMAND_LINE - 0x200
    mov dword [es:COMMAND_LINE_AT], SETUP * 16 + COMMAND_LINE
    mov dword [es:RAMDISK], INITRD
    mov eax, [initrd_bytes]
    mov [es:RAMDISK_SIZE], eax
    mov ax, SETUP
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    mov sp, COMMAND_LINE
    jmp SETUP + 0x20:0

; Reads CX sectors from EAX on to segment BX.
read:
    mov [packet.lba], eax
    mov [packet.segment], bx
    mov [packet.count], cx
    mov si, packet
    mov dl, [drive]
    mov ah, 0x42
    int 0x13
    jc failed
    ret

; Loads EAX sectors from sector ECX on to EDI.
load:
    test eax, eax
    jz .done
    push eax
    push ecx
    cmp eax, CHUNK
    jb .last
    mov eax, CHUNK
.last:
    xchg eax, ecx
    push cx
    mov bx, BUFFER
    call read
    mov eax, edi
    mov [moves.to], ax
    shr eax, 16
    mov [moves.to + 2], al
    mov [moves.to_high], ah
    pop cx
    push cx
    shl cx, 8                       ; words
    push es
    push ds
    pop es
    mov si, moves
    mov ah, 0x87
    int 0x15
    pop es
    jc failed
    pop dx
    movzx edx, dx
    pop ecx
    pop eax
    sub eax, edx
    add ecx, edx
    shl edx, 9
    add edi, edx
    jmp load
.done:
    ret

failed:
    mov si, .text
.next:
    lodsb
    test al, al
    jz $
    mov ah, 0x0e
    int 0x10
    jmp .next
.text:
    db "the disk cannot be read", 13, 10, 0

drive:
    db 0
    align 4
packet:
    db 16, 0
.count:
    dw 0
    dw 0
.segment:
    dw 0
.lba:
    dq 0
moves:
    times 16 db 0
    dw 0xffff, 0, 0x9300 | BUFFER >> 12, 0
    dw 0xffff
.to:
    dw 0
    db 0, 0x93, 0
.to_high:
    db 0
    times 16 db 0

    times 0x1f0 - ($ - $$) db 0
kernel_sectors:
    dd 0
initrd_sectors:
    dd 0
initrd_bytes:
    dd 0
    times 510 - ($ - $$) db 0
    dw 0xaa55
