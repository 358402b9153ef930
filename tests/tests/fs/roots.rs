//! `tlstap fs` where there is no runtime, or no plain overlay.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tlstap_tests::{
    event::text,
    node::Node,
    rooted::{self, Rooted},
    tool,
};

use super::{holds, object, printed, tlstap_fs};

crate::tests![
    in_a_plain_folder,
    in_a_root_without_a_mount,
    every_kind_of_layer,
    layers_named_from_their_folder,
    layers_of_another_namespace,
];

fn folder() -> Result<(tempfile::TempDir, String)> {
    let folder = rooted::folder()?;
    let path = folder.path().to_str().context("a path that is not UTF-8")?.to_owned();
    Ok((folder, path))
}

fn in_a_plain_folder(node: &Node) -> Result<()> {
    let (kept, root) = folder()?;
    fs::create_dir(kept.path().join("etc"))?;
    fs::write(kept.path().join("etc/passwd"), "its own")?;
    std::os::unix::fs::symlink("/etc/passwd", kept.path().join("link"))?;
    for flags in [&["--mount"][..], &["--mount", "--user", "--map-root-user"]] {
        let rooted = Rooted::pivot(flags, kept.path())?;
        for path in ["/etc/passwd", "/link", "/../../etc/passwd", "etc/passwd"] {
            let host = holds(node, &rooted.pid(), path, b"its own")?;
            ensure!(host == format!("{root}/etc/passwd"), "{flags:?} {path}: {host}");
        }
        let told = object(node, &[&rooted.pid()])?;
        let first = told.pointer("/roots/1").context("one root only")?;
        let found = (text(first, "/kind"), text(first, "/path"));
        ensure!(found == (Some("folder"), Some(&*root)), "{told}");
        // By the name that it has without a runtime.
        let name = text(&told, "/container/name").context("no name")?;
        holds(node, name, "/link", b"its own")?;
    }
    Ok(())
}

/// After chroot(2), /proc/PID/mountinfo has no line for the root.
fn in_a_root_without_a_mount(node: &Node) -> Result<()> {
    let (kept, root) = folder()?;
    fs::create_dir_all(kept.path().join("deep/etc"))?;
    fs::write(kept.path().join("deep/etc/file"), "its own")?;
    std::os::unix::fs::symlink("/etc/file", kept.path().join("deep/link"))?;
    let rooted = Rooted::chroot(&kept.path().join("deep"))?;
    for path in ["/etc/file", "/link", "/../../deep/../etc/../link"] {
        if path.contains("deep/..") {
            tlstap_fs(node, &[&rooted.pid(), path])?.refused(&["no such file"])?;
            continue;
        }
        let host = holds(node, &rooted.pid(), path, b"its own")?;
        ensure!(host == format!("{root}/deep/etc/file"), "{path}: {host}");
    }
    tlstap_fs(node, &[&rooted.pid(), "/etc/passwd"])?.refused(&["no such file"])
}

/// What the layers say with notes of the kernel: moved folders, files with their data further down,
/// whiteouts, folders that hide those below.
fn every_kind_of_layer(node: &Node) -> Result<()> {
    let (kept, root) = folder()?;
    let at = |path: &str| kept.path().join(path);
    for folder in [
        "low/dir/sub",
        "low/other",
        "low/hidden",
        "low/moved",
        "mid",
        "up",
        "work",
        "work2",
        "merged",
    ] {
        fs::create_dir_all(at(folder))?;
    }
    for (path, bytes) in [
        ("low/dir/file", "in low/dir"),
        ("low/dir/sub/deep", "deep"),
        ("low/moved/file", "not to be seen"),
        ("low/hidden/file", "hidden"),
        ("low/meta", "data of meta"),
        ("low/gone", "gone"),
        ("low/plain", "plain"),
    ] {
        fs::write(at(path), bytes)?;
    }
    // Twice, so that a layer in the middle has such notes, too.
    let mount = |lower: &str, upper: &str, work: &str| {
        format!(
            "mount -t overlay overlay -o redirect_dir=on,metacopy=on,lowerdir={lower},\
                 upperdir=$0/{upper},workdir=$0/{work} $0/merged"
        )
    };
    let script = format!(
        "{first}
         cd $0/merged; rm -r moved; mv dir moved; chmod 600 meta; mv meta renamed
         rm -r hidden; mkdir hidden; echo -n shown > hidden/other; rm gone; cd /; umount $0/merged
         {second}
         cd $0/merged; mv moved again; echo -n up > again/up; chmod 640 renamed; chmod 611 plain
         cp renamed other/copy; mv again/sub other/sub; cd /",
        first = mount("$0/low", "mid", "work"),
        second = mount("$0/mid:$0/low", "up", "work2"),
    );
    let flags = ["--mount", "--propagation", "private"];
    let rooted = Rooted::after(&flags, &script, kept.path(), "merged")?;
    let pid = rooted.pid();
    let inside = format!("/proc/{pid}/root");
    for (path, kind, held) in [
        ("/again/file", "lower", "low/dir/file"),
        ("/again/up", "upper", "up/again/up"),
        ("/other/sub/deep", "lower", "low/dir/sub/deep"),
        ("/hidden/other", "lower", "mid/hidden/other"),
        ("/renamed", "lower", "low/meta"),
        ("/plain", "lower", "low/plain"),
        ("/other/copy", "upper", "up/other/copy"),
    ] {
        let expect = fs::read(format!("{inside}{path}")).with_context(|| path.to_owned())?;
        holds(node, &pid, path, &expect)?;
        let told = object(node, &[&pid, path])?;
        let found = (text(&told, "/layer/kind"), text(&told, "/layer/path"));
        ensure!(found == (Some(kind), Some(&*format!("{root}/{held}"))), "{path}: {told}");
        ensure!(fs::read(printed(node, &[&pid, path, "--layer"])?)? == expect, "{path}");
    }
    for path in ["/gone", "/hidden/file", "/moved/file", "/dir/file", "/meta", "/again/sub/deep"] {
        ensure!(!Path::new(&format!("{inside}{path}")).exists(), "{path} is there");
        tlstap_fs(node, &[&pid, path])?.refused(&["no such file"])?;
    }
    let told = object(node, &[&pid])?;
    let kinds = told.pointer("/roots").and_then(Value::as_array).context("no roots")?;
    let kinds: Vec<_> = kinds.iter().filter_map(|root| text(root, "/kind")).collect();
    ensure!(kinds == ["process", "upper", "lower", "lower"], "{told}");
    Ok(())
}

/// A mount on the host, taken away when dropped.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        // Fails only if it is gone.
        let _ = tool::command("umount", ["--lazy".as_ref(), self.0.as_os_str()])
            .and_then(|mut umount| Ok(umount.status()?));
    }
}

/// Runtimes do so when there are many layers: the options of a mount fit one page.
fn layers_named_from_their_folder(node: &Node) -> Result<()> {
    let (kept, root) = folder()?;
    for folder in ["low", "up", "work", "merged"] {
        fs::create_dir(kept.path().join(folder))?;
    }
    fs::write(kept.path().join("low/file"), "low")?;
    fs::write(kept.path().join("up/other"), "up")?;
    let options = "lowerdir=low,upperdir=up,workdir=work";
    let mut mount = tool::command("mount", ["-t", "overlay", "overlay", "-o", options, "merged"])?;
    mount.current_dir(kept.path());
    tool::run(mount)?;
    let mounted = Mounted(kept.path().join("merged"));
    let rooted = Rooted::chroot(&mounted.0)?;
    for (path, held, bytes) in [("/file", "low/file", "low"), ("/other", "up/other", "up")] {
        let host = holds(node, &rooted.pid(), path, bytes.as_bytes())?;
        ensure!(host == format!("{root}/merged{path}"), "{path}: {host}");
        let layer = printed(node, &[&rooted.pid(), path, "--layer"])?;
        ensure!(layer == format!("{root}/{held}"), "{path}: {layer}");
    }
    Ok(())
}

/// Whoever mounts an overlay in a namespace of its own can name folders that are something else on
/// the host: they are not the container's.
fn layers_of_another_namespace(node: &Node) -> Result<()> {
    let (kept, root) = folder()?;
    for folder in ["low", "private", "merged"] {
        fs::create_dir(kept.path().join(folder))?;
    }
    fs::write(kept.path().join("low/secret"), "the host's")?;
    let script = "mount -t tmpfs tmpfs $0/private; mkdir $0/private/low $0/private/up $0/private/work
                  echo -n mine > $0/private/low/secret; mount --bind $0/private/low $0/low
                  mount -t overlay overlay \
                  -o userxattr,lowerdir=$0/low,upperdir=$0/private/up,workdir=$0/private/work $0/merged";
    let flags = ["--user", "--map-root-user", "--mount"];
    let rooted = Rooted::after(&flags, script, kept.path(), "merged")?;
    let pid = rooted.pid();
    let host = holds(node, &pid, "/secret", b"mine")?;
    ensure!(host == format!("/proc/{pid}/root/secret"), "{host}");
    tlstap_fs(node, &[&pid, "/secret", "--layer"])?.refused(&["layers are not to be seen"])?;
    for arguments in [&[&*pid][..], &[&*pid, "/secret"]] {
        let told = object(node, arguments)?.to_string();
        ensure!(!told.contains(&root), "{told}");
    }
    Ok(())
}
