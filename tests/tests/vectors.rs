//! Every vector on every engine.

use std::path::Path;

use trine_machine::conform::candidates;
use trine_testsuites::{
    Options, run,
    vectors::{self, Vectors},
};
use trine_x86::CpuModel;

#[test]
fn vectors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let suite = Vectors::open(&folder).unwrap_or_else(|e| panic!("{e}"));
    let report = run(&suite, &candidates(), &Options::default());
    println!("{}", report.text());
    assert!(report.good(), "the list is above");
    assert!(report.groups.iter().map(|g| g.passed).sum::<u64>() > 5000, "the vectors are there");
}

/// What the manual leaves undefined may depend on the model.
#[test]
fn early_models_rotate_step_by_step() {
    let present = r#"32 c0c805 "ror al,5" rax=a5 flags=800 => rax=2d"#;
    let early = r#"32 c0c805 "ror al,5" rax=a5 flags=800 => rax=2d flags=0"#;
    for (model, line) in [("max", present), ("pentium", early)] {
        let model = CpuModel::named(model).expect("it has a name");
        let vector = line.parse().expect("a vector");
        for candidate in candidates() {
            vectors::run(&vector, &model, &candidate).expect("it passes");
        }
    }
}
