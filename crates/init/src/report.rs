//! What init says: failures and warnings as frames, to the socket, and after `start` to the start fifo.
//!
//! Runs in: init.

use core::sync::atomic::{AtomicI32, Ordering};

use corten_plan::frame::DETAIL_LENGTH;
use corten_plan::{Failure, Frame, Stage};

use crate::sys::{self, Errno, FdRef, fs};

/// An op, or a part of it, that failed.
///
/// In this order of fields, a result is told from a failure by its lowest byte: a tenth of the image's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Failed {
    /// Which part.
    pub stage: Stage,
    /// Which of several objects.
    pub item: u16,
    /// The kernel's error number; [`Errno::NONE`] where none applies.
    pub errno: Errno,
}

impl Failed {
    /// A failure without an item.
    pub fn new(stage: Stage, errno: Errno) -> Self {
        Self { stage, item: 0, errno }
    }
}

/// What an op gives.
pub type Done = Result<(), Failed>;

/// Says at which stage a call failed.
pub trait At<T> {
    /// At this stage.
    ///
    /// # Errors
    /// The error, with the stage.
    fn at(self, stage: Stage) -> Result<T, Failed>;

    /// At this stage, with the item of this number.
    ///
    /// # Errors
    /// The error, with the stage and the item.
    fn item(self, stage: Stage, item: u16) -> Result<T, Failed>;
}

impl<T> At<T> for sys::Result<T> {
    fn at(self, stage: Stage) -> Result<T, Failed> {
        self.item(stage, 0)
    }

    fn item(self, stage: Stage, item: u16) -> Result<T, Failed> {
        self.map_err(|errno| Failed { stage, item, errno })
    }
}

/// More about a failure, as text. What does not fit is cut.
#[derive(Debug)]
pub struct Detail {
    bytes: [u8; DETAIL_LENGTH],
    length: usize,
}

impl Detail {
    /// No text.
    pub const EMPTY: Self = Self { bytes: [0; DETAIL_LENGTH], length: 0 };

    /// Forgets the text.
    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// Appends `text`.
    pub fn push(&mut self, text: &[u8]) {
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(text) {
            *to = *from;
            self.length += 1;
        }
    }

    /// Replaces the text by the parts, one behind the other.
    pub fn set(&mut self, parts: &[&[u8]]) {
        self.clear();
        parts.iter().for_each(|part| self.push(part));
    }

    /// Keeps the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Appends `text` and, where that is too long, forgets the beginning.
    pub fn push_tail(&mut self, text: &[u8]) {
        let text = text.get(text.len().saturating_sub(DETAIL_LENGTH)..).unwrap_or(text);
        let excess = (self.length + text.len()).saturating_sub(DETAIL_LENGTH);
        self.bytes.copy_within(excess.min(self.length)..self.length, 0);
        self.length -= excess.min(self.length);
        self.push(text);
    }

    /// The text.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The number of the descriptor that frames go to. For the panic handler's sake this is no field of anything.
static CHANNEL: AtomicI32 = AtomicI32::new(i32::MAX);

/// From now on frames go to this socket, or to the start fifo.
pub fn to(channel: FdRef<'static>) {
    CHANNEL.store(channel.number(), Ordering::Relaxed);
}

/// Sends a frame where frames go now.
///
/// # Errors
/// Those of write(2).
pub fn send(frame: &Frame<'_>) -> sys::Result<()> {
    let bytes = frame.encode();
    // write(2) to a socket too, for that is what a filter that runc starts under lets pass. SIGPIPE, as all signals, is blocked.
    // To the fifo 256 bytes, less than PIPE_BUF, go as one or not at all.
    fs::write(FdRef::inherited(CHANNEL.load(Ordering::Relaxed)), &bytes).map(drop)
}

/// Sends the failure of op `op`.
pub fn failed(op: u16, failed: Failed, detail: &Detail) {
    // Where it cannot be sent, who would read it is gone; init exits all the same.
    let sent = send(&Frame::Failed(failure(op, failed, detail)));
    sent.unwrap_or_default();
}

/// Sends a warning about op `op`.
///
/// # Errors
/// Those of [`send`].
pub fn warned(op: u16, failed: Failed, detail: &Detail) -> sys::Result<()> {
    send(&Frame::Warned(failure(op, failed, detail)))
}

fn failure(op: u16, failed: Failed, detail: &Detail) -> Failure<'_> {
    let Failed { stage, item, errno } = failed;
    Failure { op, stage, item, errno: errno.0, detail: detail.bytes() }
}

/// What the image's panic handler does: reports a bug and exits. A crash of pid 1 would look like SIGSEGV outside.
pub fn panicked(file: &str) -> ! {
    let mut detail = Detail::EMPTY;
    detail.set(&[b"panic in ", file.as_bytes()]);
    failed(u16::MAX, Failed::new(Stage::Plan, Errno::NONE), &detail);
    sys::exit(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detail_that_is_too_long_is_cut() {
        let mut detail = Detail::EMPTY;
        detail.set(&[b"ab", &[b'x'; DETAIL_LENGTH], b"c"]);
        assert_eq!(detail.bytes().len(), DETAIL_LENGTH);
        assert!(detail.bytes().starts_with(b"abxx") && detail.bytes().ends_with(b"xx"));
    }

    #[test]
    fn detail_tail_of_long_output_keeps_the_end() {
        let mut detail = Detail::EMPTY;
        detail.push_tail(b"first ");
        detail.push_tail(&[b'x'; DETAIL_LENGTH - 8]);
        detail.push_tail(b" last");
        assert_eq!(detail.bytes().len(), DETAIL_LENGTH);
        assert!(detail.bytes().starts_with(b"st xx") && detail.bytes().ends_with(b"xx last"));
        detail.push_tail(&[b'y'; 2 * DETAIL_LENGTH]);
        assert_eq!(detail.bytes(), [b'y'; DETAIL_LENGTH]);
    }
}
