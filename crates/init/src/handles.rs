//! The table of file descriptors that the runtime gives to init: decimal numbers by [`Handle`], separated by commas.
//!
//! Runs in: init.

use corten_plan::{Handle, Stage};

use crate::report::{At, Failed};
use crate::sys::{Errno, Fd, FdRef};

/// How many handles there may be: the fixed ones, and one for each kind of namespace and some to spare.
const MAX: usize = 64;

/// The table.
#[derive(Debug)]
pub struct Handles {
    numbers: [i32; MAX],
}

impl Handles {
    /// Reads the table; `-` is a handle that there is none of.
    ///
    /// # Errors
    /// EINVAL for anything but such a table, EBADF when there is no socket or no plan.
    pub fn parse(table: &[u8]) -> Result<Self, Errno> {
        let mut numbers = [-1; MAX];
        let mut fields = table.split(|byte| *byte == b',');
        for number in &mut numbers {
            let Some(field) = fields.next() else { break };
            *number = if field == b"-" { -1 } else { descriptor(field)? };
        }
        if fields.next().is_some() {
            return Err(Errno::EINVAL);
        }
        let [plan, socket, ..] = numbers;
        if plan < 0 || socket < 0 { Err(Errno::EBADF) } else { Ok(Self { numbers }) }
    }

    /// The descriptor of this handle, if there is one. Handles stay open until execve.
    pub fn find(&self, handle: Handle) -> Option<FdRef<'static>> {
        let number = self.numbers.get(usize::from(handle.0)).copied();
        number.filter(|number| *number >= 0).map(FdRef::inherited)
    }

    /// The descriptor of this handle, which there is none of from now on.
    ///
    /// # Errors
    /// As [`Handles::get`].
    pub fn take(&mut self, handle: Handle) -> Result<Fd, Failed> {
        let taken = Fd::inherited(self.get(handle)?);
        if let Some(number) = self.numbers.get_mut(usize::from(handle.0)) {
            *number = -1;
        }
        Ok(taken)
    }

    /// The descriptor of this handle.
    ///
    /// # Errors
    /// [`Stage::Plan`] when there is none: runtime and plan do not fit together.
    pub fn get(&self, handle: Handle) -> Result<FdRef<'static>, Failed> {
        self.find(handle).ok_or(Errno::EBADF).item(Stage::Plan, handle.0)
    }
}

fn descriptor(field: &[u8]) -> Result<i32, Errno> {
    number(field, 10).and_then(|number| i32::try_from(number).ok()).ok_or(Errno::EINVAL)
}

/// The number that `digits` are, to a base of at most 16: no sign, no blank, no overflow, lower case.
pub fn number(digits: &[u8], base: u64) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        let digit = Some(u64::from(digit)).filter(|digit| *digit < base)?;
        number.checked_mul(base)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor_of(table: &[u8], handle: Handle) -> Option<i32> {
        Handles::parse(table).unwrap().find(handle).map(FdRef::number)
    }

    #[test]
    fn table_with_gaps_gives_numbers_by_handle() {
        let table = b"3,4,-,17";
        assert_eq!(descriptor_of(table, Handle::PLAN), Some(3));
        assert_eq!(descriptor_of(table, Handle::SOCKET), Some(4));
        assert_eq!(descriptor_of(table, Handle::START_FIFO), None);
        assert_eq!(descriptor_of(table, Handle::CONSOLE), Some(17));
        assert_eq!(descriptor_of(table, Handle::TRACE), None);
        assert_eq!(descriptor_of(table, Handle(u16::MAX)), None);
    }

    #[test]
    fn table_that_is_malformed_is_refused() {
        let long = "3,".repeat(MAX) + "4";
        let tables = ["", "3,", "3,,4", "3, 4", "+3,4", "3,-4", "3,4x", "3,2147483648", &long];
        for table in tables {
            assert_eq!(Handles::parse(table.as_bytes()).unwrap_err(), Errno::EINVAL, "{table}");
        }
    }

    #[test]
    fn table_without_plan_or_socket_is_refused() {
        for table in ["-,3", "3,-", "3", "-"] {
            assert_eq!(Handles::parse(table.as_bytes()).unwrap_err(), Errno::EBADF, "{table}");
        }
    }

    #[test]
    fn number_at_the_limits_is_exact() {
        assert_eq!(number(b"0", 10), Some(0));
        assert_eq!(number(b"18446744073709551615", 10), Some(u64::MAX));
        assert_eq!(number(b"18446744073709551616", 10), None);
        assert_eq!(number(b"3f13", 16), Some(0x3f13));
        for digits in ["", "/", ":", "a", "`"] {
            assert_eq!(number(digits.as_bytes(), 10), None, "{digits}");
        }
        assert_eq!(number(b"g", 16), None);
    }
}
