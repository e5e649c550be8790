//! Conversion from and to the types of the crate `oci-spec`, for programs that have them.
//!
//! Both ways go through JSON, which both sides read and write. The other side knows less: it refuses capabilities that it
//! has no name for, and takes an absent `pids.limit` for 0.
//!
//! Runs in: any process.

use crate::spec::{self, Spec, SpecError};

impl TryFrom<&::oci_spec::runtime::Spec> for Spec {
    type Error = SpecError;

    /// # Errors
    /// What [`spec::parse`] refuses in it. The rules between properties are checked where it is used.
    fn try_from(from: &::oci_spec::runtime::Spec) -> Result<Self, SpecError> {
        spec::parse(&serde_json::to_vec(from).map_err(conversion)?)
    }
}

impl TryFrom<&Spec> for ::oci_spec::runtime::Spec {
    type Error = SpecError;

    /// # Errors
    /// What the types of `oci-spec` cannot hold.
    fn try_from(from: &Spec) -> Result<Self, SpecError> {
        let text = serde_json::to_vec(from).map_err(conversion)?;
        serde_json::from_slice(&text).map_err(conversion)
    }
}

fn conversion(error: serde_json::Error) -> SpecError {
    SpecError::new("", format!("has no counterpart in oci-spec: {error}"))
}
