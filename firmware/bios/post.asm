; The power-on self-test: from reset to INT 19h.

POST_STACK          equ 0x7000

; CMOS shutdown codes: go on at 40h:67h, after an end of interrupt or without.
SHUTDOWN_EOI_JUMP   equ 5
SHUTDOWN_JUMP       equ 10

; post: entered with CS = F000h and SS:SP = 0:POST_STACK. Leaves through INT 19h.
post:
    call resume_if_asked
    write_port POST_CODE, 1
    call a20_on
    call clear_data_areas
    call tables_copy
    call set_vectors
    call pic_init
    call timer_init
    write_port POST_CODE, 2
    call cpu_init
    call fw_cfg_find
    call memory_find
    call pci_init
    write_port POST_CODE, 3
    call keyboard_init
    call ports_find
    call clock_init
    sti
    call video_find
    call debug_find
    write_port POST_CODE, 4
    say text_banner
    call mouse_init
    call floppy_find
    call ata_find
    call virtio_find
    call ahci_find
    call disk_tables_write
    write_port POST_CODE, 5
    call option_roms_run
    call boot_list_make
    call boot_menu_offer
    write_port POST_CODE, 6
    int 0x19
    jmp nothing_boots

; resume_if_asked: somebody reset the CPU to come back to real mode: the CMOS says so.
resume_if_asked:
    mov al, CMOS_SHUTDOWN
    call cmos_read
    mov bl, al
    mov ax, CMOS_SHUTDOWN
    call cmos_write
    cmp bl, SHUTDOWN_JUMP
    je .jump
    cmp bl, SHUTDOWN_EOI_JUMP
    jne .done
    mov al, EOI
    out PIC_2, al
    out PIC_1, al
.jump:
    push BDA_SEGMENT
    pop ds
    jmp far [Bda.resume]
.done:
    ret

; tables_copy: a ROM of 128 KiB has tables in its lower half, and says so. They go to RAM below 1
; MiB, where they can be written: ACPI's global lock is among them.
tables_copy:
    cmp dword [cs:FIXED_ANCHORS], 0
    je .done
    mov esi, -2 * 0x1_0000
    mov edi, TABLES_AT
    mov ecx, 0x1_0000
    call flat_move
.done:
    ret

; clear_data_areas: the data areas and their segments. Out: DS, FS as services have them.
clear_data_areas:
    push BDA_SEGMENT
    pop ds
    mov bx, [Bda.reset_flag]
    xor eax, eax
    mov es, ax
    mov di, 0x400
    mov cx, 0x200 / 4
    rep stosd
    mov [Bda.reset_flag], bx
    mov ax, EBDA_SEGMENT
    mov fs, ax
    mov es, ax
    xor eax, eax
    xor di, di
    mov cx, EBDA_KIB * 1024 / 4
    rep stosd
    mov byte [fs:Ebda.size_kib], EBDA_KIB
    mov [Bda.ebda], fs
    mov word [Bda.memory_kib], 640 - EBDA_KIB
    mov byte [Bda.mode], -1         ; none yet
    mov word [Bda.crtc], VGA_CRTC
    mov word [Bda.equipment], EQUIPMENT_FPU | EQUIPMENT_MOUSE | EQUIPMENT_COLOR
    ret

; pic_init: interrupts at vectors 8 and 70h, all masked but the cascade; PCI's and ACPI's interrupts
; are levels (Intel 8259A datasheet; 82371SB datasheet, ELCR).
pic_init:
    write_port PIC_1, 0x11
    write_port PIC_2, 0x11
    write_port PIC_1 + 1, 0x08
    write_port PIC_2 + 1, 0x70
    write_port PIC_1 + 1, 1 << 2
    write_port PIC_2 + 1, 2
    write_port PIC_1 + 1, 1
    write_port PIC_2 + 1, 1
    write_port PIC_1 + 1, 0xfb
    write_port PIC_2 + 1, 0xff
    write_port ELCR, 0
    write_port ELCR + 1, 1 << (SCI_IRQ - 8) | 1 << (PIRQ_IRQ_1 - 8) | 1 << (PIRQ_IRQ_2 - 8)
    ret

; irq_enable: lets an interrupt through. In: CL, its number. Clobbers AX, DX.
irq_enable:
    mov dx, 1
    shl dx, cl
    not dx
    in al, PIC_1 + 1
    and al, dl
    out PIC_1 + 1, al
    in al, PIC_2 + 1
    and al, dh
    out PIC_2 + 1, al
    ret

; cmos_read: In: AL, the register. Out: AL. Clobbers AH.
cmos_read:
    out CMOS_INDEX, al
    in al, CMOS_DATA
    ret

; cmos_write: In: AL, the register; AH, the value.
cmos_write:
    out CMOS_INDEX, al
    xchg al, ah
    out CMOS_DATA, al
    xchg al, ah
    ret

; cpu_init: the local APIC passes the 8259's interrupts on (MP specification 1.4, section 3.6.2.2)
; and memory has its types (SDM vol. 3A, section 12.11).
cpu_init:
    pushfd
    pop eax
    mov ecx, eax
    xor eax, 1 << 21                ; CPUID is there where ID can be changed
    push eax
    popfd
    pushfd
    pop eax
    xor eax, ecx
    test eax, 1 << 21
    jz .done
    mov eax, 1
    cpuid
    push edx
    test dx, 1 << 9
    jz .no_apic
    mov edi, LOCAL_APIC + APIC_SPURIOUS
    mov eax, 0x1ff                  ; enabled, spurious interrupts at vector FFh
    call flat_write
    mov edi, LOCAL_APIC + APIC_LINT0
    mov eax, 0x700                  ; ExtINT
    call flat_write
    mov edi, LOCAL_APIC + APIC_LINT1
    mov eax, 0x400                  ; NMI
    call flat_write
.no_apic:
    pop edx
    test dx, 1 << 12
    jz .done
    call mtrr_init
.done:
    ret

LOCAL_APIC      equ 0xfee0_0000
APIC_SPURIOUS   equ 0xf0
APIC_LINT0      equ 0x350
APIC_LINT1      equ 0x360

MTRR_PHYS_BASE  equ 0x200
MTRR_PHYS_MASK  equ 0x201
MTRR_DEF_TYPE   equ 0x2ff

; mtrr_init: all memory is write-back but video memory and what is beyond RAM below 4 GiB.
mtrr_init:
    mov si, .fixed
.next:
    cs lodsw
    movzx ecx, ax
    jcxz .variable
    cs lodsb
    mov ah, al
    mov dx, ax
    shl eax, 16
    mov ax, dx
    mov edx, eax
    wrmsr
    jmp .next
.variable:
    mov ecx, MTRR_PHYS_BASE
    mov eax, PCI_MEMORY             ; type 0: uncacheable
    xor edx, edx
    wrmsr
    mov eax, 0x8000_0000
    cpuid
    mov ebx, 36                     ; bits of an address
    cmp eax, 0x8000_0008
    jb .width
    mov eax, 0x8000_0008
    cpuid
    movzx ebx, al
.width:
    lea cx, [bx - 32]
    xor edx, edx
    inc edx
    shl edx, cl
    dec edx
    mov eax, PCI_MEMORY | 1 << 11   ; the mask of 1 GiB; valid
    mov ecx, MTRR_PHYS_MASK
    wrmsr
    mov ecx, MTRR_DEF_TYPE
    mov eax, 1 << 11 | 1 << 10 | 6
    xor edx, edx
    wrmsr
    ret
; MSR, type of all its parts.
.fixed:
%macro fixed_mtrr 2
    dw %1
    db %2
%endmacro
    fixed_mtrr 0x250, 6
    fixed_mtrr 0x258, 6
    fixed_mtrr 0x259, 0             ; A0000h
%assign msr 0x268
%rep 8
    fixed_mtrr msr, 6
    %assign msr msr + 1
%endrep
    dw 0

text_banner:
    db "Trine BIOS", 13, 10, 0
