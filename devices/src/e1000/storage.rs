//! Registers that keep what is written to them and have no effect here: flow control, lights,
//! tuning, the packet buffer's allocation and pointers, manageability and waking.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A row: `count` registers from `first` on, `step` apart, what they read after a reset, and what of
/// them can be written.
struct Row {
    first: u32,
    count: u32,
    step: u32,
    initial: u32,
    writable: u32,
}

const fn one(first: u32, initial: u32, writable: u32) -> Row {
    Row { first, count: 1, step: 4, initial, writable }
}

const fn many(first: u32, count: u32, step: u32, writable: u32) -> Row {
    Row { first, count, step, initial: 0, writable }
}

/// Sections 13.4, 13.6 and 13.8.
const TABLE: [Row; 28] = [
    one(0x0001c, 0, u32::MAX),              // FLA
    one(0x00028, 0, u32::MAX),              // FCAL
    one(0x0002c, 0, 0xffff),                // FCAH
    one(0x00030, 0, 0xffff),                // FCT
    one(0x00170, 0, 0xffff),                // FCTTV
    one(0x00178, 0, 0xc000_ffff),           // TXCW
    one(0x00410, 0x0060_2008, 0x3fff_ffff), // TIPG
    one(0x00458, 0, 0xffff),                // AIT
    one(0x00e00, 0x0706_8302, u32::MAX),    // LEDCTL
    one(0x01000, 0x0010_0030, 0x0000_ffff), // PBA
    one(0x02160, 0, 0x8000_fff8),           // FCRTL
    one(0x02168, 0, 0x8000_fff8),           // FCRTH
    many(0x02410, 2, 8, 0x1fff),            // RDFH, RDFT
    many(0x02420, 3, 8, 0x1fff),            // RDFHS, RDFTS, RDFPC
    one(0x02828, 0x0001_0000, 0x013f_3f3f), // RXDCTL
    one(0x03000, 0, u32::MAX),              // TXDMAC
    many(0x03410, 2, 8, 0x07ff),            // TDFH, TDFT
    many(0x03420, 3, 8, 0x1fff),            // TDFHS, TDFTS, TDFPC
    one(0x03830, 0x0100_0400, u32::MAX),    // TSPMT
    one(0x05800, 0, 0x0000_000f),           // WUC
    one(0x05808, 0, 0x000f_ffff),           // WUFC
    one(0x05820, 0, u32::MAX),              // MANC
    one(0x05838, 0, 0x0001_000f),           // IPAV
    many(0x05840, 4, 8, u32::MAX),          // IP4AT
    many(0x05880, 4, 4, u32::MAX),          // IP6AT
    many(0x05f00, 4, 8, 0x07ff),            // FFLT
    many(0x09000, 128, 8, 0x000f),          // FFMT
    many(0x09800, 128, 8, u32::MAX),        // FFVT
];

/// Those of them that are not as after a reset, by offset.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub(super) struct Storage(BTreeMap<u32, u32>);

fn row(offset: u32) -> Option<&'static Row> {
    TABLE.iter().find(|row| {
        let behind = offset.wrapping_sub(row.first);
        behind < row.count * row.step && behind.is_multiple_of(row.step)
    })
}

impl Storage {
    pub(super) fn is_possible(&self) -> bool {
        self.0.iter().all(|(offset, value)| {
            row(*offset).is_some_and(|row| (value ^ row.initial) & !row.writable == 0)
        })
    }

    /// What the register at `offset` reads; 0 where there is none.
    pub(super) fn read(&self, offset: u32) -> u32 {
        let initial = || row(offset).map_or(0, |row| row.initial);
        self.0.get(&offset).copied().unwrap_or_else(initial)
    }

    pub(super) fn write(&mut self, offset: u32, value: u32) {
        if let Some(row) = row(offset) {
            self.0.insert(offset, row.initial & !row.writable | value & row.writable);
        }
    }
}
