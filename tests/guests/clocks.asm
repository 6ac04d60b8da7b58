; A guest of two CPUs that reads every clock of the PC over and over while its timers call, so that
; whoever runs it can see whether all of them count the same time. An ELF file with a PVH note.
;
;   nasm -f bin -o clocks.elf clocks.asm
;
; Each sample is a clock's value between two looks at the TSC, the closest of four tries. Five
; chains of events call meanwhile, and each link makes the next: one-shots of the 8254, of a local
; APIC and of the HPET, periodic interrupts of the RTC (which wait for register C to be read), and
; IPIs to the other CPU and back. Once it is told that it is enough, each of them has to call once
; more: one that has lost a link never does. Then CPU 0 halts for good.

bits 32
org 0x100000

HPET equ 0xfed00000
IOAPIC equ 0xfec00000
APIC equ 0xfee00000
TRAMPOLINE equ 0x8000
LINK_NS equ 2000000                ; how long a one-shot takes
SAMPLES equ 0x400000               ; of CPU 0; those of CPU 1 lie 4 MiB above
SAMPLES_END equ 0x800000

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
is_enough: dq 0                    ; at 100h in the file: not 0 where it shall come to the end
filled: dd SAMPLES, SAMPLES + 0x400000 ; at 108h: where the samples of each CPU end
links: times 5 dd 0                ; at 110h: how often the chains called
is_through: dd 0                   ; at 124h: 1 where it halts as it should
    times 0x140 - ($ - $$) db 0
kvmclock: times 2 * 32 db 0        ; at 140h: KVM's clock of each CPU
; In this order:
PIT_LINK equ 0
TIMER_LINK equ 4
HPET_LINK equ 8
RTC_LINK equ 12
IPI_LINK equ 16

start:
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
    mov ebx, gates                 ; any other interrupt halts it too early
    xor ecx, ecx
.gate:
    mov eax, stray
    call set_gate
    inc ecx
    cmp ecx, 256
    jb .gate
.own_gates:
    mov ecx, [ebx]
    mov eax, [ebx + 4]
    call set_gate
    add ebx, 8
    cmp ebx, gates_end
    jb .own_gates
    lidt [idtr]

    mov esi, pic_setup             ; pairs of a port and a value
.pic:
    movzx edx, word [esi]
    mov al, [esi + 2]
    out dx, al
    add esi, 3
    cmp esi, pic_setup_end
    jb .pic

    mov eax, kvmclock
    call enable_kvmclock
    call enable_apic
    mov dword [APIC + 0x350], 0x700    ; LINT0: ExtINT
    mov dword [APIC + 0x320], 0x40     ; the timer: one-shot
    mov dword [APIC + 0x3e0], 0xb      ; every tick of the bus

    mov dword [HPET + 0x140], 20 << 9 | 1 << 2 ; timer 2: edges at pin 20
    mov dword [HPET + 0x144], 0
    mov dword [HPET + 0x10], 1
    mov dword [IOAPIC], 0x10 + 2 * 20 + 1
    mov dword [IOAPIC + 0x10], 0
    mov dword [IOAPIC], 0x10 + 2 * 20
    mov dword [IOAPIC + 0x10], 0x50

    mov ax, 0x2a0a                 ; RTC: 64 interrupts a second
    call set_cmos
    mov ax, 0x420b
    call set_cmos
    mov al, 0xb4                   ; 8254: counter 2 free runs in mode 2
    out 0x43, al
    xor eax, eax
    out 0x42, al
    out 0x42, al
    in al, 0x61
    and al, 0xfc
    or al, 1
    out 0x61, al

    mov esi, trampoline            ; the other CPU
    mov edi, TRAMPOLINE
    mov ecx, trampoline_end - trampoline
    rep movsb
    mov dword [APIC + 0x310], 1 << 24
    mov dword [APIC + 0x300], 0x4500
    mov dword [APIC + 0x300], 0x4600 | TRAMPOLINE >> 12
.other:
    pause
    cmp byte [other_is_up], 0
    je .other

    call arm_pit                   ; the first link of each chain
    call arm_timer
    call arm_hpet
    call read_c
    mov byte [ball], 1
.sample:
    mov edi, [filled]
    mov ebx, hpet_counter
    call sample
    mov ebx, pm_timer
    call sample
    mov ebx, pit_counter
    call sample
    mov ebx, rtc_seconds
    call sample
    mov [filled], edi
    sti
    hlt
    cli
    cmp edi, SAMPLES_END - 64
    ja .over
    cmp byte [is_enough], 0
    je .sample
.over:
    mov byte [is_over], 1
    mov esi, links                 ; one call more of each chain
    mov edi, links_then
    mov ecx, 5
    rep movsd
.chain:
    mov ebp, links
.link:
    mov eax, [ebp]
    cmp eax, [ebp + links_then - links]
    jne .next_link
    sti
    hlt
    cli
    jmp .link
.next_link:
    add ebp, 4
    cmp ebp, links + 20
    jb .link
    mov byte [is_through], 1
    hlt

; CPU 1: samples until CPU 0 has enough, then only plays.
other:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov esp, other_stack_end
    lidt [idtr]
    mov eax, kvmclock + 32
    call enable_kvmclock
    call enable_apic
    mov dword [APIC + 0x320], 0x30000  ; its timer is read, and interrupts nobody
    mov dword [APIC + 0x3e0], 0xb
    mov dword [APIC + 0x380], 0xffffffff
    mov byte [other_is_up], 1
.sample:
    cmp byte [is_over], 0
    jne .play
    mov edi, [filled + 4]
    cmp edi, SAMPLES_END + 0x400000 - 64
    ja .play
    mov ebx, hpet_counter
    call sample
    mov ebx, pm_timer
    call sample
    mov ebx, apic_count
    call sample
    mov [filled + 4], edi
.play:
    sti
    hlt
    cli
    jmp .sample

; Gate ECX leads to EAX.
set_gate:
    lea edi, [idt + 8 * ecx]
    mov [edi], ax
    mov word [edi + 2], 8
    mov word [edi + 4], 0x8e00
    shr eax, 16
    mov [edi + 6], ax
    ret

enable_apic:
    mov dword [APIC + 0xf0], 0x1ff
    mov dword [APIC + 0x80], 0
    ret

; KVM's clock is kept up at EAX, if there is one.
enable_kvmclock:
    mov esi, eax
    mov eax, 0x40000001
    cpuid
    test al, 8
    jz .none
    mov ecx, 0x4b564d01
    lea eax, [esi + 1]
    xor edx, edx
    wrmsr
.none:
    ret

; Register AL of the RTC becomes AH.
set_cmos:
    out 0x70, al
    mov al, ah
    out 0x71, al
    ret

; One sample of what EBX reads, at EDI: the TSC before it, the ticks that it took, and the value.
sample:
    mov ebp, 4
    mov dword [edi + 8], -1
.try:
    rdtsc
    mov esi, eax
    mov ecx, edx
    push ecx
    call ebx                       ; leaves it in EAX, and ESI alone
    push eax
    rdtsc
    sub eax, esi
    pop edx
    pop ecx
    cmp eax, [edi + 8]
    jae .not_closer
    mov [edi], esi
    mov [edi + 4], ecx
    mov [edi + 8], eax
    mov [edi + 12], edx
.not_closer:
    dec ebp
    jnz .try
    add edi, 16
    ret

hpet_counter:
    mov eax, [HPET + 0xf0]
    ret
pm_timer:
    mov edx, 0x608
    in eax, dx
    ret
pit_counter:
    mov al, 0x80
    out 0x43, al
    in al, 0x42
    mov ah, al
    in al, 0x42
    xchg al, ah
    movzx eax, ax
    ret
rtc_seconds:
    mov al, 0
    out 0x70, al
    in al, 0x71
    movzx eax, al
    ret
apic_count:
    mov eax, [APIC + 0x390]
    ret

; Each makes the next link of its chain.
arm_pit:
    mov al, 0x30                   ; counter 0, mode 0
    out 0x43, al
    mov eax, LINK_NS / 838
    out 0x40, al
    mov al, ah
    out 0x40, al
    ret
arm_timer:
    mov dword [APIC + 0x380], LINK_NS
    ret
arm_hpet:                          ; one that it has passed already would not call for minutes
    mov eax, [HPET + 0xf0]
    add eax, LINK_NS / 10
    mov [HPET + 0x148], eax
    mov dword [HPET + 0x14c], 0
    sub eax, [HPET + 0xf0]
    cmp eax, LINK_NS / 10
    ja arm_hpet
    ret
read_c:
    mov al, 0x0c
    out 0x70, al
    in al, 0x71
    ret

on_pit:
    pushad
    inc dword [links + PIT_LINK]
    call arm_pit
    mov al, 0x20
    out 0x20, al
    popad
    iret
on_timer:
    pushad
    inc dword [links + TIMER_LINK]
    call arm_timer
    xor eax, eax                   ; plays, if the ball is here
    xchg [ball], al
    test al, al
    jz .gone
    mov dword [APIC + 0x310], 1 << 24
    mov dword [APIC + 0x300], 0x4041
.gone:
    mov dword [APIC + 0xb0], 0
    popad
    iret
on_hpet:
    pushad
    inc dword [links + HPET_LINK]
    call arm_hpet
    mov dword [APIC + 0xb0], 0
    popad
    iret
on_rtc:
    pushad
    inc dword [links + RTC_LINK]
    call read_c
    mov al, 0x20
    out 0xa0, al
    out 0x20, al
    popad
    iret
on_ball:                           ; CPU 1 plays it back
    mov dword [APIC + 0x310], 0
    mov dword [APIC + 0x300], 0x4042
    mov dword [APIC + 0xb0], 0
    iret
on_return:
    inc dword [links + IPI_LINK]
    mov byte [ball], 1
    mov dword [APIC + 0xb0], 0
    iret
on_spurious:
    iret
stray:
    cli
    hlt

bits 16
trampoline:
    cli
    xor ax, ax
    mov ds, ax
    o32 lgdt [TRAMPOLINE + (.gdtr - trampoline)]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp dword 8:other
.gdtr:
    dw gdt_end - gdt - 1
    dd gdt
trampoline_end:
bits 32

pic_setup:
%macro to_port 2
    dw %1
    db %2
%endmacro
    to_port 0x20, 0x11
    to_port 0x21, 0x20
    to_port 0x21, 4
    to_port 0x21, 1
    to_port 0xa0, 0x11
    to_port 0xa1, 0x28
    to_port 0xa1, 2
    to_port 0xa1, 1
    to_port 0x21, ~(1 << 0 | 1 << 2) & 0xff
    to_port 0xa1, ~(1 << 0) & 0xff
pic_setup_end:

gates:
    dd 0x20, on_pit, 0x28, on_rtc, 0x27, on_spurious, 0x2f, on_spurious
    dd 0x40, on_timer, 0x41, on_ball, 0x42, on_return, 0x50, on_hpet, 0xff, on_spurious
gates_end:

align 8
gdt:
    dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_end:
gdtr:
    dw gdt_end - gdt - 1
    dd gdt
idtr:
    dw 256 * 8 - 1
    dd idt
other_is_up: db 0
is_over: db 0
ball: db 0
align 8
links_then: times 5 dd 0
align 16
idt: times 256 dq 0
    times 1024 db 0
stack_end:
    times 1024 db 0
other_stack_end:
file_end:
