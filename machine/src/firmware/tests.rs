//! What is taken for which kind of firmware, and what is done to its files.

use std::fs;

use tempfile::TempDir;

use super::*;

const KIB: usize = 1 << 10;

/// The start of a firmware volume with this file system, and erased flash behind it.
fn volume(file_system: [u8; 16], len: usize) -> Vec<u8> {
    let mut bytes = vec![0xff; len];
    bytes[..FILE_SYSTEM].fill(0);
    bytes[FILE_SYSTEM..][..16].copy_from_slice(&file_system);
    bytes[SIGNATURE..][..4].copy_from_slice(b"_FVH");
    bytes
}

fn code(len: usize) -> Vec<u8> {
    volume([7; 16], len)
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("there is room"))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).expect("there is room");
        path
    }

    /// What `options` make of these files.
    fn read(&self, options: &str) -> Result<Firmware, FirmwareError> {
        let mut spec: FirmwareSpec = options.parse().expect("right options");
        spec.file = self.0.path().join(spec.file);
        spec.variables = spec.variables.map(|file| self.0.path().join(file));
        spec.read()
    }
}

#[test]
fn options_stand_behind_the_file() {
    let parse = |text: &str| text.parse::<FirmwareSpec>();
    let spec = |file: &str, variables: Option<&str>, is_snapshot| {
        Ok(FirmwareSpec { file: file.into(), variables: variables.map(PathBuf::from), is_snapshot })
    };
    assert_eq!(parse("a.fd"), spec("a.fd", None, false));
    assert_eq!(parse("a,,b.fd,vars=c=d,snapshot"), spec("a,b.fd", Some("c=d"), true));
    assert_eq!(parse("a,snapshot=off"), spec("a", None, false));
    for wrong in ["", ",vars=x", "a,vars", "a,vars=", "a,snapshot=1", "a,b", "a,"] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_image_says_what_it_is() {
    let files = Files::new();
    files.write("bios.bin", &[0x90; 128 * KIB]);
    files.write("code.fd", &code(192 * KIB));
    let whole = files.write("whole.fd", &volume(VARIABLES, 256 * KIB));
    let variables = files.write("vars.fd", &volume(VARIABLES, 64 * KIB));
    let read = |options: &str| {
        let firmware = files.read(options).expect(options);
        (firmware.rom.len() / KIB, firmware.flash.map(|flash| (flash.file, flash.is_snapshot)))
    };
    assert_eq!(read("bios.bin"), (128, None));
    assert_eq!(read("code.fd"), (192, None));
    assert_eq!(read("whole.fd"), (0, Some((whole.clone(), false))));
    assert_eq!(read("whole.fd,snapshot"), (0, Some((whole, true))));
    assert_eq!(read("code.fd,vars=vars.fd"), (192, Some((variables, false))));
    let read = |options: &str| files.read(options);
    assert!(matches!(read("whole.fd,vars=vars.fd"), Err(FirmwareError::IsWhole(_))));
    assert!(matches!(read("bios.bin,vars=vars.fd"), Err(FirmwareError::IsOther(_))));
    assert!(matches!(read("none.bin"), Err(FirmwareError::File { .. })));
    files.write("large.bin", &[0; (16 << 20) + 1]);
    assert!(matches!(read("large.bin"), Err(FirmwareError::Large(_))));
}

#[test]
fn a_file_for_variables_holds_some_or_nothing() {
    let files = Files::new();
    files.write("code.fd", &code(192 * KIB));
    let open = |variables: &[u8]| {
        files.write("vars.fd", variables);
        let firmware = files.read("code.fd,vars=vars.fd").expect("code");
        firmware.open_flash().map(|flash| flash.expect("there is flash").bytes)
    };
    for good in [volume(VARIABLES, 64 * KIB), vec![0; 64 * KIB], vec![0xff; 64 * KIB]] {
        assert_eq!(open(&good).expect("they can be used"), good);
    }
    for other in [code(64 * KIB), vec![1; 64 * KIB]] {
        assert!(matches!(open(&other), Err(FirmwareError::NoVariables(_))));
    }
    for len in [0, 32 * KIB, 64 * KIB - 1, 320 * KIB - 512] {
        assert!(matches!(open(&vec![0; len]), Err(FirmwareError::Sizes { .. })), "{len}");
    }
}

#[test]
fn files_are_written_by_one_who_may() {
    let files = Files::new();
    files.write("code.fd", &code(192 * KIB));
    let path = files.write("vars.fd", &[0; 64 * KIB]);
    let open = |options: &str| files.read(options).expect("code").open_flash();
    let (shared, alone) = ("code.fd,vars=vars.fd,snapshot", "code.fd,vars=vars.fd");
    let first = open(alone).expect("it is free");
    assert!(first.as_ref().is_some_and(|flash| flash.file.is_some()));
    for other in [alone, shared] {
        assert!(matches!(open(other), Err(FirmwareError::InUse(_))), "{other}");
    }
    drop(first);
    let mut permissions = fs::metadata(&path).expect("it is there").permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).expect("it is ours");
    let refused = open(alone).err().expect("it cannot be written").to_string();
    assert!(refused.contains("give it a copy of your own"), "{refused}");
    // Who only looks takes nothing along.
    let seen = open(shared).expect("it can be read").expect("there is flash");
    assert!(seen.file.is_none());
    drop(open(shared).expect("for many"));
}

#[test]
fn flash_alone_starts_without_a_rom() {
    let files = Files::new();
    files.write("whole.fd", &volume(VARIABLES, 256 * KIB));
    let boot = |options: &str| files.read(options).expect("firmware").boot();
    let from_flash = boot("whole.fd").expect("it is there");
    assert_eq!((from_flash.segments.len(), from_flash.entry), (0, Entry::Reset));
    assert!(Firmware::from(Vec::new()).boot().is_err());
    files.write("bios.bin", &[0x90; 64 * KIB]);
    assert_eq!(boot("bios.bin").expect("a ROM").segments.len(), 1);
    // What is for several machines is nobody's.
    let guest = Guest::Firmware(files.read("whole.fd").expect("flash")).of_many();
    assert!(guest.open_flash().expect("to read").is_some_and(|flash| flash.file.is_none()));
}
