//! What PCI's configuration space means for the board: where BARs map their regions, to which
//! IRQs the ISA bridge joins PCI's four interrupt lines, and where the host bridge shows memory.

use trine_devices::{Side, Slot, Space};
use trine_guest::{Gpa, Spot};

use super::{Board, State};
use crate::{
    cpu_wires::CpuWires,
    pc::{Chip, Wire},
};

/// The chips, by bit, that have been touched if configuration space may have changed: the bus, and
/// the functions that a reset or a load changes.
pub(super) const CONFIG: u64 = 1 << Chip::Pci.index();
/// The same if the memory map may have.
pub(super) const MAP: u64 = CONFIG | 1 << Chip::Flash.index();

/// A region of a BAR that is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PciRegion {
    pub(super) space: Space,
    pub(super) at: u64,
    pub(super) len: u64,
    pub(super) slot: Slot,
    pub(super) bar: u8,
    pub(super) chip: Chip,
}

impl Board {
    /// Has the memory map follow the host bridge, the display adapter and the flash memory, which may
    /// have changed, and tells all vCPUs if it did.
    pub(super) fn follow_memory_map(&self, state: &mut State) {
        let now = state.chips.pc().and_then(|pc| pc.shown());
        if now == state.memory_map {
            return;
        }
        state.memory_map = now;
        match now.map(|shown| self.ram.remap(&self.memory.map(&shown))) {
            // The one whose access this is looks when it is through.
            Some(Ok(true)) => self.cpus.iter().for_each(CpuWires::tell_of_map),
            Some(Err(e)) => log::error!("the memory map stays as it is: {e}"),
            None | Some(Ok(false)) => {}
        }
    }
}

impl State {
    /// The memory that takes a store to `at` although it is not seen there: a firmware copies itself
    /// into the memory below its ROM.
    pub(super) fn shadow(&self, at: Gpa) -> Option<Spot> {
        let segment = self.memory_map.as_ref()?.low.segment(at)?;
        let is_shadow = segment.reads == Side::Pci && segment.writes == Side::Dram;
        let run = segment.start.0 + segment.len - at.0;
        // Below 4 GiB, the offset of memory is its address.
        is_shadow.then_some(Spot { offset: at.0, run, writable: true })
    }

    /// Looks at configuration space, which may have changed. Says whether an interrupt line leads
    /// elsewhere now.
    pub(super) fn follow_pci(&mut self) -> bool {
        let Some(pc) = self.chips.pc() else { return false };
        let mapped = pc.pci.mapped().filter_map(|(slot, bar, (space, at, len))| {
            Some(PciRegion { space, at, len, slot, bar, chip: Chip::at(slot)? })
        });
        self.regions = mapped.collect();
        let routes = pc.pirq_routes();
        self.follow_power_ports();
        std::mem::replace(&mut self.pirq_routes, routes) != routes
    }

    /// The interrupts, by bit, that a card asserts.
    pub(super) fn card_irqs(&self) -> u32 {
        let wires = self.wires[Wire::COUNT..].iter().enumerate().filter(|(_, level)| **level);
        let irqs = wires.filter_map(|(wire, _)| self.chips.irq_of_card(wire, &self.pirq_routes));
        irqs.fold(0, |mask, irq| mask | 1 << irq)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use trine_devices::{
        Backplane, Bar, ConfigSpace, Cx, Device, FlashCells, Identity, Intx, Line, LoadError,
        PciFunction, PlainMemory, Saved, Timed,
    };
    use trine_engine::{Access, Bus};
    use trine_guest::{Gpa, Ram, VmTime};

    use super::*;
    use crate::{Board, BoardKind, Clock, ClockKind, pc, random::Random};

    /// A card with ports and a window, in which a byte is its interrupt.
    struct Card {
        config: ConfigSpace,
        intx: Intx,
        byte: u8,
        woken: u8,
    }

    fn card(_: &Backplane, line: Line) -> Box<dyn PciFunction> {
        let mut config = ConfigSpace::new(Identity { vendor: 1, ..Identity::default() });
        config.add_bar(0, Bar::Io { size: 8 });
        config.add_bar(1, Bar::Memory32 { size: 0x1000, prefetchable: false });
        config.set_interrupt_pin(1);
        Box::new(Card { config, intx: Intx::new(line), byte: 0, woken: 0 })
    }

    impl Device for Card {
        fn name(&self) -> &'static str {
            "card"
        }
        fn reset(&mut self, _: &mut Cx<'_>) {
            self.config.reset();
            self.byte = 0;
        }
        fn save(&self) -> Saved {
            Saved::pack("card", &(self.config.registers(), self.byte))
        }
        fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
            let (registers, byte): (Vec<u8>, u8) = saved.unpack("card")?;
            assert!(self.config.load_registers(&registers));
            self.byte = byte;
            self.intx.restore(&mut self.config, byte != 0);
            Ok(())
        }
        fn as_timed(&mut self) -> Option<&mut dyn Timed> {
            Some(self)
        }
    }

    impl Timed for Card {
        fn next_event(&self) -> Option<VmTime> {
            None
        }
        fn advance(&mut self, _: &mut Cx<'_>) {
            self.woken += 1;
        }
    }

    impl PciFunction for Card {
        fn config(&self) -> &ConfigSpace {
            &self.config
        }
        fn config_mut(&mut self) -> &mut ConfigSpace {
            &mut self.config
        }
        fn config_written(&mut self, _: &mut Cx<'_>, _: u8, _: u8) {
            self.intx.drive(&mut self.config, self.byte != 0);
        }
        fn bar_read(&mut self, _: &mut Cx<'_>, bar: u8, offset: u64, data: &mut [u8]) {
            data.fill(bar << 6 | self.woken << 4 | offset as u8 & 15);
        }
        fn bar_write(&mut self, _: &mut Cx<'_>, _: u8, _: u64, data: &[u8]) {
            self.byte = data[0];
            self.intx.drive(&mut self.config, self.byte != 0);
        }
    }

    /// RESET, for a firmware or for a guest that goes without.
    pub(in crate::board) fn restart(board: &Board, is_firmware: bool) {
        board.reset(&[]);
        board.set_up(1 << 20, is_firmware);
    }

    /// A board with a card in slots 2 and 3.
    pub(in crate::board) fn board() -> Board {
        board_with(pc::Memory::new(1 << 20), None)
    }

    /// The same with this memory, of which this is flash.
    fn board_with(memory: pc::Memory, flash: Option<Box<dyn FlashCells>>) -> Board {
        let nobody = || Box::new(crate::serial::Nobody);
        let ram = Arc::new(Ram::with_arena(memory.arena(), &[]).expect("a MiB and more"));
        let parts = pc::Parts {
            board: BoardKind::Pc,
            cpus: 1,
            unix_seconds: 0,
            com1: nobody(),
            debug_console: nobody(),
            backlogs: Vec::new(),
            debug_exit: None,
            post_port: None,
            memory,
            flash,
            video: Box::new(PlainMemory::new(256 << 10)),
            vga_rom: Vec::new(),
            test_device: false,
            boot_order: None,
            floppies: [None, None],
            drives: Default::default(),
            cards: [(); 2].map(|()| pc::Card::Pci(Box::new(card))).into(),
        };
        let clock = ClockKind::Instructions;
        let board = Board::new(ram, Clock::new(clock), Arc::new(Random::new(clock, 1)), parts);
        // What a firmware does, the test does.
        restart(&board, true);
        board
    }

    pub(in crate::board) const BY: Access = Access { vcpu: 0, retired: 0 };

    pub(in crate::board) fn configure(board: &Board, device: u32, register: u32, value: u32) {
        let address = 1 << 31 | device << 11 | register;
        board.port_out(BY, 0xcf8, &address.to_le_bytes());
        board.port_out(BY, 0xcfc, &value.to_le_bytes());
    }

    fn input(board: &Board, port: u16) -> u8 {
        let mut data = [0];
        board.port_in(BY, port, &mut data);
        data[0]
    }

    fn load(board: &Board, at: u64) -> [u8; 2] {
        let mut data = [0; 2];
        board.mmio_read(BY, Gpa(at), &mut data);
        data
    }

    /// Whether the slave 8259 has a request for IRQ 8 and up: its IRR.
    fn requests(board: &Board) -> u8 {
        board.port_out(BY, 0xa0, &[0x0a]);
        input(board, 0xa0)
    }

    #[test]
    fn bars_are_where_the_guest_maps_them() {
        let board = board();
        configure(&board, 3, 0x10, 0xc001);
        configure(&board, 4, 0x14, 0xfebf_0000);
        assert_eq!((input(&board, 0xc003), load(&board, 0xfebf_0005)), (0xff, [0xff; 2]));
        configure(&board, 3, 4, 1);
        configure(&board, 4, 4, 2);
        assert_eq!((input(&board, 0xc003), load(&board, 0xfebf_0005)), (3, [0x45; 2]));
        assert_eq!(load(&board, 0xfebf_0fff), [0x4f, 0xff], "it ends there");
        configure(&board, 3, 0x10, 0xd001);
        assert_eq!((input(&board, 0xc003), input(&board, 0xd003)), (0xff, 3));
        board.wake_chip(Chip::Card(1));
        assert_eq!((input(&board, 0xd000), load(&board, 0xfebf_0000)), (0, [0x50; 2]));
        let saved = board.save();
        restart(&board, true);
        assert_eq!(input(&board, 0xd003), 0xff);
        board.load(&saved).expect("it was this board's");
        assert_eq!(input(&board, 0xd003), 3);
    }

    #[test]
    fn a_guest_without_firmware_finds_functions_set_up() {
        let board = board();
        restart(&board, false);
        let read = |device: u32, register: u32| {
            board.port_out(BY, 0xcf8, &(1 << 31 | device << 11 | register).to_le_bytes());
            let mut data = [0; 4];
            board.port_in(BY, 0xcfc, &mut data);
            u32::from_le_bytes(data)
        };
        // The IDE controller's 16 ports and the display adapter's memory come first.
        let (ports, windows) = ([3, 4].map(|n| read(n, 0x10)), [3, 4].map(|n| read(n, 0x14)));
        assert_eq!((ports, windows), ([0xc011, 0xc019], [0xc004_1000, 0xc004_2000]));
        assert_eq!([3, 4].map(|n| read(n, 0x3c) & 0xff), [11, 11]);
        assert_eq!([3, 4].map(|n| read(n, 4) & 7), [3, 3]);
        assert_eq!((input(&board, 0xc01a), load(&board, 0xc004_2003)), (2, [0x43; 2]));
        assert_eq!(read(1, 0x60), 0x0b0b_0a0a);
        // Function 3: power management, ports 600h and 700h, IRQ 9.
        assert_eq!([0x340, 0x390, 0x33c].map(|n| read(1, n)), [0x601, 0x701, 0x109]);
        assert_eq!((input(&board, 0x600), input(&board, 0x700)), (0, 0));
    }

    #[test]
    fn interrupts_go_where_the_isa_bridge_leads_them() {
        let board = board();
        for device in [3, 4] {
            configure(&board, device, 0x10, 0xc009 + (device - 2) * 8);
            configure(&board, device, 4, 1);
        }
        configure(&board, 1, 0x60, 0x0b0a_0b0a);
        // IRQ 10 and 11 are levels.
        board.port_out(BY, 0x4d1, &[0x0c]);
        // INTA# of device 3 is PIRQC#, of device 4 PIRQD#: IRQ 10 and 11.
        board.port_out(BY, 0xc010, &[1]);
        assert_eq!(requests(&board), 1 << 2);
        board.port_out(BY, 0xc018, &[1]);
        assert_eq!(requests(&board), 1 << 2 | 1 << 3);
        configure(&board, 3, 4, 0x401);
        assert_eq!(requests(&board), 1 << 3, "the command register keeps it from it");
        configure(&board, 1, 0x60, 0x0b0b_8080);
        assert_eq!(requests(&board), 1 << 3);
        configure(&board, 3, 4, 1);
        board.port_out(BY, 0xc018, &[0]);
        assert_eq!(requests(&board), 1 << 3, "both are on IRQ 11, and one is left");
        board.port_out(BY, 0xc010, &[0]);
        assert_eq!(requests(&board), 0);
        board.port_out(BY, 0xc018, &[1]);
        configure(&board, 1, 0x60, 0x8080_8080);
        assert_eq!(requests(&board), 0, "they lead nowhere");
    }

    /// The byte that the guest sees in memory at `at`.
    fn seen(board: &Board, at: u64) -> Option<u8> {
        board.ram.spot(Gpa(at)).map(|spot| board.ram.load(spot.offset))
    }

    #[test]
    fn flash_is_memory_while_it_shows_its_cells() {
        const FIRST: u64 = 0xffff_0000;
        let memory = pc::Memory::new(1 << 20).with_flash(64 << 10, 0).expect("flash");
        let board = board_with(memory, Some(Box::new(vec![0xff; 64 << 10])));
        board.ram.store(memory.flash_offset(), 0x5a_u8);
        let command = |command: u8| board.mmio_write(BY, Gpa(FIRST), &[command]);
        assert_eq!(seen(&board, FIRST), Some(0x5a));
        assert!(!board.ram.spot(Gpa(FIRST)).is_some_and(|spot| spot.writable));
        command(0x70);
        assert_eq!((seen(&board, FIRST), load(&board, FIRST)), (None, [0x80; 2]));
        assert_eq!(seen(&board, 0xf_0000), Some(0x5a), "the copy below 1 MiB stays");
        let saved = board.save();
        command(0xff);
        assert_eq!(seen(&board, FIRST), Some(0x5a));
        board.load(&saved).expect("it was this board's");
        assert_eq!(seen(&board, FIRST), None);
        restart(&board, true);
        assert_eq!(seen(&board, FIRST), Some(0x5a));
    }

    #[test]
    fn the_host_bridge_shows_and_hides_memory() {
        let board = board();
        let wires = board.cpu(0).expect("there is one");
        let kicker = trine_engine::Kicker::default();
        wires.connect(kicker.clone());
        let _ = kicker.take();
        // As a reset leaves it.
        assert_eq!((seen(&board, 0x9_ffff), seen(&board, 0xe_0000)), (Some(0), None));
        configure(&board, 0, 0x50, 0);
        assert!(!kicker.is_raised(), "nothing has changed");
        // PAM1: C0000h takes stores and shows what PCI has.
        configure(&board, 0, 0x58, 0x0002_3000);
        assert!(kicker.is_raised());
        board.mmio_write(BY, Gpa(0xc_0ffe), &[7, 8, 9]);
        board.mmio_write(BY, Gpa(0xc_4000), &[6]);
        assert_eq!((seen(&board, 0xc_0ffe), load(&board, 0xc_0ffe)), (None, [0xff; 2]));
        let saved = board.save();
        configure(&board, 0, 0x58, 0x0011_3000);
        assert_eq!((seen(&board, 0xc_1000), seen(&board, 0xc_4000)), (Some(9), Some(0)));
        assert!(!board.ram.spot(Gpa(0xc_0000)).is_some_and(|spot| spot.writable));
        board.mmio_write(BY, Gpa(0xc_0ffe), &[1]);
        assert_eq!(seen(&board, 0xc_0ffe), Some(7), "it is read-only");
        // SMRAM, open; then a reset, and the map of a state that is loaded.
        configure(&board, 0, 0x70, 0x0042_0000);
        assert_eq!(seen(&board, 0xa_0000), Some(0));
        restart(&board, false);
        assert_eq!((seen(&board, 0xa_0000), seen(&board, 0xc_0ffe)), (None, None));
        board.load(&saved).expect("it was this board's");
        board.mmio_write(BY, Gpa(0xc_0ffe), &[2]);
        configure(&board, 0, 0x58, 0x0003_3000);
        assert_eq!(seen(&board, 0xc_0ffe), Some(2));
    }
}
