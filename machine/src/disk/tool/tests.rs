//! `trine image` as its user sees it.

use crate::disk::tests::{create, folder, image, text};

#[test]
fn nothing_is_replaced_without_force() {
    let folder = folder();
    let path = folder.path().join("disk");
    std::fs::write(&path, "precious").expect("written");
    for args in [&["create", text(&path), "1M"][..], &["convert", text(&path), text(&path)]] {
        let error = image(args).expect_err("refused");
        assert!(error.contains("--force"), "{error}");
    }
    assert_eq!(std::fs::read(&path).expect("read"), b"precious");
    image(&["create", "--force", text(&path), "1M"]).expect("replaced");
    assert_eq!(std::fs::metadata(&path).expect("there").len(), 1 << 20);
}

#[test]
fn a_conversion_that_fails_leaves_nothing() {
    let folder = folder();
    let path = create(&folder, "disk", "qcow2", 1 << 20);
    // An L1 entry that does not begin with a cluster: found only while it is read.
    let bytes = std::fs::read(&path).expect("read");
    let l1 = u64::from_be_bytes(bytes[40..48].try_into().expect("8 bytes")) as usize;
    let mut damaged = bytes;
    damaged[l1..l1 + 8].copy_from_slice(&0x8000_0000_0001_0200_u64.to_be_bytes());
    std::fs::write(&path, damaged).expect("written");
    let to = folder.path().join("to");
    let error = image(&["convert", text(&path), text(&to)]).expect_err("damaged");
    assert!(error.contains("disk") && !error.contains('\n'), "{error}");
    let left = std::fs::read_dir(folder.path()).expect("listed").count();
    assert_eq!(left, 1, "only the image that was there");
}

#[test]
fn a_converted_image_is_the_same_disk_without_its_holes() {
    use std::os::unix::fs::{FileExt, MetadataExt};
    let folder = folder();
    let raw = create(&folder, "raw", "raw", 64 << 20);
    let file = std::fs::File::options().write(true).open(&raw).expect("opens");
    file.write_all_at(&[1; 100_000], 10_000_000).expect("written");
    file.write_all_at(&[0; 1 << 20], 20 << 20).expect("written");
    file.write_all_at(&[2; 1], (64 << 20) - 1).expect("written");
    let (qcow2, back) = (folder.path().join("qcow2"), folder.path().join("back"));
    image(&["convert", "-O", "qcow2", text(&raw), text(&qcow2)]).expect("converted");
    image(&["convert", "-f", "qcow2", text(&qcow2), text(&back)]).expect("converted");
    let same = std::fs::read(&raw).expect("read") == std::fs::read(&back).expect("read");
    assert!(same, "the same bytes");
    let blocks = std::fs::metadata(&back).expect("there").blocks();
    assert!(blocks * 512 < 1 << 20, "{blocks} blocks");
    assert!(std::fs::metadata(&qcow2).expect("there").len() < 1 << 20);
}

#[test]
fn shrinking_wants_to_be_meant() {
    for format in ["raw", "qcow2"] {
        let folder = folder();
        let path = create(&folder, "disk", format, 1 << 20);
        let error = image(&["resize", text(&path), "512K"]).expect_err("refused");
        assert!(error.contains("--shrink"), "{error}");
        image(&["resize", "--shrink", text(&path), "-512K"]).expect("shrunk");
        image(&["resize", text(&path), "+100"]).expect("grown to a whole sector");
        let (_, said) = image(&["info", "--json", text(&path)]).expect("described");
        assert!(said.contains(&format!("\"virtual-size\": {}", 524_288 + 512)), "{said}");
    }
}

#[test]
fn what_grows_does_not_show_the_image_below() {
    let folder = folder();
    let base = folder.path().join("base");
    std::fs::write(&base, vec![1; 1 << 20]).expect("written");
    let top = folder.path().join("top");
    image(&["create", "-f", "qcow2", "-b", "base", "-F", "raw", text(&top), "64K"]).expect("made");
    image(&["resize", text(&top), "1M"]).expect("resized");
    let flat = folder.path().join("flat");
    image(&["convert", text(&top), text(&flat)]).expect("converted");
    let bytes = std::fs::read(&flat).expect("read");
    assert!(bytes[..65536].iter().all(|b| *b == 1) && bytes[65536..].iter().all(|b| *b == 0));
}

#[test]
fn a_chain_is_described_as_far_as_it_goes() {
    let folder = folder();
    create(&folder, "base", "raw", 3 << 20);
    let top = folder.path().join("top");
    image(&["create", "-f", "qcow2", "-b", "base", "-F", "raw", text(&top)]).expect("created");
    let (_, said) = image(&["info", text(&top)]).expect("described");
    for what in ["3 MiB (3145728 bytes)", "64 KiB", "base (raw)", "version       3"] {
        assert!(said.contains(what), "{what}: {said}");
    }
    let (_, said) = image(&["info", "--json", text(&top)]).expect("described");
    let json: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(json["backing-filename"], "base");
    assert_eq!(json["backing-chain"][0]["virtual-size"], 3 << 20);
    std::fs::remove_file(folder.path().join("base")).expect("removed");
    let (_, said) = image(&["info", text(&top)]).expect("described");
    assert!(said.contains("No such file"), "{said}");
}

#[test]
fn creation_refuses_what_makes_no_image() {
    let folder = folder();
    create(&folder, "base", "raw", 512);
    let path = folder.path().join("disk");
    let path = text(&path);
    for (args, what) in [
        (&["create", path][..], "how large"),
        (&["create", "-b", "base", "-F", "raw", path], "cannot stand on another"),
        (&["create", "-f", "qcow2", "-b", "base", path, "1M"], "--backing-format"),
        (&["create", "-f", "qcow2", "-b", "none", "-F", "raw", path], "No such file"),
        (&["create", "-f", "qcow2", "-b", "nbd://x", "-F", "raw", path], "not a file's name"),
        (&["create", "-f", "vmdk", path, "1M"], "none of raw, qcow2"),
        (&["create", "-o", "cluster_size=64K", path, "1M"], "no clusters"),
    ] {
        let error = image(args).expect_err(what);
        assert!(error.contains(what), "{error}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
}

#[test]
fn check_says_by_its_status_what_it_found() {
    use std::os::unix::fs::FileExt;
    let folder = folder();
    let raw = create(&folder, "raw", "raw", 512);
    assert_eq!(image(&["check", text(&raw)]).map(|(status, _)| status), Ok(63));
    let path = create(&folder, "disk", "qcow2", 1 << 20);
    assert_eq!(image(&["check", text(&path)]).map(|(status, _)| status), Ok(0));
    let file = std::fs::File::options().read(true).write(true).open(&path).expect("opens");
    let count = |cluster: u64, count: u16| {
        let at = (2 << 16) + cluster * 2;
        file.write_all_at(&count.to_be_bytes(), at).expect("written");
    };
    count(1, 2);
    let (status, said) = image(&["check", text(&path)]).expect("checked");
    assert!(status == 3 && said.contains("1 clusters are lost"), "{status}: {said}");
    count(0, 0);
    let (status, said) = image(&["check", text(&path)]).expect("checked");
    assert!(status == 2 && said.contains("cluster 0 is counted 0 times"), "{status}: {said}");
    let (status, said) = image(&["check", "-r", text(&path)]).expect("repaired");
    assert!(status == 0 && said.contains("2 counts"), "{status}: {said}");
    assert!(image(&["check", "/nowhere"]).is_err_and(|e| e.contains("/nowhere")));
}

#[test]
fn the_map_shows_where_data_is() {
    use std::os::unix::fs::FileExt;
    let folder = folder();
    let base = create(&folder, "base", "raw", 1 << 20);
    let file = std::fs::File::options().write(true).open(&base).expect("opens");
    file.write_all_at(&[1; 512], 0).expect("written");
    let top = folder.path().join("top");
    image(&["create", "-f", "qcow2", "-b", "base", "-F", "raw", text(&top)]).expect("created");
    let (_, said) = image(&["map", text(&top)]).expect("listed");
    let rows: Vec<_> = said.lines().collect();
    assert_eq!(rows.len(), 2, "{said}");
    assert!(rows[1].starts_with("0x0 ") && rows[1].ends_with("base"), "{said}");
}
