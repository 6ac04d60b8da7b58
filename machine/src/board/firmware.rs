//! What the board tells a firmware through fw_cfg: tables, which say among other things where the
//! firmware itself has put the ports of power management. SeaBIOS and OVMF have different ideas of
//! that, and both read the tables when it is done.

use trine_firmware::{BootError, Description, firmware_files};

use super::{Board, State};
use crate::pc;

impl Board {
    /// A firmware finds tables that say this, from now on.
    ///
    /// # Errors
    /// If there cannot be such tables.
    pub(crate) fn tell_firmware(&self, description: Description) -> Result<(), BootError> {
        self.lock().tell_firmware(description)
    }
}

impl State {
    fn tell_firmware(&mut self, description: Description) -> Result<(), BootError> {
        for (name, bytes) in firmware_files(&description)? {
            let has_room = self.chips.pc_mut().is_some_and(|pc| pc.fw_cfg.set_file(name, bytes));
            assert!(has_room, "fw_cfg has room for {name}");
        }
        self.told = Some(description);
        Ok(())
    }

    /// The tables follow the ports, which may have moved.
    pub(super) fn follow_power_ports(&mut self) {
        let ports = self.chips.pc().map(pc::Chips::power_ports);
        let now = ports.map(pc::power_management);
        if self.told.as_ref().is_none_or(|told| told.power_management == now) {
            return;
        }
        if let Some(told) = self.told.take() {
            // They have been made before, and differ in the numbers of a few ports.
            if let Err(e) = self.tell_firmware(Description { power_management: now, ..told }) {
                log::error!("firmware does not learn where power management is: {e}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use trine_devices::AcpiPm;
    use trine_engine::Bus;
    use trine_x86::CpuModel;

    use crate::{
        Board,
        board::pci::tests::{BY, board, configure, restart},
    };

    /// A register of function 1:3.0, for [`configure`] with device 0.
    const PM: u32 = 1 << 11 | 3 << 8;

    /// The PM timer block's port (ACPI 6.3, table 5-33) in the tables that a firmware reads.
    fn told(board: &Board) -> u32 {
        let byte = || {
            let mut byte = [0];
            board.port_in(BY, 0x511, &mut byte);
            byte[0]
        };
        let select = |item: u16| board.port_out(BY, 0x510, &item.to_le_bytes());
        // The first file behind those of the board itself: see `Chips`.
        select(0x21);
        let tables: Vec<u8> = std::iter::repeat_with(byte).take(64 << 10).collect();
        let fadt = tables.windows(4).position(|name| name == b"FACP").expect("a FADT");
        let field = tables[fadt + 76..].first_chunk().expect("it is long enough");
        u32::from_le_bytes(*field)
    }

    #[test]
    fn tables_say_where_the_firmware_has_put_power_management() {
        let board = board();
        let model = CpuModel::named("max").expect("there is a model 'max'");
        let description = board.describe(|chips| chips.description(1 << 20, 1, &model));
        board.tell_firmware(description).expect("a board");
        assert_eq!(told(&board), 0x608);
        configure(&board, 0, PM | 0x40, 0xb001);
        assert_eq!(told(&board), 0x608, "nothing is there yet");
        configure(&board, 0, PM | 0x80, 1);
        assert_eq!(told(&board), 0xb008);
        // The ports are there, and the SMI command port switches them to ACPI mode.
        let control = || {
            let mut data = [0; 2];
            board.port_in(BY, 0xb004, &mut data);
            data
        };
        assert_eq!(control(), [0, 0]);
        board.port_out(BY, 0xb2, &[AcpiPm::ACPI_ENABLE]);
        assert_eq!(control(), [1, 0]);
        let saved = board.save();
        configure(&board, 0, PM | 0x40, 0x701);
        assert_eq!((told(&board), control()), (0x708, [0xff; 2]));
        board.load(&saved).expect("it was this board's");
        assert_eq!((told(&board), control()), (0xb008, [1, 0]));
        restart(&board, true);
        assert_eq!((told(&board), control()), (0x608, [0xff; 2]));
    }
}
