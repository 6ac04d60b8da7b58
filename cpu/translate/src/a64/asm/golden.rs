//! Every method against the words that GNU as (binutils 2.40) makes of the same instruction.

mod float;
mod integer;
mod memory;
mod vector;

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use super::Asm;

/// A word, its source text, and the call that makes it.
type Row = (u32, &'static str, fn(&mut Asm));

/// Rows of a table: `word "text" => method(arguments);`
macro_rules! rows {
    ($($word:literal $text:literal => $method:ident($($argument:expr),*);)*) => {
        &[$(($word, $text, |a| a.$method($($argument),*))),*]
    };
}
use rows;

const TABLES: [&[Row]; 4] = [integer::ROWS, memory::ROWS, float::ROWS, vector::ROWS];

#[test]
fn words_are_those_of_the_table() {
    let mut wrong = Vec::new();
    for &(word, text, put) in TABLES.into_iter().flatten() {
        let mut a = Asm::new();
        put(&mut a);
        if a.words() != [word] {
            wrong.push(format!("{word:08x} {text}: {:08x?}", a.words()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_is_what_gnu_as_says() {
    let version = Command::new("aarch64-linux-gnu-as").arg("--version").output();
    if version.is_err() {
        println!("skipped: aarch64-linux-gnu-as is not installed");
        return;
    }
    let rows: Vec<_> = TABLES.into_iter().flatten().collect();
    let source: String = rows.iter().map(|(_, text, _)| format!("{text}\n")).collect();
    let object = std::env::temp_dir().join(format!("trine-a64-{}.o", std::process::id()));
    let mut assembler = Command::new("aarch64-linux-gnu-as")
        .args(["-march=armv8.5-a+crypto", "-o"])
        .arg(&object)
        .stdin(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = assembler.stdin.take().expect("it is piped");
    input.write_all(source.as_bytes()).expect("it reads");
    drop(input);
    assert!(assembler.wait().expect("it ends").success());
    let elf = fs::read(&object).expect("it wrote the object");
    fs::remove_file(&object).expect("it is ours");
    // The first section of GNU as, .text, follows the header of 64 bytes.
    let words = elf[64..].chunks_exact(4).map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]]));
    let wrong: Vec<_> = rows
        .iter()
        .zip(words)
        .filter(|((table, ..), word)| table != word)
        .map(|((table, text, _), word)| format!("{table:08x} {text}: {word:08x}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
