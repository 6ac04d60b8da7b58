//! Configuration space, the EEPROM, the transceiver, interrupts and their timers.

use super::*;

#[test]
fn configuration_space_is_the_chips() {
    let mut rig = Rig::cold();
    let config = &rig.chip.config;
    assert_eq!((config.doubleword(0x00), config.doubleword(0x08)), (0x100e_8086, 0x0200_0003));
    assert_eq!((config.byte(0x3d), config.byte(0x3e)), (1, 0xff));
    // Power management, then messages, then nothing.
    assert_eq!((config.byte(0x34), config.word(0xdc), config.word(0xf0)), (0xdc, 0xf001, 0x0005));
    rig.config_write(0x10, &[0xff; 12]);
    let bars = [0x10, 0x14, 0x18].map(|at| rig.chip.config.doubleword(at));
    assert_eq!(bars, [0xfffe_0000, 0, 0xffff_ffc1]);
    rig.config_write(0xe0, &[0xff; 4]);
    assert_eq!(rig.chip.config.doubleword(0xe0), 0x1f03);
}

/// What `ethtool -t` does: patterns go into each register and come out again.
#[test]
fn linux_finds_its_registers_in_order() {
    let mut rig = Rig::cold();
    let status = rig.read(STATUS);
    rig.write(STATUS, !status);
    assert_eq!(rig.read(STATUS), status);
    let tables = [(0x5200, 128, 4, u32::MAX), (0x5404, 16, 8, 0x8003_ffff)];
    let rows = [
        (0x0028, u32::MAX),    // FCAL
        (0x002c, 0xffff),      // FCAH
        (0x0030, 0xffff),      // FCT
        (0x0038, 0xffff),      // VET
        (RDTR, 0xffff),        // RDTR
        (0x2804, u32::MAX),    // RDBAH
        (0x2808, 0x000f_ff80), // RDLEN
        (RDH, 0xffff),         // RDH
        (RDT, 0xffff),         // RDT
        (0x2168, 0xfff8),      // FCRTH
        (0x0170, 0xffff),      // FCTTV
        (0x0410, 0x3fff_ffff), // TIPG
        (0x3804, u32::MAX),    // TDBAH
        (0x3808, 0x000f_ff80), // TDLEN
        (0x2800, 0xffff_fff0), // RDBAL
        (0x0178, 0xffff),      // TXCW
        (0x3800, 0xffff_fff0), // TDBAL
        (0x3820, 0xffff),      // TIDV
        (RCTL, 0x06df_b3fe),   // RCTL
    ];
    let in_tables = tables
        .into_iter()
        .flat_map(|(start, count, step, mask)| (0..count).map(move |n| (start + n * step, mask)));
    for (register, mask) in rows.into_iter().chain(in_tables) {
        for pattern in [0x5a5a_5a5a, 0xa5a5_a5a5, 0, u32::MAX] {
            // Not the bits that do something and do not stay.
            let written = pattern & if register == RDTR { mask } else { u32::MAX };
            rig.write(register, written);
            assert_eq!(rig.read(register) & mask, pattern & mask, "{register:04x}");
        }
        rig.write(register, 0);
    }
    rig.write(TCTL, u32::MAX);
    assert_eq!(rig.read(TCTL), 0x03ff_fffa);
    rig.write(TCTL, 0);
    assert_eq!((rig.read(TCTL), rig.read(0x0e00), rig.read(0x1000)), (0, 0x0706_8302, 0x10_0030));
    // A part of a register is read as a part, and not written.
    rig.write(0x0028, 0x1234_5678);
    let mut byte = [0];
    rig.bench.with(|cx| rig.chip.bar_read(cx, 0, 0x0029, &mut byte));
    rig.bench.with(|cx| rig.chip.bar_write(cx, 0, 0x0028, &[0xee, 0xee]));
    assert_eq!((byte, rig.read(0x0028)), ([0x56], 0x1234_5678));
    // Where there is nothing.
    rig.write(0x1f_fffc, 1);
    assert_eq!([rig.read(0x0064), rig.read(0x1_fffc)], [0, 0]);
}

#[test]
fn registers_are_behind_two_ports() {
    let mut rig = Rig::cold();
    let mut out = |reg: u64, data: &[u8]| {
        let mut read = [0; 4];
        rig.bench.with(|cx| rig.chip.bar_write(cx, 2, reg, data));
        rig.bench.with(|cx| rig.chip.bar_read(cx, 2, reg, &mut read));
        u32::from_le_bytes(read)
    };
    assert_eq!(out(0, &u32::MAX.to_le_bytes()), 0x000f_ffff);
    assert_eq!(out(0, &[0x28, 0, 0, 0]), 0x28);
    assert_eq!(out(0, &[0x30, 0]), 0x28, "doublewords only");
    assert_eq!(out(4, &[1, 2, 3, 4]), 0x0403_0201);
    assert_eq!(out(8, &[1, 2, 3, 4]), 0);
    assert_eq!(rig.read(0x28), 0x0403_0201);
    // Linux resets the chip like that, and goes on with the same ports.
    let control = rig.read(CTRL) | 1 << 26;
    rig.bench.with(|cx| rig.chip.bar_write(cx, 2, 0, &[0; 4]));
    rig.bench.with(|cx| rig.chip.bar_write(cx, 2, 4, &control.to_le_bytes()));
    assert_eq!((rig.read(0x28), rig.read(CTRL) >> 26 & 1), (0, 0));
}

#[test]
fn a_reset_forgets_all_but_the_transceiver() {
    let mut rig = Rig::new();
    let with_link = rig.read(STATUS);
    assert_eq!(with_link, 0x0283, "1000 Mbit/s, full duplex, up");
    rig.write(0x5400, 0x1111_1111);
    rig.write(CTRL, 1 << 26);
    let registers = [RCTL, TCTL, IMS, RDT, 0x2800].map(|register| rig.read(register));
    assert_eq!(registers, [0; 5]);
    assert_eq!([rig.read(0x5400), rig.read(0x5404)], [0x1200_5452, 0x8000_5634]);
    assert_eq!((rig.read(STATUS), rig.read(ICR)), (with_link, 1 << 2));
    // CTRL.PHY_RST: the link goes, and comes back.
    rig.write(CTRL, 0x41 | 1 << 31);
    assert_eq!((rig.read(STATUS) & 2, rig.read(CTRL)), (0, 0x41));
    rig.wait_ns(1_000_000);
    assert_eq!(rig.read(STATUS), with_link);
    // CTRL_EXT.EE_RST: the address is the card's again.
    rig.write(0x5400, 0x1111_1111);
    rig.write(0x18, 1 << 13);
    assert_eq!((rig.read(0x5400), rig.read(0x18)), (0x1200_5452, 0));
}

// The EEPROM

/// Microwire by hand, as Linux does it.
impl Rig {
    fn eecd(&mut self, bits: u32) {
        self.write(0x10, bits | 1 << 6);
    }

    fn shift_out(&mut self, value: u32, count: u32) {
        for n in (0..count).rev() {
            let bit = (value >> n & 1) << 2;
            for clock in [0, 1, 0] {
                self.eecd(2 | bit | clock);
            }
        }
    }

    fn shift_in(&mut self) -> u32 {
        (0..16).fold(0, |value, _| {
            self.eecd(3);
            let bit = self.read(0x10) >> 3 & 1;
            self.eecd(2);
            value << 1 | bit
        })
    }

    /// An instruction: opcode with its start bit, and what follows.
    fn microwire(&mut self, opcode: u32, address: u32, data: Option<u32>) {
        self.eecd(2);
        self.shift_out(opcode, 3);
        self.shift_out(address, 6);
        if let Some(data) = data {
            self.shift_out(data, 16);
        }
        self.eecd(0);
    }

    fn read_eeprom(&mut self, address: u32, count: usize) -> Vec<u32> {
        self.eecd(2);
        self.shift_out(0b110, 3);
        self.shift_out(address, 6);
        let words = (0..count).map(|_| self.shift_in()).collect();
        self.eecd(0);
        words
    }
}

#[test]
fn the_eeprom_is_read_both_ways() {
    let mut rig = Rig::cold();
    rig.write(0x10, 0);
    assert_eq!(rig.read(0x10) & 0x3c0, 0x100, "present, small, not granted");
    rig.write(0x10, 1 << 6);
    assert_eq!(rig.read(0x10) & 0x3c0, 0x1c0);
    let words = rig.read_eeprom(0, 64);
    assert_eq!(words[..3], [0x5452, 0x1200, 0x5634]);
    assert_eq!(words[0x0a] >> 14, 1, "the signature");
    assert_eq!(words.iter().sum::<u32>() & 0xffff, 0xbaba);
    for (address, word) in (0..).zip(words) {
        rig.write(0x14, address << 8 | 1);
        assert_eq!(rig.read(0x14), word << 16 | address << 8 | 1 << 4);
        assert_eq!(rig.read_eeprom(address, 1), [word]);
    }
}

#[test]
fn the_eeprom_is_written_once_unlocked() {
    let mut rig = Rig::cold();
    let (write, erase, other) = (0b101, 0b111, 0b100);
    let (enable, disable, all_erased, all_written) = (0x30, 0x00, 0x20, 0x10);
    rig.microwire(write, 5, Some(0x1234));
    assert_eq!(rig.read_eeprom(5, 1), [0xffff]);
    rig.microwire(other, enable, None);
    rig.microwire(write, 5, Some(0x1234));
    rig.eecd(2);
    assert_eq!(rig.read(0x10) >> 3 & 1, 1, "it is done with it");
    rig.eecd(0);
    assert_eq!(rig.read_eeprom(5, 2), [0x1234, 0xffff]);
    // Not all of the data came.
    rig.eecd(2);
    rig.shift_out(write << 6 | 6, 9);
    rig.shift_out(0, 15);
    rig.eecd(0);
    assert_eq!(rig.read_eeprom(5, 2), [0x1234, 0xffff]);
    rig.microwire(erase, 5, None);
    assert_eq!(rig.read_eeprom(5, 1), [0xffff]);
    rig.microwire(other, all_written, Some(0x5555));
    assert_eq!(rig.read_eeprom(62, 4), [0x5555; 4], "and reading wraps");
    rig.microwire(other, disable, None);
    rig.microwire(other, all_erased, None);
    assert_eq!(rig.read_eeprom(0, 1), [0x5555]);
    // The contents outlive a reset, and are where the address comes from.
    rig.bench.with(|cx| rig.chip.reset(cx));
    rig.command(0x07);
    assert_eq!(rig.read(0x5400), 0x5555_5555);
}

// The transceiver

#[test]
fn the_link_comes_up_when_both_ends_agree() {
    let mut rig = Rig::cold();
    assert_eq!((rig.phy(2, 2, 0), rig.phy(2, 3, 0)), (0x0141, 0x0c20));
    assert_eq!((rig.read(STATUS) & 2, rig.phy(2, 1, 0), rig.phy(2, 17, 0)), (0, 0x7949, 0));
    rig.write(IMS, 1 << 2);
    rig.wait_ns(999_999);
    assert_eq!(rig.bench.said(), []);
    rig.wait_ns(1);
    assert_eq!((rig.bench.said(), rig.read(ICR)), (vec![HIGH], 1 << 2));
    assert_eq!(rig.read(STATUS), 0x0283);
    // That it was down is read once.
    assert_eq!([rig.phy(2, 1, 0), rig.phy(2, 1, 0)], [0x7969, 0x796d]);
    assert_eq!([5, 6, 10, 17].map(|n| rig.phy(2, n, 0)), [0x45e1, 0x000f, 0x3c00, 0xac00]);
    rig.bench.said();
    // The cable is pulled, and plugged in again.
    rig.end.cable().is_down = true;
    rig.wake();
    assert_eq!((rig.bench.said(), rig.read(ICR), rig.read(STATUS) & 2), (vec![HIGH], 1 << 2, 0));
    rig.end.cable().is_down = false;
    rig.wake();
    assert_eq!(rig.read(STATUS) & 2, 0);
    rig.wait_ns(1_000_000);
    assert_eq!((rig.read(ICR), rig.read(STATUS)), (1 << 2, 0x0283));
    // CTRL.SLU keeps the MAC from it.
    rig.write(CTRL, 1);
    assert_eq!((rig.read(ICR), rig.read(STATUS) & 2), (1 << 2, 0));
}

#[test]
fn speed_and_duplex_are_agreed_on_or_told() {
    let mut rig = Rig::new();
    let restart = 0x1340;
    for (gigabit, slower, status) in [
        (0x0100, 0x0de1, 0x0282), // 1000, half duplex
        (0x0000, 0x0de1, 0x0143), // 100, full
        (0x0000, 0x00a1, 0x0142), // 100, half
        (0x0000, 0x0041, 0x0003), // 10, full
        (0x0000, 0x0021, 0x0002), // 10, half
        (0x0000, 0x0001, 0x0281), // nothing
    ] {
        rig.phy(1, 9, gigabit);
        rig.phy(1, 4, slower);
        rig.phy(1, 0, restart);
        assert_eq!(rig.read(STATUS) & 2, 0);
        rig.wait_ns(1_000_000);
        assert_eq!(rig.read(STATUS), status, "{gigabit:04x} {slower:04x}");
    }
    // Told, and so at once: 100, half.
    rig.phy(1, 0, 0x2000);
    assert_eq!(rig.read(STATUS), 0x0142);
    assert_eq!([rig.phy(2, 5, 0), rig.phy(2, 17, 0)], [0, 0x4c00]);
    // The MAC is told otherwise: 1000, full.
    rig.write(CTRL, 0x1a41);
    assert_eq!(rig.read(STATUS), 0x0183);
    // Without power; after a soft reset.
    rig.phy(1, 0, 0x2800);
    assert_eq!(rig.read(STATUS) & 2, 0);
    rig.phy(1, 0, 0x9140);
    assert_eq!(rig.phy(2, 0, 0), 0x1140);
}

#[test]
fn mdic_says_what_went_wrong() {
    let mut rig = Rig::cold();
    rig.read(ICR);
    for wrong in [2 << 26 | 2 << 21, 2 << 26, 1 << 21, 3 << 26 | 1 << 21] {
        rig.write(MDIC, wrong);
        assert_eq!(rig.read(MDIC), wrong | 1 << 28 | 1 << 30);
    }
    assert_eq!(rig.read(ICR), 0);
    rig.write(MDIC, 1 << 29 | 2 << 26 | 1 << 21 | 2 << 16 | 0xffff);
    assert_eq!((rig.read(MDIC) & 0xffff, rig.read(ICR)), (0x0141, 1 << 9));
    // An ID is not written.
    rig.phy(1, 2, 0xffff);
    assert_eq!(rig.phy(2, 2, 0), 0x0141);
}

// Interrupts

#[test]
fn causes_are_masked_set_and_cleared() {
    let mut rig = Rig::new();
    rig.write(IMC, u32::MAX);
    for n in 0..17 {
        let cause = 1 << n;
        rig.write(ICS, cause);
        assert_eq!((rig.bench.said(), rig.read(ICS)), (vec![], cause), "masked");
        rig.write(IMS, cause);
        assert_eq!((rig.bench.said(), rig.read(IMS)), (vec![HIGH], cause));
        assert_eq!(rig.chip.config.word(6) & 8, 8, "the status register has it");
        rig.write(ICR, cause);
        assert_eq!((rig.bench.said(), rig.read(ICR)), (vec![LOW], 0));
        rig.write(ICS, cause);
        assert_eq!((rig.read(ICR), rig.bench.said()), (cause, vec![HIGH, LOW]));
        rig.write(IMC, cause);
    }
    rig.write(ICS, u32::MAX);
    assert_eq!(rig.read(ICR), 0x1_ffff);
    // The command register keeps the pin from it.
    rig.write(IMS, 1);
    rig.config_write(4, &[0x07, 0x04]);
    rig.write(ICS, 1);
    assert_eq!(rig.bench.said(), []);
    rig.config_write(4, &[0x07, 0x00]);
    assert_eq!(rig.bench.said(), [HIGH]);
}

#[test]
fn interrupts_can_be_messages() {
    let mut rig = Rig::new();
    rig.config_write(0xf4, &0xfee0_0000_u32.to_le_bytes());
    rig.config_write(0xfc, &[0x41, 0]);
    rig.config_write(0xf2, &[1, 0]);
    let messages = |rig: &mut Rig| {
        let said = rig.bench.said();
        let is_message = |signal: &Signal| matches!(signal, Signal::Message(m) if m.vector == 0x41);
        assert!(said.iter().all(is_message), "{said:?}");
        said.len()
    };
    rig.write(ICS, 4);
    assert_eq!(messages(&mut rig), 1);
    rig.write(ICS, 1);
    assert_eq!(messages(&mut rig), 0, "it has been told");
    assert_eq!(rig.read(ICR), 5);
    rig.write(ICS, 1);
    assert_eq!(messages(&mut rig), 1);
}

#[test]
fn interrupts_are_throttled() {
    let mut rig = Rig::new();
    // At most one in 100 us or so.
    rig.write(ITR, 400);
    rig.write(ICS, 1);
    assert_eq!((rig.read(ICR), rig.bench.said()), (1, vec![HIGH, LOW]));
    rig.wait_ns(1000);
    rig.write(ICS, 1);
    assert_eq!((rig.bench.said(), rig.read(ICS)), (vec![], 1));
    assert_eq!(rig.chip.next_event(), Some(VmTime(1_000_000 + 400 * 256)));
    rig.wait_ns(101_399);
    assert_eq!(rig.bench.said(), []);
    rig.wait_ns(1);
    assert_eq!(rig.bench.said(), [HIGH]);
    // What is masked or read before its time does not interrupt.
    rig.read(ICR);
    rig.write(ICS, 1);
    rig.read(ICR);
    assert_eq!(rig.chip.next_event(), None);
    rig.wait_ns(200_000);
    assert_eq!(rig.bench.said(), [LOW]);
}

#[test]
fn receiving_is_interrupted_for_later() {
    let mut rig = Rig::new();
    let came = |rig: &mut Rig| {
        // There are buffers enough.
        let tail = (rig.read(RDH) + 15) % 16;
        rig.write(RDT, tail);
        rig.end.bring(&frame(OWN, 60), Offload::default());
        rig.wake();
        rig.read(ICR)
    };
    assert_eq!(came(&mut rig), 1 << 7);
    // 10.24 us since the last one, 20.48 since the first.
    rig.write(RDTR, 10);
    rig.write(0x282c, 20);
    for _ in 0..3 {
        assert_eq!(came(&mut rig), 0);
        rig.wait_ns(6144);
    }
    assert_eq!(came(&mut rig), 0);
    rig.wait_ns(20_480 - 3 * 6144 - 1);
    assert_eq!(rig.read(ICR), 0);
    rig.wait_ns(1);
    assert_eq!((rig.read(ICR), rig.chip.next_event()), (1 << 7, None), "neither goes on");
    assert_eq!(came(&mut rig), 0);
    rig.wait_ns(10_240);
    assert_eq!(rig.read(ICR), 1 << 7);
    // A small one is not waited with; nor does the driver if it says so.
    rig.write(0x2c00, 60);
    assert_eq!((came(&mut rig), rig.chip.next_event()), (1 << 16, None));
    rig.write(RDTR, 1 << 31 | 10);
    assert_eq!((rig.read(ICR), rig.read(RDTR)), (1 << 7, 10));
}
