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
    for candidate in candidates() {
        let own = report.groups.iter().filter(|g| g.engine == candidate.name);
        assert!(own.map(|g| g.passed).sum::<u64>() > 5000, "the vectors are there: {candidate:?}");
    }
}

/// Where the manual is silent, a model does as the CPUs of its time.
#[test]
fn early_models_differ() {
    const ENTER: &str = r#"16 66c8000000 "enter 0, 0" rsp=10000 rbp=1fffe =>
        rsp=1fffc mem[fffc]=feff0100 rbp="#;
    let lines = [
        ("max", r#"32 c0c805 "ror al, 5" rax=a5 flags=800 => rax=2d"#.to_string()),
        ("pentium", r#"32 c0c805 "ror al, 5" rax=a5 flags=800 => rax=2d flags=0"#.to_string()),
        ("max", ENTER.to_string() + "fffc"),
        ("pentium", ENTER.to_string() + "1fffc"),
    ];
    for (model, line) in lines {
        let model = CpuModel::named(model).expect("it has a name");
        let vector = line.parse().expect("a vector");
        for candidate in candidates() {
            vectors::run(&vector, &model, &candidate).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }
}
