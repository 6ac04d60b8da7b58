//! Whether a qcow2 image's reference counts are right, and putting them right.
//!
//! Everything that refers to a cluster of the file is counted: header, tables, snapshots, data.
//! Then the counts are held against those that the image has (`qcow2.rst`, "Host cluster
//! management"). A count that is too low is dangerous, because the cluster will be given away while
//! it is in use; one that is too high only wastes a cluster. A process that is killed while it
//! writes leaves both behind (`Incompatible::DIRTY`), but L1 and L2 tables are written in an order
//! that keeps them true, so counting again is all that the image needs.

use std::{collections::HashSet, fs::File, io, os::unix::fs::FileExt};

use serde::Serialize;
use thiserror::Error;

use super::{
    Header, Incompatible, be32, be64,
    tables::{COPIED, Mapping, RefcountBlock, place, read_table},
};

/// So many notes are kept; damage comes in heaps.
const NOTES_MAX: usize = 20;
/// The largest file that is checked, in clusters: a gigabyte of counts.
const CLUSTERS_MAX: u64 = 1 << 28;
/// What QEMU allows of snapshots.
const SNAPSHOTS_MAX: u32 = 65536;
const SNAPSHOT_EXTRA_MAX: u32 = 1024;
const SNAPSHOT_L1_MAX: u32 = 4 << 20;

/// Why an image could not be checked, or not be repaired.
#[derive(Debug, Error)]
pub enum CheckError {
    /// The host failed to read or write it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It has what is not understood here.
    #[error("it {0}; 'qemu-img check' can check it")]
    Unsupported(&'static str),
}

/// What a check has found.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Report {
    /// What endangers data: references to nowhere, counts that are too low, wrong COPIED flags.
    pub corruptions: u64,
    /// Clusters that are counted and nobody refers to.
    pub leaks: u64,
    /// What was found and has been put right.
    pub repaired: u64,
    /// Clusters that the disk has in this file.
    pub allocated_clusters: u64,
    /// How many of them are compressed.
    pub compressed_clusters: u64,
    /// Clusters of the disk.
    pub total_clusters: u64,
    /// The end of the last cluster in use.
    pub image_end: u64,
    /// The first findings in words.
    pub notes: Vec<String>,
}

impl Report {
    fn note(&mut self, note: impl FnOnce() -> String) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note());
        }
    }

    fn corrupt(&mut self, note: impl FnOnce() -> String) {
        self.corruptions += 1;
        self.note(note);
    }
}

/// Counts everything in `file`, and changes nothing.
///
/// # Errors
/// [`CheckError`]; damage is no error.
pub fn check(file: &File, header: &Header) -> Result<Report, CheckError> {
    Survey::new(file, header)?.run(false)
}

/// Counts everything in `file`, and writes what is wrong about counts and COPIED flags. What is
/// left in [`Report::corruptions`] cannot be repaired; if nothing is, the image is no longer dirty.
///
/// # Errors
/// [`CheckError`].
pub fn repair(file: &File, header: &Header) -> Result<Report, CheckError> {
    let report = Survey::new(file, header)?.run(true)?;
    // What was written is to be there before the image says that it is good.
    file.sync_data()?;
    if report.corruptions == 0 && header.incompatible.contains(Incompatible::DIRTY) {
        super::mark_dirty(file, false)?;
    }
    Ok(report)
}

/// A walk through an image.
struct Survey<'a> {
    file: &'a File,
    header: &'a Header,
    /// How often each cluster of the file is referred to.
    counts: Vec<u32>,
    report: Report,
}

impl<'a> Survey<'a> {
    fn new(file: &'a File, header: &'a Header) -> Result<Self, CheckError> {
        if header.incompatible.intersects(Incompatible::DATA_FILE | Incompatible::EXTENDED_L2) {
            return Err(CheckError::Unsupported("has features that are not known here"));
        }
        if header.has_bitmaps {
            return Err(CheckError::Unsupported("has dirty bitmaps"));
        }
        let clusters = file.metadata()?.len().div_ceil(header.cluster());
        if clusters > CLUSTERS_MAX {
            return Err(CheckError::Unsupported("has more clusters than are counted here"));
        }
        let total_clusters = header.size.div_ceil(header.cluster());
        let report = Report { total_clusters, ..Report::default() };
        Ok(Self { file, header, counts: vec![0; clusters as usize], report })
    }

    fn run(mut self, repairs: bool) -> Result<Report, CheckError> {
        let header = self.header;
        self.refer(0, header.cluster(), "the header");
        self.walk_l1(header.l1_at, header.l1_entries, true)?;
        self.walk_snapshots()?;
        let blocks = self.walk_refcounts()?;
        let used = self.counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        self.report.image_end = used as u64 * header.cluster();
        self.compare(&blocks, repairs)?;
        self.check_copied(repairs)?;
        Ok(self.report)
    }

    /// Counts a reference to every cluster that has a part of the `len` bytes from `at` on.
    fn refer(&mut self, at: u64, len: u64, what: &str) -> bool {
        if len == 0 {
            return true;
        }
        let first = at >> self.header.cluster_bits;
        let last = at.checked_add(len - 1).map(|end| end >> self.header.cluster_bits);
        let range = last.and_then(|last| self.counts.get_mut(first as usize..=last as usize));
        let Some(range) = range else {
            self.report.corrupt(|| format!("{what} at {at:#x} lies behind the end of the file"));
            return false;
        };
        range.iter_mut().for_each(|count| *count = count.saturating_add(1));
        true
    }

    /// [`Survey::refer`] for one cluster, which has to begin where clusters do.
    fn refer_cluster(&mut self, at: u64, what: &str) -> bool {
        if !at.is_multiple_of(self.header.cluster()) {
            self.report.corrupt(|| format!("{what} at {at:#x} does not begin with a cluster"));
            return false;
        }
        self.refer(at, self.header.cluster(), what)
    }

    /// Counts an L1 table and all that it leads to. Clusters of the active one are the disk's.
    fn walk_l1(&mut self, at: u64, entries: u32, is_active: bool) -> Result<(), CheckError> {
        let len = u64::from(entries) * 8;
        if !self.refer(at, len, "the L1 table") {
            return Ok(());
        }
        let mut seen = HashSet::new();
        for l2_at in read_table(self.file, at, entries.into())?.into_iter().filter_map(place) {
            if !self.refer_cluster(l2_at, "an L2 table") {
                continue;
            }
            // Walked once only: a hostile table could lead to the same one a million times.
            if seen.insert(l2_at) {
                self.walk_l2(l2_at, is_active)?;
            } else {
                self.report.corrupt(|| format!("the L2 table at {l2_at:#x} is used twice"));
            }
        }
        Ok(())
    }

    fn walk_l2(&mut self, at: u64, is_active: bool) -> Result<(), CheckError> {
        for entry in read_table(self.file, at, self.header.l2_entries())? {
            let is_compressed = match Mapping::of(entry, self.header) {
                Mapping::Allocated { at, .. } => {
                    self.refer_cluster(at, "a data cluster");
                    false
                }
                Mapping::Compressed { at, len } => {
                    let start = at & !511;
                    self.refer(start, at + len - start, "a compressed cluster");
                    true
                }
                Mapping::Zero | Mapping::Unallocated => continue,
            };
            if is_active {
                self.report.allocated_clusters += 1;
                self.report.compressed_clusters += u64::from(is_compressed);
            }
        }
        Ok(())
    }

    /// Counts the table of snapshots and their L1 tables (`qcow2.rst`, "Snapshots").
    fn walk_snapshots(&mut self) -> Result<(), CheckError> {
        const FIXED: u64 = 40;
        let start = self.header.snapshots_at;
        let mut at = start;
        if self.header.snapshots > SNAPSHOTS_MAX {
            return Err(CheckError::Unsupported("has more snapshots than QEMU allows"));
        }
        for _ in 0..self.header.snapshots {
            let mut head = [0; FIXED as usize];
            if self.file.read_exact_at(&mut head, at).is_err() {
                self.report.corrupt(|| "the table of snapshots has no end".into());
                return Ok(());
            }
            let (l1_at, l1_entries, extra) = (be64(&head, 0), be32(&head, 8), be32(&head, 36));
            let names = be32(&head, 12);
            let names = u64::from(names >> 16) + u64::from(names & 0xffff);
            if l1_entries > SNAPSHOT_L1_MAX || extra > SNAPSHOT_EXTRA_MAX {
                self.report.corrupt(|| format!("the snapshot at {at:#x} has impossible sizes"));
                return Ok(());
            }
            self.walk_l1(l1_at, l1_entries, false)?;
            at += (FIXED + u64::from(extra) + names).next_multiple_of(8);
        }
        self.refer(start, at - start, "the table of snapshots");
        Ok(())
    }

    /// Counts the refcount table and its blocks; where the usable blocks are, by their numbers.
    fn walk_refcounts(&mut self) -> Result<Vec<Option<u64>>, CheckError> {
        let header = self.header;
        let len = u64::from(header.refcount_table_clusters) << header.cluster_bits;
        self.refer(header.refcount_table_at, len, "the refcount table");
        let table = read_table(self.file, header.refcount_table_at, len / 8)?;
        let mut seen = HashSet::new();
        let mut usable = |survey: &mut Self, at: u64| {
            if !survey.refer_cluster(at, "a refcount block") {
                return None;
            }
            if !seen.insert(at) {
                survey.report.corrupt(|| format!("the refcount block at {at:#x} is used twice"));
                return None;
            }
            Some(at)
        };
        Ok(table.into_iter().map(|entry| usable(self, place(entry)?)).collect())
    }

    /// Holds the image's counts against ours, and goes on with those that the image has then.
    fn compare(&mut self, blocks: &[Option<u64>], repairs: bool) -> Result<(), CheckError> {
        let per_block = self.header.refcounts_per_block() as usize;
        let mut counts = std::mem::take(&mut self.counts);
        for (number, ours) in counts.chunks_mut(per_block).enumerate() {
            let block = blocks.get(number).copied().flatten();
            let whole = block.map(|at| self.read_block(at)).transpose()?.flatten();
            let Some(mut block) = whole else {
                for _ in ours.iter().filter(|count| **count > 0) {
                    self.report.corrupt(|| format!("refcount block {number} is missing"));
                }
                continue;
            };
            let mut is_changed = false;
            for (index, ours) in ours.iter_mut().enumerate() {
                let (want, have) = (u64::from(*ours), block.get(index as u64));
                if have == want {
                    continue;
                }
                let cluster = number * per_block + index;
                if repairs && block.set(index as u64, want) {
                    is_changed = true;
                    self.report.repaired += 1;
                    continue;
                }
                *ours = u32::try_from(have).unwrap_or(u32::MAX);
                if have < want {
                    self.report.corrupt(|| {
                        format!("cluster {cluster} is counted {have} times and used {want} times")
                    });
                } else {
                    self.report.leaks += 1;
                }
            }
            if is_changed {
                block.write(self.file)?;
            }
        }
        self.counts = counts;
        Ok(())
    }

    /// The block at `at`; nothing if the file ends in it.
    fn read_block(&self, at: u64) -> io::Result<Option<RefcountBlock>> {
        match RefcountBlock::read(self.file, self.header, at) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            block => block.map(Some),
        }
    }

    /// COPIED says of the active tables' clusters that they are counted once.
    fn check_copied(&mut self, repairs: bool) -> Result<(), CheckError> {
        let header = self.header;
        let l1 = read_table(self.file, header.l1_at, header.l1_entries.into())?;
        let mut seen = HashSet::new();
        for (index, entry) in l1.into_iter().enumerate() {
            let Some(l2_at) = place(entry) else { continue };
            self.check_entry(header.l1_at + index as u64 * 8, entry, l2_at, repairs)?;
            if !self.is_cluster(l2_at) || !seen.insert(l2_at) {
                continue;
            }
            let l2 = read_table(self.file, l2_at, header.l2_entries())?;
            for (index, entry) in l2.into_iter().enumerate() {
                if let Mapping::Allocated { at, .. } = Mapping::of(entry, header) {
                    self.check_entry(l2_at + index as u64 * 8, entry, at, repairs)?;
                }
            }
        }
        Ok(())
    }

    fn is_cluster(&self, at: u64) -> bool {
        let index = at >> self.header.cluster_bits;
        at.is_multiple_of(self.header.cluster()) && index < self.counts.len() as u64
    }

    /// The COPIED flag of the entry that is at `entry_at` and leads to `at`.
    fn check_entry(
        &mut self,
        entry_at: u64,
        entry: u64,
        at: u64,
        repairs: bool,
    ) -> Result<(), CheckError> {
        if !self.is_cluster(at) {
            return Ok(()); // Reported when it was counted.
        }
        let is_once = self.counts[(at >> self.header.cluster_bits) as usize] == 1;
        if is_once == (entry & COPIED != 0) {
            return Ok(());
        }
        if repairs {
            self.file.write_all_at(&(entry ^ COPIED).to_be_bytes(), entry_at)?;
            self.report.repaired += 1;
        } else {
            self.report.corrupt(|| format!("the entry at {entry_at:#x} has a wrong COPIED flag"));
        }
        Ok(())
    }
}
