//! What the kernel says in /proc, of which containers write large parts: paths, names, the options of mounts.

use std::{
    env, fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use tlstap::{
    discover::{self, Layers},
    enrich, privilege,
};

use crate::fields;

const PID: u32 = 41;

/// The files of a process, by what the first byte of a part says.
const FILES: [&str; 11] = [
    "41/mountinfo",
    "41/cgroup",
    "41/maps",
    "41/comm",
    "41/stat",
    "41/net/tcp",
    "41/net/tcp6",
    "1/mountinfo",
    "2/stat",
    "1/root/sys/kernel/security/lockdown",
    "41/status",
];
/// Likewise the links, behind the files.
const LINKS: [&str; 4] = ["41/exe", "41/fd/3", "41/fd/4", "41/ns/mnt"];

/// In parts: which file, and what is in it.
pub(super) fn run(data: &[u8]) {
    let proc = folder();
    for file in FILES {
        fs::write(proc.join(file), "").expect("room for a file");
    }
    for part in fields::parts(data) {
        let Some((&which, contents)) = part.split_first() else { continue };
        let which = usize::from(which) % (FILES.len() + LINKS.len());
        match (FILES.get(which), LINKS.get(which.wrapping_sub(FILES.len()))) {
            (Some(file), _) => fs::write(proc.join(file), contents).expect("room for a file"),
            (_, Some(link)) => relink(&proc.join(link), contents),
            _ => {}
        }
    }
    look(proc);
}

/// What a link may lead to, the kernel says.
fn relink(link: &Path, to: &[u8]) {
    // Fails when there is none.
    let _ = fs::remove_file(link);
    // And for what no link can say.
    let _ = symlink(Path::new(std::ffi::OsStr::from_bytes(to)), link);
}

/// All that the agent asks.
fn look(proc: &Path) {
    let process = proc.join(PID.to_string());
    let host = discover::host(proc);
    discover::roots(proc);
    discover::processes(proc).expect("a folder");
    for mount in discover::mounts(&process).into_iter().chain(discover::mounts(&host)) {
        let layers = Layers::of(&mount);
        assert!(layers.clone().absolute().all().all(|layer| layer.is_absolute()));
        assert!(layers.within(Path::new("/base")).all().all(|layer| layer.is_absolute()));
    }
    for mapping in discover::mappings(proc, PID).unwrap_or_default() {
        assert_ne!(mapping.inode.map(|(_, inode)| inode), Some(0), "no file");
    }
    for descriptor in [3, 4] {
        discover::socket_of_descriptor(proc, PID, descriptor);
    }
    discover::only_socket(proc, PID);
    assert_eq!(enrich::process(proc, PID).pid, PID);
    privilege::lockdown(proc);
}

/// A /proc with what no input changes.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let scratch = env::var_os("TLSTAP_FUZZ_SCRATCH").map_or_else(env::temp_dir, PathBuf::from);
        let proc = scratch.join(format!("proc-{}", std::process::id()));
        for path in FILES.into_iter().chain(LINKS) {
            let folder = Path::new(path).parent().unwrap_or(Path::new(""));
            fs::create_dir_all(proc.join(folder)).expect("room for a folder");
        }
        for root in ["2/root", "41/root"] {
            fs::create_dir_all(proc.join(root)).expect("room for a folder");
        }
        proc
    })
}

/// What this machine says of a process of its own, and a container of a runtime.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let own = |file: &str| fs::read(format!("/proc/self/{file}")).unwrap_or_default();
    let overlay = "36 35 0:52 / / rw,relatime shared:1 - overlay overlay \
                   rw,lowerdir=/l/A:/l/B\\072::/data,upperdir=/u\\040p/diff,workdir=/w,userxattr\n\
                   37 36 0:53 /a\\012b /m\\134n rw - tmpfs web\\011 rw\n\
                   38 36 0:54 / /x rw - overlay none rw,lowerdir+=/l/A,lowerdir+=/l/B:c,datadir+=/d\n";
    let cgroups = format!("12:pids:/docker/{ID}\n0::/kubepods.slice/cri-containerd-{ID}.scope\n");
    let mounted = format!(
        "40 36 8:1 /var/lib/docker/containers/{ID}/resolv.conf /etc/resolv.conf rw - ext4 /dev/sda rw\n"
    );
    let maps = "7f0000000000-7f0000001000 r-xp 00001000 08:01 1234 /usr/lib/libssl.so.3\n\
                7f0000002000-7f0000003000 r-xp 00000000 00:31 99 /a\\012b\x1b[31m (deleted)\n\
                7ffd00000000-7ffd00001000 r-xp 00000000 00:00 0 [vdso]\n";
    let process = |parts: Vec<(u8, Vec<u8>)>| {
        fields::join(parts.into_iter().map(|(which, contents)| [&[which][..], &contents].concat()))
    };
    vec![
        process(vec![(0, own("mountinfo")), (1, own("cgroup")), (3, own("comm"))]),
        process(vec![(2, own("maps")), (4, own("stat")), (10, own("status"))]),
        process(vec![(5, own("net/tcp")), (6, own("net/tcp6")), (12, b"socket:[1234]".to_vec())]),
        process(vec![(0, overlay.into()), (1, cgroups.into()), (11, b"/bin/a (deleted)".to_vec())]),
        process(vec![
            (0, mounted.into()),
            (7, overlay.into()),
            (8, b"2 (a) S 0 0 0 0 -1 2097152 0".to_vec()),
        ]),
        process(vec![(2, maps.into()), (9, b"none [integrity] confidentiality\n".to_vec())]),
        process(vec![(14, b"mnt:[4026532288]".to_vec()), (3, b"\x1b]0;evil\x07\n".to_vec())]),
    ]
}
