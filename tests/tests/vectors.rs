//! Every vector on every engine.

use std::{path::Path, sync::Arc};

use trine_machine::conform::candidates;
use trine_testsuites::{
    Candidate, Options, run,
    vectors::{self, Vectors},
};
use trine_translate::{Families, Family, Translate};
use trine_x86::{BLOCK_INSNS, CpuModel};

/// The vectors of a file, or of all: those of the repository, or of the folder that TRINE_VECTORS
/// names.
fn open(file: &str) -> Vectors {
    let folder = match std::env::var_os("TRINE_VECTORS") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors"),
    };
    Vectors::open(&folder.join(file)).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn vectors() {
    let suite = open("");
    let report = run(&suite, &candidates(), &Options::default());
    println!("{}", report.text());
    assert!(report.good(), "the list is above");
    for candidate in candidates() {
        let own = report.groups.iter().filter(|g| g.engine == candidate.name);
        assert!(own.map(|g| g.passed).sum::<u64>() > 5000, "the vectors are there: {candidate:?}");
    }
}

/// The translator with each family of operations left to helpers, and with all of them.
#[test]
fn vectors_without_families() {
    const BASIC: [&str; 6] =
        ["alu.ins", "bits.ins", "mov.ins", "shift.ins", "stack.ins", "string.ins"];
    if !cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
        return;
    }
    let pass = |name, families: Families, files: &[&str]| {
        let candidate = Candidate::new(name, move |ram| {
            Ok(Arc::new(Translate::without(ram, families)?.eager(BLOCK_INSNS)))
        });
        for file in files {
            let report = run(&open(file), std::slice::from_ref(&candidate), &Options::default());
            println!("{file}: {}", report.text());
            assert!(report.good(), "the list is above");
        }
    };
    for family in Family::ALL {
        let files: &[&str] = match family {
            Family::Sse => &["sse.ins"],
            Family::Avx => &["avx.ins"],
            _ => &BASIC,
        };
        pass(family.name(), [family].into_iter().collect(), files);
    }
    pass("all", Family::ALL.into_iter().collect(), &[""]);
}

/// On KVM the host's CPU decides. What it lacks is taken from the model; a vector that then fails on
/// the interpreter as well says nothing.
#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn vectors_on_kvm() {
    use trine_guest::Ram;
    use trine_machine::{EngineKind, create_engine};

    if let Some(why) = EngineKind::Kvm.missing() {
        eprintln!("skipped: {why}");
        return;
    }
    let engine = |kind: EngineKind| move |ram| create_engine(kind, ram);
    let kvm = Candidate::new("kvm", engine(EngineKind::Kvm));
    let interp = Candidate::new("interp", engine(EngineKind::Interp));
    let ram = Arc::new(Ram::flat(0x1000).expect("a page"));
    let model = CpuModel::named("max").expect("there is a model 'max'");
    let model = kvm.engine(ram).expect("it is there").fit(model);
    let report = run(&open(""), std::slice::from_ref(&kvm), &Options::default());
    let (mut passed, mut excused, mut wrong) = (0, 0, Vec::new());
    for group in &report.groups {
        passed += group.passed;
        for failure in &group.failures {
            let line = failure.reproducer.as_deref().expect("a vector is its own reproducer");
            let vector = line.parse().expect("it was read before");
            match vectors::run(&vector, &model, &interp) {
                Err(_) => excused += 1,
                Ok(()) => wrong.push(format!("{}: {}\n    {line}", group.group, failure.why)),
            }
        }
    }
    println!("{passed} vectors passed, {excused} are not for this host's CPU");
    assert!(wrong.is_empty() && passed > 50, "{}\n{}", wrong.len(), wrong.join("\n"));
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
