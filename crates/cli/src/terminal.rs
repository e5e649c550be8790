//! The terminal of a container in the foreground: bytes both ways, size, and the modes of the host's terminal.
//!
//! Runs in: runtime.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, read, write};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{
    LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios, isatty, tcgetattr,
    tcgetpgrp, tcgetwinsize, tcsetattr, tcsetwinsize,
};

/// As much as a pty gives in one read.
const CHUNK: usize = 4096;

/// What can be left in a pty when its last writer ends: the kernel keeps 64 KiB and a line discipline's 4 KiB. More than that
/// after the end of init comes from processes that go on, and those must not keep us.
const LEFTOVER: usize = 128 * 1024;

/// The master of the container's terminal, and what is under way between it and our stdio.
#[derive(Debug)]
pub struct Terminal {
    master: OwnedFd,
    /// Held open so that a container whose processes close the terminal for a while (systemd and its console) is not taken
    /// for one that has ended. Gone when init has ended.
    slave: Option<OwnedFd>,
    host: HostTerminal,
    input: Stream,
    output: Stream,
    /// Our input has ended, and the container was told.
    end: Option<End>,
}

/// The end of the input, as it was typed at last.
#[derive(Debug)]
struct End {
    /// The mode of the terminal then.
    mode: Mode,
    /// Whether the mode has stayed since the program has written last.
    is_settled: bool,
}

/// What makes an end of file of a byte: whether lines are edited by the kernel, and the byte.
type Mode = (bool, u8);

/// How long after its output a program may go over to another mode of the terminal.
const SETTLING: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Bytes that were read and not yet written.
#[derive(Debug, Default)]
struct Stream {
    pending: Vec<u8>,
    /// Nothing more is read.
    is_ended: bool,
    /// All bytes so far.
    total: usize,
    /// The last byte so far.
    last: Option<u8>,
}

impl Terminal {
    /// Takes the master that init has sent to `socket`; `None`: the container has no terminal.
    ///
    /// To be called when init has set up the terminal and before it executes the program, so that the program finds the right
    /// size and modes.
    pub fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        let Some(master) = receive_fd(socket)? else { return Ok(None) };
        let slave = ioctl_tiocgptpeer(
            &master,
            OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
        )?;
        fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
        let host = HostTerminal::enter_raw();
        if !host.prints_raw() {
            leave_newlines_alone(&master)?;
        }
        let (input, output) = (Stream::default(), Stream::default());
        let terminal = Self { master, slave: Some(slave), host, input, output, end: None };
        if terminal.size().is_none() {
            terminal.resize();
        }
        Ok(Some(terminal))
    }

    /// Adds what this waits for to `fds`.
    pub fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        let mut master = PollFlags::empty();
        if self.output.wants_more() {
            master |= PollFlags::IN;
        } else if !self.output.pending.is_empty() {
            fds.push(PollFd::from_borrowed_fd(stdout(), PollFlags::OUT));
        }
        if !self.input.pending.is_empty() {
            master |= PollFlags::OUT;
        } else if self.reads_stdin() {
            fds.push(PollFd::from_borrowed_fd(stdin(), PollFlags::IN));
        }
        // Without an event to wait for, a hang-up would still wake us for ever.
        if !master.is_empty() {
            fds.push(PollFd::from_borrowed_fd(self.master.as_fd(), master));
        }
    }

    /// How long to wait at most for what [`Self::watch`] has added.
    pub fn patience(&self) -> Option<&'static Timespec> {
        self.end.as_ref().filter(|end| !end.is_settled).map(|_| &SETTLING)
    }

    /// It was waited so long, and nothing came.
    pub fn settle(&mut self) {
        if let Some(end) = &mut self.end {
            end.is_settled = true;
        }
    }

    /// Moves what can be moved without waiting.
    pub fn relay(&mut self) {
        self.relay_input();
        self.relay_output();
        self.end_input_again();
    }

    fn relay_input(&mut self) {
        if self.reads_stdin() && self.input.pending.is_empty() && is_ready(stdin(), PollFlags::IN) {
            self.input.fill(stdin());
            if self.input.is_ended {
                self.end_input();
            }
        }
        self.input.empty_into(self.master.as_fd());
    }

    /// Types the end-of-file character, as script(1) does, so that a shell that reads a pipe ends with it. After half a line the
    /// first one only sends the line.
    fn end_input(&mut self) {
        let count = if self.input.last.is_none_or(|last| last == b'\n') { 1 } else { 2 };
        self.type_end(count);
    }

    /// Whoever goes over to another mode has lost the end that was typed before: a shell that edits its lines itself reads a NUL
    /// for it (`n_tty_set_termios` of the kernel).
    fn end_input_again(&mut self) {
        let lost = |end: &End| self.mode().is_some_and(|mode| mode != end.mode);
        if self.slave.is_some()
            && self.input.pending.is_empty()
            && self.end.as_ref().is_some_and(lost)
        {
            self.type_end(1);
            self.input.empty_into(self.master.as_fd());
        }
    }

    fn type_end(&mut self, count: usize) {
        let Some(mode) = self.mode() else { return };
        self.input.pending.extend(std::iter::repeat_n(mode.1, count));
        self.end = Some(End { mode, is_settled: false });
    }

    fn mode(&self) -> Option<Mode> {
        let termios = tcgetattr(&self.master).ok()?;
        let is_canonical = termios.local_modes.contains(LocalModes::ICANON);
        Some((is_canonical, termios.special_codes[SpecialCodeIndex::VEOF]))
    }

    fn relay_output(&mut self) {
        if self.output.wants_more() {
            let is_over = self.output.fill(self.master.as_fd()) == Filled::Nothing;
            if let (false, Some(end)) = (is_over, &mut self.end) {
                end.is_settled = false;
            }
            let is_too_much = self.output.total > LEFTOVER;
            if self.slave.is_none() && (is_over || is_too_much) {
                self.output.is_ended = true;
            }
        }
        if !self.output.pending.is_empty() && is_ready(stdout(), PollFlags::OUT) {
            self.output.empty_into(stdout());
        }
    }

    /// init has ended: what it has written before is still to be relayed.
    pub fn finish(&mut self) {
        self.slave = None;
        self.end = None;
        self.input = Stream { is_ended: true, ..Stream::default() };
        self.output.total = 0;
    }

    /// All of the output is written.
    pub fn is_finished(&self) -> bool {
        self.output.is_ended && self.output.pending.is_empty()
    }

    fn reads_stdin(&self) -> bool {
        !self.input.is_ended && self.host.may_read()
    }

    /// Gives the container's terminal the size of ours.
    pub fn resize(&self) {
        let ours = [stdout(), stdin(), stderr()].into_iter().find_map(|fd| tcgetwinsize(fd).ok());
        if let Some(size) = ours {
            // It fails only when the terminal is gone.
            tcsetwinsize(&self.master, size).ok();
        }
    }

    /// We were stopped, or in the background, and go on: a shell has changed the modes meanwhile.
    pub fn resume(&mut self) {
        self.host.resume();
        self.resize();
    }

    /// `None`: no size was set yet (process.consoleSize).
    fn size(&self) -> Option<(u16, u16)> {
        let size = tcgetwinsize(&self.master).ok()?;
        Some((size.ws_row, size.ws_col)).filter(|size| *size != (0, 0))
    }
}

/// What came of a read.
#[derive(Debug, PartialEq, Eq)]
enum Filled {
    Something,
    /// Nothing for now.
    Nothing,
}

impl Stream {
    fn wants_more(&self) -> bool {
        !self.is_ended && self.pending.is_empty()
    }

    fn fill(&mut self, from: BorrowedFd<'_>) -> Filled {
        let mut buffer = [0; CHUNK];
        match read(from, &mut buffer) {
            Err(Errno::AGAIN | Errno::INTR) => return Filled::Nothing,
            // EIO of a master: nobody has the terminal open any more. Of a slave: it has hung up.
            Ok(0) | Err(_) => self.is_ended = true,
            Ok(count) => {
                self.pending.extend(buffer.iter().take(count));
                self.total = self.total.saturating_add(count);
                self.last = self.pending.last().copied();
            }
        }
        Filled::Something
    }

    fn empty_into(&mut self, to: BorrowedFd<'_>) {
        if self.pending.is_empty() {
            return;
        }
        match write(to, &self.pending) {
            Ok(count) => drop(self.pending.drain(..count.min(self.pending.len()))),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Nobody reads it any more; the other side is not to be blocked by that.
            Err(_) => self.pending.clear(),
        }
    }
}

/// The terminal that we were called on, if any; its modes are restored when this is dropped.
#[derive(Debug)]
struct HostTerminal {
    /// Of stdin, before and while we relay; `None`: stdin is no terminal.
    modes: Option<(Termios, Termios)>,
    is_raw: bool,
}

impl HostTerminal {
    fn enter_raw() -> Self {
        let modes = tcgetattr(stdin()).ok().map(|saved| {
            let mut raw = saved.clone();
            raw.make_raw();
            (saved, raw)
        });
        let mut host = Self { modes, is_raw: false };
        host.resume();
        host
    }

    /// From the background the modes are the shell's, and a read would be an error (SIGTTIN is blocked).
    fn resume(&mut self) {
        if let Some((_, raw)) = &self.modes {
            self.is_raw = is_foreground() && tcsetattr(stdin(), OptionalActions::Now, raw).is_ok();
        }
    }

    fn may_read(&self) -> bool {
        self.modes.is_none() || self.is_raw
    }

    /// Whether our output goes to a terminal that adds no carriage returns: then the container's has to.
    fn prints_raw(&self) -> bool {
        self.is_raw && isatty(stdout())
    }
}

impl Drop for HostTerminal {
    fn drop(&mut self) {
        if let Some((saved, _)) = &self.modes
            && self.is_raw
        {
            // It fails only when the terminal is gone.
            tcsetattr(stdin(), OptionalActions::Now, saved).ok();
        }
    }
}

/// Where stdin is not our controlling terminal there is no job control, and no background.
fn is_foreground() -> bool {
    tcgetpgrp(stdin()).map_or(true, |group| group == rustix::process::getpgrp())
}

/// Keeps the container's terminal from writing `\r\n` for `\n` into a file or pipe (runc does so in the foreground, too).
fn leave_newlines_alone(master: &OwnedFd) -> io::Result<()> {
    let mut termios = tcgetattr(master)?;
    termios.output_modes.remove(OutputModes::ONLCR);
    Ok(tcsetattr(master, OptionalActions::Now, &termios)?)
}

/// Whether it can be read or written without waiting, be it an end or an error.
fn is_ready(fd: BorrowedFd<'_>, flags: PollFlags) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// The fd of the one message in `socket`; `None`: there is no message.
fn receive_fd(socket: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; CHUNK];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    match recvmsg(socket, &mut [IoSliceMut::new(&mut name)], &mut control, flags) {
        Ok(_) => {}
        Err(Errno::AGAIN) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    }
    Ok(control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    }))
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    use rustix::net::{SocketFlags, SocketType, sendmsg, socketpair};
    use rustix::pipe::{PipeFlags, pipe_with};
    use rustix::pty::{openpt, unlockpt};

    use super::*;

    fn pty() -> (OwnedFd, OwnedFd) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
        fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK).unwrap();
        (master, slave)
    }

    /// Without a host's terminal: stdin of a test is not ours.
    fn terminal() -> Terminal {
        let (master, slave) = pty();
        let host = HostTerminal { modes: None, is_raw: false };
        let (input, output) = (Stream::default(), Stream::default());
        Terminal { master, slave: Some(slave), host, input, output, end: None }
    }

    #[test]
    fn stream_keeps_what_a_full_pipe_does_not_take() {
        let (reader, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
        let bytes: Vec<u8> = (0..200_000).map(|index: u32| index.to_le_bytes()[0]).collect();
        let mut stream = Stream { pending: bytes.clone(), ..Stream::default() };
        let mut received = Vec::new();
        while received.len() < bytes.len() {
            stream.empty_into(writer.as_fd());
            let mut other = Stream::default();
            other.fill(reader.as_fd());
            received.extend(other.pending);
        }
        assert!(stream.pending.is_empty());
        assert_eq!(received, bytes);
    }

    #[test]
    fn stream_to_a_closed_pipe_is_thrown_away() {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        drop(reader);
        let mut stream = Stream { pending: vec![1], ..Stream::default() };
        stream.empty_into(writer.as_fd());
        assert!(stream.pending.is_empty());
    }

    #[test]
    fn output_is_over_when_the_pty_is_closed_and_not_before() {
        let mut terminal = terminal();
        write(terminal.slave.as_ref().unwrap(), b"last").unwrap();
        assert_eq!(terminal.output.fill(terminal.master.as_fd()), Filled::Something);
        assert_eq!(terminal.output.pending, b"last");
        assert_eq!(terminal.output.fill(terminal.master.as_fd()), Filled::Nothing);
        assert!(!terminal.output.is_ended);
        terminal.finish();
        terminal.output.fill(terminal.master.as_fd());
        assert!(terminal.output.is_ended);
    }

    #[test]
    fn output_of_init_is_there_after_its_end() {
        let mut terminal = terminal();
        write(terminal.slave.as_ref().unwrap(), b"last").unwrap();
        terminal.finish();
        terminal.output.fill(terminal.master.as_fd());
        assert_eq!(terminal.output.pending, b"last");
        assert!(!terminal.is_finished());
    }

    #[test]
    fn end_of_stdin_is_typed_as_the_end_of_file_character() {
        for (last, typed) in [(None, vec![4]), (Some(b'\n'), vec![4]), (Some(b'x'), vec![4, 4])] {
            let mut terminal = terminal();
            terminal.input.last = last;
            terminal.end_input();
            assert_eq!(terminal.input.pending, typed, "{last:?}");
        }
    }

    #[test]
    fn end_of_stdin_is_typed_again_in_another_mode() {
        let mut terminal = terminal();
        let slave = terminal.slave.as_ref().unwrap().try_clone().unwrap();
        terminal.end_input();
        terminal.input.empty_into(terminal.master.as_fd());
        assert!(terminal.patience().is_some());
        terminal.settle();
        assert!(terminal.patience().is_none());
        terminal.end_input_again();
        assert!(terminal.patience().is_none());
        let mut raw = tcgetattr(&slave).unwrap();
        raw.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &raw).unwrap();
        terminal.end_input_again();
        assert!(terminal.patience().is_some());
        // The first of them is a NUL, unless the kernel had not moved it to the slave yet.
        let mut typed = Vec::new();
        while typed.len() < 2 {
            let mut buffer = [0; 2];
            let count = read(&slave, &mut buffer).unwrap();
            typed.extend(buffer.iter().take(count));
        }
        assert!(matches!(typed[..], [0 | 4, 4]), "{typed:?}");
    }

    #[test]
    fn newline_stays_alone_only_when_told() {
        for (alone, expected) in [(false, b"a\r\n".as_slice()), (true, b"a\n")] {
            let mut terminal = terminal();
            if alone {
                leave_newlines_alone(&terminal.master).unwrap();
            }
            write(terminal.slave.as_ref().unwrap(), b"a\n").unwrap();
            terminal.output.fill(terminal.master.as_fd());
            assert_eq!(terminal.output.pending, expected);
        }
    }

    #[test]
    fn fd_is_received_once_it_was_sent() {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        assert!(receive_fd(ours.as_fd()).unwrap().is_none());
        let (master, _slave) = pty();
        let fds = [master.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        let name = [io::IoSlice::new(b"/dev/pts/0")];
        sendmsg(&theirs, &name, &mut control, SendFlags::empty()).unwrap();
        let received = receive_fd(ours.as_fd()).unwrap().unwrap();
        assert!(isatty(received));
        drop(theirs);
        assert!(receive_fd(ours.as_fd()).unwrap().is_none());
    }
}
