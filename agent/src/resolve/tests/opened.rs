//! What a container may put in the place of a library: nothing but a file is opened, none outside of
//! its root, and nothing makes the agent wait.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::Path,
};

use rustix::fs::{CWD, FileType, Mode};

use crate::resolve::{OpenError, open_in_root};

fn open(root: &Path, path: &str) -> Result<(), OpenError> {
    open_in_root(Path::new("/proc"), Path::new("/proc/self"), root, Path::new(path)).map(drop)
}

#[test]
fn only_regular_files() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    fs::write(at("file"), "x").unwrap();
    fs::create_dir(at("directory")).unwrap();
    rustix::fs::mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _listener = UnixListener::bind(at("socket")).unwrap();
    symlink("fifo", at("link")).unwrap();
    assert!(open(root.path(), "file").is_ok());
    for name in ["directory", "fifo", "socket", "link"] {
        let opened = open(root.path(), name);
        assert!(matches!(opened, Err(OpenError::NotRegular)), "{name}: {opened:?}");
    }
    for device in ["null", "zero", "tty"] {
        let opened = open(Path::new("/dev"), device);
        assert!(matches!(opened, Err(OpenError::NotRegular)), "{device}: {opened:?}");
    }
}

#[test]
fn links_stay_inside_and_end() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    symlink("two", at("one")).unwrap();
    symlink("one", at("two")).unwrap();
    assert!(matches!(open(root.path(), "one"), Err(OpenError::Refused(_))));
    for (name, target) in [("up", "../../../../../../etc/passwd"), ("absolute", "/etc/passwd")] {
        symlink(target, at(name)).unwrap();
        assert!(matches!(open(root.path(), name), Err(OpenError::Gone)), "{name}");
    }
    symlink(format!("/proc/{}/root", std::process::id()), at("magic")).unwrap();
    assert!(open(root.path(), "magic/etc/passwd").is_err());
    // Of a path that leads through links of links of links.
    fs::create_dir(at("d0")).unwrap();
    for depth in 1..30 {
        symlink(format!("d{}/../d{0}", depth - 1), at(&format!("d{depth}"))).unwrap();
    }
    assert!(open(root.path(), "d29/file").is_err());
}
