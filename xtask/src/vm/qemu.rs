//! Runs QEMU: the devices, the ports that carry output and result, the end.
//!
//! Runs in: any process.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::machine::{self, stdout_of};

/// `quiet` and what else makes an emulated kernel boot fast; a panic ends QEMU (`-no-reboot`). `no_timer_check`: on a busy machine the
/// emulated timer may seem dead to the kernel, which panics for it.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off nokaslr audit=0 tsc=reliable no_timer_check \
                                random.trust_cpu=on";
/// No colours and no status lines on an emulated serial line; the kernel counts pressure, as Debian's would not.
const SYSTEMD_ARGUMENTS: &str = "vm.systemd systemd.show_status=0 systemd.log_color=0 psi=1";
/// The numbers of init.sh: stdout, stderr, result.
const PORTS: [&str; 3] = ["stdout", "stderr", "result"];

/// What to boot.
#[derive(Debug)]
pub struct Machine {
    pub qemu: PathBuf,
    pub kernel: PathBuf,
    pub initramfs: PathBuf,
    /// What init goes on into; what is written there is gone afterwards.
    pub disk: Option<PathBuf>,
    pub share: Option<PathBuf>,
    pub memory: u32,
    pub processors: u32,
    pub append: String,
    /// For sockets and the console's text.
    pub directory: PathBuf,
}

/// How the VM ended.
#[derive(Debug)]
pub struct Ended {
    pub result: Outcome,
    /// Seconds from the kernel's start to the command's.
    pub uptime: Option<String>,
    pub console: String,
    /// What the command wrote to stdout.
    pub stdout: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Exited(u8),
    TimedOut,
    Died,
}

/// A process that ends with this one, whatever ends it.
#[derive(Debug)]
struct Bound(Child);

impl Bound {
    fn spawn(command: &Command, log: &Path) -> Result<Self> {
        let log = fs::OpenOptions::new().append(true).create(true).open(log)?;
        let mut bound = Command::new("setpriv");
        bound.args(["--pdeathsig", "KILL"]).arg(command.get_program()).args(command.get_args());
        bound.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Ok(Self(bound.spawn().with_context(|| machine::line(&bound))?))
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Machine {
    /// Boots, passes the command's output on, and ends the VM as soon as it sent its result or the time is up.
    pub fn run(&self, timeout: Duration) -> Result<Ended> {
        let deadline = Instant::now() + timeout;
        let share = self.share.as_deref().map(|share| self.share(share)).transpose()?;
        let listeners = PORTS.map(|port| UnixListener::bind(self.socket(port)));
        let mut command = Command::new(&self.qemu);
        command.args(self.arguments()?);
        let mut qemu = Bound::spawn(&command, &self.log())?;
        let mut streams = Vec::new();
        for listener in listeners {
            streams.push(accept(&listener?, &mut qemu).with_context(|| self.said())?);
        }
        let [stdout, stderr, result] =
            <[UnixStream; 3]>::try_from(streams).map_err(|_| anyhow!("there are three ports"))?;
        let copies = [copy(stdout, io::stdout()), copy(stderr, io::stderr())];
        let (result, uptime) = wait(result, deadline)?;
        // A port's write in the VM returns when QEMU has passed the bytes on: all output is in our sockets by now.
        drop(qemu);
        let mut copied = copies.into_iter().map(|copy| {
            copy.join().map_err(|_| anyhow!("a copying thread ended badly"))?.context("output")
        });
        let stdout = copied.next().context("there are two copies")??;
        copied.try_for_each(|copied| copied.map(drop))?;
        drop(share);
        let console = fs::read(self.directory.join("console")).unwrap_or_default();
        let [console, stdout] =
            [console, stdout].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(Ended { result, uptime, console, stdout })
    }

    fn arguments(&self) -> Result<Vec<String>> {
        let memory = format!("memory-backend-memfd,id=memory,size={}M,share=on", self.memory);
        let console = format!("file,id=console,path={}", self.directory.join("console").display());
        let share = if self.share.is_some() { "vm.share" } else { "" };
        let systemd = if self.disk.is_some() { SYSTEMD_ARGUMENTS } else { "" };
        let append = format!("{KERNEL_ARGUMENTS} {systemd} {share} {}", self.append);
        let fixed = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"];
        let mut words: Vec<String> = fixed.map(str::to_owned).to_vec();
        let mut add = |flag: &str, value: &str| words.extend([flag.to_owned(), value.to_owned()]);
        // `pc` boots a quarter of a second faster than `q35`, and microvm no faster than that.
        add("-machine", "pc,usb=off,vmport=off,smm=off");
        add("-accel", &accelerator());
        add("-cpu", self.processor()?);
        add("-smp", &self.processors.to_string());
        add("-m", &self.memory.to_string());
        // virtiofsd reads and writes the VM's memory, which therefore has to be shareable.
        add("-object", &memory);
        add("-numa", "node,memdev=memory");
        add("-kernel", &self.kernel.to_string_lossy());
        add("-initrd", &self.initramfs.to_string_lossy());
        add("-append", &append);
        add("-chardev", &console);
        add("-serial", "chardev:console");
        add("-device", "virtio-serial-pci");
        for (number, port) in PORTS.iter().enumerate() {
            add("-chardev", &format!("socket,id={port},path={}", self.socket(port).display()));
            add("-device", &format!("virtserialport,chardev={port},nr={}", number + 1));
        }
        if let Some(disk) = &self.disk {
            let file = format!("file={},if=none,id=disk,format=raw", disk.display());
            add("-drive", &format!("{file},snapshot=on,cache=unsafe,aio=threads"));
            add("-device", "virtio-blk-pci,drive=disk");
            add("-device", "virtio-rng-pci");
        }
        if self.share.is_some() {
            add("-chardev", &format!("socket,id=share,path={}", self.socket("share").display()));
            add("-device", "vhost-user-fs-pci,chardev=share,tag=host");
        }
        Ok(words)
    }

    /// QEMU before 8 miscompiles cmpxchg16b under TCG: the guest double-faults now and then.
    fn processor(&self) -> Result<&'static str> {
        let version = stdout_of(Command::new(&self.qemu).arg("--version"))?;
        let number = version.split_whitespace().skip_while(|word| *word != "version").nth(1);
        let major = number.and_then(|number| number.split('.').next()?.parse::<u32>().ok());
        let major = major.with_context(|| format!("QEMU's version is {version}"))?;
        Ok(if major < 8 { "max,la57=off,-cx16" } else { "max,la57=off" })
    }

    fn share(&self, directory: &Path) -> Result<Bound> {
        let directory =
            fs::canonicalize(directory).with_context(|| format!("{}", directory.display()))?;
        let program = machine::ensure("virtiofsd", virtiofsd_package())?;
        let socket = self.socket("share");
        let mut command = Command::new(program);
        command.arg(format!("--socket-path={}", socket.display()));
        command.args(["-o".to_owned(), format!("source={}", directory.display())]);
        command.args(["-o", "cache=auto", "-o", "sandbox=chroot"]);
        let mut daemon = Bound::spawn(&command, &self.log())?;
        while !socket.exists() {
            if daemon.has_ended() {
                bail!("{} ended: {}", machine::line(&command), self.said());
            }
            sleep(Duration::from_millis(5));
        }
        Ok(daemon)
    }

    /// What QEMU and virtiofsd say: chatter, unless one ends early.
    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.socket"))
    }
}

/// TCG unless asked otherwise: a /dev/kvm that opens may still hang the guest, as nested virtualisation does here.
fn accelerator() -> String {
    std::env::var("CORTEN_VM_ACCEL").unwrap_or_else(|_| "tcg,thread=multi,tb-size=512".to_owned())
}

/// A package of its own since trixie; before, a part of qemu-system-common.
fn virtiofsd_package() -> &'static str {
    let known =
        Command::new("apt-cache").args(["show", "virtiofsd"]).stderr(Stdio::null()).output();
    if known.is_ok_and(|output| output.status.success()) {
        "virtiofsd"
    } else {
        "qemu-system-common"
    }
}

fn accept(listener: &UnixListener, qemu: &mut Bound) -> Result<UnixStream> {
    listener.set_nonblocking(true)?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
            Err(_) if qemu.has_ended() => bail!("QEMU ended at once"),
            Err(_) => sleep(Duration::from_millis(2)),
        }
    }
}

/// Passes bytes on as they come, and keeps them.
fn copy(from: UnixStream, mut to: impl Write + Send + 'static) -> JoinHandle<io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut all = Vec::new();
        loop {
            let bytes = from.fill_buf()?;
            if bytes.is_empty() {
                return Ok(all);
            }
            to.write_all(bytes)?;
            to.flush()?;
            all.extend_from_slice(bytes);
            let count = bytes.len();
            from.consume(count);
        }
    })
}

/// Reads the result's lines (`uptime SECONDS`, `exit CODE`) until the exit code, the VM's end or the deadline.
fn wait(result: UnixStream, deadline: Instant) -> Result<(Outcome, Option<String>)> {
    let mut uptime = None;
    let timeouts = result.try_clone()?;
    let mut lines = BufReader::new(result);
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        timeouts.set_read_timeout(Some(left))?;
        let mut line = String::new();
        match lines.read_line(&mut line) {
            Ok(0) => return Ok((Outcome::Died, uptime)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok((Outcome::TimedOut, uptime));
            }
            Err(_) => return Ok((Outcome::Died, uptime)),
        }
        match line.trim().split_once(' ') {
            Some(("uptime", seconds)) => uptime = Some(seconds.to_owned()),
            Some(("exit", code)) => return Ok((Outcome::Exited(code.parse()?), uptime)),
            _ => bail!("the VM sent {line:?}"),
        }
    }
}
