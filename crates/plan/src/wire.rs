//! How a plan is laid out in memory.
//!
//! ```text
//! plan   = header record*
//! header = magic[8] version:u32 flags:u32 ops:u32 length:u32
//! record = code:u16 zero:u16 length:u32 field*          (length = bytes of all fields)
//! field  = little-endian integer | string | bytes | list
//! string = length:u32 byte* NUL                         (length without the NUL; no NUL inside)
//! bytes  = length:u32 byte*
//! list   = count:u32 length:u32 (byte* NUL)*            (length = bytes of all the strings with their NULs)
//! ```
//! Nothing is aligned: integers are copied out. Strings carry their NUL so that init hands them to the kernel
//! where they lie.
//!
//! Runs in: both.

use core::ffi::CStr;

use crate::op::Op;

/// The first eight bytes of every plan.
pub const MAGIC: [u8; 8] = *b"CORTENPL";
/// The layout and the meaning of the ops. Both sides are built together; a mismatch is a build error found late.
pub const VERSION: u32 = 1;
/// Bytes of the header.
pub const HEADER_LENGTH: usize = 24;
/// Bytes in front of each record's fields.
pub const RECORD_HEADER_LENGTH: usize = 8;
/// Header flag: init records the time of each op through [`crate::Handle::TRACE`].
pub const FLAG_TRACE: u32 = 1;
/// Header flag: init must be pid 1 when it begins, or it refuses to act.
pub const FLAG_EXPECT_PID1: u32 = 2;

/// The bytes are not a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// The decoded head of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// `FLAG_*`.
    pub flags: u32,
    /// How many ops follow.
    pub ops: u32,
}

/// Sets a `FLAG_*` in the header of `plan`.
pub fn set_flag(plan: &mut [u8], flag: u32) {
    /// Behind magic and version.
    const AT: usize = MAGIC.len() + size_of::<u32>();
    if let Some(flags) = plan.get_mut(AT..).and_then(<[u8]>::first_chunk_mut) {
        *flags = (u32::from_le_bytes(*flags) | flag).to_le_bytes();
    }
}

/// An iterator over the ops of a plan: the index of the op in the plan, and the op.
#[derive(Debug, Clone)]
pub struct PlanReader<'a> {
    header: Header,
    rest: &'a [u8],
    next: u16,
}

impl<'a> PlanReader<'a> {
    /// Checks the header of `plan` and stands before the first op.
    ///
    /// # Errors
    /// [`Malformed`] when magic, version or length are not those of a plan.
    pub fn new(plan: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader { rest: plan };
        if reader.take(MAGIC.len())? != MAGIC || u32::read(&mut reader)? != VERSION {
            return Err(Malformed);
        }
        let header = Header { flags: u32::read(&mut reader)?, ops: u32::read(&mut reader)? };
        let length = u32::read(&mut reader)? as usize;
        if reader.rest.len() < length {
            return Err(Malformed);
        }
        let rest = reader.take(length)?;
        Ok(Self { header, rest, next: 0 })
    }

    /// The head of the plan.
    pub fn header(&self) -> Header {
        self.header
    }

    fn record(&mut self) -> Result<(u16, Op<'a>), Malformed> {
        let mut reader = Reader { rest: self.rest };
        let code = u16::read(&mut reader)?;
        let zero = u16::read(&mut reader)?;
        let length = u32::read(&mut reader)? as usize;
        let mut fields = Reader { rest: reader.take(length)? };
        let op = Op::read(code, &mut fields)?;
        if zero != 0 || !fields.rest.is_empty() {
            return Err(Malformed);
        }
        let index = self.next;
        self.next = index.checked_add(1).ok_or(Malformed)?;
        self.rest = reader.rest;
        Ok((index, op))
    }
}

impl<'a> Iterator for PlanReader<'a> {
    type Item = Result<(u16, Op<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.record();
        if record.is_err() {
            self.rest = &[];
        }
        Some(record)
    }
}

/// Takes fields off the front of a byte slice.
#[derive(Debug)]
pub struct Reader<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Where fields are written to.
pub trait Sink {
    /// Appends `bytes`.
    fn put(&mut self, bytes: &[u8]);
}

/// A value that can be a field of an op.
pub trait Field<'a>: Sized {
    /// Takes the value off the front of `from`.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are not such a value.
    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed>;
    /// Appends the value to `to`.
    fn write(&self, to: &mut impl Sink);
}

macro_rules! integer_fields {
    ($($type:ty),*) => {$(
        impl<'a> Field<'a> for $type {
            fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
                let bytes = from.take(size_of::<$type>())?.try_into().map_err(|_| Malformed)?;
                Ok(<$type>::from_le_bytes(bytes))
            }
            fn write(&self, to: &mut impl Sink) {
                to.put(&self.to_le_bytes());
            }
        }
    )*};
}
integer_fields!(u8, u16, u32, u64, i32, i64);

impl<'a> Field<'a> for bool {
    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        match u8::read(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }
    fn write(&self, to: &mut impl Sink) {
        u8::from(*self).write(to);
    }
}

impl<'a> Field<'a> for &'a [u8] {
    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let length = u32::read(from)? as usize;
        from.take(length)
    }
    fn write(&self, to: &mut impl Sink) {
        write_length(self.len(), to);
        to.put(self);
    }
}

impl<'a> Field<'a> for &'a CStr {
    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let length = u32::read(from)? as usize;
        let bytes = from.take(length.checked_add(1).ok_or(Malformed)?)?;
        CStr::from_bytes_with_nul(bytes).map_err(|_| Malformed)
    }
    fn write(&self, to: &mut impl Sink) {
        write_length(self.to_bytes().len(), to);
        to.put(self.to_bytes_with_nul());
    }
}

impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(if bool::read(from)? { Some(T::read(from)?) } else { None })
    }
    fn write(&self, to: &mut impl Sink) {
        self.is_some().write(to);
        if let Some(value) = self {
            value.write(to);
        }
    }
}

/// A list of strings that lie one behind the other, each with its NUL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct List<'a> {
    count: u32,
    strings: &'a [u8],
}

impl<'a> List<'a> {
    /// The empty list.
    pub const EMPTY: Self = Self { count: 0, strings: &[] };

    /// A list of all the strings in `strings`, each of which ends with a NUL.
    ///
    /// # Errors
    /// [`Malformed`] when the last string has no NUL, or when there are more than `u32::MAX`.
    pub fn new(strings: &'a [u8]) -> Result<Self, Malformed> {
        if strings.last().is_some_and(|last| *last != 0) {
            return Err(Malformed);
        }
        let count = strings.iter().filter(|byte| **byte == 0).count();
        Ok(Self { count: u32::try_from(count).map_err(|_| Malformed)?, strings })
    }

    /// How many strings there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is no string.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The strings in order.
    pub fn iter(&self) -> ListIter<'a> {
        ListIter { rest: self.strings }
    }
}

impl core::fmt::Debug for List<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for List<'a> {
    type Item = &'a CStr;
    type IntoIter = ListIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The strings of a [`List`].
#[derive(Debug, Clone)]
pub struct ListIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for ListIter<'a> {
    type Item = &'a CStr;

    fn next(&mut self) -> Option<&'a CStr> {
        let string = CStr::from_bytes_until_nul(self.rest).ok()?;
        self.rest = self.rest.get(string.to_bytes_with_nul().len()..)?;
        Some(string)
    }
}

impl<'a> Field<'a> for List<'a> {
    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let count = u32::read(from)?;
        let list = Self::new(<&[u8]>::read(from)?)?;
        if list.count == count { Ok(list) } else { Err(Malformed) }
    }
    fn write(&self, to: &mut impl Sink) {
        self.count.write(to);
        self.strings.write(to);
    }
}

/// A list of 32-bit ids.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ids<'a>(&'a [u8]);

impl<'a> Ids<'a> {
    /// The ids that lie in `bytes`, four little-endian bytes each.
    ///
    /// # Errors
    /// [`Malformed`] when the length is no multiple of four.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len().is_multiple_of(4) { Ok(Self(bytes)) } else { Err(Malformed) }
    }

    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.0.len() / 4
    }

    /// Whether there is no id.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ids in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + 'a {
        self.0.as_chunks::<4>().0.iter().map(|id| u32::from_le_bytes(*id))
    }
}

impl core::fmt::Debug for Ids<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> Field<'a> for Ids<'a> {
    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        Self::new(<&[u8]>::read(from)?)
    }
    fn write(&self, to: &mut impl Sink) {
        self.0.write(to);
    }
}

fn write_length(length: usize, to: &mut impl Sink) {
    // A plan is far smaller than 4 GiB: config.json is limited to megabytes, and `PlanWriter::finish` checks.
    u32::try_from(length).unwrap_or(u32::MAX).write(to);
}

#[cfg(feature = "alloc")]
pub use writer::PlanWriter;

#[cfg(feature = "alloc")]
mod writer {
    use alloc::vec::Vec;

    use super::{Field, HEADER_LENGTH, MAGIC, Malformed, RECORD_HEADER_LENGTH, Sink, VERSION};
    use crate::op::Op;

    impl Sink for Vec<u8> {
        fn put(&mut self, bytes: &[u8]) {
            self.extend_from_slice(bytes);
        }
    }

    /// Writes ops one behind the other.
    #[derive(Debug, Clone)]
    pub struct PlanWriter {
        bytes: Vec<u8>,
        ops: u32,
    }

    impl Default for PlanWriter {
        fn default() -> Self {
            let mut bytes = Vec::with_capacity(4096);
            bytes.resize(HEADER_LENGTH, 0);
            Self { bytes, ops: 0 }
        }
    }

    impl PlanWriter {
        /// Appends `op`; returns its index in the plan.
        pub fn push(&mut self, op: &Op<'_>) -> u32 {
            op.code().write(&mut self.bytes);
            0u16.write(&mut self.bytes);
            let start = self.bytes.len();
            0u32.write(&mut self.bytes);
            op.write(&mut self.bytes);
            let length = self.bytes.len() - start - (RECORD_HEADER_LENGTH - 4);
            let length = u32::try_from(length).unwrap_or(u32::MAX);
            if let Some(place) = self.bytes.get_mut(start..start + 4) {
                place.copy_from_slice(&length.to_le_bytes());
            }
            self.ops += 1;
            self.ops - 1
        }

        /// How many ops were appended.
        pub fn ops(&self) -> u32 {
            self.ops
        }

        /// The plan with its header.
        ///
        /// # Errors
        /// [`Malformed`] when there are more than 65,535 ops or 4 GiB.
        pub fn finish(mut self, flags: u32) -> Result<Vec<u8>, Malformed> {
            let length = u32::try_from(self.bytes.len() - HEADER_LENGTH).map_err(|_| Malformed)?;
            u16::try_from(self.ops).map_err(|_| Malformed)?;
            let mut header = Vec::with_capacity(HEADER_LENGTH);
            header.put(&MAGIC);
            for field in [VERSION, flags, self.ops, length] {
                field.write(&mut header);
            }
            self.bytes.splice(..HEADER_LENGTH, header);
            Ok(self.bytes)
        }
    }
}
