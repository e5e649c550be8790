//! The table of file descriptors that the runtime gives to init: decimal numbers by [`Handle`], separated by commas.
//!
//! Runs in: init.

use corten_plan::{Handle, Stage};

use crate::report::{At, Failed};
use crate::sys::{Errno, FdRef};

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
            *number = if field == b"-" { -1 } else { decimal(field).ok_or(Errno::EINVAL)? };
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

    /// The descriptor of this handle.
    ///
    /// # Errors
    /// [`Stage::Plan`] when there is none: runtime and plan do not fit together.
    pub fn get(&self, handle: Handle) -> Result<FdRef<'static>, Failed> {
        self.find(handle).ok_or(Errno::EBADF).item(Stage::Plan, handle.0)
    }
}

/// The number that `digits` are: no sign, no blank, no overflow.
pub fn decimal(digits: &[u8]) -> Option<i32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0i32, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(i32::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(table: &[u8], handle: Handle) -> Option<i32> {
        Handles::parse(table).unwrap().find(handle).map(FdRef::number)
    }

    #[test]
    fn table_with_gaps_gives_numbers_by_handle() {
        let table = b"3,4,-,17";
        assert_eq!(number(table, Handle::PLAN), Some(3));
        assert_eq!(number(table, Handle::SOCKET), Some(4));
        assert_eq!(number(table, Handle::START_FIFO), None);
        assert_eq!(number(table, Handle::CONSOLE), Some(17));
        assert_eq!(number(table, Handle::TRACE), None);
        assert_eq!(number(table, Handle(u16::MAX)), None);
    }

    #[test]
    fn table_that_is_malformed_is_refused() {
        let long = "3,".repeat(MAX) + "4";
        let tables = ["", "3,", "3,,4", "3, 4", "+3,4", "3,-4", "3,4x", "3,99999999999", &long];
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
    fn decimal_at_the_limits_is_exact() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"2147483647"), Some(i32::MAX));
        assert_eq!(decimal(b"2147483648"), None);
        assert_eq!(decimal(b"/"), None);
        assert_eq!(decimal(b":"), None);
    }
}
