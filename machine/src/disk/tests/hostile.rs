//! Images whose metadata lie: no panic, no hang, no memory beyond what the file is worth.

use std::os::unix::fs::FileExt;

use super::{random::Dice, *};

/// Writes something wrong to a place that matters.
fn damage(dice: &mut Dice, bytes: &mut [u8], cluster: usize) {
    let tables = (bytes.len() / cluster).min(6) as u64;
    for _ in 0..1 + dice.below(4) {
        // The header twice as often as all else: it is small.
        let at = match dice.below(3) {
            0 => dice.below(112) as usize,
            1 => (dice.below(tables) as usize) * cluster + dice.below(64) as usize,
            _ => dice.below(bytes.len() as u64) as usize,
        };
        let value = [0, 1, 0x7f, 0x80, 0xff, dice.below(256) as u8][dice.below(6) as usize];
        let len = 1 + dice.below(8) as usize;
        bytes.iter_mut().skip(at).take(len).for_each(|byte| *byte = value);
    }
}

/// Damages an image `times` times, and uses it as far as it lets itself be opened.
fn use_damaged(times: u64, seed: u64) -> u64 {
    let folder = folder();
    create(&folder, "base", "raw", 1 << 20);
    let path = folder.path().join("disk");
    let args = ["-o", "cluster_size=4096", "-b", "base", "-F", "raw"];
    let all = [&["create", "-f", "qcow2", text(&path)][..], &args].concat();
    image(&all).expect("created");
    let mut disk = Awaited::of(&path);
    (0..20).for_each(|n| disk.write(n * 40_000, &[n as u8; 9000]));
    drop(disk);
    let good = std::fs::read(&path).expect("read");
    let mut dice = Dice(seed);
    let mut opened = 0;
    for n in 0..times {
        let mut bytes = good.clone();
        damage(&mut dice, &mut bytes, 4096);
        std::fs::write(&path, &bytes).expect("written");
        // The check looks at everything, and has to come to an end with all of it.
        if let Ok(header) = Header::read(&std::fs::File::open(&path).expect("opens")) {
            let file = std::fs::File::open(&path).expect("opens");
            let _ = check::check(&file, &header);
        }
        let _ = image(&["info", "--json", text(&path)]);
        let spec = DiskSpec { is_read_only: n % 4 == 0, ..DiskSpec::new(&path) };
        let spec = DiskSpec { cache: Cache::Unsafe, ..spec };
        let Ok(mut disk) = Awaited::open(&spec) else { continue };
        opened += 1;
        for _ in 0..6 {
            let len = disk.disk.len();
            let at = dice.below(len.min(1 << 20)) / 512 * 512;
            let len = (len - at).min(20_000);
            // Any answer will do, as long as there is one.
            let _ = disk.ask(Order::Read { at, len: len as usize });
            let _ = disk.ask(Order::Write { at, data: vec![1; len as usize].into() });
            let _ = disk.ask(Order::Discard { at, len });
            let _ = disk.ask(Order::WriteZeroes { at, len, may_unmap: true });
        }
        let _ = disk.ask(Order::Flush);
    }
    opened
}

#[test]
fn damaged_images_fail_without_harm() {
    let opened = use_damaged(1_000, 3);
    assert!((200..1_000).contains(&opened), "{opened} of 1000: some open, some do not");
}

#[test]
#[ignore = "takes some minutes"]
fn a_hundred_thousand_damaged_images_fail_without_harm() {
    assert!(use_damaged(100_000, 4) > 0);
}

#[test]
fn impossible_tables_are_refused_before_anything_is_read_by_them() {
    let folder = folder();
    let path = create(&folder, "disk", "qcow2", 1 << 20);
    let good = std::fs::read(&path).expect("read");
    let with = |at: u64, value: &[u8]| {
        std::fs::write(&path, &good).expect("written");
        let file = std::fs::File::options().read(true).write(true).open(&path).expect("opens");
        file.write_all_at(value, at).expect("written");
        Awaited::open(&DiskSpec::new(&path)).err().expect("refused").to_string()
    };
    let all: [(&str, u64, &[u8], &str); 11] = [
        ("version", 4, &[0, 0, 0, 4], "unknown version"),
        ("cluster_bits", 20, &[0, 0, 0, 40], "clusters have"),
        ("size", 24, &[0xff; 8], "larger than any file"),
        ("size", 24, &[0, 0xff], "L1 table's size"),
        ("crypt_method", 32, &[0, 0, 0, 2], "is encrypted"),
        ("l1_size", 36, &[0xff; 4], "L1 table's size"),
        ("l1_table_offset", 40, &[0x10], "L1 table is not in the file"),
        ("refcount_table_offset", 48, &[0; 8], "refcount table is not in the file"),
        ("refcount_table_clusters", 56, &[0xff; 4], "refcount table has an impossible size"),
        ("incompatible_features", 79, &[4], "data in another file"),
        ("incompatible_features", 72, &[1], "not known here"),
    ];
    for (field, at, value, what) in all {
        let line = with(at, value);
        assert!(line.contains(what) && !line.contains('\n'), "{field}: {line}");
    }
}

#[test]
fn a_refcount_block_that_is_there_twice_is_refused() {
    let folder = folder();
    let path = create(&folder, "disk", "qcow2", 1 << 20);
    let file = std::fs::File::options().read(true).write(true).open(&path).expect("opens");
    // The first entry is of the block in cluster 2.
    file.write_all_at(&(2_u64 << 16).to_be_bytes(), (1 << 16) + 8).expect("written");
    let error = Awaited::open(&DiskSpec::new(&path)).err().expect("refused").to_string();
    assert!(error.contains("no block of its own"), "{error}");
    let spec = DiskSpec { is_read_only: true, ..DiskSpec::new(&path) };
    assert_eq!(Awaited::open(&spec).expect("a reader counts nothing").read(0, 512), [0; 512]);
}
