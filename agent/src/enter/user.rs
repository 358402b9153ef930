//! Who the command is, and what it may do.

use std::str::FromStr;

use anyhow::{Context as _, Result};
use rustix::{
    process::{Gid, Uid},
    thread::{
        CapabilitySet, CapabilitySets, clear_ambient_capability_set,
        configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
        set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};

/// A user and a group, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// The first of every user namespace.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

impl FromStr for User {
    type Err = String;

    /// `UID` or `UID:GID`. A user's own group has his number in most places, and the group of root would
    /// be a power.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            // The greatest means "as it was" (setresuid(2)).
            let number = text.parse().ok().filter(|number| *number != u32::MAX);
            number.ok_or_else(|| format!("'{text}' is not a number; write UID or UID:GID"))
        };
        let (uid, gid) = text.split_once(':').unwrap_or((text, text));
        Ok(Self { uid: number(uid)?, gid: number(gid)? })
    }
}

/// What the command may do beyond what its user may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privileges {
    /// All that this process may, as long as its user is root.
    Kept,
    /// Nothing.
    Dropped,
}

/// A capability that does no harm, and that no runtime gives to containers: its owner may set timers that
/// wake up a suspended machine. Whoever lacks a capability that a process has may not look at the process
/// (`cap_ptrace_access_check`), however the users are; one without any is open to its own user in
/// the container, with its root directory, the host's.
const SHIELD: CapabilitySet = CapabilitySet::WAKE_ALARM;

/// Gives up the groups, which a user namespace may forbid later.
pub(super) fn leave_groups() -> Result<()> {
    set_thread_groups(&[]).context("failed to leave the groups of this user")
}

/// Becomes the user if one is given, and drops capabilities. `exposed` says that processes of the container
/// can see this one, and the host's files through it, if they may look at it.
pub(super) fn become_user(user: Option<User>, privileges: Privileges, exposed: bool) -> Result<()> {
    let keep = if exposed { SHIELD } else { CapabilitySet::empty() };
    if privileges == Privileges::Dropped {
        bound(keep).context("failed to drop capabilities")?;
    }
    if let Some(User { uid, gid }) = user {
        change(uid, gid).with_context(|| {
            format!("failed to become {uid}:{gid} (the user namespace must have these numbers)")
        })?;
    }
    if privileges == Privileges::Dropped || user.is_some_and(|user| user.uid != 0) {
        limit(keep).context("failed to give up capabilities other than CAP_WAKE_ALARM")?;
    }
    Ok(())
}

fn change(uid: u32, gid: u32) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_keep_capabilities(true)?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)
}

/// No program that is executed gets others than these.
fn bound(keep: CapabilitySet) -> rustix::io::Result<()> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if keep.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            // Behind the last that the kernel knows.
            Err(rustix::io::Errno::INVAL) => return Ok(()),
            done => done?,
        }
    }
    Ok(())
}

/// Has these only, now and in the program that is executed.
fn limit(keep: CapabilitySet) -> rustix::io::Result<()> {
    clear_ambient_capability_set()?;
    set_capabilities(None, CapabilitySets { effective: keep, permitted: keep, inheritable: keep })?;
    keep.iter().try_for_each(|capability| configure_capability_in_ambient_set(capability, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers() {
        let user = |uid, gid| Ok(User { uid, gid });
        assert_eq!("1000".parse(), user(1000, 1000));
        assert_eq!("1000:0".parse(), user(1000, 0));
        for wrong in ["", "root", "-1", "1:", ":1", "1:2:3", "4294967295", "0x1"] {
            assert!(wrong.parse::<User>().is_err(), "{wrong}");
        }
    }
}
