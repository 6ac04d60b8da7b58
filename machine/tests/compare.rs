//! `trine compare`, its statistics, and the measuring guest.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use trine_firmware::measure::{OTHER_CPUIDS, OTHER_OUTS, ROUNDS};
use trine_machine::{
    ClockKind, Config, Ending, EngineKind, Guest, Limits, Machine, MachineStats, create_engine,
};

fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("trine-compare-{}-{name}", std::process::id()))
}

fn trine(args: &[&str]) -> Output {
    Command::new(std::env::var_os("TRINE").unwrap_or(env!("CARGO_BIN_EXE_trine").into()))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("trine can be started")
}

/// The engines of this host.
fn engines() -> impl Iterator<Item = EngineKind> {
    EngineKind::ALL.into_iter().filter(|kind| kind.missing().is_none())
}

/// Runs `guest` by the count of instructions, with events counted.
fn counted(kind: EngineKind, guest: Guest) -> (MachineStats, String) {
    let clock = ClockKind::Instructions;
    let config = Config { clock, guest, count_events: true, no_reboot: true, ..Config::default() };
    let mut machine = Machine::new(config, |ram| create_engine(kind, ram)).expect("a machine");
    let ending = machine.run(Limits::host_seconds(120)).expect("runs");
    let text = String::from_utf8(machine.serial()).expect("the guest writes text");
    assert_eq!(ending, Ending::PowerOff, "{}: {text}", kind.name());
    (machine.stats(Some(&ending)), text)
}

fn count(stats: &MachineStats, reason: &str) -> u64 {
    stats.events.iter().find(|event| event.reason == reason).map_or(0, |event| event.count)
}

/// How often the measuring guest says that it does an operation, in all rounds.
fn times(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(&format!("row {name} ")));
    let word = line.and_then(|line| line.split(' ').nth(2)).unwrap_or_else(|| panic!("no {name}"));
    u64::from_str_radix(word, 16).expect("a number") * ROUNDS
}

#[test]
fn the_measuring_guest_does_exactly_what_it_says() {
    for kind in [EngineKind::Interp, EngineKind::Translate] {
        if kind.missing().is_some() {
            continue;
        }
        let (stats, text) = counted(kind, Guest::Measurement);
        let of = |reason| count(&stats, reason);
        let name = kind.name();
        assert_eq!(of("cpuid"), times(&text, "cpuid") + OTHER_CPUIDS, "{name}");
        let outs = times(&text, "out") + text.len() as u64 + OTHER_OUTS;
        assert_eq!((of("port out"), stats.total.port_io), (outs, outs + of("port in")), "{name}");
        assert_eq!(of("rdmsr"), times(&text, "rdmsr") + 2, "{name}");
        assert_eq!(of("invlpg"), times(&text, "invlpg"), "{name}");
        assert_eq!(of("page fault"), times(&text, "page_fault"), "{name}");
        assert_eq!(of("int n"), times(&text, "int"), "{name}");
        assert_eq!(of("hlt"), times(&text, "hlt"), "{name}");
        assert_eq!(of("interrupt"), times(&text, "self_ipi") + times(&text, "hlt"), "{name}");
        assert!(stats.total.blocks_stale + stats.total.translations_stale > 0, "{name}");
        let cpuid = stats.events.iter().find(|e| e.reason == "cpuid").expect("counted");
        let hottest = &cpuid.instructions[0];
        let hot = (hottest.text.as_str(), hottest.count);
        assert_eq!(hot, ("cpuid", times(&text, "cpuid")), "{name}");
        let mmio = stats.events.iter().find(|e| e.reason == "mmio read").expect("counted");
        let hottest = &mmio.instructions[0];
        let hot = (hottest.text.as_str(), hottest.count);
        assert_eq!(hot, ("mov eax, [r8+0x30]", times(&text, "mmio")), "{name}");
    }
}

#[test]
fn engines_agree_on_what_a_guest_does() {
    let all: Vec<_> = engines()
        .filter(|kind| *kind != EngineKind::Kvm)
        .map(|kind| counted(kind, Guest::Demonstration).0)
        .collect();
    for stats in &all[1..] {
        assert_eq!(stats.instructions, all[0].instructions, "{}", stats.engine);
        assert_eq!(stats.total.interrupts, all[0].total.interrupts);
        assert_eq!(stats.events, all[0].events, "{}", stats.engine);
    }
    let times = all[0].times;
    assert!(times.executing > 0.0 && times.devices > 0.0 && times.translating > 0.0, "{times:?}");
}

#[test]
fn who_does_not_ask_for_events_does_not_pay_for_them() {
    let config = Config { clock: ClockKind::Instructions, ..Config::default() };
    let engine = |ram| create_engine(EngineKind::Interp, ram);
    let mut machine = Machine::new(config, engine).expect("a machine");
    assert_eq!(machine.run(Limits::host_seconds(120)).expect("runs"), Ending::PowerOff);
    let stats = machine.stats(None);
    assert!(stats.events.is_empty() && stats.total.making_ns == 0 && stats.times.devices == 0.0);
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// Every key that was ever written stays: the documentation in `machine/src/stats.rs`,
/// `cpu/engine/src/stats.rs` and `machine/src/compare.rs` says what each is.
fn check_shape(json: &Value) {
    let has = |value: &Value, wanted: &str| {
        let (keys, wanted) = (keys(value), wanted.split(' ').collect::<BTreeSet<_>>());
        assert!(keys.is_superset(&wanted), "missing: {:?}", wanted.difference(&keys));
    };
    assert_eq!(json["schema"], 1);
    has(json, "schema version guest host engines");
    for run in json["engines"].as_array().expect("a list") {
        has(run, "engine milestones costs");
        let Some(stats) = run.get("stats") else {
            has(run, "skipped");
            continue;
        };
        has(
            stats,
            "schema engine cpu cpus memory clock ending status wall_seconds guest_seconds \
             instructions mips resets times total events vcpus chips unclaimed",
        );
        has(&stats["times"], "executing translating devices idle");
        let total = "instructions blocks_entered blocks_made blocks_stale tlb_misses tlb_flushes \
             exceptions interrupts mmio port_io halts code_bytes instructions_translated \
             translations translations_stale translation_flushes making_ns asleep_ns";
        has(&stats["total"], total);
        has(&stats["vcpus"][0], "vcpu engine exits times");
        has(&stats["vcpus"][0]["engine"], total);
        let is_software = stats["engine"] != "kvm";
        assert!(is_software <= stats["events"][0].is_object(), "{}", stats["engine"]);
        for event in stats["events"].as_array().expect("a list") {
            has(event, "reason count instructions");
            for cause in event["instructions"].as_array().expect("a list") {
                has(cause, "rip text count");
            }
        }
        has(&stats["chips"][0], "chip accesses");
        has(&run["milestones"][0], "name seconds");
        match run["costs"].get(0) {
            Some(cost) => has(cost, "operation kind ns times"),
            None => assert!(run["costs_missing"].is_string() && !is_software),
        }
    }
}

/// The page parses without an error, needs nothing from elsewhere, and shows every engine.
fn check_page(html: &str) {
    let page = scraper::Html::parse_document(html);
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    let select = |what: &str| scraper::Selector::parse(what).expect("a selector");
    let count = |what: &str| page.select(&select(what)).count();
    assert_eq!(count("[src], [href], link, script, img"), 0, "it needs something else");
    assert_eq!(count(".tile"), EngineKind::ALL.len());
    assert!(count("svg") > 10 && count("svg rect") > 20 && count("svg circle") > 20);
    for attribute in ["x", "y", "x1", "y1", "cx", "cy", "width", "height"] {
        for element in page.select(&select(&format!("svg [{attribute}]"))) {
            let value: f64 =
                element.attr(attribute).and_then(|v| v.parse().ok()).expect("a number");
            assert!((-20.0..=2000.0).contains(&value), "{attribute}={value} {}", element.html());
        }
    }
    let text: String = page.root_element().text().collect();
    for kind in engines() {
        assert!(count(&format!("rect.{}", kind.name())) > 0, "{} has no bar", kind.name());
    }
    for part in ["Popek and Goldberg", "Paravirtualisation", "CPUID", "MOV to CR3", "goodbye"] {
        assert!(text.contains(part), "no '{part}'");
    }
}

#[test]
fn a_comparison_is_a_table_a_page_and_json() {
    let (html, json) = (temporary("page.html"), temporary("data.json"));
    let (html_name, json_name) = (html.to_string_lossy(), json.to_string_lossy());
    let output = trine(&["compare", "--html", &html_name, "--json", &json_name]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!stdout.contains("Hello."), "the guest's output is captured: {stdout}");
    for kind in EngineKind::ALL {
        assert!(stdout.contains(kind.name()), "no {} in {stdout}", kind.name());
    }
    for row in ["wall time", "in long mode", "port out", "SYSCALL and SYSRET"] {
        assert!(stdout.contains(row), "no '{row}' in {stdout}");
    }
    check_page(&fs::read_to_string(&html).expect("a page"));
    let text = fs::read_to_string(&json).expect("data");
    check_shape(&serde_json::from_str(&text).expect("JSON"));
    fs::remove_file(html).expect("it is there");
    fs::remove_file(json).expect("it is there");
}

#[test]
fn what_makes_no_sense_is_one_line() {
    for (args, wanted) in [
        (&["compare", "--kernel", "/nowhere/vmlinuz"][..], "--kernel /nowhere/vmlinuz"),
        (&["compare", "--time-limit", "0"], "--time-limit"),
        (&["compare", "--engines", "qemu"], "--engines"),
        (&["compare", "--engines", "interp", "--no-costs", "--html", "/nowhere/x"], "--html"),
    ] {
        let output = trine(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        assert!(stderr.contains(wanted) && stderr.lines().count() == 1, "{args:?}: {stderr}");
    }
}
