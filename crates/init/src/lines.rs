//! Lines of a file that is read piece by piece.
//!
//! Runs in: init.

use crate::sys::Errno;

/// The longest line that is looked at; longer ones are left out.
const LENGTH: usize = 4096;

/// Takes a file apart into lines.
#[derive(Debug)]
pub struct Lines {
    buffer: [u8; LENGTH],
    /// Where the next line begins and where what was read ends.
    start: usize,
    end: usize,
    /// The line that was given last.
    last: (usize, usize),
    /// The rest of the line that is read now belongs to one that is too long.
    too_long: bool,
    at_end: bool,
}

impl Lines {
    /// Before the first line.
    pub const fn new() -> Self {
        Self { buffer: [0; LENGTH], start: 0, end: 0, last: (0, 0), too_long: false, at_end: false }
    }

    /// The next line without its newline; `read` fills a buffer and says how far, 0 at the end.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn next(
        &mut self,
        mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>,
    ) -> Result<Option<&[u8]>, Errno> {
        loop {
            if let Some(line) = self.take() {
                self.last = line;
                return Ok(self.last());
            }
            if self.at_end {
                return Ok(None);
            }
            self.make_room();
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            let count = read(room)?;
            self.at_end = count == 0;
            self.end = LENGTH.min(self.end + count);
        }
    }

    /// The line that [`Lines::next`] gave last.
    pub fn last(&self) -> Option<&[u8]> {
        self.buffer.get(self.last.0..self.last.1)
    }

    /// Where the next line is, if it is there as a whole.
    fn take(&mut self) -> Option<(usize, usize)> {
        loop {
            let rest = self.buffer.get(self.start..self.end)?;
            let newline = rest.iter().position(|byte| *byte == b'\n');
            let length = match newline {
                Some(length) => length,
                None if self.at_end && !rest.is_empty() => rest.len(),
                None => return None,
            };
            let (start, end) = (self.start, self.start + length);
            self.start = self.end.min(end + 1);
            if !core::mem::take(&mut self.too_long) {
                return Some((start, end));
            }
        }
    }

    fn make_room(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == LENGTH {
            (self.end, self.too_long) = (0, true);
        }
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let mut rest = text;
        let mut lines = Lines::new();
        let mut all = Vec::new();
        let mut read = |buffer: &mut [u8]| {
            let count = piece.min(rest.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            Ok(count)
        };
        while let Some(line) = lines.next(&mut read).unwrap() {
            all.push(line.to_vec());
        }
        all
    }

    #[test]
    fn lines_in_pieces_of_any_size_are_the_same() {
        let text = b"first\n\nthird line\nlast";
        let expected: Vec<Vec<u8>> =
            text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        for piece in 1..=text.len() {
            assert_eq!(lines(text, piece), expected, "{piece}");
        }
        assert_eq!(lines(b"one\n", 100), [b"one"]);
        assert!(lines(b"", 100).is_empty());
    }

    #[test]
    fn line_that_is_too_long_is_left_out() {
        let text = [&b"a\n"[..], &[b'x'; 3 * LENGTH], b"\nb\n", &[b'y'; LENGTH]].concat();
        for piece in [1, 100, LENGTH] {
            assert_eq!(lines(&text, piece), [b"a", b"b"], "{piece}");
        }
    }

    #[test]
    fn line_that_fills_the_buffer_is_left_out_and_one_less_is_not() {
        let fits = [&[b'x'; LENGTH - 1][..], b"\n"].concat();
        assert_eq!(lines(&fits, 1000), [&fits[..LENGTH - 1]]);
    }
}
