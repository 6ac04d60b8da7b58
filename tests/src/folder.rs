//! A place for a test's files.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A folder of a test's own, which goes with it.
pub struct Folder(PathBuf);

impl Folder {
    /// One for the test called `test`.
    ///
    /// # Panics
    /// If there is no room for it.
    #[must_use]
    pub fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("trine-{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("there is room for a folder");
        Self(folder)
    }

    /// Where it is.
    #[must_use]
    pub fn at(&self) -> &Path {
        &self.0
    }

    /// A file in it.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
