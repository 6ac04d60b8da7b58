//! The flash memory's cells: a piece of the arena, which vCPUs read and execute as ROM while the chip
//! shows it, and the file that keeps them.
//!
//! A cell is in the file before the guest sees that it was programmed or erased, so that whatever
//! ends the process, nothing of that is lost; what the host's own crash loses is the host's to say.
//! As a part of the arena the cells are in snapshots. A machine that goes to one takes its file
//! along.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use trine_devices::FlashCells;
use trine_guest::{PAGE_SIZE, Ram};

/// What is in a flash memory when the machine is built.
pub(crate) struct Contents {
    pub(crate) bytes: Vec<u8>,
    /// What is to follow them.
    pub(crate) file: Option<File>,
}

/// A flash memory of the machine.
pub(crate) struct Flash {
    ram: Arc<Ram>,
    /// The first cell in the arena.
    at: u64,
    len: usize,
    file: Option<File>,
}

impl Flash {
    /// Puts `contents` into the arena, at `at`.
    ///
    /// # Panics
    /// If the arena does not have that many bytes.
    pub(crate) fn new(ram: Arc<Ram>, at: u64, contents: Contents) -> Arc<Self> {
        let Contents { bytes, file } = contents;
        ram.store_bytes(at, &bytes);
        Arc::new(Self { ram, at, len: bytes.len(), file })
    }

    /// For the chip.
    pub(crate) fn cells(self: &Arc<Self>) -> Box<dyn FlashCells> {
        Box::new(Cells(self.clone()))
    }

    /// All cells.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.ram.load_bytes(self.at, &mut bytes);
        bytes
    }

    /// The arena was cleared, and has them again. The file is as they were.
    pub(crate) fn restore(&self, bytes: &[u8]) {
        self.ram.store_bytes(self.at, bytes);
    }

    /// The arena was replaced; the file follows.
    ///
    /// # Errors
    /// What the host says.
    pub(crate) fn follow(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut kept = vec![0; self.len];
        file.read_exact_at(&mut kept, 0)?;
        let len = PAGE_SIZE as usize;
        for (n, (now, kept)) in self.bytes().chunks(len).zip(kept.chunks(len)).enumerate() {
            if now != kept {
                file.write_all_at(now, n as u64 * PAGE_SIZE)?;
            }
        }
        Ok(())
    }
}

struct Cells(Arc<Flash>);

impl FlashCells for Cells {
    fn len(&self) -> usize {
        self.0.len
    }

    fn load(&self, at: usize, data: &mut [u8]) {
        self.0.ram.load_bytes(self.0.at + at as u64, data);
    }

    fn store(&mut self, at: usize, data: &[u8]) -> bool {
        let Flash { ram, at: start, file, .. } = &*self.0;
        if let Some(Err(e)) = file.as_ref().map(|file| file.write_all_at(data, at as u64)) {
            log::error!("the firmware's variables cannot be written: {e}");
            return false;
        }
        ram.store_bytes(start + at as u64, data);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine's memory of four pages, the middle two of which are flash.
    fn flash(file: Option<File>) -> (Arc<Ram>, Arc<Flash>) {
        let ram = Arc::new(Ram::flat(4 << 12).expect("4 pages"));
        let flash = Flash::new(ram.clone(), 1 << 12, Contents { bytes: vec![0xff; 2 << 12], file });
        (ram, flash)
    }

    #[test]
    fn what_is_stored_is_in_the_arena_and_in_the_file() {
        let file = tempfile::tempfile().expect("there is room");
        file.set_len(2 << 12).expect("there is room");
        let (ram, flash) = flash(Some(file.try_clone().expect("a file")));
        let mut cells = flash.cells();
        assert!(cells.store(0x1ffe, &[1, 2]));
        let kept = |at: u64| {
            let mut data = [0; 2];
            file.read_exact_at(&mut data, at).expect("it is that long");
            data
        };
        assert_eq!((kept(0x1ffe), ram.load::<u16>(0x2ffe)), ([1, 2], 0x0201));
        let mut data = [0; 3];
        cells.load(0x1ffd, &mut data);
        assert_eq!((cells.len(), data), (2 << 12, [0xff, 1, 2]));
        assert_eq!((ram.load::<u8>(0xfff), ram.load::<u8>(0x3000)), (0, 0), "beside it");
        // Memory goes back to another time.
        ram.store_bytes(0x1800, &[9, 9]);
        assert_eq!(kept(0x800), [0, 0]);
        flash.follow().expect("a file");
        assert_eq!((kept(0x800), kept(0x1ffe)), ([9, 9], [1, 2]));
        // Or is cleared.
        let bytes = flash.bytes();
        ram.store_bytes(0x1000, &[0; 2 << 12]);
        flash.restore(&bytes);
        assert_eq!(ram.load::<u16>(0x2ffe), 0x0201);
    }

    #[test]
    fn what_the_host_cannot_write_the_guest_does_not_see_done() {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("vars");
        std::fs::write(&path, [0xff; 2 << 12]).expect("there is room");
        let (ram, flash) = flash(Some(File::open(&path).expect("to read it")));
        assert!(!flash.cells().store(0, &[1]));
        assert_eq!(ram.load::<u8>(0x1000), 0xff);
        let (ram, flash) = self::flash(None);
        assert!(flash.cells().store(0, &[1]));
        assert_eq!(ram.load::<u8>(0x1000), 1);
        flash.follow().expect("nothing follows");
    }
}
