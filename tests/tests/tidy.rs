//! What keeps the repository in the shape that ARCHITECTURE.md describes: layering, sizes, names,
//! and where `unsafe` may live. Each rule reports everything that breaks it, with its place.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use syn::{spanned::Spanned, visit::Visit};

/// Which of our crates each of our crates may depend on, tests apart.
const LAYERS: [(&str, &[&str]); 14] = [
    ("guest", &[]),
    ("softfloat", &[]),
    ("x86", &["softfloat", "guest"]),
    ("engine", &["x86", "guest"]),
    ("interp", &["engine", "x86", "guest"]),
    ("translate", &["interp", "engine", "x86", "guest"]),
    ("kvm", &["interp", "engine", "x86", "guest"]),
    ("devices", &["guest"]),
    ("firmware", &["guest"]),
    ("native", &[]),
    ("testsuites", &["guest", "softfloat", "x86", "engine", "native"]),
    (
        "machine",
        &[
            "guest",
            "x86",
            "engine",
            "interp",
            "translate",
            "kvm",
            "devices",
            "firmware",
            "testsuites",
        ],
    ),
    ("benches", &["tests"]),
    (
        "tests",
        &[
            "guest",
            "softfloat",
            "x86",
            "engine",
            "interp",
            "translate",
            "kvm",
            "devices",
            "firmware",
            "testsuites",
            "machine",
        ],
    ),
];

/// Folders of crates that may contain `unsafe`; all others forbid it.
const UNSAFE: [&str; 4] = ["guest", "cpu/translate", "cpu/kvm", "testsuites/native"];

/// Lines of a file and of a function. Tables of equal rows are welcome beyond it: a file whose
/// module documentation says that it is a table is exempt.
const FILE_LINES: usize = 800;
const FUNCTION_LINES: usize = 70;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the root").into()
}

/// Files below the root that git would show, by ending.
fn files(ending: &str) -> Vec<PathBuf> {
    let hidden = |e: &walkdir::DirEntry| {
        let name = e.file_name().to_string_lossy();
        e.depth() > 0 && (name.starts_with('.') || name == "target" || name == "guests-cache")
    };
    walkdir::WalkDir::new(root())
        .into_iter()
        .filter_entry(|e| !hidden(e))
        .map(|e| e.expect("the repository can be read").into_path())
        .filter(|p| p.is_file() && p.to_string_lossy().ends_with(ending))
        .collect()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn sources() -> Vec<(PathBuf, String, syn::File)> {
    files(".rs")
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("sources are text");
            let file = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", shown(&path)));
            (path, text, file)
        })
        .collect()
}

fn report(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn dependencies_go_one_way() {
    let layers: BTreeMap<_, _> = LAYERS.into_iter().collect();
    let mut broken = Vec::new();
    let mut seen = 0;
    for path in files("Cargo.toml") {
        let text = std::fs::read_to_string(&path).expect("manifests are text");
        let manifest: toml::Table = text.parse().expect("manifests are TOML");
        let Some(name) = manifest.get("package").and_then(|p| p["name"].as_str()) else { continue };
        let name = name.strip_prefix("trine-").unwrap_or(name);
        seen += 1;
        let Some(allowed) = layers.get(name) else {
            broken.push(format!("{}: '{name}' has no layer", shown(&path)));
            continue;
        };
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
        for dependency in dependencies.into_iter().flat_map(toml::Table::keys) {
            if let Some(ours) = dependency.strip_prefix("trine-")
                && !allowed.contains(&ours)
            {
                broken.push(format!("{}: {name} must not depend on {ours}", shown(&path)));
            }
        }
    }
    assert_eq!(seen, LAYERS.len(), "every crate has a layer");
    report("dependencies go one way", &broken);
}

#[test]
fn unsafe_stays_where_it_belongs() {
    struct Finder(Vec<usize>);
    impl Visit<'_> for Finder {
        fn visit_expr_unsafe(&mut self, e: &syn::ExprUnsafe) {
            self.0.push(e.span().start().line);
        }
    }
    let mut broken = Vec::new();
    for (path, text, file) in sources() {
        let place = shown(&path);
        if UNSAFE.iter().any(|c| place.starts_with(&format!("{c}/"))) {
            continue;
        }
        let mut finder = Finder(Vec::new());
        finder.visit_file(&file);
        broken.extend(finder.0.iter().map(|line| format!("{place}:{line}: unsafe")));
        if place.ends_with("src/lib.rs") && !text.contains("#![forbid(unsafe_code)]") {
            broken.push(format!("{place}: does not forbid unsafe code"));
        }
    }
    report("unsafe lives where UNSAFE says", &broken);
}

#[test]
fn files_and_functions_are_short() {
    struct Functions(Vec<(String, usize, usize)>);
    impl Functions {
        fn note(&mut self, name: &syn::Ident, span: proc_macro2::Span) {
            let (start, end) = (span.start().line, span.end().line);
            self.0.push((name.to_string(), start, end - start + 1));
        }
    }
    impl<'a> Visit<'a> for Functions {
        fn visit_item_fn(&mut self, f: &'a syn::ItemFn) {
            self.note(&f.sig.ident, f.block.span());
            syn::visit::visit_item_fn(self, f);
        }
        fn visit_impl_item_fn(&mut self, f: &'a syn::ImplItemFn) {
            self.note(&f.sig.ident, f.block.span());
            syn::visit::visit_impl_item_fn(self, f);
        }
    }
    let mut broken = Vec::new();
    for (path, text, file) in sources() {
        let place = shown(&path);
        let lines = text.lines().count();
        if lines > FILE_LINES {
            broken.push(format!("{place}: {lines} lines"));
        }
        let mut functions = Functions(Vec::new());
        functions.visit_file(&file);
        for (name, line, length) in functions.0 {
            // A function that is one `match` is a table.
            if length > FUNCTION_LINES && !is_table(&text, line, length) {
                broken.push(format!("{place}:{line}: {name} has {length} lines"));
            }
        }
    }
    report("files and functions are short", &broken);
}

/// Whether most lines of a function are rows of a match or of an array: `=>` or a trailing comma.
fn is_table(text: &str, line: usize, length: usize) -> bool {
    let rows = text
        .lines()
        .skip(line)
        .take(length)
        .filter(|l| l.contains("=>") || l.trim_end().ends_with(',') || l.trim().starts_with('|'))
        .count();
    rows * 3 > length * 2
}

#[test]
fn every_module_says_what_it_is() {
    let broken: Vec<_> = sources()
        .iter()
        .filter(|(_, text, _)| !text.starts_with("//! "))
        .map(|(path, ..)| shown(path))
        .collect();
    report("a module opens with what it is", &broken);
}

#[test]
fn names_are_nouns_of_the_manuals() {
    const TYPES: [&str; 3] = ["Manager", "Handler", "Info"];
    const MODULES: [&str; 4] = ["utils", "util", "common", "misc"];
    struct Names(Vec<(String, usize)>);
    impl<'a> Visit<'a> for Names {
        fn visit_item_struct(&mut self, i: &'a syn::ItemStruct) {
            self.0.push((i.ident.to_string(), i.span().start().line));
        }
        fn visit_item_enum(&mut self, i: &'a syn::ItemEnum) {
            self.0.push((i.ident.to_string(), i.span().start().line));
        }
        fn visit_item_trait(&mut self, i: &'a syn::ItemTrait) {
            self.0.push((i.ident.to_string(), i.span().start().line));
            syn::visit::visit_item_trait(self, i);
        }
        fn visit_item_type(&mut self, i: &'a syn::ItemType) {
            self.0.push((i.ident.to_string(), i.span().start().line));
        }
    }
    let mut broken = Vec::new();
    for (path, _, file) in sources() {
        let place = shown(&path);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if MODULES.contains(&stem.as_str()) {
            broken.push(format!("{place}: a module's name says what is in it"));
        }
        let mut names = Names(Vec::new());
        names.visit_file(&file);
        for (name, line) in names.0 {
            if TYPES.iter().any(|t| name.ends_with(t)) {
                broken.push(format!("{place}:{line}: {name}"));
            }
        }
    }
    report("no Manager, Handler, Info; no utils, common, misc", &broken);
}
