//! The interrupt vectors that a BIOS leaves behind, for guests that go back to real mode.
//!
//! Every hardware interrupt is ended, the timer's is counted; every other one returns at once: no
//! BIOS call does anything. Source: IBM PC/AT technical reference, section 5; Intel 8259A
//! datasheet (the end of an interrupt).

/// IRET.
const RETURN: &[u8] = &[0xcf];
/// IRQ 1 to 7: end of interrupt at the master 8259A.
const MASTER: &[u8] = &[
    0x50, // push ax
    0xb0, 0x20, // mov al, 20h
    0xe6, 0x20, // out 20h, al
    0x58, // pop ax
    0xcf, // iret
];
/// IRQ 8 to 15: at the slave, then at the master.
const SLAVE: &[u8] = &[
    0x50, // push ax
    0xb0, 0x20, // mov al, 20h
    0xe6, 0xa0, // out A0h, al
    0xe6, 0x20, // out 20h, al
    0x58, // pop ax
    0xcf, // iret
];
/// IRQ 0: counts ticks in the BIOS data area, 1800B0h a day, and calls INT 1Ch.
const TIMER: &[u8] = &[
    0x1e, // push ds
    0x50, // push ax
    0x31, 0xc0, // xor ax, ax
    0x8e, 0xd8, // mov ds, ax
    0x66, 0xff, 0x06, 0x6c, 0x04, // inc dword [46Ch]
    0x66, 0x81, 0x3e, 0x6c, 0x04, 0xb0, 0x00, 0x18, 0x00, // cmp dword [46Ch], 1800B0h
    0x72, 0x0d, // jb +13
    0x66, 0xc7, 0x06, 0x6c, 0x04, 0x00, 0x00, 0x00, 0x00, // mov dword [46Ch], 0
    0xfe, 0x06, 0x70, 0x04, // inc byte [470h]
    0xcd, 0x1c, // int 1Ch
    0xb0, 0x20, // mov al, 20h
    0xe6, 0x20, // out 20h, al
    0x58, // pop ax
    0x1f, // pop ds
    0xcf, // iret
];

/// The handlers, one behind the other.
pub(crate) fn handlers() -> Vec<u8> {
    [RETURN, MASTER, SLAVE, TIMER].concat()
}

/// The vector table, for handlers at `at` in the 64 KiB below 1 MiB.
pub(crate) fn table(at: u16) -> Vec<u8> {
    const SEGMENT: u16 = 0xf000;
    let (master, slave) = (RETURN.len(), RETURN.len() + MASTER.len());
    let timer = slave + SLAVE.len();
    let vector = |vector: u16| {
        let offset = match vector {
            0x08 => timer,
            0x09..=0x0f => master,
            0x70..=0x77 => slave,
            _ => 0,
        };
        let [a, b] = at.wrapping_add(offset as u16).to_le_bytes();
        let [c, d] = SEGMENT.to_le_bytes();
        [a, b, c, d]
    };
    (0..=255).flat_map(vector).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vector_leads_to_a_handler() {
        let (table, handlers) = (table(0x100), handlers());
        assert_eq!(table.len(), 1024);
        let offset = |vector: usize| {
            let at = vector * 4;
            assert_eq!(&table[at + 2..at + 4], [0x00, 0xf0]);
            usize::from(u16::from_le_bytes([table[at], table[at + 1]])) - 0x100
        };
        assert_eq!(handlers[offset(0x21)], 0xcf);
        assert!(handlers[offset(0x0d)..].starts_with(MASTER));
        assert!(handlers[offset(0x70)..].starts_with(SLAVE));
        assert!(handlers[offset(8)..].starts_with(TIMER));
        assert!(offset(8) + TIMER.len() == handlers.len());
    }
}
