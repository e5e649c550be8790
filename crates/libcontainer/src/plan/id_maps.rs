//! Id-mapped mounts: which mounts get an id mapping, and which one.
//!
//! The words `idmap` and `ridmap`, `uidMappings` and `gidMappings`: config.md, "Linux mount options". Mappings without a
//! word mean `idmap`, as in runc and crun.
//!
//! Runs in: any process.

use std::fmt;

use super::Inputs;
use super::options::IdMapWord;
use super::types::{IdMapPlan, MapSource, Origin};
use super::words::CLONE_NEWUSER;
use crate::spec::{LinuxIdMapping, Mount, SpecError};

/// The id mapping that a mount asks for, if it does; the op is not known yet.
pub(super) fn of_mount(
    inputs: &Inputs<'_>,
    mount: &Mount,
    word: Option<IdMapWord>,
    origin: &Origin,
) -> Result<Option<IdMapPlan>, SpecError> {
    // That both are given, or neither, is checked by spec::validate.
    let own = !mount.uid_mappings.is_empty();
    if word.is_none() && !own {
        return Ok(None);
    }
    let (pointer, source) = if own {
        (format!("{origin}/uidMappings"), maps(&mount.uid_mappings, &mount.gid_mappings))
    } else {
        let index = word.map_or(0, |word| word.index);
        let pointer = format!("{origin}/options/{index}");
        let source = of_container(inputs).ok_or_else(|| {
            // The first words are runc's.
            let problem = "id-mapped mounts must have both uid and gid mappings specified: neither \
                 this mount has them nor a user namespace of the container";
            SpecError::new(pointer.clone(), problem)
        })?;
        (pointer, source)
    };
    let recursive = word.is_some_and(|word| word.recursive);
    Ok(Some(IdMapPlan { op: 0, recursive, source, pointer }))
}

/// That of the container's user namespace. A new one does not exist when the mapping is needed: another with the same maps
/// does as well.
fn of_container(inputs: &Inputs<'_>) -> Option<MapSource> {
    let mut joined = inputs.namespaces.joined.iter();
    if let Some(joined) = joined.find(|namespace| namespace.kind == CLONE_NEWUSER) {
        return Some(MapSource::Joined(joined.handle));
    }
    let (uids, gids) = (&inputs.linux.uid_mappings, &inputs.linux.gid_mappings);
    let has_maps = !uids.is_empty() && !gids.is_empty();
    (has_maps && inputs.namespaces.is_new(CLONE_NEWUSER)).then(|| maps(uids, gids))
}

fn maps(uids: &[LinuxIdMapping], gids: &[LinuxIdMapping]) -> MapSource {
    MapSource::Maps { uids: uids.to_vec(), gids: gids.to_vec() }
}

impl fmt::Display for MapSource {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = |maps: &[LinuxIdMapping]| {
            let range =
                |map: &LinuxIdMapping| format!("{}:{}:{}", map.container_id, map.host_id, map.size);
            maps.iter().map(range).collect::<Vec<_>>().join(",")
        };
        match self {
            Self::Maps { uids, gids } => {
                write!(to, "uids {}, gids {}", ranges(uids), ranges(gids))
            }
            Self::Joined(_) => to.write_str("that of the joined user namespace"),
        }
    }
}
