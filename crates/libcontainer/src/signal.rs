//! Signals by name and number.
//!
//! Runs in: any process.

use std::fmt;

use crate::error::Error;

/// The first and last real-time signal that programs may use: glibc keeps 32 and 33 for itself (`signal(7)`), and the
/// engines count from 34 too (`RTMIN+3` is 37 to containerd, Podman and systemd).
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// Number and name on x86, arm and riscv (`signal(7)`, the column "x86/ARM"). The first name of a number is the one that is
/// printed; the others are read only.
const NAMES: &[(i32, &str)] = &[
    (1, "HUP"),
    (2, "INT"),
    (3, "QUIT"),
    (4, "ILL"),
    (5, "TRAP"),
    (6, "ABRT"),
    (6, "IOT"),
    (7, "BUS"),
    (8, "FPE"),
    (9, "KILL"),
    (10, "USR1"),
    (11, "SEGV"),
    (12, "USR2"),
    (13, "PIPE"),
    (14, "ALRM"),
    (15, "TERM"),
    (16, "STKFLT"),
    (17, "CHLD"),
    (17, "CLD"),
    (18, "CONT"),
    (19, "STOP"),
    (20, "TSTP"),
    (21, "TTIN"),
    (22, "TTOU"),
    (23, "URG"),
    (24, "XCPU"),
    (25, "XFSZ"),
    (26, "VTALRM"),
    (27, "PROF"),
    (28, "WINCH"),
    (29, "IO"),
    (29, "POLL"),
    (30, "PWR"),
    (31, "SYS"),
    (31, "UNUSED"),
];

/// A signal, 0 to 64. 0 is none: sending it only asks whether the process is there (`kill(2)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(i32);

impl Signal {
    /// SIGKILL.
    pub const KILL: Self = Self(9);
    /// SIGTERM.
    pub const TERM: Self = Self(15);

    /// Reads what callers of runc write: a name with or without `SIG` in any case, `RTMIN+3`, `RTMAX-1`, or a decimal
    /// number. Negative numbers and those above 64, which runc takes and the kernel then refuses, are refused here.
    ///
    /// # Errors
    /// `unknown signal "X"`, the text of runc.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let number = match text.parse() {
            Ok(number) => Some(number),
            Err(_) => number_of(&text.to_ascii_uppercase()),
        };
        number.and_then(Self::from_number).ok_or_else(|| Error::Argument {
            flag: "signal",
            problem: format!("unknown signal {text:?}"),
        })
    }

    /// The signal of this number; `None` unless it is 0 to 64.
    pub fn from_number(number: i32) -> Option<Self> {
        (0..=RTMAX).contains(&number).then_some(Self(number))
    }

    /// Its number.
    pub fn number(self) -> i32 {
        self.0
    }

    /// Its name: `SIGTERM`, `SIGRTMIN+3`, or the number where there is none (0, 32, 33).
    pub fn name(self) -> String {
        match (NAMES.iter().find(|(number, _)| *number == self.0), self.0) {
            (Some((_, name)), _) => format!("SIG{name}"),
            (None, RTMIN) => "SIGRTMIN".into(),
            (None, RTMAX) => "SIGRTMAX".into(),
            (None, 35..=49) => format!("SIGRTMIN+{}", self.0 - RTMIN),
            (None, 50..=63) => format!("SIGRTMAX-{}", RTMAX - self.0),
            (None, number) => number.to_string(),
        }
    }

    /// As Go prints it, and so runc: `killed`, `segmentation fault`, `signal 31`.
    pub(crate) fn description(self) -> String {
        let text = match self.0 {
            1 => "hangup",
            2 => "interrupt",
            3 => "quit",
            4 => "illegal instruction",
            5 => "trace/breakpoint trap",
            6 => "aborted",
            7 => "bus error",
            8 => "floating point exception",
            9 => "killed",
            10 => "user defined signal 1",
            11 => "segmentation fault",
            12 => "user defined signal 2",
            13 => "broken pipe",
            14 => "alarm clock",
            15 => "terminated",
            number => return format!("signal {number}"),
        };
        text.into()
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// The number of a name in upper case.
fn number_of(name: &str) -> Option<i32> {
    let name = name.strip_prefix("SIG").unwrap_or(name);
    if let Some((number, _)) = NAMES.iter().find(|(_, known)| *known == name) {
        return Some(*number);
    }
    let number = match name {
        "RTMIN" => RTMIN,
        "RTMAX" => RTMAX,
        _ => match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
            (Some(above), _) => RTMIN.checked_add(digits(above)?)?,
            (_, Some(below)) => RTMAX.checked_sub(digits(below)?)?,
            _ => return None,
        },
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

/// Decimal digits only: `parse` alone would take a sign too.
fn digits(text: &str) -> Option<i32> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Option<i32> {
        Signal::parse(text).ok().map(Signal::number)
    }

    #[test]
    fn name_in_any_spelling_is_found() {
        for text in ["TERM", "SIGTERM", "term", "SigTerm", "15", "+15", "015"] {
            assert_eq!(number(text), Some(15), "{text}");
        }
    }

    #[test]
    fn name_of_the_c_library_has_the_number_of_the_c_library() {
        let known = [
            ("HUP", libc::SIGHUP),
            ("INT", libc::SIGINT),
            ("QUIT", libc::SIGQUIT),
            ("ILL", libc::SIGILL),
            ("TRAP", libc::SIGTRAP),
            ("ABRT", libc::SIGABRT),
            ("IOT", libc::SIGIOT),
            ("BUS", libc::SIGBUS),
            ("FPE", libc::SIGFPE),
            ("KILL", libc::SIGKILL),
            ("USR1", libc::SIGUSR1),
            ("SEGV", libc::SIGSEGV),
            ("USR2", libc::SIGUSR2),
            ("PIPE", libc::SIGPIPE),
            ("ALRM", libc::SIGALRM),
            ("TERM", libc::SIGTERM),
            ("STKFLT", libc::SIGSTKFLT),
            ("CHLD", libc::SIGCHLD),
            ("CLD", libc::SIGCHLD),
            ("CONT", libc::SIGCONT),
            ("STOP", libc::SIGSTOP),
            ("TSTP", libc::SIGTSTP),
            ("TTIN", libc::SIGTTIN),
            ("TTOU", libc::SIGTTOU),
            ("URG", libc::SIGURG),
            ("XCPU", libc::SIGXCPU),
            ("XFSZ", libc::SIGXFSZ),
            ("VTALRM", libc::SIGVTALRM),
            ("PROF", libc::SIGPROF),
            ("WINCH", libc::SIGWINCH),
            ("IO", libc::SIGIO),
            ("POLL", libc::SIGPOLL),
            ("PWR", libc::SIGPWR),
            ("SYS", libc::SIGSYS),
            ("UNUSED", libc::SIGSYS),
            ("RTMIN", libc::SIGRTMIN()),
            ("RTMAX", libc::SIGRTMAX()),
        ];
        for (name, expected) in known {
            assert_eq!(number(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn real_time_signal_is_counted_from_both_ends() {
        for (text, expected) in [
            ("RTMIN+0", 34),
            ("RTMIN+3", 37),
            ("sigrtmin+30", 64),
            ("RTMAX-14", 50),
            ("RTMAX-30", 34),
        ] {
            assert_eq!(number(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn name_or_number_that_is_none_is_refused_with_the_text_of_runc() {
        for text in [
            "",
            "SIG",
            "FOO",
            "-1",
            "65",
            "RTMIN+31",
            "RTMAX-31",
            "RTMIN-1",
            "RTMIN+-1",
            "RTMIN+",
            "9 ",
            "SIGSIGTERM",
            "9999999999",
        ] {
            let message = Signal::parse(text).unwrap_err().to_string();
            assert!(message.ends_with(&format!("unknown signal {text:?}")), "{text}: {message}");
        }
    }

    #[test]
    fn name_of_every_number_is_read_back() {
        for number in 0..=64 {
            let signal = Signal::from_number(number).unwrap();
            assert_eq!(Signal::parse(&signal.name()).unwrap(), signal);
        }
    }

    #[test]
    fn zero_is_taken_as_runc_takes_it() {
        assert_eq!(number("0"), Some(0));
    }
}
