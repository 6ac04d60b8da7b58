//! Stolen time: what the host gave to others while a vCPU's thread could have run.
//!
//! Linux counts for each thread how long it has waited for a CPU (`/proc/thread-self/schedstat`,
//! the second number; Linux, `Documentation/scheduler/sched-stats.rst`). Other hosts do not say,
//! and nothing is stolen there.

/// Nanoseconds for which this thread has waited since it began, or since the last call.
#[cfg(target_os = "linux")]
pub fn take_ns() -> u64 {
    use std::cell::RefCell;

    thread_local! {
        static WAITED: RefCell<Option<linux::Waited>> = const { RefCell::new(None) };
    }
    WAITED.with_borrow_mut(|waited| waited.get_or_insert_with(linux::Waited::of_this_thread).take())
}

/// Nanoseconds for which this thread has waited since it began, or since the last call.
#[cfg(not(target_os = "linux"))]
pub fn take_ns() -> u64 {
    0
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{fs::File, os::unix::fs::FileExt};

    /// How long a thread has waited.
    pub struct Waited {
        /// What the kernel says, unless it does not say it.
        schedstat: Option<File>,
        /// The sum at the last call.
        taken: u64,
    }

    impl Waited {
        pub fn of_this_thread() -> Self {
            Self { schedstat: File::open("/proc/thread-self/schedstat").ok(), taken: 0 }
        }

        pub fn take(&mut self) -> u64 {
            let mut line = [0; 96];
            let len =
                self.schedstat.as_ref().map_or(0, |file| file.read_at(&mut line, 0).unwrap_or(0));
            let waited = parse(&line[..len]).unwrap_or(self.taken);
            waited.saturating_sub(std::mem::replace(&mut self.taken, waited))
        }
    }

    /// The second of the numbers in `line`.
    fn parse(line: &[u8]) -> Option<u64> {
        std::str::from_utf8(line).ok()?.split_whitespace().nth(1)?.parse().ok()
    }

    #[cfg(test)]
    mod tests {
        use super::parse;

        #[test]
        fn the_second_number_is_the_time_waited() {
            assert_eq!(parse(b"12345 678 9\n"), Some(678));
            assert_eq!(parse(b"0 0 0\n"), Some(0));
            assert_eq!(parse(b""), None);
            assert_eq!(parse(b"1 x 2"), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{hint::black_box, thread, time::Instant};

    use super::take_ns;

    #[test]
    fn no_more_is_stolen_than_passes() {
        let begun = Instant::now();
        let stolen: u64 = thread::spawn(|| {
            (0..100)
                .map(|_| {
                    (0..10_000).for_each(|n| _ = black_box(n));
                    take_ns()
                })
                .sum()
        })
        .join()
        .expect("the thread ends");
        assert!(u128::from(stolen) <= begun.elapsed().as_nanos());
    }
}
