//! What a machine boots, and the memory that this needs.

use std::sync::Arc;

use trine_firmware::{BIOS_LEN, Boot, BootError, EntryMode, Module, bios, demo, linux, measure};
use trine_guest::Ram;
use trine_x86::{CpuModel, Feature};

use crate::{
    Board, Config, MachineError, firmware::Firmware, flash::Contents, microvm, pc,
    schematic::BoardKind,
};

/// What a machine boots.
#[derive(Clone)]
pub enum Guest {
    /// The guest that is built in.
    Demonstration,
    /// The built-in guest that measures what sensitive instructions cost.
    Measurement,
    /// A kernel, of Linux or of the Multiboot kind, as files.
    Linux {
        /// The kernel.
        kernel: Vec<u8>,
        /// The initial RAM file system in one or more parts, or the Multiboot modules.
        modules: Vec<Module>,
        /// The command line.
        append: String,
    },
    /// Whatever the BIOS of our own finds on the machine's disks or network.
    Bios,
    /// A firmware that runs from the reset vector.
    Firmware(Firmware),
    /// Bytes placed in RAM and a CPU state, as given.
    Raw(Boot),
}

impl Guest {
    /// The memory of a board with so much DRAM, from which it starts.
    fn memory(&self, dram: u64, flash: Option<&Contents>) -> Result<pc::Memory, BootError> {
        let memory = pc::Memory::new(dram);
        let flash = flash.map_or(0, |contents| contents.bytes.len() as u64);
        match self {
            Self::Bios => memory.with_rom(BIOS_LEN),
            Self::Firmware(firmware) => memory.with_flash(flash, firmware.rom.len() as u64),
            _ => Ok(memory),
        }
    }

    /// Where it begins on a board with so much memory and so many vCPUs of this model.
    ///
    /// # Errors
    /// If it cannot be booted there.
    pub(crate) fn boot(
        self,
        board: &Board,
        memory: u64,
        cpus: u32,
        model: &CpuModel,
    ) -> Result<Boot, MachineError> {
        let description = board.describe(|chips| chips.description(memory, cpus, model));
        let mode = if model.has(Feature::Lm) { EntryMode::Long64 } else { EntryMode::Protected32 };
        Ok(match self {
            Self::Demonstration => demo::boot(&description)?,
            Self::Measurement => measure::boot(&description)?,
            Self::Linux { kernel, modules, append } => {
                linux(&kernel, &modules, &append, &description, mode)?
            }
            Self::Bios => bios(&description)?,
            Self::Firmware(firmware) => {
                board.tell_firmware(description)?;
                firmware.boot()?
            }
            Self::Raw(boot) => boot,
        })
    }
}

/// The memory of a machine: what is where in it, and the arena itself.
pub(crate) fn memory(
    config: &Config,
    flash: Option<&Contents>,
) -> Result<(pc::Memory, Arc<Ram>), MachineError> {
    let memory = config.guest.memory(config.memory, flash)?;
    let ram = match config.board {
        // The board maps it.
        BoardKind::Pc => Ram::with_arena(memory.arena(), &[])?,
        BoardKind::Microvm => Ram::with_arena(config.memory, &microvm::memory_map(config.memory))?,
    };
    Ok((memory, Arc::new(ram)))
}
