//! Hooks: who runs which, and when.
//!
//! prestart, createRuntime, poststart and poststop are the runtime's; createContainer and startContainer are ops of
//! init, because they run in the container's namespaces.
//!
//! Runs in: any process.

use corten_plan::{Op, Point};

use super::process::Environment;
use super::steps::{Steps, c_path, c_string, c_strings, list};
use super::types::{Origin, RuntimeHooks};
use super::{Inputs, rootfs};
use crate::spec::{Hook, Hooks, Linux, SpecError};

/// The hooks of the runtime.
pub(super) fn of_runtime(hooks: &Hooks) -> RuntimeHooks {
    RuntimeHooks {
        prestart: hooks.prestart.clone(),
        create_runtime: hooks.create_runtime.clone(),
        poststart: hooks.poststart.clone(),
        poststop: hooks.poststop.clone(),
    }
}

/// Stops before the hooks of create, where there are any: it costs a round trip, and a wakeup of each side. Without hooks
/// for network devices too, which must be there before a sysctl of theirs is set.
pub(super) fn wait_for_runtime(steps: &mut Steps, hooks: &Hooks, linux: &Linux) {
    let origin = match any_before_pivot(hooks) {
        true => "/hooks",
        false if !linux.net_devices.is_empty() => "/linux/netDevices",
        false => return,
    };
    steps.push(origin, &Op::Sync { point: Point::Mounted as u8 });
}

/// Whether there are hooks that see the container before its root is the root.
pub(super) fn any_before_pivot(hooks: &Hooks) -> bool {
    [&hooks.prestart, &hooks.create_runtime, &hooks.create_container]
        .iter()
        .any(|hooks| !hooks.is_empty())
}

/// createContainer: paths of the host, in the root file system, as with runc (which hooks that change files of the
/// container rely on), with the runtime's environment.
pub(super) fn create_container(
    steps: &mut Steps,
    inputs: &Inputs<'_>,
    hooks: &Hooks,
) -> Result<(), SpecError> {
    let cwd = rootfs::path(inputs);
    for (index, hook) in hooks.create_container.iter().enumerate() {
        let origin = Origin::Element("/hooks/createContainer", index);
        let cwd = c_path(&origin, &cwd)?;
        let env = match &hook.env {
            Some(env) => c_strings(&origin, env)?,
            None => {
                let inherited = &inputs.request.environment;
                c_strings(&origin, inherited.iter().map(|variable| variable.as_encoded_bytes()))?
            }
        };
        push(steps, origin, hook, &env, &cwd, false)?;
    }
    Ok(())
}

/// startContainer: paths of the container, in the process's directory (where init is), as its user, with its
/// environment (runc: "a de facto historical thing").
pub(super) fn start_container(
    steps: &mut Steps,
    hooks: &Hooks,
    environment: &Environment<'_>,
) -> Result<(), SpecError> {
    for (index, hook) in hooks.start_container.iter().enumerate() {
        let origin = Origin::Element("/hooks/startContainer", index);
        let home = hook.env.is_none() && environment.needs_home;
        let env = match &hook.env {
            Some(env) => c_strings(&origin, env)?,
            None => c_strings(&origin, environment.variables.iter().map(|name| name.as_bytes()))?,
        };
        push(steps, origin, hook, &env, c".", home)?;
    }
    Ok(())
}

fn push(
    steps: &mut Steps,
    origin: Origin,
    hook: &Hook,
    env: &[u8],
    cwd: &std::ffi::CStr,
    home: bool,
) -> Result<(), SpecError> {
    let path = c_string(&origin, hook.path.as_str())?;
    // Empty args: the path is its own name, as for every program.
    let args = if hook.args.is_empty() { std::slice::from_ref(&hook.path) } else { &hook.args };
    let args = c_strings(&origin, args)?;
    let (args, env) = (list(&origin, &args)?, list(&origin, env)?);
    let timeout_ms = milliseconds(&origin, hook)?;
    steps.push(origin, &Op::Hook { path: &path, args, env, cwd, timeout_ms, home });
    Ok(())
}

fn milliseconds(origin: &Origin, hook: &Hook) -> Result<u64, SpecError> {
    let Some(seconds) = hook.timeout else { return Ok(0) };
    let milliseconds = u64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(1000));
    milliseconds.filter(|milliseconds| *milliseconds > 0).ok_or_else(|| {
        SpecError::new(format!("{origin}/timeout"), "is no number of seconds above 0")
    })
}
