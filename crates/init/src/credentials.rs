//! Ids and capabilities: set in the one order that works, then read back.
//!
//! Runs in: init.

use corten_plan::Stage;
use corten_plan::wire::Ids;

use crate::report::{self, At, Done, Failed};
use crate::run::Init;
use crate::sys::abi::{
    CapData, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, PR_CAP_AMBIENT_RAISE, PR_CAPBSET_DROP,
    PR_CAPBSET_READ, PR_GET_NO_NEW_PRIVS, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS,
};
use crate::sys::{Errno, memory, process};

/// The last capability of the oldest kernel that we run on: CAP_CHECKPOINT_RESTORE, Linux 5.9.
const LAST_KNOWN: u32 = 40;

/// The five sets, bit n for capability n.
#[derive(Debug, Clone, Copy)]
pub struct Sets {
    /// What execve can give.
    pub bounding: u64,
    /// In force.
    pub effective: u64,
    /// Can be in force.
    pub permitted: u64,
    /// Kept across execve, for files that have it too.
    pub inheritable: u64,
    /// Kept across execve.
    pub ambient: u64,
}

impl Sets {
    /// Without what the kernel does not know.
    fn known(self, mask: u64) -> Self {
        Self {
            bounding: self.bounding & mask,
            effective: self.effective & mask,
            permitted: self.permitted & mask,
            inheritable: self.inheritable & mask,
            ambient: self.ambient & mask,
        }
    }

    /// As capset takes them.
    fn data(self) -> [CapData; 2] {
        let half = |shift: u32| CapData {
            effective: half(self.effective, shift),
            permitted: half(self.permitted, shift),
            inheritable: half(self.inheritable, shift),
        };
        [half(0), half(32)]
    }
}

fn half(set: u64, shift: u32) -> u32 {
    u32::try_from(set >> shift & u64::from(u32::MAX)).unwrap_or(0)
}

/// [`corten_plan::Op::NoNewPrivileges`].
///
/// # Errors
/// See [`Stage`].
pub fn no_new_privileges() -> Done {
    process::prctl(PR_SET_NO_NEW_PRIVS, 1, 0).at(Stage::Op)?;
    match process::prctl(PR_GET_NO_NEW_PRIVS, 0, 0).at(Stage::ReadBack)? {
        1 => Ok(()),
        _ => Err(Failed::new(Stage::ReadBack, Errno::EPERM)),
    }
}

/// [`corten_plan::Op::NotDumpable`].
///
/// Who may trace us could take our descriptors, and through them leave the container (CVE-2016-9962). CAP_SYS_PTRACE in the
/// user namespace that we come from still may: only that nothing which leads out is open helps there.
///
/// # Errors
/// Those of prctl(2).
pub fn hide(init: &mut Init) -> Done {
    init.is_hidden = true;
    process::prctl(PR_SET_DUMPABLE, 0, 0).map(drop).at(Stage::Op)
}

/// [`corten_plan::Op::MappedIds`].
///
/// No capability is lost: only the change from the namespace's uid 0 to others takes some away (capabilities(7)), and until
/// here we are nobody in it. Others in it may not look at us from now on: the ids changed what fs.suid_dumpable says, and
/// who joined it may have brought descriptors of the host along.
///
/// # Errors
/// [`Stage::Gid`], [`Stage::Uid`]: EINVAL when the id is not mapped.
pub fn enter_ids(init: &mut Init, uid: u32, gid: u32) -> Done {
    process::set_gid(gid).at(Stage::Gid)?;
    process::set_uid(uid).at(Stage::Uid)?;
    init.has_user_namespace = true;
    hide(init)
}

/// [`corten_plan::Op::Credentials`].
///
/// # Errors
/// See [`Stage`].
pub fn set(
    init: &mut Init,
    uid: u32,
    gid: u32,
    groups: Option<Ids<'_>>,
    sets: Sets,
    reads_back: bool,
) -> Done {
    let last = last_capability();
    let sets = sets.known(u64::MAX >> (63 - last));
    // Dropping from the bounding set needs CAP_SETPCAP, setgroups and setresgid CAP_SETGID: all before setresuid, which takes
    // the effective ones; KEEPCAPS leaves the permitted ones, from which capset takes what is wanted.
    drop_bounding(sets.bounding, last)?;
    if reads_back {
        if let Some(groups) = groups {
            set_groups(groups)?;
        }
        set_gid(gid)?;
        set_uid(uid)?;
    } else {
        set_ids_filtered(uid, gid, groups)?;
    }
    let data = sets.data();
    set_capabilities(&data)?;
    raise_ambient(init, sets, last)?;
    // Other ids and capabilities have made it what fs.suid_dumpable says, which may be "yes".
    if init.is_hidden {
        hide(init)?;
    }
    if !reads_back {
        return Ok(());
    }
    let same = process::capget().at(Stage::ReadBack)? == data;
    if same { Ok(()) } else { Err(Failed::new(Stage::ReadBack, Errno::EPERM)) }
}

/// The same by the calls that runc makes behind a filter, and no others. Who reads them back then is the runtime.
fn set_ids_filtered(uid: u32, gid: u32, groups: Option<Ids<'_>>) -> Done {
    if let Some(groups) = groups {
        process::setgroups(numbers(groups)?).at(Stage::Groups)?;
    }
    process::set_gid_plainly(gid).at(Stage::Gid)?;
    process::prctl(PR_SET_KEEPCAPS, 1, 0).at(Stage::Capset)?;
    process::set_uid_plainly(uid).at(Stage::Uid)
}

/// Sets the group id where it is another, and reads it back: 4294967295 means "no change" to setresgid, for one. That it is
/// not another is likely for 0 only.
fn set_gid(gid: u32) -> Done {
    if gid == 0 && process::gids().at(Stage::ReadBack)? == [gid; 3] {
        return Ok(());
    }
    process::set_gid(gid).at(Stage::Gid)?;
    let is_set = process::gids().at(Stage::ReadBack)? == [gid; 3];
    if is_set { Ok(()) } else { Err(Failed::new(Stage::ReadBack, Errno::EPERM)) }
}

/// As [`set_gid`].
fn set_uid(uid: u32) -> Done {
    if uid == 0 {
        if process::uids().at(Stage::ReadBack)? == [uid; 3] {
            return Ok(());
        }
    } else {
        // Only the change from uid 0 to others takes capabilities away (capabilities(7)).
        process::prctl(PR_SET_KEEPCAPS, 1, 0).at(Stage::Capset)?;
    }
    process::set_uid(uid).at(Stage::Uid)?;
    let is_set = process::uids().at(Stage::ReadBack)? == [uid; 3];
    if is_set { Ok(()) } else { Err(Failed::new(Stage::ReadBack, Errno::EPERM)) }
}

/// The last capability that the kernel knows.
fn last_capability() -> u32 {
    let known = |capability: &u32| process::prctl(PR_CAPBSET_READ, *capability, 0).is_ok();
    (LAST_KNOWN + 1..63).take_while(known).last().unwrap_or(LAST_KNOWN)
}

fn drop_bounding(bounding: u64, last: u32) -> Done {
    for capability in 0..=last {
        if bounding >> capability & 1 == 1 {
            continue;
        }
        let dropped = process::prctl(PR_CAPBSET_DROP, capability, 0);
        // Without CAP_SETPCAP nothing can be dropped, and what is not there need not be.
        let absent = || process::prctl(PR_CAPBSET_READ, capability, 0) == Ok(0);
        if dropped == Err(Errno::EPERM) && absent() {
            continue;
        }
        dropped.item(Stage::Bounding, item(capability))?;
    }
    Ok(())
}

fn item(capability: u32) -> u16 {
    u16::try_from(capability).unwrap_or(u16::MAX)
}

/// Sets the supplementary groups and reads them back; the kernel keeps them sorted.
fn set_groups(groups: Ids<'_>) -> Done {
    let count = groups.len();
    if count == 0 && process::getgroups(&mut []) == Ok(0) {
        return Ok(());
    }
    let ids = numbers(groups)?;
    match process::setgroups(ids) {
        // Who has the capability is forbidden it by the user namespace alone: in one that an ordinary user has made without
        // newgidmap nobody may leave a group (user_namespaces(7)). So with runc and crun.
        Err(Errno::EPERM) if count == 0 && has_setgid() => return Ok(()),
        set => set.at(Stage::Groups)?,
    }
    let read = process::getgroups(ids).at(Stage::ReadBack)?;
    let kept = groups.iter().all(|id| ids.binary_search(&id).is_ok());
    if read == count && kept { Ok(()) } else { Err(Failed::new(Stage::ReadBack, Errno::EPERM)) }
}

fn has_setgid() -> bool {
    const CAP_SETGID: u32 = 6;
    process::capget().is_ok_and(|[low, _]| low.effective >> CAP_SETGID & 1 == 1)
}

fn numbers(groups: Ids<'_>) -> Result<&'static mut [u32], Failed> {
    let ids = memory::numbers(groups.len()).at(Stage::Groups)?;
    ids.iter_mut().zip(groups.iter()).for_each(|(to, from)| *to = from);
    Ok(ids)
}

/// Which one is the first that we have not ourselves, and so cannot give, the kernel does not say.
fn set_capabilities(data: &[CapData; 2]) -> Done {
    let Err(errno) = process::capset(data) else { return Ok(()) };
    let [low, high] = process::capget().at(Stage::Capset)?;
    let [wanted_low, wanted_high] = data.map(|half| half.permitted | half.effective);
    let missing = [wanted_low & !low.permitted, wanted_high & !high.permitted];
    let missing = u64::from(missing[0]) | u64::from(missing[1]) << 32;
    let item = if missing == 0 { u16::MAX } else { item(missing.trailing_zeros()) };
    Err(Failed { stage: Stage::Capset, item, errno })
}

/// A capability that cannot be ambient is a warning, as with runc: it must be permitted and inheritable.
fn raise_ambient(init: &mut Init, sets: Sets, last: u32) -> Done {
    // capset has taken away what is not in both.
    if sets.permitted & sets.inheritable != 0 {
        process::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0).at(Stage::Ambient)?;
    }
    for capability in (0..=last).filter(|capability| sets.ambient >> capability & 1 == 1) {
        let raised = process::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability);
        if let Err(failed) = raised.item(Stage::Ambient, item(capability)) {
            report::warned(init.op, failed, &init.detail).at(Stage::Ambient)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_split_into_halves() {
        let sets = Sets {
            bounding: 0,
            effective: 1,
            permitted: 1 << 32 | 2,
            inheritable: 1 << 40,
            ambient: 0,
        };
        let [low, high] = sets.data();
        assert_eq!(low, CapData { effective: 1, permitted: 2, inheritable: 0 });
        assert_eq!(high, CapData { effective: 0, permitted: 1, inheritable: 1 << 8 });
    }

    #[test]
    fn sets_with_unknown_capabilities_lose_them() {
        let all = Sets { bounding: !0, effective: !0, permitted: !0, inheritable: !0, ambient: !0 };
        let known = all.known(u64::MAX >> (63 - 40));
        assert_eq!(known.bounding, (1 << 41) - 1);
        assert_eq!(known.data()[1].effective, 0x1ff);
    }
}
