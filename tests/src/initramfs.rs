//! Debian's initramfs with more files on top: drivers, and a script that loads them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where below `folder` the driver `name` is; to the kernel `-` and `_` are the same.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    entries.find_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return find(&path, name);
        }
        let is_it = entry.file_name().to_str()?.strip_suffix(".ko")?.replace('-', "_")
            == name.replace('-', "_");
        is_it.then_some(path)
    })
}

/// The drivers that one needs: it says so itself, among what `modinfo` shows.
fn needs(driver: &[u8]) -> Vec<String> {
    const MARK: &[u8] = b"\0depends=";
    let at = driver.windows(MARK.len()).position(|bytes| bytes == MARK);
    let list = at.and_then(|at| driver[at + MARK.len()..].split(|byte| *byte == 0).next());
    let names = String::from_utf8_lossy(list.unwrap_or_default()).into_owned();
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Adds a driver to `all`, behind those that it needs. One that is not there is part of the kernel.
fn add_driver(folder: &Path, name: &str, all: &mut Vec<(String, Vec<u8>)>) {
    let Some(path) = find(folder, name) else { return };
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if all.iter().any(|(added, _)| *added == file) {
        return;
    }
    let driver = fs::read(path).expect("it can be read");
    needs(&driver).iter().for_each(|name| add_driver(folder, name, all));
    all.push((file, driver));
}

/// A cpio archive (the "newc" format that initramfs are in) of these files.
fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut all = Vec::new();
    let mut add = |name: &str, mode: u32, data: &[u8]| {
        let (length, name_length) = (data.len() as u32, name.len() as u32 + 1);
        let fields = [0, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, name_length, 0];
        all.extend(b"070701");
        fields.iter().for_each(|field| all.extend(format!("{field:08x}").into_bytes()));
        all.extend(name.as_bytes());
        all.push(0);
        all.resize(all.len().next_multiple_of(4), 0);
        all.extend(data);
        all.resize(all.len().next_multiple_of(4), 0);
    };
    for (name, data) in files {
        add(name, 0o100_755, data);
    }
    add("TRAILER!!!", 0, &[]);
    all
}

/// An archive of `files`, each a program, to stand behind another initramfs: what is in both comes
/// from here.
#[must_use]
pub fn overlay(files: &[(&str, &str)]) -> Vec<u8> {
    let bytes = |(name, text): &(&str, &str)| ((*name).to_owned(), text.as_bytes().to_vec());
    archive(&files.iter().map(bytes).collect::<Vec<_>>())
}

/// What [`drivers`] packs.
fn drivers_and_script(folder: &Path, modules: &[&str]) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    modules.iter().for_each(|name| add_driver(folder, name, &mut all));
    let load: String = all.iter().map(|(file, _)| format!("insmod /{file}\n")).collect();
    all.push(("drivers".to_owned(), load.into_bytes()));
    all
}

/// An initramfs to be loaded behind another: the drivers called `modules` and those that they need, as
/// far as they are anywhere below `folder`, and a script `/drivers` that loads them.
///
/// # Panics
/// If one cannot be read.
#[must_use]
pub fn drivers(folder: &Path, modules: &[&str]) -> Vec<u8> {
    archive(&drivers_and_script(folder, modules))
}

/// The initramfs of a kernel (`cloud` or `amd64`), with the drivers called `modules` and those that they
/// need, a script `/drivers` that loads them, and `files`.
///
/// # Panics
/// If the guests are not complete.
#[must_use]
pub fn initramfs(guests: &Path, kernel: &str, modules: &[&str], files: &[(&str, &str)]) -> Vec<u8> {
    let mut initramfs = fs::read(guests.join("initrd-amd64.gz")).expect("the guests are complete");
    let mut all = drivers_and_script(&guests.join(kernel).join("lib/modules"), modules);
    all.extend(files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())));
    // An archive that is not compressed begins at a multiple of 4.
    initramfs.resize(initramfs.len().next_multiple_of(4), 0);
    initramfs.extend(archive(&all));
    initramfs
}
