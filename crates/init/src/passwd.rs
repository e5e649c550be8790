//! `/etc/passwd` of the container: only where a uid's home is. Names never decide who a process runs as
//! (CVE-2016-3697).
//!
//! Runs in: init.

use crate::handles::number;

/// The home directory in a line `name:password:uid:gid:comment:home:shell` of this uid; `None` for another one's line and for
/// anything that is no such line. An empty home, and one with a NUL in it, counts as none.
pub fn home_of(line: &[u8], uid: u32) -> Option<&[u8]> {
    let mut fields = line.split(|byte| *byte == b':');
    if number(fields.nth(2)?, 10)? != u64::from(uid) {
        return None;
    }
    fields.nth(2).filter(|home| !home.is_empty() && !home.contains(&0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_the_uid_gives_its_home() {
        assert_eq!(home_of(b"root:x:0:0:root:/root:/bin/sh", 0), Some(&b"/root"[..]));
        assert_eq!(home_of(b"u:x:1000:1000::/home/u:", 1000), Some(&b"/home/u"[..]));
        assert_eq!(home_of(b"u:x:1000:1000::/home/u", 1000), Some(&b"/home/u"[..]));
    }

    #[test]
    fn line_of_another_uid_or_of_no_use_gives_none() {
        let lines: [&[u8]; 9] = [
            b"root:x:0:0:root:/root:/bin/sh",
            b"u:x:1000:1000::",
            b"u:x:1000:1000:::/bin/sh",
            b"u:x:1000",
            b"1000:x:0:0::/:/bin/sh",
            b"u:x:+1000:1000::/home/u:",
            b"u:x: 1000:1000::/home/u:",
            b"u:x:1000:1000::/ho\0me:",
            b"",
        ];
        for line in lines {
            assert_eq!(home_of(line, 1000), None, "{}", line.escape_ascii());
        }
    }
}
