//! `x86/unittests.cfg`: which tests there are and what each wants.
//!
//! Source: kvm-unit-tests' `docs/unittests.txt`. Values are shell words; what a shell would run in
//! them is known by sight.

/// A test of the list.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Test {
    pub(super) name: String,
    /// The image, without its folder.
    pub(super) file: String,
    /// How many CPUs.
    pub(super) smp: Option<u32>,
    /// The command line.
    pub(super) args: String,
    /// QEMU's options.
    pub(super) params: Vec<String>,
    /// The only build for which it is: x86_64 or i386.
    pub(super) arch: Option<String>,
    /// The only accelerator on which the suite's runner runs it.
    pub(super) accel: Option<String>,
    /// In seconds.
    pub(super) timeout: Option<u64>,
}

/// Reads the list. What is not in it is not wanted: groups choose what to run, `check` looks at
/// the parameters of the host's KVM.
pub(super) fn parse(text: &str) -> Result<Vec<Test>, String> {
    let mut tests: Vec<Test> = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let bad = |why: &str| format!("unittests.cfg, line {}: {why}", n + 1);
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            tests.push(Test { name: name.into(), ..Test::default() });
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err(bad("neither [name] nor key = value"));
        };
        let Some(test) = tests.last_mut() else {
            return Err(bad("a value before the first [name]"));
        };
        let value = value.trim();
        let number = |text: &str| text.parse::<u64>().map_err(|_| bad("no number"));
        match key.trim() {
            "file" => test.file = value.into(),
            "smp" => test.smp = Some(u32::try_from(number(value)?).map_err(|_| bad("too many"))?),
            "test_args" => test.args = words(value).join(" "),
            "qemu_params" | "extra_params" => test.params = words(value),
            "arch" => test.arch = Some(value.into()),
            "accel" => test.accel = Some(value.into()),
            "timeout" => test.timeout = Some(number(value.trim_end_matches('s'))?),
            _ => {}
        }
    }
    Ok(tests)
}

/// The words of a shell's line; quotes hold together.
fn words(line: &str) -> Vec<String> {
    let (mut out, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(q), _) if c == q => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, _) if c.is_whitespace() => out.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read() {
        let text = "# list\n\n[one]\nfile = a.flat\nsmp = 3\nqemu_params = -cpu max,+vmx -m 4g\n\
                    arch = i386\n[two]\nfile = b.flat\ntest_args = \"-x 'y'\"\ntimeout = 30\n\
                    accel = kvm\ncheck = /sys/x=Y\nextra_params=-smp 'a b'\n";
        let tests = parse(text).unwrap();
        assert_eq!(tests.len(), 2);
        assert_eq!((tests[0].name.as_str(), tests[0].smp), ("one", Some(3)));
        assert_eq!(tests[0].params, ["-cpu", "max,+vmx", "-m", "4g"]);
        assert_eq!(tests[0].arch.as_deref(), Some("i386"));
        assert_eq!((tests[1].args.as_str(), tests[1].timeout), ("-x 'y'", Some(30)));
        assert_eq!(tests[1].params, ["-smp", "a b"]);
        assert_eq!(tests[1].accel.as_deref(), Some("kvm"));
    }

    #[test]
    fn what_is_no_list_is_refused_with_its_line() {
        for (text, line) in [("[a]\nnonsense\n", 2), ("file = x\n", 1), ("[a]\n\nsmp = x\n", 3)] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(&format!("line {line}:")), "{error}");
        }
    }
}
