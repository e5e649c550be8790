//! The fields of an op as values, for those who print ops.
//!
//! Runs in: any process.

use core::ffi::CStr;

use super::Handle;
use crate::wire::{Ids, List};

/// The value of a field.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// An optional field that is not there.
    Absent,
    /// A flag.
    Bool(bool),
    /// A number, a mask, a [`Handle`].
    Number(i128),
    /// A string.
    Text(&'a CStr),
    /// Strings.
    List(List<'a>),
    /// Numbers.
    Ids(Ids<'a>),
    /// Bytes that only the kernel reads.
    Bytes(&'a [u8]),
}

macro_rules! values {
    ($($type:ty => $variant:ident),*) => {$(
        impl<'a> From<$type> for Value<'a> {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}
values!(bool => Bool, u8 => Number, u16 => Number, u32 => Number, u64 => Number, i32 => Number, i64 => Number,
    &'a CStr => Text, List<'a> => List, Ids<'a> => Ids, &'a [u8] => Bytes);

impl From<Handle> for Value<'_> {
    fn from(handle: Handle) -> Self {
        Self::Number(handle.0.into())
    }
}

impl<'a, T: Into<Self>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}
