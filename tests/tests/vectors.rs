//! Every vector on every engine.

use std::path::Path;

use trine_tests::vectors;
use trine_x86::CpuModel;

#[test]
fn interp() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let model = CpuModel::named("max").expect("there is a model 'max'");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("tests/vectors is there")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|e| e == "ins"))
        .collect();
    files.sort();
    let (mut ran, mut failures) = (0, Vec::new());
    for path in files {
        for (line, vector) in vectors::read(&path).unwrap_or_else(|e| panic!("{e}")) {
            ran += 1;
            let engine = |ram| Box::new(trine_interp::Interp::new(ram)) as Box<_>;
            if let Err(why) = vectors::run(&vector, &model, engine) {
                let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                failures.push(format!("{file}:{line}: {}: {why}", vector.text));
            }
        }
    }
    assert!(ran > 0, "there are vectors");
    assert!(
        failures.is_empty(),
        "{} of {ran} vectors fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
    println!("{ran} vectors");
}
