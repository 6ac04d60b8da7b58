//! Which part of a suite this run takes.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// Part `index` of `count`: every `count`th group, from the `index`th on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shard {
    index: usize,
    count: usize,
}

/// A shard that cannot be.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ShardError {
    /// The text is not I/N with I from 1 to N.
    #[error("'{0}' is no shard; write I/N, for example 1/4 to 4/4")]
    Bad(String),
    /// A scheduler's variables contradict each other.
    #[error("{variable}={value} is no shard of {count}; unset it, or give --shard I/N")]
    Scheduler {
        /// The index variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// The value of its count variable.
        count: String,
    },
}

/// A scheduler's variables: index, count, and the first index.
struct Scheduler {
    index: &'static str,
    count: &'static str,
    /// The first index: a number, or the variable that holds it.
    first: First,
}

enum First {
    Number(usize),
    Variable(&'static str),
}

const fn scheduler(index: &'static str, count: &'static str, first: usize) -> Scheduler {
    Scheduler { index, count, first: First::Number(first) }
}

/// Those that are common, each from its own documentation: Bazel, Google Test, GitLab, Semaphore,
/// CircleCI, Buildkite, Slurm arrays, Open MPI, PMI, Slurm tasks (last: a launcher within a Slurm
/// job leaves them as the job's first process has them).
const SCHEDULERS: [Scheduler; 10] = [
    scheduler("TEST_SHARD_INDEX", "TEST_TOTAL_SHARDS", 0),
    scheduler("GTEST_SHARD_INDEX", "GTEST_TOTAL_SHARDS", 0),
    scheduler("CI_NODE_INDEX", "CI_NODE_TOTAL", 1),
    scheduler("SEMAPHORE_JOB_INDEX", "SEMAPHORE_JOB_COUNT", 1),
    scheduler("CIRCLE_NODE_INDEX", "CIRCLE_NODE_TOTAL", 0),
    scheduler("BUILDKITE_PARALLEL_JOB", "BUILDKITE_PARALLEL_JOB_COUNT", 0),
    Scheduler {
        index: "SLURM_ARRAY_TASK_ID",
        count: "SLURM_ARRAY_TASK_COUNT",
        first: First::Variable("SLURM_ARRAY_TASK_MIN"),
    },
    scheduler("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", 0),
    scheduler("PMI_RANK", "PMI_SIZE", 0),
    scheduler("SLURM_PROCID", "SLURM_NTASKS", 0),
];

impl Shard {
    /// Everything.
    pub const ALL: Self = Self { index: 0, count: 1 };

    /// The shard that a scheduler gave this process, or everything. `variable` looks up an
    /// environment variable.
    ///
    /// # Errors
    /// If a scheduler's variables contradict each other.
    pub fn from_scheduler(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ShardError> {
        for s in SCHEDULERS {
            let (Some(index), Some(count)) = (variable(s.index), variable(s.count)) else {
                continue;
            };
            let first = match s.first {
                First::Number(n) => Some(n),
                First::Variable(name) => variable(name).map_or(Some(0), |n| n.parse().ok()),
            };
            let step = match s.first {
                First::Number(_) => 1,
                First::Variable(_) => variable("SLURM_ARRAY_TASK_STEP")
                    .and_then(|n| n.parse().ok())
                    .filter(|n| *n > 0)
                    .unwrap_or(1),
            };
            let place = index.parse::<usize>().ok().zip(first).and_then(|(i, f)| i.checked_sub(f));
            let place = place.map(|n| n / step);
            return match (place, count.parse::<usize>()) {
                (Some(place), Ok(n)) if place < n => Ok(Self { index: place, count: n }),
                _ => Err(ShardError::Scheduler { variable: s.index, value: index, count }),
            };
        }
        Ok(Self::ALL)
    }

    /// Does it hold the group with this number?
    #[must_use]
    pub fn holds(self, group: usize) -> bool {
        group % self.count == self.index
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let numbers =
            text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match numbers {
            Some((index @ 1.., count)) if index <= count => Ok(Self { index: index - 1, count }),
            _ => Err(ShardError::Bad(text.into())),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_out_every_group_once() {
        let shards: Vec<Shard> = ["1/3", "2/3", "3/3"].map(|s| s.parse().unwrap()).into();
        for group in 0..10 {
            assert_eq!(shards.iter().filter(|s| s.holds(group)).count(), 1);
        }
        for bad in ["0/3", "4/3", "1", "a/b", "1/0", "-1/2", ""] {
            assert_eq!(bad.parse::<Shard>(), Err(ShardError::Bad(bad.into())));
        }
    }

    #[test]
    fn schedulers_are_heard() {
        let with = |pairs: &'static [(&str, &str)]| {
            Shard::from_scheduler(move |name| {
                pairs.iter().find(|p| p.0 == name).map(|p| p.1.to_string())
            })
        };
        assert_eq!(with(&[]), Ok(Shard::ALL));
        assert_eq!(with(&[("CI_NODE_INDEX", "2"), ("CI_NODE_TOTAL", "5")]), "2/5".parse());
        assert_eq!(with(&[("CIRCLE_NODE_INDEX", "2"), ("CIRCLE_NODE_TOTAL", "5")]), "3/5".parse());
        let slurm = &[
            ("SLURM_ARRAY_TASK_ID", "12"),
            ("SLURM_ARRAY_TASK_COUNT", "5"),
            ("SLURM_ARRAY_TASK_MIN", "10"),
        ];
        assert_eq!(with(slurm), "3/5".parse());
        let steps = &[
            ("SLURM_ARRAY_TASK_ID", "10"),
            ("SLURM_ARRAY_TASK_COUNT", "6"),
            ("SLURM_ARRAY_TASK_MIN", "0"),
            ("SLURM_ARRAY_TASK_STEP", "2"),
        ];
        assert_eq!(with(steps), "6/6".parse());
        let within_slurm = &[
            ("SLURM_PROCID", "0"),
            ("SLURM_NTASKS", "4"),
            ("OMPI_COMM_WORLD_RANK", "2"),
            ("OMPI_COMM_WORLD_SIZE", "4"),
        ];
        assert_eq!(with(within_slurm), "3/4".parse());
        assert!(with(&[("CI_NODE_INDEX", "6"), ("CI_NODE_TOTAL", "5")]).is_err());
    }
}
