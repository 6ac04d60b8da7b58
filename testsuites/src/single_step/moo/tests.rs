//! Files as they should be, cut, damaged and meant to do harm.

use super::*;

/// A chunk.
fn chunk(id: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut out = id.to_vec();
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(payload);
    out
}

/// A count and the bytes that it counts.
fn counted(count: u32, bytes: &[u8]) -> Vec<u8> {
    [&count.to_le_bytes(), bytes].concat()
}

fn some_state(ax: u8) -> Vec<u8> {
    [
        chunk(b"REGS", &[0x03, 0x20, ax, 0x12, 0x78, 0x56, 2, 0]),
        chunk(b"RAM ", &counted(2, &[1, 2, 3, 0, 0x90, 4, 0, 0, 0, 0x91])),
        chunk(b"QUEU", &counted(1, &[0x90])),
        chunk(b"RMSK", &[0, 0x20, 0xd5, 0x0f]),
        chunk(b"RG32", &[2, 0, 0, 0, 1, 2, 3, 4]),
        chunk(b"EA32", &[0; 23]),
    ]
    .concat()
}

/// A file with every kind of chunk.
fn file() -> Vec<u8> {
    let test = [
        7_u32.to_le_bytes().to_vec(),
        chunk(b"NAME", &counted(3, b"nop")),
        chunk(b"BYTS", &counted(1, &[0x90])),
        chunk(b"INIT", &some_state(0x34)),
        chunk(b"FINA", &some_state(0x35)),
        chunk(b"CYCL", &counted(2, &[0; 30])),
        chunk(b"EXCP", &[13, 4, 3, 2, 1]),
        chunk(b"GMET", &[1, 2]),
        chunk(b"HASH", &[0xab; 20]),
    ]
    .concat();
    [
        chunk(b"MOO ", &[1, 1, 0, 0, 2, 0, 0, 0, b'C', b'2', b'8', b'6']),
        chunk(b"META", &[0; 31]),
        chunk(b"RM32", &[1, 0, 0, 0, 9, 0, 0, 0]),
        chunk(b"NEW!", b"whatever"),
        chunk(b"TEST", &test),
        chunk(b"TEST", &test),
    ]
    .concat()
}

fn read(file: &[u8]) -> Result<Vec<Test>, MooError> {
    let mut reader = Reader::new(file)?;
    let mut out = Vec::new();
    while let Some(test) = reader.test()? {
        out.push(test);
    }
    Ok(out)
}

#[test]
fn every_chunk_is_understood() {
    let file = file();
    let mut reader = Reader::new(&file[..]).unwrap();
    assert_eq!(reader.header(), Header { tests: 2, cpu: *b"C286" });
    let test = reader.test().unwrap().unwrap();
    assert_eq!(reader.meta(), Some(Meta { mode: 0 }));
    assert_eq!(reader.defined().map(|d| (d.present, d.value[0])), Some((1, 9)));
    assert_eq!((test.index, test.name.as_str(), &test.bytes[..]), (7, "nop", &[0x90][..]));
    assert_eq!(test.interrupted, Some(Interrupted { vector: 13, flags_at: 0x0102_0304 }));
    assert_eq!(test.hash, Some([0xab; 20]));
    let words = test.before.words.unwrap();
    assert_eq!(words.present, 0x2003);
    assert_eq!((words.value[0], words.value[1], words.value[13]), (0x1234, 0x5678, 2));
    assert_eq!(test.after.words.unwrap().value[0], 0x1235);
    assert_eq!(test.before.ram, [(0x0003_0201, 0x90), (4, 0x91)]);
    assert_eq!(test.before.queue, [0x90]);
    assert_eq!(test.before.defined.unwrap().value[13], 0xfd5);
    assert_eq!(test.before.doublewords.unwrap().value[1], 0x0403_0201);
    assert!(reader.test().unwrap().is_some());
    assert!(reader.test().unwrap().is_none());
}

#[test]
fn cut_files_are_refused_everywhere() {
    let file = file();
    for len in 0..file.len() {
        assert!(read(&file[..len]).is_err(), "{len} bytes of {}", file.len());
    }
    assert_eq!(read(&file).unwrap().len(), 2);
}

#[test]
fn damaged_files_are_read_or_refused() {
    let good = file();
    for n in 0..good.len() {
        for bits in [0x01, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[n] ^= bits;
            // Either is right; only a panic is not.
            if let Ok(tests) = read(&bad) {
                assert!(tests.len() <= bad.len());
            }
        }
    }
}

#[test]
fn counts_and_lengths_allocate_nothing() {
    // A count of 4 billion entries in a chunk of 4 bytes.
    for id in [b"NAME", b"BYTS", b"CYCL"] {
        let test = [vec![0; 4], chunk(id, &[0xff; 4])].concat();
        let header = chunk(b"MOO ", &[1, 0, 0, 0, 255, 255, 255, 255, b'8', b'0', b'8', b'6']);
        let file = [header, chunk(b"TEST", &test)].concat();
        assert!(matches!(read(&file), Err(MooError::Damaged(_))), "{id:?}");
    }
    let state = chunk(b"INIT", &chunk(b"RAM ", &[0xff; 4]));
    assert!(matches!(test(&[vec![0; 4], state].concat()), Err(MooError::Damaged(RAM))));
    // A chunk that claims to have 4 GiB, and one that has not the 16 MiB that it claims.
    let claim = |len: u32| [b"TEST".to_vec(), len.to_le_bytes().to_vec()].concat();
    let header = chunk(b"MOO ", &[1, 0, 0, 0, 1, 0, 0, 0, b'8', b'0', b'8', b'6']);
    let file = [header.clone(), claim(u32::MAX)].concat();
    assert!(matches!(read(&file), Err(MooError::TooLong(TEST, _))));
    assert!(matches!(read(&[header, claim(1 << 24)].concat()), Err(MooError::Truncated(TEST))));
}

#[test]
fn other_files_say_what_they_are() {
    assert!(matches!(read(b""), Err(MooError::NotMoo)));
    assert!(matches!(read(b"PK\x03\x04\0\0\0\0"), Err(MooError::NotMoo)));
    let newer = chunk(b"MOO ", &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert!(matches!(read(&newer), Err(MooError::Version(2))));
    let header = chunk(b"MOO ", &[1, 0, 0, 0, 1, 0, 0, 0, b'8', b'0', b'8', b'6']);
    let empty = [header, chunk(b"TEST", &[0; 4])].concat();
    assert!(matches!(read(&empty), Err(MooError::Lacks(INIT))));
}
