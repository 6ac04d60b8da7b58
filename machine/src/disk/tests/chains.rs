//! Images on images, and images that should not be opened.

use std::os::unix::fs::{FileExt, symlink};

use super::*;
use crate::disk::qcow2::{Incompatible, mark_dirty};

/// An image over `below`, named relative to it.
fn over(folder: &TempDir, name: &str, below: &str, format: &str) -> PathBuf {
    let path = folder.path().join(name);
    image(&["create", "-f", "qcow2", "-b", below, "-F", format, text(&path)]).expect("created");
    path
}

fn refused(path: &Path) -> Unopened {
    let error = Awaited::open(&DiskSpec::new(path)).err().expect("refused");
    let line = error.to_string();
    assert!(line.contains(text(path)) && !line.contains('\n'), "{line}");
    error.why
}

#[test]
fn an_image_shows_what_is_below_it_and_writes_only_itself() {
    let folder = folder();
    let base = create(&folder, "base", "raw", 1 << 20);
    Awaited::of(&base).write(0, &[1; 200_000]);
    let before = std::fs::read(&base).expect("read");
    over(&folder, "middle", "base", "raw");
    let top = over(&folder, "top", "middle", "qcow2");
    let mut disk = Awaited::of(&top);
    assert_eq!(disk.disk.len(), 1 << 20);
    disk.write(100_000, &[2; 512]);
    assert_eq!(disk.read(99_999, 514), [&[1][..], &[2; 512], &[1]].concat());
    assert_eq!(disk.ask(Order::WriteZeroes { at: 0, len: 90_000, may_unmap: true }), Ok(vec![]));
    assert_eq!(disk.read(0, 90_001), [&vec![0; 90_000][..], &[1]].concat());
    let busy = refused(&base);
    assert!(matches!(busy, Unopened::InUse), "it is read: {busy}");
    let spec = DiskSpec { is_read_only: true, ..DiskSpec::new(&base) };
    assert_eq!(Awaited::open(&spec).expect("readers share").read(0, 512), [1; 512]);
    drop(disk);
    assert_clean(&top);
    assert_eq!(std::fs::read(&base).expect("read"), before);
}

#[test]
fn loops_and_endless_chains_are_refused() {
    let folder = folder();
    create(&folder, "a", "qcow2", 65536);
    let b = over(&folder, "b", "a", "qcow2");
    std::fs::remove_file(folder.path().join("a")).expect("removed");
    symlink("b", folder.path().join("a")).expect("linked");
    let mut why = refused(&b);
    while let Unopened::Backing(below) = why {
        why = below.why;
    }
    assert!(matches!(why, Unopened::Loop), "{why}");

    create(&folder, "0", "qcow2", 65536);
    for n in 1..70 {
        let path = folder.path().join(n.to_string());
        // A chain that long cannot be made by asking for it.
        std::fs::copy(folder.path().join("b"), &path).expect("copied");
        rename_backing(&path, &(n - 1).to_string());
    }
    assert!(Awaited::open(&DiskSpec::new(folder.path().join("60"))).is_ok());
    let mut why = refused(&folder.path().join("69"));
    while let Unopened::Backing(below) = why {
        why = below.why;
    }
    assert!(matches!(why, Unopened::TooDeep), "{why}");
}

/// Writes another name over the backing file's in a header.
fn rename_backing(path: &Path, name: &str) {
    let file = std::fs::File::options().read(true).write(true).open(path).expect("opens");
    let mut at = [0; 8];
    file.read_exact_at(&mut at, 8).expect("read");
    file.write_all_at(name.as_bytes(), u64::from_be_bytes(at)).expect("written");
    file.write_all_at(&(name.len() as u32).to_be_bytes(), 16).expect("written");
}

#[test]
fn a_backing_file_is_a_files_name() {
    let folder = folder();
    create(&folder, "base", "qcow2", 65536);
    let top = over(&folder, "top", "base", "qcow2");
    for name in ["nbd://host/disk", "json:{\"driver\":\"null-co\"}", "/dev/zero", "nothing"] {
        rename_backing(&top, name);
        let why = refused(&top);
        let is_as_expected = match name {
            "/dev/zero" | "nothing" => matches!(why, Unopened::Backing(_)),
            _ => matches!(why, Unopened::BackingName(_)),
        };
        assert!(is_as_expected, "{name}: {why}");
    }
    rename_backing(&top, "base");
    assert!(Awaited::open(&DiskSpec::new(&top)).is_ok());
}

#[test]
fn a_backing_file_of_unstated_format_leads_nowhere_else() {
    let folder = folder();
    let secret = create(&folder, "secret", "raw", 65536);
    Awaited::of(&secret).write(0, &[1; 512]);
    over(&folder, "raw-by-intent", "secret", "raw");
    let top = over(&folder, "top", "raw-by-intent", "qcow2");
    assert_eq!(Awaited::of(&top).read(0, 512), [1; 512]);
    // The format's extension, turned into one that nobody knows.
    let bytes = std::fs::read(&top).expect("read");
    let at = bytes.windows(4).position(|w| w == [0xe2, 0x79, 0x2a, 0xca]).expect("there");
    let file = std::fs::File::options().write(true).open(&top).expect("opens");
    file.write_all_at(&[1, 2, 3, 4], at as u64).expect("written");
    let Unopened::Backing(below) = refused(&top) else { panic!("the one below") };
    assert!(matches!(below.why, Unopened::UnstatedFormat), "{below}");
}

#[test]
fn an_image_that_was_not_closed_is_counted_again_when_it_is_written() {
    let folder = folder();
    let path = create(&folder, "disk", "qcow2", 1 << 20);
    Awaited::of(&path).write(0, &[1; 200_000]);
    let file = std::fs::File::options().read(true).write(true).open(&path).expect("opens");
    mark_dirty(&file, true).expect("marked");
    // The counts of all clusters but the first ones, as if they had never been written.
    file.write_all_at(&[0; 100], (2 << 16) + 8).expect("written");
    let (status, said) = image(&["check", text(&path)]).expect("checked");
    assert!(status == 2 && said.contains("not closed"), "{status}: {said}");
    let spec = DiskSpec { is_read_only: true, ..DiskSpec::new(&path) };
    let error = Awaited::open(&spec).err().expect("a reader cannot repair it");
    assert!(matches!(error.why, Unopened::Dirty), "{error}");
    let mut disk = Awaited::of(&path);
    disk.write(300_000, &[2; 100_000]);
    assert_eq!(disk.read(0, 200_000), vec![1; 200_000]);
    drop(disk);
    assert_clean(&path);
}

#[test]
fn an_image_is_marked_while_it_is_written_and_only_then() {
    let folder = folder();
    let path = create(&folder, "disk", "qcow2", 64 << 20);
    // What a kill would leave behind now.
    let left = folder.path().join("left");
    let copy = || {
        std::fs::copy(&path, &left).expect("copied");
        let file = std::fs::File::open(&left).expect("opens");
        Header::read(&file).expect("a header").incompatible
    };
    let mut disk = Awaited::of(&path);
    disk.read(0, 512);
    assert!(copy().is_empty(), "nobody has written");
    disk.write(0, &[1; 512]);
    assert_eq!(disk.ask(Order::Flush), Ok(vec![]));
    disk.write(0, &[2; 512]);
    disk.write(40 << 20, &[3; 512]);
    assert_eq!(copy(), Incompatible::DIRTY);
    let mut survivor = Awaited::of(&left);
    assert_eq!(survivor.read(0, 512), [2; 512], "it went where the flushed one was");
    survivor.write(50 << 20, &[4; 200_000]);
    drop(survivor);
    assert_clean(&left);
    drop(disk);
    assert!(copy().is_empty(), "it was closed");
}

#[test]
fn folders_and_pipes_and_nothing_are_no_disks() {
    let folder = folder();
    assert!(matches!(refused(folder.path()), Unopened::NotAFile));
    assert!(matches!(refused(Path::new("/dev/null")), Unopened::NotAFile));
    assert!(matches!(refused(&folder.path().join("none")), Unopened::Io(_)));
    let empty = folder.path().join("empty");
    std::fs::write(&empty, []).expect("written");
    assert!(matches!(refused(&empty), Unopened::Empty));
}
