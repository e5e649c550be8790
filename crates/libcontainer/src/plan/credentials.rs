//! User, groups and capabilities.
//!
//! `capabilities` absent means none at all, as with crun; runc leaves the process with all that the runtime has. A name
//! that nobody knows, and a capability that this kernel does not have, is a warning (config.md: SHOULD NOT fail).
//!
//! Runs in: any process.

use corten_plan::Op;
use corten_plan::wire::Ids;

use super::Steps;
use super::types::{Origin, Remark};
use crate::spec::{LinuxCapabilities, Process, SpecError};

const POINTER: &str = "/process/capabilities";

/// By number (capabilities(7), `<linux/capability.h>`).
pub(crate) const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The five sets as masks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Masks {
    pub bounding: u64,
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub ambient: u64,
}

impl Masks {
    /// The masks of config.json that this kernel can set; what it does not know goes to `warnings`. Names that nobody
    /// knows were warned of when config.json was read.
    pub fn of(
        capabilities: Option<&LinuxCapabilities>,
        last_capability: u32,
        warnings: &mut Vec<Remark>,
    ) -> Result<Self, SpecError> {
        let Some(sets) = capabilities else { return Ok(Self::default()) };
        let mut mask = |set: &str, names: &[String]| {
            let mut mask = 0;
            for (index, name) in names.iter().enumerate() {
                match bit(name) {
                    Some(bit) if bit <= last_capability => mask |= 1 << bit,
                    Some(_) => warnings.push(Remark::new(
                        format!("{POINTER}/{set}/{index}"),
                        format!("{name} is not known to this kernel and is ignored"),
                    )),
                    None => {}
                }
            }
            mask
        };
        let (permitted, inheritable) =
            (mask("permitted", &sets.permitted), mask("inheritable", &sets.inheritable));
        let masks = Self {
            bounding: mask("bounding", &sets.bounding),
            effective: mask("effective", &sets.effective),
            permitted,
            inheritable,
            // The kernel raises no others (capabilities(7)); runc warns and goes on, and so did whoever read
            // config.json.
            ambient: mask("ambient", &sets.ambient) & permitted & inheritable,
        };
        // The bounding set is dropped first, and capset(2) adds nothing to the inheritable set that is not in it.
        match masks.inheritable & !masks.bounding {
            0 => Ok(masks),
            beyond => Err(SpecError::new(
                format!("{POINTER}/inheritable"),
                format!("has {}, which bounding has not", names(beyond)),
            )),
        }
    }
}

fn bit(name: &str) -> Option<u32> {
    NAMES.iter().position(|known| *known == name).and_then(|number| u32::try_from(number).ok())
}

/// `CAP_CHOWN CAP_KILL`.
pub(super) fn names(mask: u64) -> String {
    let name = |bit: usize| match NAMES.get(bit) {
        Some(name) => (*name).to_owned(),
        None => format!("capability {bit}"),
    };
    let bits = (0..64).filter(|bit| mask & 1 << bit != 0);
    bits.map(name).collect::<Vec<_>>().join(" ")
}

/// Who the process is; `reads_back`: whether init may read it back.
pub(super) fn change(
    steps: &mut Steps,
    process: &Process,
    keeps_groups: bool,
    reads_back: bool,
    last_capability: u32,
    warnings: &mut Vec<Remark>,
) -> Result<(), SpecError> {
    let user = &process.user;
    let masks = Masks::of(process.capabilities.as_ref(), last_capability, warnings)?;
    let gids: Vec<u8> = user.additional_gids.iter().flat_map(|gid| gid.to_le_bytes()).collect();
    let groups = Ids::new(&gids)
        .map_err(|_| SpecError::new("/process/user/additionalGids", "has too many elements"))?;
    steps.push(
        Origin::from("/process/user"),
        &Op::Credentials {
            uid: user.uid,
            gid: user.gid,
            // Set even when there are none: the runtime's own must not stay, where that was not asked for by name.
            groups: (!keeps_groups).then_some(groups),
            bounding: masks.bounding,
            effective: masks.effective,
            permitted: masks.permitted,
            inheritable: masks.inheritable,
            ambient: masks.ambient,
            reads_back,
        },
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::{Masks, NAMES, bit, names};
    use crate::spec::LinuxCapabilities;

    fn sets(all: &[&str], ambient: &[&str]) -> LinuxCapabilities {
        let owned =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        LinuxCapabilities {
            bounding: owned(all),
            effective: owned(all),
            inheritable: owned(all),
            permitted: owned(all),
            ambient: owned(ambient),
        }
    }

    #[test]
    fn names_are_those_of_the_caps_crate() {
        for capability in caps::all() {
            assert_eq!(bit(&capability.to_string()), Some(u32::from(capability.index())));
        }
        for name in NAMES {
            assert!(caps::Capability::from_str(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn masks_of_absent_capabilities_are_empty() {
        let mut warnings = Vec::new();
        assert_eq!(Masks::of(None, 40, &mut warnings).unwrap(), Masks::default());
        assert!(warnings.is_empty());
    }

    #[test]
    fn masks_beyond_the_kernel_s_last_capability_warn() {
        let mut warnings = Vec::new();
        let sets = sets(&["CAP_CHOWN", "CAP_BPF", "CAP_NONE"], &[]);
        let masks = Masks::of(Some(&sets), 38, &mut warnings).unwrap();
        assert_eq!((masks.bounding, masks.permitted), (1, 1));
        assert_eq!(warnings.len(), 4);
        assert!(
            warnings.iter().any(|warning| warning.pointer == "/process/capabilities/bounding/1")
        );
    }

    #[test]
    fn masks_ambient_without_permitted_is_dropped() {
        let sets = sets(&["CAP_KILL"], &["CAP_KILL", "CAP_CHOWN"]);
        let masks = Masks::of(Some(&sets), 40, &mut Vec::new()).unwrap();
        assert_eq!(names(masks.ambient), "CAP_KILL");
    }

    #[test]
    fn masks_inheritable_beyond_bounding_is_refused() {
        let sets = LinuxCapabilities { bounding: Vec::new(), ..sets(&["CAP_KILL"], &[]) };
        let error = Masks::of(Some(&sets), 40, &mut Vec::new()).unwrap_err();
        assert_eq!(error.pointer, "/process/capabilities/inheritable");
    }
}
