//! A container as the tests see it: a plan, a root file system, and the runtime's side of the socket.

#![allow(
    unsafe_code,
    reason = "the runtime's system calls, without the library that is tested elsewhere"
)]

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use corten_plan::frame::{FIFO_FILL, FRAME_LENGTH};
use corten_plan::{Frame, Op, PlanWriter, Point};

use crate::{elf, image};

/// All namespaces that the default bundle has; the cgroup namespace is made by init.
pub const NAMESPACES: u64 = 0x0002_0000 | 0x2000_0000 | 0x0800_0000 | 0x0400_0000 | 0x4000_0000;
const CLONE_PIDFD: u64 = 0x1000;
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

pub struct Container {
    directory: tempfile::TempDir,
    plan: PlanWriter,
    pub plan_flags: u32,
    pub namespaces: u64,
    /// What hooks read.
    pub state: Option<&'static [u8]>,
    console: Option<OwnedFd>,
    /// Called at each point with the pid.
    pub at: Option<Box<dyn Fn(Point, i32)>>,
    /// Called after it has ended.
    pub after: Option<Box<dyn Fn()>>,
    /// The runtime dies here.
    pub hang_up_at: Option<Point>,
    /// How long `start` lets it wait.
    pub start_after: Duration,
    /// fd 90 of init.
    pub leak: Option<File>,
    /// [`corten_plan::Handle::FIRST_FREE`].
    pub joined: Option<File>,
    /// Whether the last byte of the plan is changed.
    pub damage: bool,
}

/// The other end of the console socket.
pub struct Console(OwnedFd);

impl Console {
    /// The payload, and what comes out of the terminal until its end.
    pub fn receive(&self) -> (String, String) {
        let mut name = [0; 64];
        let (count, master) = receive_bytes(&self.0, &mut name);
        let mut text = Vec::new();
        // EIO: nobody has the other end open any more.
        drop(File::from(master.unwrap()).read_to_end(&mut text));
        let owned = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (owned(&name[..count]), owned(&text))
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// stdout and stderr.
    pub output: String,
    /// Exit code, or 128 and the signal.
    pub status: i32,
    /// The frames on the socket, then those in the fifo.
    pub frames: Vec<Seen>,
    /// With `FLAG_TRACE`.
    pub times: Vec<[u64; 2]>,
}

/// A frame, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Reached(Point),
    Forked,
    Failed(Failure),
    Warned(Failure),
    Listener(i32),
    Network,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub op: u16,
    pub stage: corten_plan::Stage,
    pub item: u16,
    pub errno: i32,
    pub detail: String,
}

impl Container {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = directory.path().join("rootfs");
        for path in ["bin", "etc", "proc", "sys", "dev", "tmp", "home"] {
            fs::create_dir_all(rootfs.join(path)).unwrap();
        }
        // By another process: what this one has open for writing, other threads hand on to the children that they start at
        // that moment, and then nobody can execute it (ETXTBSY).
        let busybox = rootfs.join("bin/busybox");
        let copied = std::process::Command::new("cp").arg("/bin/busybox").arg(busybox).status();
        assert!(copied.unwrap().success());
        for applet in [
            "sh", "true", "cat", "ls", "id", "mount", "stat", "grep", "env", "readlink", "sleep",
            "tty", "stty",
        ] {
            std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
        fs::write(
            rootfs.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home:\n",
        )
        .unwrap();
        Self {
            directory,
            plan: PlanWriter::default(),
            plan_flags: corten_plan::wire::FLAG_EXPECT_PID1,
            namespaces: NAMESPACES,
            state: None,
            console: None,
            at: None,
            after: None,
            hang_up_at: None,
            start_after: Duration::ZERO,
            leak: None,
            joined: None,
            damage: false,
        }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn rootfs(&self) -> PathBuf {
        self.directory.path().join("rootfs")
    }

    pub fn rootfs_path(&self) -> CString {
        CString::new(self.rootfs().as_os_str().as_bytes()).unwrap()
    }

    pub fn console(&mut self) -> Console {
        let (ours, theirs) = socket_pair(libc::SOCK_STREAM);
        self.console = Some(theirs);
        Console(ours)
    }

    pub fn push(&mut self, op: &Op<'_>) -> u16 {
        self.plan.push(op).try_into().unwrap()
    }

    /// Starts init and plays the runtime and `start`.
    pub fn run(mut self) -> Outcome {
        let plan = std::mem::take(&mut self.plan);
        let ops = plan.ops() as usize;
        let mut plan = plan.finish(self.plan_flags).unwrap();
        if self.damage {
            *plan.last_mut().unwrap() ^= 1;
        }
        let (plan, times) = (memfd(&plan), memfd(&vec![0; ops * 16]));
        let (socket, theirs) = socket_pair(libc::SOCK_SEQPACKET);
        let fifo = start_fifo(&self.directory.path().join("exec.fifo"));
        let (output, input) = pipe();
        let joined = self.joined.take().map(OwnedFd::from);
        let handles = [
            Some(&plan),
            Some(&theirs),
            Some(&fifo),
            self.console.as_ref(),
            Some(&times),
            joined.as_ref(),
        ];
        let (pid, pidfd) = spawn(&handles, &input, self.leak.as_ref(), self.namespaces);
        drop((input, theirs, self.console.take()));
        let reader = std::thread::spawn(move || read_all(output));
        let (mut frames, status) = self.converse(socket, &fifo, pid, pidfd);
        frames.extend(frames_in(fifo));
        if let Some(after) = &self.after {
            after();
        }
        Outcome { output: reader.join().unwrap(), status, frames, times: read_times(times) }
    }

    /// The runtime's side of the socket, until the container has ended.
    fn converse(
        &self,
        socket: OwnedFd,
        fifo: &OwnedFd,
        mut pid: i32,
        mut pidfd: OwnedFd,
    ) -> (Vec<Seen>, i32) {
        let mut frames = Vec::new();
        while let Some((frame, fd)) = receive(&socket) {
            match (&frame, fd) {
                (Seen::Reached(point), _) if self.hang_up_at == Some(*point) => break,
                (Seen::Reached(point), _) => {
                    if let Some(at) = &self.at {
                        at(*point, pid);
                    }
                    go(&socket, self.state.map(memfd).as_ref());
                    if *point == Point::Ready {
                        assert!(!has_ended(&pidfd, self.start_after));
                        read_exactly(fifo, FIFO_FILL.len());
                    }
                }
                (Seen::Forked, Some(fd)) => {
                    assert_eq!(wait(&pidfd), 0);
                    (pid, pidfd) = (pid_of(&fd), fd);
                }
                _ => {}
            }
            frames.push(frame);
        }
        drop(socket);
        (frames, wait(&pidfd))
    }
}

impl Outcome {
    /// The failure that init reported.
    pub fn failure(&self) -> &Failure {
        let failed = |frame: &'_ Seen| matches!(frame, Seen::Failed(_));
        match self.frames.iter().find(|frame| failed(frame)) {
            Some(Seen::Failed(failure)) => failure,
            _ => panic!("no failure: {self:?}"),
        }
    }
}

/// Strings as a plan's list has them.
pub fn list(strings: &[&str]) -> Vec<u8> {
    strings.iter().flat_map(|string| string.bytes().chain([0])).collect()
}

/// The image, linked once.
fn image() -> &'static OwnedFd {
    static IMAGE: OnceLock<OwnedFd> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let out = tempfile::tempdir().unwrap();
        let source = Path::new(corten_init::SOURCE_DIR).join("src");
        let plan = Path::new(corten_init::PLAN_SOURCE_DIR).join("src/lib.rs");
        let toolchain = image::Toolchain {
            rustc: "rustc".into(),
            target: format!("{}-unknown-linux-gnu", std::env::consts::ARCH),
            fallback_linker: Some("cc".into()),
            link_flags: &[],
        };
        toolchain.libraries(&plan, &source.join("lib.rs"), out.path()).unwrap();
        let libraries = ["corten_init", "corten_plan"];
        let linked = toolchain.program(&source.join("image.rs"), &libraries, out.path()).unwrap();
        memfd(&elf::strip(&fs::read(linked).unwrap()).unwrap())
    })
}

fn owned(number: i32) -> OwnedFd {
    assert!(number >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: a system call has just given us this number.
    unsafe { OwnedFd::from_raw_fd(number) }
}

fn memfd(contents: &[u8]) -> OwnedFd {
    // SAFETY: the name ends with a NUL.
    let fd = owned(unsafe { libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC) });
    let mut file = File::from(fd);
    file.write_all(contents).unwrap();
    file.into()
}

fn socket_pair(kind: i32) -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    let kind = kind | libc::SOCK_CLOEXEC;
    // SAFETY: `ends` has room for two descriptors.
    let made = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) };
    assert_eq!(made, 0);
    (owned(ends[0]), owned(ends[1]))
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for two descriptors.
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    (owned(ends[0]), owned(ends[1]))
}

fn start_fifo(path: &Path) -> OwnedFd {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path ends with a NUL.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    // SAFETY: the path ends with a NUL.
    let fifo = owned(unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) });
    // SAFETY: no pointers.
    let size = unsafe { libc::fcntl(fifo.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
    assert_eq!(size, 4096);
    let mut file = File::from(fifo);
    file.write_all(&FIFO_FILL).unwrap();
    file.into()
}

/// Starts the image as the runtime does, but for the shared memory.
fn spawn(
    inherited: &[Option<&OwnedFd>],
    output: &OwnedFd,
    leak: Option<&File>,
    namespaces: u64,
) -> (i32, OwnedFd) {
    let input = File::open("/dev/null").unwrap();
    let image = image().as_raw_fd();
    let numbers = inherited.iter().map(|fd| fd.map_or("-".into(), |fd| fd.as_raw_fd().to_string()));
    let table = CString::new(numbers.collect::<Vec<String>>().join(",")).unwrap();
    let argv = [c"init".as_ptr(), table.as_ptr(), std::ptr::null()];
    let envp = [std::ptr::null::<libc::c_char>()];
    let mut pidfd = -1i32;
    let flags = namespaces | CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
    let mut args = [0u64; 11];
    (args[0], args[1], args[4]) = (flags, &raw mut pidfd as u64, 17);
    // SAFETY: `args` is a `struct clone_args`; without CLONE_VM the child has its own memory, and makes only system calls.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, args.as_mut_ptr(), 88usize) };
    if pid == 0 {
        #[expect(
            clippy::multiple_unsafe_ops_per_block,
            reason = "the child: system calls, one after another"
        )]
        // SAFETY: system calls on numbers and on memory that was prepared before.
        unsafe {
            let mut all = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
            libc::dup2(input.as_raw_fd(), 0);
            libc::dup2(output.as_raw_fd(), 1);
            libc::dup2(output.as_raw_fd(), 2);
            if let Some(leak) = leak {
                libc::dup2(leak.as_raw_fd(), 90);
            }
            for fd in inherited.iter().flatten() {
                libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0);
            }
            libc::syscall(
                libc::SYS_execveat,
                image,
                c"".as_ptr(),
                argv.as_ptr(),
                envp.as_ptr(),
                libc::AT_EMPTY_PATH,
            );
            libc::_exit(126);
        }
    }
    assert!(pid > 0, "{}", std::io::Error::last_os_error());
    (pid.try_into().unwrap(), owned(pidfd))
}

fn receive(socket: &OwnedFd) -> Option<(Seen, Option<OwnedFd>)> {
    let mut bytes = [0u8; FRAME_LENGTH];
    match receive_bytes(socket, &mut bytes) {
        (FRAME_LENGTH, fd) => Some((seen(&bytes), fd)),
        _ => None,
    }
}

fn receive_bytes(socket: &OwnedFd, bytes: &mut [u8]) -> (usize, Option<OwnedFd>) {
    let mut control = [0u64; 8];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: all zero is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), 64);
    // SAFETY: the message points to `bytes` and `control`, which outlive the call.
    let count =
        unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    // The header is 16 bytes.
    let fd = (message.msg_controllen > 0).then(|| owned(i32::try_from(control[2]).unwrap()));
    (usize::try_from(count).unwrap_or(0), fd)
}

fn has_ended(pidfd: &OwnedFd, within: Duration) -> bool {
    let mut file = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd.
    unsafe { libc::poll(&raw mut file, 1, within.as_millis().try_into().unwrap()) > 0 }
}

fn seen(bytes: &[u8]) -> Seen {
    let owned = |failure: corten_plan::Failure<'_>| Failure {
        op: failure.op,
        stage: failure.stage,
        item: failure.item,
        errno: failure.errno,
        detail: String::from_utf8_lossy(failure.detail).into_owned(),
    };
    match Frame::decode(bytes).unwrap() {
        Frame::Reached(point) => Seen::Reached(point),
        Frame::Forked => Seen::Forked,
        Frame::Failed(failure) => Seen::Failed(owned(failure)),
        Frame::Warned(failure) => Seen::Warned(owned(failure)),
        Frame::Listener { number } => Seen::Listener(number),
        Frame::Source { .. } => panic!("init asked for a source"),
        Frame::IdMap { .. } => panic!("init sent an id-mapped mount"),
        Frame::Network => Seen::Network,
        Frame::Go { .. } => panic!("init sent Go"),
    }
}

fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap()
}

fn go(socket: &OwnedFd, state: Option<&OwnedFd>) {
    let mut bytes = Frame::Go { ignored: ignored_signals() | 1 << (libc::SIGPIPE - 1) }.encode();
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: all zero is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    let mut control = [20u64, 1 | 1 << 32, 0];
    if let Some(state) = state {
        control[2] = state.as_raw_fd().try_into().unwrap();
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), 24);
    }
    // SAFETY: the message points to `bytes` and `control`, which outlive the call.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    assert_eq!(sent, FRAME_LENGTH as isize, "{}", std::io::Error::last_os_error());
}

fn wait(pidfd: &OwnedFd) -> i32 {
    // SAFETY: all zero is a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let id = pidfd.as_raw_fd().try_into().unwrap();
    // SAFETY: the kernel writes to `info`.
    let waited =
        unsafe { libc::waitid(libc::P_PIDFD, id, &raw mut info, libc::WEXITED | libc::__WALL) };
    assert_eq!(waited, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: waitid has filled `info` for a child.
    let status = unsafe { info.si_status() };
    if info.si_code == libc::CLD_EXITED { status } else { 128 + status }
}

fn pid_of(pidfd: &OwnedFd) -> i32 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap();
    pid.trim().parse().unwrap()
}

fn read_all(from: OwnedFd) -> String {
    let mut bytes = Vec::new();
    File::from(from).read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn read_exactly(from: &OwnedFd, count: usize) {
    let mut file = File::from(from.try_clone().unwrap());
    file.read_exact(&mut vec![0; count]).unwrap();
}

/// The frames that init wrote after [`corten_plan::frame::STARTED`].
fn frames_in(fifo: OwnedFd) -> Vec<Seen> {
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::fcntl(fifo.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }, 0);
    let mut bytes = [0; FIFO_FILL.len()];
    let count = File::from(fifo).read(&mut bytes).unwrap_or(0);
    match &bytes[..count] {
        [b'0', frames @ ..] => frames.chunks(FRAME_LENGTH).map(seen).collect(),
        _ => Vec::new(),
    }
}

fn read_times(times: OwnedFd) -> Vec<[u64; 2]> {
    let mut file = File::from(times);
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap());
    bytes.chunks(16).map(|pair| [number(&pair[..8]), number(&pair[8..])]).collect()
}
