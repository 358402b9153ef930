//! Where fields of the kernel's `struct sock` lie, from its BTF (Documentation/bpf/btf.rst).
//!
//! Only these few fields are wanted. The crates that read all of a kernel's types into memory take
//! 60 MiB and 0.3 s for it, more than all of the agent's start; this walks over the bytes once.

use std::{fs, path::Path};

use tlstap_ebpf::SocketLayout;

const STRUCT: u32 = 4;
const UNION: u32 = 5;

/// Structures within structures are followed this deep.
const MAX_DEPTH: usize = 8;

/// The layout of `struct sock`. `None` without BTF, or when the kernel has no such fields.
pub(super) fn of_sockets(btf: &Path) -> Option<SocketLayout> {
    let bytes = fs::read(btf).ok()?;
    let types = Types::read(&bytes)?;
    let common = types.structure("sock_common")?;
    let sock = types.structure("sock")?;
    let offset = |name| types.offset(common, name, 0);
    // Unix sockets may be a module, with types of its own.
    let unix = types.structure("unix_sock");
    let unix = |name| unix.and_then(|at| types.offset(at, name, 0));
    let (unix_address, unix_peer) = unix("addr").zip(unix("peer")).unwrap_or((0, 0));
    let (net, net_inode) = offset("skc_net").zip(types.inode_of_namespace("net")).unwrap_or((0, 0));
    Some(SocketLayout {
        family: offset("skc_family")?,
        protocol: types.offset(sock, "sk_protocol", 0)?,
        local_port: offset("skc_num")?,
        peer_port: offset("skc_dport")?,
        local_v4: offset("skc_rcv_saddr")?,
        peer_v4: offset("skc_daddr")?,
        local_v6: offset("skc_v6_rcv_saddr")?,
        peer_v6: offset("skc_v6_daddr")?,
        kind: types.offset(sock, "sk_type", 0)?,
        net,
        net_inode,
        unix_address,
        unix_peer,
    })
}

/// The types of a kernel.
struct Types<'d> {
    types: &'d [u8],
    strings: &'d [u8],
    /// Where each type begins, by its id less one.
    starts: Vec<u32>,
}

/// The fixed part of a type: `struct btf_type`.
struct Head {
    name: u32,
    kind: u32,
    members: u32,
    bitfields: bool,
}

impl<'d> Types<'d> {
    fn read(bytes: &'d [u8]) -> Option<Self> {
        let header =
            |index: usize| word(bytes, 4 + 4 * index).and_then(|w| usize::try_from(w).ok());
        if bytes.first_chunk() != Some(&0xeb9f_u16.to_ne_bytes()) {
            return None;
        }
        let body = bytes.get(header(0)?..)?;
        let types = body.get(header(1)?..)?.get(..header(2)?)?;
        let strings = body.get(header(3)?..)?.get(..header(4)?)?;
        let mut found = Self { types, strings, starts: Vec::new() };
        let mut at = 0;
        while at < types.len() {
            found.starts.push(u32::try_from(at).ok()?);
            at += 12 + found.head(at)?.extra()?;
        }
        Some(found)
    }

    fn head(&self, at: usize) -> Option<Head> {
        let info = word(self.types, at + 4)?;
        Some(Head {
            name: word(self.types, at)?,
            kind: (info >> 24) & 0x1f,
            members: info & 0xffff,
            bitfields: info >> 31 == 1,
        })
    }

    fn is_named(&self, name: u32, wanted: &str) -> bool {
        let text = usize::try_from(name).ok().and_then(|at| self.strings.get(at..));
        let rest = text.and_then(|text| text.strip_prefix(wanted.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }

    /// Where the structure of this name begins.
    fn structure(&self, name: &str) -> Option<usize> {
        self.starts.iter().filter_map(|&at| usize::try_from(at).ok()).find(|&at| {
            self.head(at).is_some_and(|head| head.kind == STRUCT && self.is_named(head.name, name))
        })
    }

    /// The offset in bytes of the inode number in a structure that is a namespace: of `inum` in its
    /// `struct ns_common ns` (include/linux/ns_common.h).
    fn inode_of_namespace(&self, name: &str) -> Option<u32> {
        let common = self.offset(self.structure(name)?, "ns", 0)?;
        Some(common + self.offset(self.structure("ns_common")?, "inum", 0)?)
    }

    /// The offset in bytes of a member of a structure, or of one of its members without a name.
    fn offset(&self, at: usize, wanted: &str, depth: usize) -> Option<u32> {
        let head = self.head(at)?;
        if depth == MAX_DEPTH || !matches!(head.kind, STRUCT | UNION) {
            return None;
        }
        (0..usize::try_from(head.members).ok()?).find_map(|index| {
            let member = at + 12 + 12 * index;
            let (name, kind) = (word(self.types, member)?, word(self.types, member + 4)?);
            let bits = word(self.types, member + 8)?;
            let bits = if head.bitfields { bits & 0x00ff_ffff } else { bits };
            if self.is_named(name, wanted) {
                return Some(bits / 8);
            }
            if name != 0 {
                return None;
            }
            let inner = *self.starts.get(usize::try_from(kind).ok()?.checked_sub(1)?)?;
            Some(bits / 8 + self.offset(usize::try_from(inner).ok()?, wanted, depth + 1)?)
        })
    }
}

impl Head {
    /// Bytes that follow the fixed part.
    fn extra(&self) -> Option<usize> {
        let members = usize::try_from(self.members).ok()?;
        Some(match self.kind {
            // Pointers, forward declarations, typedefs, qualifiers, functions, floats, tags.
            2 | 7..=12 | 16 | 18 => 0,
            // Integers, variables, declaration tags.
            1 | 14 | 17 => 4,
            // Arrays.
            3 => 12,
            // Structures, unions, sections, 64-bit enumerations.
            STRUCT | UNION | 15 | 19 => 12 * members,
            // Enumerations, prototypes.
            6 | 13 => 8 * members,
            _ => return None,
        })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel with `struct sock_common { u16 a; union { struct { u32 skc_daddr; u32
    /// skc_rcv_saddr; }; }; }` and an integer before it.
    fn btf() -> Vec<u8> {
        let mut strings = vec![0_u8];
        let mut name = |text: &str| {
            let at = u32::try_from(strings.len()).unwrap();
            strings.extend(text.bytes());
            strings.push(0);
            at
        };
        let (int, common) = (name("int"), name("sock_common"));
        let (a, daddr, saddr) = (name("a"), name("skc_daddr"), name("skc_rcv_saddr"));
        let types: Vec<u32> = vec![
            // 1: int
            int,
            1 << 24,
            4,
            32,
            // 2: struct { daddr; saddr }
            0,
            4 << 24 | 2,
            8,
            daddr,
            1,
            0,
            saddr,
            1,
            32,
            // 3: union { 2 }
            0,
            5 << 24 | 1,
            8,
            0,
            2,
            0,
            // 4: struct sock_common { a; 3 at byte 4 }
            common,
            4 << 24 | 2,
            12,
            a,
            1,
            0,
            0,
            3,
            32,
        ];
        let types: Vec<u8> = types.into_iter().flat_map(u32::to_ne_bytes).collect();
        let (types_len, strings_len) =
            (u32::try_from(types.len()).unwrap(), u32::try_from(strings.len()).unwrap());
        let header: Vec<u8> = [24, 0, types_len, types_len, strings_len]
            .into_iter()
            .flat_map(u32::to_ne_bytes)
            .collect();
        [0xeb9f_u16.to_ne_bytes().as_slice(), &[1, 0], &header, &types, &strings].concat()
    }

    #[test]
    fn members_of_members_without_a_name() {
        let bytes = btf();
        let types = Types::read(&bytes).unwrap();
        let common = types.structure("sock_common").unwrap();
        assert_eq!(types.offset(common, "a", 0), Some(0));
        assert_eq!(types.offset(common, "skc_daddr", 0), Some(4));
        assert_eq!(types.offset(common, "skc_rcv_saddr", 0), Some(8));
        assert_eq!(types.offset(common, "skc", 0), None);
        assert!(types.structure("sock").is_none());
    }

    #[test]
    fn every_cut_is_refused_or_read() {
        let bytes = btf();
        for cut in 0..bytes.len() {
            assert!(Types::read(&bytes[..cut]).is_none(), "cut at {cut}");
        }
    }
}
