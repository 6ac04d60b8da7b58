; What has had its address since the first PCs: programs jump to these entries and read these tables
; without looking at a vector. All else lies before them.
;
; Source: IBM PC/AT Technical Reference, section 5; "Compatibility Segment" of the System BIOS for
; IBM PCs, Compatibles, and EISA Computers (Phoenix), chapter 4.

; place ADDRESS: what follows lies there.
%macro place 1
    times %1 - ($ - $$) db 0
%endmacro

; The host that runs this image writes tables for the operating system here: RSDP, SMBIOS and MP
; anchors, the PCI interrupt routing table. Each is found by its signature. See
; firmware/src/bios.rs.
FIXED_ANCHORS       equ 0xd000
FIXED_ANCHORS_END   equ 0xe000

FIXED_POST          equ 0xe05b
FIXED_NMI           equ 0xe2c3
FIXED_DISK          equ 0xe3fe
FIXED_BOOT          equ 0xe6f2
FIXED_CONFIGURATION equ 0xe6f5
FIXED_BAUD          equ 0xe729
FIXED_SERIAL        equ 0xe739
FIXED_KEYBOARD      equ 0xe82e
FIXED_KEYBOARD_IRQ  equ 0xe987
FIXED_FLOPPY        equ 0xec59
FIXED_FLOPPY_IRQ    equ 0xef57
FIXED_FLOPPY_TABLE  equ 0xefc7
FIXED_PRINTER       equ 0xefd2
FIXED_VIDEO         equ 0xf065
FIXED_VIDEO_TABLE   equ 0xf0a4
FIXED_MEMORY_SIZE   equ 0xf841
FIXED_EQUIPMENT     equ 0xf84d
FIXED_SYSTEM        equ 0xf859
FIXED_FONT          equ 0xfa6e
FIXED_CLOCK         equ 0xfe6e
FIXED_TIMER         equ 0xfea5
FIXED_VECTORS       equ 0xfef3
FIXED_IRET          equ 0xff53
FIXED_PRINT_SCREEN  equ 0xff54
FIXED_RESET         equ 0xfff0
FIXED_DATE          equ 0xfff5
FIXED_MODEL         equ 0xfffe

    place FIXED_ANCHORS
    place FIXED_ANCHORS_END
    db "Trine BIOS", 0

    place FIXED_POST
    jmp reset

    place FIXED_NMI
    iret

    place FIXED_DISK
    jmp int_13

    place FIXED_BOOT
    jmp int_19

    place FIXED_CONFIGURATION          ; INT 15h C0h
    dw 8
    db 0xfc                         ; PC/AT
    db 0x00
    db 0x01                         ; revision
    db 0x74                         ; two 8259s, clock, INT 15h 4Fh, an EBDA
    db 0x40                         ; INT 16h 09h is not there; the keyboard of 101 keys is
    db 0x00, 0x00, 0x00

    place FIXED_BAUD                   ; divisors of 110, 150, 300, 600, 1200, 2400, 4800, 9600
    dw 1047, 768, 384, 192, 96, 48, 24, 12

    place FIXED_SERIAL
    jmp int_14

    place FIXED_KEYBOARD
    jmp int_16

    place FIXED_KEYBOARD_IRQ
    jmp int_9

    place FIXED_FLOPPY
    jmp int_40

    place FIXED_FLOPPY_IRQ
    jmp int_0e

    place FIXED_FLOPPY_TABLE           ; of 1.44 MiB
    db 0xaf, 0x02                   ; SPECIFY: step rate, head times, DMA
    db MOTOR_TICKS
    db 2                            ; 512 bytes
    db 18                           ; sectors
    db 0x1b                         ; gap
    db 0xff
    db 0x6c                         ; gap of FORMAT
    db 0xf6                         ; its filler
    db 15                           ; milliseconds for the head
    db 8                            ; eighths of a second for the motor

    place FIXED_PRINTER
    jmp int_17

    place FIXED_VIDEO
    jmp int_10

    place FIXED_VIDEO_TABLE            ; the CGA: CRT controller by modes, sizes, columns, control
    db 0x38, 0x28, 0x2d, 0x0a, 0x1f, 0x06, 0x19, 0x1c, 0x02, 0x07, 0x06, 0x07, 0, 0, 0, 0
    db 0x71, 0x50, 0x5a, 0x0a, 0x1f, 0x06, 0x19, 0x1c, 0x02, 0x07, 0x06, 0x07, 0, 0, 0, 0
    db 0x38, 0x28, 0x2d, 0x0a, 0x7f, 0x06, 0x64, 0x70, 0x02, 0x01, 0x06, 0x07, 0, 0, 0, 0
    db 0x61, 0x50, 0x52, 0x0f, 0x19, 0x06, 0x19, 0x19, 0x02, 0x0d, 0x0b, 0x0c, 0, 0, 0, 0
    dw 2048, 4096, 16384, 16384
    db 40, 40, 80, 80, 40, 40, 80, 80
    db 0x2c, 0x28, 0x2d, 0x29, 0x2a, 0x2e, 0x1e, 0x29

    align 16
; The Plug and Play installation structure, for option ROMs and boot loaders (Plug and Play BIOS
; Specification 1.0a, section 4.4); there are no functions.
PNP_ENTRY           equ pnp_unsupported - $$
pnp:
    db "$PnP", 0x10, 0x21
    dw 0                            ; no events
    db -("$" + "P" + "n" + "P" + 0x10 + 0x21 \
        + 2 * (PNP_ENTRY + PNP_ENTRY / 256) + BIOS_SEGMENT / 256 + 0x0f + BDA_SEGMENT) & 0xff
    dd 0
    dw PNP_ENTRY, BIOS_SEGMENT
    dw PNP_ENTRY
    dd BIOS_SEGMENT * 16
    dd 0
    dw BDA_SEGMENT
    dd 0
pnp_unsupported:
    mov ax, 0x82
    retf

    place FIXED_MEMORY_SIZE
    jmp int_12

    place FIXED_EQUIPMENT
    jmp int_11

    place FIXED_SYSTEM
    jmp int_15

    place FIXED_FONT
    incbin "../font/8x8.bin", 0, 128 * 8

    place FIXED_CLOCK
    jmp int_1a

    place FIXED_TIMER
    jmp int_8

    place FIXED_VECTORS                ; the offsets of INT 8 to INT 1Fh
    dw FIXED_TIMER, FIXED_KEYBOARD_IRQ, irq_ignored, irq_ignored
    dw irq_ignored, irq_ignored, FIXED_FLOPPY_IRQ, irq_ignored
    dw FIXED_VIDEO, FIXED_EQUIPMENT, FIXED_MEMORY_SIZE, FIXED_DISK
    dw FIXED_SERIAL, FIXED_SYSTEM, FIXED_KEYBOARD, FIXED_PRINTER
    dw int_18, FIXED_BOOT, FIXED_CLOCK, FIXED_IRET
    dw FIXED_IRET, FIXED_VIDEO_TABLE, FIXED_FLOPPY_TABLE, font_8x8 + 128 * 8

    place FIXED_IRET
    iret

    place FIXED_PRINT_SCREEN
    iret

    place FIXED_RESET                  ; near: the CPU still runs in the upper copy
    jmp near reset

    place FIXED_DATE
    db "01/01/26"

    place FIXED_MODEL
    db 0xfc, 0
