//! config.json: read strictly, with the JSON pointer of whatever is wrong.
//!
//! [`Bundle::load`] is `read` (the file, with a size limit), `parse` (JSON and types) and `validate` (the rules between
//! the properties). What it accepts follows the specification; whether this version of corten, or this host, can give
//! it is for [`crate::plan`] to say.
//!
//! Runs in: runtime.

mod error;
pub mod limits;
mod parse;
mod read;
mod scan;
pub(crate) mod template;
mod types;
mod validate;
mod words;

use std::path::{Path, PathBuf};

pub use self::error::SpecError;
pub use self::parse::{parse, parse_process, parse_resources};
pub use self::template::{default_spec, rootless, template, to_pretty_json};
pub use self::types::*;
pub use self::validate::{
    sysctl_owner, sysctl_path, validate, validate_process, validate_resources,
};
pub use self::words::{
    DeviceRuleType, DeviceType, IoPriorityClass, MemoryPolicyFlag, MemoryPolicyMode, NamespaceType,
    PersonalityDomain, RlimitType, RootfsPropagation, SchedulerFlag, SchedulerPolicy,
    SeccompAction, SeccompArch, SeccompFlag, SeccompOperator,
};
use crate::error::Error;

/// A bundle: a directory with a config.json that was read and found valid.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The directory, absolute, without symbolic links.
    pub dir: PathBuf,
    /// `config.json` in it.
    pub config_path: PathBuf,
    /// Its content.
    pub spec: Spec,
    /// What is odd in it and no error: for the log.
    pub warnings: Vec<SpecError>,
}

impl Bundle {
    /// Reads and checks `<dir>/config.json`.
    ///
    /// # Errors
    /// [`Error::Spec`] with the file and the first problem.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        // As the directory of runc's process, which `state` and the hooks report: without symbolic links.
        let dir = std::fs::canonicalize(dir).map_err(|error| Error::Spec {
            path: dir.to_owned(),
            source: SpecError::new("", format!("is no bundle directory: {error}")),
        })?;
        let config_path = dir.join("config.json");
        let loaded = read::file(&config_path).and_then(|text| {
            let spec = parse(&text)?;
            let warnings = validate(&spec)?;
            Ok((spec, warnings))
        });
        match loaded {
            Ok((spec, warnings)) => Ok(Self { dir, config_path, spec, warnings }),
            Err(source) => Err(Error::Spec { path: config_path, source }),
        }
    }
}
