//! The words of a mount's `options`.
//!
//! All words of the table in config.md are known; whatever else stands there goes to the file system as data. Where
//! the specification is silent the meaning is runc's, tested against `mount(8)` and the kernel:
//!
//! - The words work one after the other on two sets of flags, what to set and what to clear by name.
//! - On a new file system what is not set is off. Access times: `strictatime` over `noatime` over the kernel's
//!   default, `relatime` (`path_mount` in fs/namespace.c).
//! - On a bind mount, one word or more about flags means: exactly these, whatever the source has; no word: the source's
//!   flags stay. (runc says: the intent of `mount --bind -o`.) Access times stay unless a word sets one: `atime`,
//!   `norelatime` and their like change nothing, as with mount(8) and runc.
//!
//! Runs in: any process.

use super::words::{
    MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_STRICTATIME, MS_BIND, MS_DIRSYNC, MS_I_VERSION, MS_LAZYTIME, MS_MANDLOCK,
    MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, MS_NOSYMFOLLOW, MS_PRIVATE,
    MS_RDONLY, MS_REC, MS_RELATIME, MS_REMOUNT, MS_SHARED, MS_SILENT, MS_SLAVE, MS_STRICTATIME,
    MS_SYNCHRONOUS, MS_UNBINDABLE,
};

/// `fsconfig(2)` takes keys and values of fewer bytes than this.
const FSCONFIG_LIMIT: usize = 256;

/// The access-time words are one choice of three, not bits of their own.
const MS_ATIME: u64 = MS_NOATIME | MS_RELATIME | MS_STRICTATIME;

/// The attributes that a bind mount with any flag word is freed of, unless the word sets them.
const REPLACED: u64 = MOUNT_ATTR_RDONLY
    | MOUNT_ATTR_NOSUID
    | MOUNT_ATTR_NODEV
    | MOUNT_ATTR_NOEXEC
    | MOUNT_ATTR_NOSYMFOLLOW;

/// Every word of the table in config.md, sorted.
pub(crate) const WORDS: &[&str] = &[
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "idmap",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
];

/// What one word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// Known, and nothing to do.
    Nothing,
    /// `MS_*` to set.
    Set(u64),
    /// `MS_*` to clear.
    Clear(u64),
    /// A change of propagation.
    Propagation(u64),
    /// `MOUNT_ATTR_*` to set on the mount and all below it.
    SetAll(u64),
    /// `MOUNT_ATTR_*` to clear on the mount and all below it.
    ClearAll(u64),
    /// `tmpcopyup`.
    CopyUp,
    /// `idmap`, `ridmap`.
    IdMap {
        /// Whether it is `ridmap`.
        recursive: bool,
    },
}

/// The table of config.md, section "Linux mount options".
fn word(option: &str) -> Option<Word> {
    Some(match option {
        "defaults" => Word::Nothing,

        "ro" => Word::Set(MS_RDONLY),
        "rw" => Word::Clear(MS_RDONLY),
        "nosuid" => Word::Set(MS_NOSUID),
        "suid" => Word::Clear(MS_NOSUID),
        "nodev" => Word::Set(MS_NODEV),
        "dev" => Word::Clear(MS_NODEV),
        "noexec" => Word::Set(MS_NOEXEC),
        "exec" => Word::Clear(MS_NOEXEC),
        "nosymfollow" => Word::Set(MS_NOSYMFOLLOW),
        "symfollow" => Word::Clear(MS_NOSYMFOLLOW),

        "noatime" => Word::Set(MS_NOATIME),
        "atime" => Word::Clear(MS_NOATIME),
        "nodiratime" => Word::Set(MS_NODIRATIME),
        "diratime" => Word::Clear(MS_NODIRATIME),
        "relatime" => Word::Set(MS_RELATIME),
        "norelatime" => Word::Clear(MS_RELATIME),
        "strictatime" => Word::Set(MS_STRICTATIME),
        "nostrictatime" => Word::Clear(MS_STRICTATIME),

        "sync" => Word::Set(MS_SYNCHRONOUS),
        "async" => Word::Clear(MS_SYNCHRONOUS),
        "dirsync" => Word::Set(MS_DIRSYNC),
        "iversion" => Word::Set(MS_I_VERSION),
        "noiversion" => Word::Clear(MS_I_VERSION),
        "lazytime" => Word::Set(MS_LAZYTIME),
        "nolazytime" => Word::Clear(MS_LAZYTIME),
        "silent" => Word::Set(MS_SILENT),
        "loud" => Word::Clear(MS_SILENT),
        "mand" => Word::Set(MS_MANDLOCK),
        "nomand" => Word::Clear(MS_MANDLOCK),

        "bind" => Word::Set(MS_BIND),
        "rbind" => Word::Set(MS_BIND | MS_REC),
        "remount" => Word::Set(MS_REMOUNT),

        "rro" => Word::SetAll(MOUNT_ATTR_RDONLY),
        "rrw" => Word::ClearAll(MOUNT_ATTR_RDONLY),
        "rnosuid" => Word::SetAll(MOUNT_ATTR_NOSUID),
        "rsuid" => Word::ClearAll(MOUNT_ATTR_NOSUID),
        "rnodev" => Word::SetAll(MOUNT_ATTR_NODEV),
        "rdev" => Word::ClearAll(MOUNT_ATTR_NODEV),
        "rnoexec" => Word::SetAll(MOUNT_ATTR_NOEXEC),
        "rexec" => Word::ClearAll(MOUNT_ATTR_NOEXEC),
        "rnosymfollow" => Word::SetAll(MOUNT_ATTR_NOSYMFOLLOW),
        "rsymfollow" => Word::ClearAll(MOUNT_ATTR_NOSYMFOLLOW),
        "rnodiratime" => Word::SetAll(MOUNT_ATTR_NODIRATIME),
        "rdiratime" => Word::ClearAll(MOUNT_ATTR_NODIRATIME),
        "rnoatime" => Word::SetAll(MOUNT_ATTR_NOATIME),
        "rstrictatime" => Word::SetAll(MOUNT_ATTR_STRICTATIME),
        // relatime is the absence of the other two.
        "ratime" | "rrelatime" | "rnorelatime" | "rnostrictatime" => {
            Word::ClearAll(MOUNT_ATTR__ATIME)
        }

        _ => return propagation(option).map(Word::Propagation).or_else(|| extension(option)),
    })
}

fn extension(option: &str) -> Option<Word> {
    match option {
        "tmpcopyup" => Some(Word::CopyUp),
        "idmap" => Some(Word::IdMap { recursive: false }),
        "ridmap" => Some(Word::IdMap { recursive: true }),
        _ => None,
    }
}

/// The `MS_*` of a propagation word, also those of `linux.rootfsPropagation`.
pub(super) fn propagation(word: &str) -> Option<u64> {
    Some(match word {
        "private" => MS_PRIVATE,
        "rprivate" => MS_PRIVATE | MS_REC,
        "slave" => MS_SLAVE,
        "rslave" => MS_SLAVE | MS_REC,
        "shared" => MS_SHARED,
        "rshared" => MS_SHARED | MS_REC,
        "unbindable" => MS_UNBINDABLE,
        "runbindable" => MS_UNBINDABLE | MS_REC,
        _ => return None,
    })
}

/// `idmap` or `ridmap` among the options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdMapWord {
    /// Its place in the array.
    pub index: usize,
    /// `ridmap`.
    pub recursive: bool,
}

/// The options of one mount.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options<'a> {
    /// `MS_*` that are set.
    pub flags: u64,
    /// `MS_*` that are cleared by name.
    pub cleared: u64,
    /// Changes of propagation (`MS_*`), in order, as little-endian `u32`s ([`corten_plan::wire::Ids`]).
    pub propagation: Vec<u8>,
    /// `MOUNT_ATTR_*` to set on the mount and all below it.
    pub recursive_set: u64,
    /// `MOUNT_ATTR_*` to clear on the mount and all below it.
    pub recursive_clear: u64,
    /// `tmpcopyup`.
    pub copy_up: bool,
    /// `idmap` or `ridmap`.
    pub id_map: Option<IdMapWord>,
    /// What goes to the file system.
    pub data: Vec<&'a str>,
}

/// What becomes of the attributes of a bind mount.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct BindAttr {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
    /// Those of `clear` that config.json asks for by name, and that which is never locked: what goes even where the others
    /// are locked.
    pub must_clear: u64,
}

impl<'a> Options<'a> {
    /// What `words` mean, one after the other.
    pub fn parse<S: AsRef<str>>(words: &'a [S]) -> Self {
        let mut options = Self::default();
        for (index, option) in words.iter().map(AsRef::as_ref).enumerate() {
            match word(option) {
                Some(meaning) => options.apply(meaning, index),
                None => options.data.push(option),
            }
        }
        options
    }

    fn apply(&mut self, meaning: Word, index: usize) {
        match meaning {
            Word::Nothing => {}
            Word::Set(flag) => {
                self.flags |= flag;
                self.cleared &= !flag;
            }
            Word::Clear(flag) => {
                self.flags &= !flag;
                self.cleared |= flag;
            }
            Word::Propagation(flags) => {
                let flags = u32::try_from(flags).unwrap_or_default();
                self.propagation.extend_from_slice(&flags.to_le_bytes());
            }
            Word::SetAll(attr) => {
                // Two access times at once are EINVAL, and one needs the whole choice in attr_clr (mount_setattr(2)).
                let choice = if attr & MOUNT_ATTR__ATIME == 0 { 0 } else { MOUNT_ATTR__ATIME };
                self.recursive_set = self.recursive_set & !choice | attr;
                self.recursive_clear = self.recursive_clear & !attr | choice;
            }
            Word::ClearAll(attr) => {
                self.recursive_set &= !attr;
                self.recursive_clear |= attr;
            }
            Word::CopyUp => self.copy_up = true,
            Word::IdMap { recursive } => self.id_map = Some(IdMapWord { index, recursive }),
        }
    }

    /// Whether the mount is a bind mount.
    pub fn is_bind(&self) -> bool {
        self.flags & MS_BIND != 0
    }

    /// `MOUNT_ATTR_*` of a new mount.
    pub fn attr(&self) -> u64 {
        attr_of(self.flags)
    }

    /// What becomes of the attributes of a bind mount.
    pub fn bind_attr(&self) -> BindAttr {
        let asked = self.flags & !(MS_BIND | MS_REC | MS_REMOUNT);
        if asked == 0 && self.cleared == 0 {
            return BindAttr::default();
        }
        let set = attr_of(asked);
        // What sets an access time replaces the whole choice and `nodiratime`; without one both stay: `path_mount` in
        // fs/namespace.c, of MS_REMOUNT.
        let sets_atime = asked & (MS_ATIME | MS_NODIRATIME) != 0;
        let replaced = MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME & !set;
        let atime = if sets_atime { replaced } else { 0 };
        // MNT_LOCK_* in include/linux/mount.h: there is none for it.
        let never_locked = MOUNT_ATTR_NOSYMFOLLOW & !set;
        BindAttr {
            set,
            clear: REPLACED & !set | atime,
            must_clear: attr_of(self.cleared) & REPLACED | atime | never_locked,
        }
    }

    /// The flags of the super block, as the words that `fsconfig(2)` knows.
    pub fn superblock(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let words = [
            (MS_RDONLY, "ro"),
            (MS_SYNCHRONOUS, "sync"),
            (MS_DIRSYNC, "dirsync"),
            (MS_LAZYTIME, "lazytime"),
            (MS_MANDLOCK, "mand"),
        ];
        let flags = self.flags;
        words.into_iter().filter(move |(flag, _)| flags & flag != 0).map(|(_, word)| word)
    }

    /// The data, one `key` or `key=value` after the other, as the kernel splits it (`generic_parse_monolithic`).
    pub fn pairs(&self) -> impl Iterator<Item = &'a str> {
        let pairs = self.data.iter().flat_map(|data| data.split(','));
        pairs.filter(|pair| !pair.is_empty() && !pair.starts_with('='))
    }

    /// Whether any data sets `key`.
    pub fn has_key(&self, key: &str) -> bool {
        self.pairs().any(|pair| pair.split('=').next() == Some(key))
    }

    /// Why `mount(2)` must be used, for what fsconfig cannot carry.
    pub fn needs_mount(&self, source: &str) -> bool {
        // It has no words for these flags, and remounting is fspick(2).
        self.flags & (MS_REMOUNT | MS_SILENT | MS_I_VERSION) != 0
            || source.len() >= FSCONFIG_LIMIT
            // SELinux's quoted contexts and overlayfs' escaped paths hold commas that separate nothing: only the
            // security module and the file system itself know how to split them.
            || self.data.iter().any(|data| data.contains('"') || data.contains("\\,"))
            || self.pairs().any(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                key.len() >= FSCONFIG_LIMIT || value.len() >= FSCONFIG_LIMIT
            })
    }
}

/// The attributes of a mount whose `MS_*` are `flags`.
fn attr_of(flags: u64) -> u64 {
    let pairs = [
        (MS_RDONLY, MOUNT_ATTR_RDONLY),
        (MS_NOSUID, MOUNT_ATTR_NOSUID),
        (MS_NODEV, MOUNT_ATTR_NODEV),
        (MS_NOEXEC, MOUNT_ATTR_NOEXEC),
        (MS_NODIRATIME, MOUNT_ATTR_NODIRATIME),
        (MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW),
    ];
    let attr = pairs.iter().filter(|(ms, _)| flags & ms != 0).fold(0, |all, (_, attr)| all | attr);
    attr | match flags & (MS_STRICTATIME | MS_NOATIME) {
        0 => 0,
        MS_NOATIME => MOUNT_ATTR_NOATIME,
        _ => MOUNT_ATTR_STRICTATIME,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::words::{
        MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOEXEC,
        MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY, MOUNT_ATTR_STRICTATIME,
        MS_BIND, MS_NOATIME, MS_RDONLY, MS_RELATIME, MS_STRICTATIME,
    };
    use super::{BindAttr, Options, REPLACED, WORDS, Word, attr_of, word};

    /// The table in config.md of runtime-spec 1.3, "Linux mount options", in its order; and `rnodev`, which is missing there
    /// (`rdev` is not), and which runc and crun have.
    const SPECIFIED: &str = "
        async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev nodiratime noexec
        noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime
        relatime remount rexec rnoatime rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate
        rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid
        symfollow sync tmpcopyup unbindable idmap ridmap
        rnodev";

    fn bind(words: &[&str]) -> BindAttr {
        Options::parse(words).bind_attr()
    }

    #[test]
    fn word_every_one_of_the_specification_is_known() {
        let words: BTreeSet<&str> = SPECIFIED.split_whitespace().collect();
        assert_eq!(words, WORDS.iter().copied().collect());
        assert!(WORDS.is_sorted());
        for option in WORDS {
            assert!(word(option).is_some(), "{option}");
        }
        for option in ["", "acl", "size=1m", "RO", "ro ", "context=x"] {
            assert_eq!(word(option), None, "{option:?}");
        }
    }

    #[test]
    fn word_recursive_ones_mean_what_the_others_mean() {
        let mut pairs = 0;
        for (recursive, plain) in WORDS.iter().filter_map(|it| Some((it, it.strip_prefix('r')?))) {
            let expected = match word(plain) {
                // Of the access times the words that clear leave the kernel's default.
                Some(
                    Word::Set(MS_RELATIME) | Word::Clear(MS_NOATIME | MS_STRICTATIME | MS_RELATIME),
                ) => Word::ClearAll(MOUNT_ATTR__ATIME),
                Some(Word::Set(flag)) if flag & MS_BIND == 0 => Word::SetAll(attr_of(flag)),
                Some(Word::Clear(flag)) => Word::ClearAll(attr_of(flag)),
                _ => continue,
            };
            assert_eq!(word(recursive), Some(expected), "{recursive}");
            pairs += 1;
        }
        assert_eq!(pairs, 18);
    }

    #[test]
    fn parse_later_words_undo_earlier_ones() {
        let words = ["ro", "rw", "suid", "nosuid"];
        let options = Options::parse(&words);
        assert_eq!(options.attr(), MOUNT_ATTR_NOSUID);
        assert_eq!(options.cleared, MS_RDONLY);
    }

    #[test]
    fn attr_of_access_times_as_the_kernel_chooses() {
        for (words, expected) in [
            (&["relatime"][..], 0),
            (&["noatime"], MOUNT_ATTR_NOATIME),
            (&["noatime", "strictatime"], MOUNT_ATTR_STRICTATIME),
            (&["strictatime", "noatime"], MOUNT_ATTR_STRICTATIME),
            (&["noatime", "relatime"], MOUNT_ATTR_NOATIME),
            (&["noatime", "atime"], 0),
            (&["nodiratime"], MOUNT_ATTR_NODIRATIME),
        ] {
            assert_eq!(Options::parse(words).attr(), expected, "{words:?}");
        }
    }

    #[test]
    fn bind_attr_without_flag_words_leaves_the_source_s() {
        for words in [&["bind"][..], &["rbind", "rslave"], &["bind", "defaults"], &["rbind", "rro"]]
        {
            assert_eq!(bind(words), BindAttr::default(), "{words:?}");
        }
    }

    #[test]
    fn bind_attr_with_a_flag_word_means_exactly_these() {
        let attr = bind(&["bind", "ro", "noexec"]);
        assert_eq!(attr.set, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC);
        assert_eq!(attr.clear, REPLACED & !attr.set);
        assert_eq!(attr.must_clear, MOUNT_ATTR_NOSYMFOLLOW);
        let attr = bind(&["bind", "rw", "dev", "nosymfollow"]);
        assert_eq!((attr.set, attr.clear | attr.set), (MOUNT_ATTR_NOSYMFOLLOW, REPLACED));
        assert_eq!(attr.must_clear, 0b101);
    }

    #[test]
    fn bind_attr_access_times_change_only_by_name() {
        let atime = MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME;
        assert_eq!(bind(&["bind", "ro"]).clear & atime, 0);
        assert_eq!(bind(&["bind", "relatime"]).clear & atime, atime);
        assert_eq!(bind(&["bind", "noatime", "nodiratime"]).clear & atime, MOUNT_ATTR__ATIME);
        assert_eq!(bind(&["bind", "nodiratime"]).clear & atime, MOUNT_ATTR__ATIME);
        for word in ["atime", "diratime", "norelatime", "nostrictatime"] {
            assert_eq!(bind(&["bind", word]).clear & atime, 0, "{word}");
        }
    }

    #[test]
    fn recursive_access_times_replace_each_other() {
        let options = Options::parse(&["rnoatime", "rstrictatime", "rro"]);
        assert_eq!(options.recursive_set, MOUNT_ATTR_STRICTATIME | MOUNT_ATTR_RDONLY);
        assert_eq!(options.recursive_clear, MOUNT_ATTR__ATIME);
        let options = Options::parse(&["rnoatime", "rrelatime"]);
        assert_eq!((options.recursive_set, options.recursive_clear), (0, MOUNT_ATTR__ATIME));
    }

    #[test]
    fn pairs_are_split_as_the_kernel_splits() {
        let options = Options::parse(&["a=1,b", ",c=,=d,", "e=f=g"]);
        assert_eq!(options.pairs().collect::<Vec<_>>(), ["a=1", "b", "c=", "e=f=g"]);
        assert!(options.has_key("b") && options.has_key("c") && !options.has_key("d"));
    }

    proptest! {
        /// The rules of `mount_setattr(2)`, whatever the words are.
        #[test]
        fn attributes_of_any_words_are_what_the_kernel_takes(
            words in prop::collection::vec(prop::sample::select(WORDS), 0..10)
        ) {
            let options = Options::parse(&words);
            let BindAttr { set, clear, must_clear } = options.bind_attr();
            for (set, clear) in [(set, clear), (set, must_clear), (options.recursive_set, options.recursive_clear)] {
                let atime = clear & MOUNT_ATTR__ATIME;
                prop_assert!(atime == 0 || atime == MOUNT_ATTR__ATIME, "{:?}", words);
                prop_assert!(set & MOUNT_ATTR__ATIME == 0 || atime != 0, "{:?}", words);
                prop_assert!(set & MOUNT_ATTR__ATIME != MOUNT_ATTR__ATIME, "{:?}", words);
            }
            prop_assert_eq!(must_clear & !clear, 0);
            prop_assert!(options.attr() & MOUNT_ATTR__ATIME != MOUNT_ATTR__ATIME);
        }
    }
}
