; Trine's BIOS: what a PC does between its reset and the first instruction of an operating system,
; and the services that real-mode programs call by interrupts. It runs on any PC of the 440FX kind
; (Trine's own board, QEMU's `pc`), on hardware that it finds by itself.
;
; Assemble with:  nasm -f bin -o bios.bin bios.asm
; Under QEMU:     qemu-system-x86_64 -bios bios.bin -vga none -device VGA,romfile= -debugcon stdio
;
; The image has 64 KiB and is one segment, F000h. All of it is 16-bit code for real mode, and what
; video and disk services do needs no privilege, so that they work in virtual-8086 mode as well.
; Protected mode is entered for memory beyond 1 MiB alone (flat.asm).
;
; Where things are:
;   bios.inc            conventions, the BIOS data areas, ports       first reading
;   post.asm            from reset to the boot loader, step by step
;   shadow.asm          the image moves from ROM to RAM
;   interrupts.asm      vectors, what is done of interrupts that nobody wants
;   timer.asm           INT 8, INT 1Ah (clock), INT 70h, delays
;   keyboard.asm        i8042, INT 9, INT 16h;  keymap.asm: what keys mean
;   mouse.asm           INT 74h, INT 15h C2h
;   system.asm          INT 11h, 12h, 15h;  memory.asm: sizes, memory map, moves, A20
;   ports.asm           INT 14h, INT 17h
;   pci.asm             configuration space, resources;  pci_bios.asm: INT 1Ah B1h, BIOS32
;   disk.asm            INT 13h for hard disks;  edd.asm: its extensions;  cd.asm: El Torito
;   ata.asm atapi.asm virtio.asm ahci.asm     what is behind a drive
;   floppy.asm          82077 and 8237, INT 13h for floppies
;   boot.asm            INT 18h, INT 19h, boot order and menu;  option_rom.asm
;   fw_cfg.asm          what the board's maker tells
;   video/              INT 10h
;   print.asm           messages
;   fixed.asm           everything that has had its address since 1981
;
; Sources: IBM PC/AT Technical Reference and IBM PS/2 BIOS Interface Technical Reference (services
; and data areas); Ralf Brown's interrupt list; further ones are named in each file.

    cpu 686
    bits 16
    org 0

%include "bios.inc"

section .text

%include "shadow.asm"
%include "post.asm"
%include "interrupts.asm"
%include "flat.asm"
%include "print.asm"
%include "timer.asm"
%include "keyboard.asm"
%include "keymap.asm"
%include "mouse.asm"
%include "system.asm"
%include "memory.asm"
%include "ports.asm"
%include "fw_cfg.asm"
%include "pci.asm"
%include "pci_bios.asm"
%include "disk.asm"
%include "edd.asm"
%include "ata.asm"
%include "atapi.asm"
%include "virtio.asm"
%include "ahci.asm"
%include "cd.asm"
%include "floppy.asm"
%include "option_rom.asm"
%include "boot.asm"
%include "video/video.asm"
%include "video/modes.asm"
%include "video/text.asm"
%include "video/pixels.asm"
%include "video/palette.asm"
%include "video/fonts.asm"
%include "video/state.asm"
%include "video/vbe.asm"
%include "video/vbe_protected.asm"
%include "fixed.asm"
