//! The CD drive against MMC-3 and against how Linux, SeaBIOS and boot loaders use it.

use super::super::{AtaDrive, rig::*};
use crate::{Bays, Disk, Timed};

/// Features: the data go by DMA.
const BY_DMA: u8 = 1;

struct Cd(Rig);

impl Cd {
    /// A drive with a medium of 1000 blocks, its power-on attention taken.
    fn new() -> Self {
        let mut cd = Self::cold();
        assert_eq!(cd.ask(&[0x00], 0), Err((0x06, 0x29)));
        cd
    }

    fn cold() -> Self {
        let medium: Box<dyn Disk> = Box::new(numbered(4000));
        Self(Rig::new([Some(AtaDrive::cd(Some(medium))), None]))
    }

    /// Sends a packet, with `limit` bytes for each block of PIO.
    fn send(&mut self, packet: &[u8], features: u8, limit: u16) {
        let [low, high] = limit.to_le_bytes();
        self.0.command(0xa0, [features, 0, 0, low, high, 0xa0]);
        assert_eq!((self.0.status(), self.0.read(2)), (0x58, 0x01), "it wants the packet");
        let mut whole = packet.to_vec();
        whole.resize(12, 0);
        self.0.put(&whole);
    }

    /// Takes what there is by PIO, or fails with the sense key and code.
    fn receive(&mut self) -> Result<(Vec<u8>, Vec<usize>), (u8, u8)> {
        let (mut data, mut blocks) = (Vec::new(), Vec::new());
        loop {
            self.0.settle();
            assert!(self.0.interrupt(), "for each block and at the end");
            let status = self.0.status();
            if status & DRQ == 0 {
                assert_eq!(self.0.read(2), 3, "status");
                if status & ERR == 0 {
                    return Ok((data, blocks));
                }
                let key = self.0.read(1) >> 4;
                let sense = self.ask(&[0x03, 0, 0, 0, 18], 18).expect("REQUEST SENSE");
                assert_eq!(sense[2], key);
                return Err((key, sense[12]));
            }
            assert_eq!(self.0.read(2), 2, "data to the host");
            let len = usize::from(u16::from_le_bytes([self.0.read(4), self.0.read(5)]));
            let mut block = self.0.data(len.next_multiple_of(4).min(len & !3));
            while block.len() < len {
                let word: [u8; 2] = self.0.bench.port_in(&mut self.0.ide, 0);
                block.extend(&word[..word.len().min(len - block.len())]);
            }
            data.extend(block);
            blocks.push(len);
        }
    }

    /// Sends a packet that is answered with `len` bytes.
    fn ask(&mut self, packet: &[u8], len: usize) -> Result<Vec<u8>, (u8, u8)> {
        self.send(packet, 0, 0xffff);
        let data = self.receive()?.0;
        assert_eq!(data.len(), len, "{packet:x?}");
        Ok(data)
    }

    fn change(&mut self, medium: Option<Box<dyn Disk>>) -> Option<Box<dyn Disk>> {
        self.0.bench.with(|cx| self.0.ide.change_medium(cx, 0, medium))
    }
}

fn number(data: &[u8]) -> u32 {
    u32::from_le_bytes([data[0], data[1], data[2], data[3]])
}

#[test]
fn a_probe_sees_a_packet_drive() {
    let mut r = Cd::cold().0;
    assert_eq!(r.status(), 0x00, "not READY before its first command");
    assert_eq!([2, 3, 4, 5].map(|n| r.read(n)), [0x01, 0x01, 0x14, 0xeb]);
    r.command(0xec, [0; 6]);
    assert_eq!((r.status(), r.read(1)), (0x51, 0x04));
    assert_eq!([2, 3, 4, 5].map(|n| r.read(n)), [0x01, 0x01, 0x14, 0xeb]);
    r.command(0xa1, [0; 6]);
    let data = r.data(512);
    assert_eq!(data[..2], [0xc0, 0x85]);
    assert_eq!(r.status(), 0x50);
    assert_eq!(data.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0);
    r.command(0x08, [0; 6]);
    assert_eq!((r.status(), r.read(4), r.read(5)), (0x00, 0x14, 0xeb), "DEVICE RESET");
}

#[test]
fn a_boot_loader_reads_the_disc() {
    let mut cd = Cd::new();
    let inquiry = cd.ask(&[0x12, 0, 0, 0, 36], 36).expect("INQUIRY");
    assert_eq!((inquiry[0], inquiry[1]), (5, 0x80));
    assert_eq!(cd.ask(&[0x12, 0, 0, 0, 5], 5).expect("INQUIRY")[4], 31, "as much as fits");
    let capacity = cd.ask(&[0x25], 8).expect("READ CAPACITY");
    assert_eq!(capacity, [0, 0, 3, 0xe7, 0, 0, 8, 0]);
    let data = cd.ask(&[0x28, 0, 0, 0, 0, 16, 0, 0, 1], 2048).expect("READ(10)");
    assert_eq!(number(&data), 64);
    let data = cd.ask(&[0xa8, 0, 0, 0, 1, 0, 0, 0, 0, 100], 100 * 2048).expect("READ(12)");
    assert_eq!((number(&data), number(&data[99 * 2048..])), (1024, 1024 + 396));
    assert_eq!(cd.ask(&[0x28, 0, 0, 0, 3, 0xe8, 0, 0, 1], 0), Err((5, 0x21)));
    assert_eq!(cd.ask(&[0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff], 0), Err((5, 0x21)));
    assert_eq!(cd.ask(&[0x28], 0), Ok(vec![]), "no blocks are no error");
    assert_eq!(cd.ask(&[0xd8], 0), Err((5, 0x20)));
}

#[test]
fn blocks_of_pio_keep_to_the_byte_count() {
    let mut cd = Cd::new();
    for (limit, want) in [
        (2048, vec![2048; 3]),
        (4096, vec![4096, 2048]),
        (0xffff, vec![6144]),
        (0, vec![6144]),
        (5001, vec![5000, 1144]),
    ] {
        cd.send(&[0x28, 0, 0, 0, 0, 0, 0, 0, 3], 0, limit);
        let (data, blocks) = cd.receive().expect("READ(10)");
        assert_eq!((blocks, data.len()), (want, 6144), "{limit}");
        assert_eq!(number(&data[4096..]), 8);
    }
}

#[test]
fn data_go_by_dma() {
    let mut cd = Cd::new();
    cd.send(&[0x28, 0, 0, 0, 0, 10, 0, 0, 40], BY_DMA, 0);
    cd.0.start_dma(true, &[(0x1_0000, 0), (0x2_0000, 0x4000)]);
    cd.0.settle();
    assert_eq!(cd.0.master_status(), 0x04);
    assert_eq!((cd.0.status(), cd.0.read(2)), (0x50, 3));
    let data = cd.0.ram(0x1_0000, 40 * 2048);
    assert_eq!((number(&data), number(&data[39 * 2048..])), (40, 196));
}

#[test]
fn raw_sectors_have_what_surrounds_the_data() {
    let mut cd = Cd::new();
    let raw = cd.ask(&[0xbe, 0, 0, 0, 0, 20, 0, 0, 1, 0xf8], 2352).expect("READ CD");
    assert_eq!((raw[0], raw[1], raw[11]), (0, 0xff, 0));
    assert_eq!(raw[12..16], [0x00, 0x02, 0x20, 0x01], "2 seconds and 20 frames, mode 1");
    assert_eq!(number(&raw[16..]), 80);
    let data = cd.ask(&[0xb9, 0, 0, 0, 2, 20, 0, 2, 22, 0x10], 4096).expect("READ CD MSF");
    assert_eq!(number(&data), 80);
    assert_eq!(cd.ask(&[0xbe, 4, 0, 0, 0, 20, 0, 0, 1, 0xf8], 0), Err((5, 0x64)), "no sound");
    assert_eq!(cd.ask(&[0xbe, 0, 0, 0, 0, 20, 0, 0, 1, 0], 0), Ok(vec![]));
}

#[test]
fn the_table_of_contents() {
    let mut cd = Cd::new();
    let toc = cd.ask(&[0x43, 0, 0, 0, 0, 0, 0, 0, 100], 20).expect("READ TOC");
    assert_eq!(toc[..4], [0, 18, 1, 1]);
    assert_eq!(toc[4..], [0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 3, 0xe8]);
    // 1000 blocks are 13 seconds and 25 frames, behind two seconds.
    let toc = cd.ask(&[0x43, 2, 0, 0, 0, 0, 0xaa, 0, 100], 12).expect("READ TOC");
    assert_eq!(toc[8..], [0, 0, 15, 25]);
    let sessions = cd.ask(&[0x43, 0, 1, 0, 0, 0, 0, 0, 100], 12).expect("READ TOC");
    assert_eq!(sessions[..4], [0, 10, 1, 1]);
    assert_eq!(cd.ask(&[0x43, 2, 0, 0, 0, 0, 0, 0, 12, 0x40], 12).expect("SFF")[6], 1);
    let raw = cd.ask(&[0x43, 0, 2, 0, 0, 0, 0, 1, 0], 48).expect("READ TOC");
    assert_eq!((raw[7], raw[18], raw[29]), (0xa0, 0xa1, 0xa2));
    assert_eq!(cd.ask(&[0x43, 0, 5, 0, 0, 0, 0, 0, 100], 0), Err((5, 0x24)));
    assert_eq!(cd.ask(&[0x51, 0, 0, 0, 0, 0, 0, 0, 34], 34).expect("READ DISC")[2], 0x0e);
    let track = cd.ask(&[0x52, 1, 0, 0, 0, 1, 0, 0, 36], 36).expect("READ TRACK");
    assert_eq!(track[24..28], [0, 0, 3, 0xe8]);
    let position = cd.ask(&[0x42, 2, 0x40, 1, 0, 0, 0, 0, 16], 16).expect("READ SUB-CHANNEL");
    assert_eq!(position[8..12], [0, 0, 2, 0]);
}

#[test]
fn mode_pages_and_features() {
    let mut cd = Cd::new();
    let pages = cd.ask(&[0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 255], 8 + 8 + 12 + 8 + 16 + 20);
    let pages = pages.expect("MODE SENSE(10)");
    assert_eq!(u16::from_be_bytes([pages[0], pages[1]]) as usize, pages.len() - 2);
    let page = cd.ask(&[0x1a, 0, 0x2a, 0, 255], 24).expect("MODE SENSE(6)");
    assert_eq!((page[0], page[4], page[5]), (23, 0x2a, 18));
    assert_eq!(cd.ask(&[0x5a, 0, 0x2b, 0, 0, 0, 0, 0, 255], 0), Err((5, 0x24)));
    assert_eq!(cd.ask(&[0x5a, 0, 0xea, 0, 0, 0, 0, 0, 255], 0), Err((5, 0x39)));
    let all = cd.ask(&[0x46, 0, 0, 0, 0, 0, 0, 1, 0], 8 + 12 + 8 + 8 + 12 + 8 + 4);
    let all = all.expect("GET CONFIGURATION");
    assert_eq!(u32::from_be_bytes([all[0], all[1], all[2], all[3]]) as usize, all.len() - 4);
    assert_eq!(all[6..8], [0, 8], "CD-ROM");
    let one = cd.ask(&[0x46, 2, 0, 3, 0, 0, 0, 1, 0], 16).expect("GET CONFIGURATION");
    assert_eq!(one[8..12], [0, 3, 3, 4]);
    assert_eq!(cd.ask(&[0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8], 8).expect("MECHANISM")[1], 0);
}

#[test]
fn a_lock_holds_until_it_is_opened() {
    let mut cd = Cd::new();
    assert_eq!(cd.ask(&[0x1e, 0, 0, 0, 1], 0), Ok(vec![]));
    assert_eq!(cd.ask(&[0x1b, 0, 0, 0, 2], 0), Err((5, 0x53)));
    assert_eq!(cd.ask(&[0x1e, 0, 0, 0, 0], 0), Ok(vec![]));
    assert_eq!(cd.ask(&[0x1b, 0, 0, 0, 2], 0), Ok(vec![]));
    assert_eq!(cd.ask(&[0x00], 0), Err((2, 0x3a)), "the tray is open");
    let event = cd.ask(&[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8], 8).expect("GET EVENT STATUS");
    assert_eq!(event, [0, 6, 4, 0x10, 3, 1, 0, 0]);
    assert_eq!(cd.ask(&[0x1b, 0, 0, 0, 3], 0), Ok(vec![]));
    assert_eq!(cd.ask(&[0x25], 0), Err((6, 0x28)));
    assert_eq!(cd.ask(&[0x00], 0), Ok(vec![]));
}

#[test]
fn the_guest_hears_of_another_medium() {
    let mut cd = Cd::new();
    let none = cd.ask(&[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8], 8).expect("GET EVENT STATUS");
    assert_eq!(none, [0, 6, 4, 0x10, 0, 2, 0, 0]);
    let first = cd.change(None).expect("a medium was in");
    assert_eq!(cd.ask(&[0x00], 0), Err((2, 0x3a)));
    assert!(cd.change(Some(Box::new(numbered(8)))).is_none());
    let event = cd.ask(&[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8], 8).expect("GET EVENT STATUS");
    assert_eq!(event, [0, 6, 4, 0x10, 2, 2, 0, 0]);
    assert_eq!(cd.ask(&[0x28, 0, 0, 0, 0, 0, 0, 0, 1], 0), Err((6, 0x28)));
    assert_eq!(cd.ask(&[0x25], 8), Ok(vec![0, 0, 0, 1, 0, 0, 8, 0]));
    // In the middle of a read.
    cd.send(&[0x28, 0, 0, 0, 0, 0, 0, 0, 2], 0, 2048);
    assert!(cd.0.ide.next_event().is_some());
    assert_eq!(cd.change(Some(first)).map(|disk| disk.len()), Some(4096));
    assert_eq!(cd.receive(), Err((2, 0x3a)));
    assert_eq!(cd.ask(&[0x25], 0), Err((6, 0x28)));
    assert_eq!(cd.ask(&[0x25], 8).map(|data| data[3]), Ok(0xe7));
    // There is no drive in the other bays.
    let refused = cd.0.bench.with(|cx| cd.0.ide.change_medium(cx, 1, Some(Box::new(numbered(4)))));
    assert_eq!(refused.map(|disk| disk.len()), Some(2048));
}
