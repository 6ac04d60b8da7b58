//! The same images in the hands of qemu-img (Debian's qemu-utils): it finds no fault with ours and
//! sees the same disk, and we read and write its.

use std::process::Command;

use super::{random::Dice, *};

/// Runs qemu-img; its status and what it said.
fn qemu_img(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new("qemu-img").args(args).output().expect("qemu-img runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// Whether there is a qemu-img; else says so.
fn is_there() -> bool {
    let is_there = Command::new("qemu-img").arg("--version").output().is_ok();
    if !is_there {
        eprintln!("skipped: qemu-img is not installed (Debian: qemu-utils)");
    }
    is_there
}

fn assert_good(path: &Path) {
    let (status, said) = qemu_img(&["check", "-f", "qcow2", text(path)]);
    assert_eq!(status, Some(0), "{}: {said}", path.display());
    assert_clean(path);
}

fn assert_same(a: &Path, b: &Path) {
    let (status, said) = qemu_img(&["compare", text(a), text(b)]);
    assert_eq!(status, Some(0), "{}, {}: {said}", a.display(), b.display());
}

/// Writes, zeroes and discards all over a disk, and the same to a raw file beside it (what was
/// discarded is written again).
fn exercise(path: &Path, seed: u64) -> PathBuf {
    let mut disk = Awaited::of(path);
    let size = disk.disk.len();
    let mut model = disk.read(0, size as usize);
    let mut dice = Dice(seed);
    for n in 0..200 {
        let at = dice.below(size / 512) * 512;
        let len = ((1 + dice.below(300)) * 512).min(size - at);
        let part = at as usize..(at + len) as usize;
        if n % 5 == 3 {
            let order = Order::WriteZeroes { at, len, may_unmap: n % 2 == 0 };
            assert_eq!(disk.ask(order), Ok(vec![]));
            model[part].fill(0);
            continue;
        }
        if n % 5 == 4 {
            assert_eq!(disk.ask(Order::Discard { at, len }), Ok(vec![]));
        }
        disk.write(at, &vec![n as u8; len as usize]);
        model[part].fill(n as u8);
    }
    drop(disk);
    let raw = path.with_extension("model");
    std::fs::write(&raw, model).expect("written");
    raw
}

#[test]
fn qemu_finds_no_fault_with_our_images() {
    if !is_there() {
        return;
    }
    for cluster in ["512", "4k", "64k", "2M"] {
        let folder = folder();
        let path = folder.path().join("disk");
        let option = format!("cluster_size={cluster}");
        image(&["create", "-f", "qcow2", "-o", &option, text(&path), "10M"]).expect("created");
        assert_good(&path);
        let model = exercise(&path, 5);
        assert_good(&path);
        assert_same(&path, &model);
        let copy = folder.path().join("copy");
        image(&["convert", "-O", "qcow2", text(&path), text(&copy)]).expect("converted");
        assert_good(&copy);
        assert_same(&copy, &model);
        image(&["convert", text(&copy), text(&copy.with_extension("raw"))]).expect("converted");
        assert_same(&copy.with_extension("raw"), &model);
        image(&["resize", text(&path), "500M"]).expect("resized");
        image(&["resize", "--shrink", text(&path), "5M"]).expect("resized");
        assert_good(&path);
    }
}

#[test]
fn we_read_and_write_images_of_qemu() {
    if !is_there() {
        return;
    }
    for version in ["0.10", "1.1"] {
        for cluster in ["4k", "64k", "2M"] {
            for has_backing in [false, true] {
                let folder = folder();
                let path = folder.path().join("disk");
                let base = folder.path().join("base");
                let options = format!("compat={version},cluster_size={cluster}");
                let mut args = vec!["create", "-q", "-f", "qcow2", "-o", &options];
                std::fs::write(&base, (0..10 << 20).map(|i| (i >> 12) as u8).collect::<Vec<_>>())
                    .expect("written");
                if has_backing {
                    args.extend(["-b", text(&base), "-F", "raw"]);
                }
                args.extend([text(&path), "10M"]);
                assert_eq!(qemu_img(&args).0, Some(0));
                let model = exercise(&path, 6);
                assert_good(&path);
                assert_same(&path, &model);
                // And with clusters that are shared with a snapshot.
                assert_eq!(qemu_img(&["snapshot", "-c", "s", text(&path)]).0, Some(0));
                let model = exercise(&path, 7);
                assert_good(&path);
                assert_same(&path, &model);
                assert_eq!(qemu_img(&["snapshot", "-a", "s", text(&path)]).0, Some(0));
                assert_good(&path);
            }
        }
    }
}

#[test]
fn compressed_clusters_are_read_and_written_over() {
    if !is_there() {
        return;
    }
    for cluster in ["4k", "64k", "2M"] {
        let folder = folder();
        let (raw, path) = (folder.path().join("raw"), folder.path().join("disk"));
        let bytes: Vec<u8> =
            (0..8 << 20).map(|i: u32| ((i / 100).wrapping_mul(i) / 1000) as u8).collect();
        std::fs::write(&raw, &bytes).expect("written");
        let option = format!("cluster_size={cluster}");
        let args = ["convert", "-c", "-O", "qcow2", "-o", &option, text(&raw), text(&path)];
        assert_eq!(qemu_img(&args).0, Some(0));
        assert!(Awaited::of(&path).read(0, bytes.len()) == bytes, "{cluster}");
        assert_good(&path);
        let model = exercise(&path, 8);
        assert_good(&path);
        assert_same(&path, &model);
    }
}

#[test]
fn what_we_cannot_read_is_refused_with_a_way_out() {
    if !is_there() {
        return;
    }
    let folder = folder();
    for (options, what) in [
        ("compression_type=zstd", "compressed with zstd"),
        ("extended_l2=on", "extended L2"),
        ("data_file=data", "data in another file"),
    ] {
        let path = folder.path().join(what);
        let args = ["create", "-q", "-f", "qcow2", "-o", options, text(&path), "1M"];
        let output = Command::new("qemu-img").args(args).current_dir(folder.path()).output();
        assert!(output.expect("runs").status.success());
        let line = Awaited::open(&DiskSpec::new(&path)).err().expect("refused").to_string();
        assert!(line.contains(what) && line.contains("convert"), "{line}");
        let (_, said) = image(&["info", text(&path)]).expect("described all the same");
        assert!(said.contains(what), "{said}");
    }
}

#[test]
fn qemu_and_we_respect_each_others_locks() {
    if !is_there() {
        return;
    }
    let folder = folder();
    let path = create(&folder, "disk", "qcow2", 1 << 20);
    let disk = Awaited::of(&path);
    let (status, said) = qemu_img(&["resize", text(&path), "2M"]);
    assert!(status != Some(0) && said.contains("lock"), "{said}");
    drop(disk);
    let reader = DiskSpec { is_read_only: true, ..DiskSpec::new(&path) };
    let disk = Awaited::open(&reader).expect("opens");
    assert_eq!(qemu_img(&["info", text(&path)]).0, Some(0), "readers share");
    assert_ne!(qemu_img(&["resize", text(&path), "2M"]).0, Some(0));
    drop(disk);
    assert_eq!(qemu_img(&["resize", text(&path), "2M"]).0, Some(0));
}

#[test]
fn we_and_qemu_find_the_same_damage() {
    use std::os::unix::fs::FileExt;
    if !is_there() {
        return;
    }
    let folder = folder();
    let path = create(&folder, "disk", "qcow2", 1 << 20);
    Awaited::of(&path).write(0, &[1; 300_000]);
    let good = std::fs::read(&path).expect("read");
    let mut dice = Dice(9);
    for n in 0..60 {
        std::fs::write(&path, &good).expect("written");
        let file = std::fs::File::options().read(true).write(true).open(&path).expect("opens");
        // A count of a cluster that is there.
        let clusters = good.len() as u64 >> 16;
        let count = dice.below(4) as u16;
        let at = (2 << 16) + 2 * dice.below(clusters);
        file.write_all_at(&count.to_be_bytes(), at).expect("written");
        drop(file);
        let (theirs, said) = qemu_img(&["check", text(&path)]);
        let (ours, report) = image(&["check", text(&path)]).expect("checked");
        assert_eq!(theirs, Some(ours.into()), "{n}: {said} {report}");
        let (status, _) = image(&["check", "--repair", text(&path)]).expect("repaired");
        assert_eq!(status, 0);
        assert_good(&path);
    }
}
