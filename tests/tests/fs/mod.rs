//! Issue 8: `tlstap fs` on containers that run: the printed path holds what the container has, and
//! nothing outside of it is ever printed.

pub(crate) mod roots;
pub(crate) mod stopped;

use std::{fs, os::unix::net::UnixListener, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tlstap_tests::{
    cli::Ended,
    docker::{Container, Derived, Docker},
    event::text,
    node::Node,
    tool,
};

crate::tests![
    where_the_bytes_are,
    links_stay_inside,
    removed_but_open,
    as_docker_says,
    mounts_with_their_sources,
    copies_are_safe,
    listed_and_shown,
    in_a_pod,
    in_podman,
    what_is_not_there,
    a_silent_runtime_holds_nothing_up,
];

/// Two layers of an image, the upper of which hides and replaces what the lower one has.
const DOCKERFILE: &str = r#"
RUN mkdir -p /base/whole /base/part && \
    echo low > /base/low && echo replaced > /base/replaced && echo removed > /base/removed && \
    echo whole > /base/whole/old && echo part > /base/part/old && \
    ln -s /base/low /absolute && ln -s ../../../../base/low /climbing && ln -s /base /folder
RUN echo again > /base/replaced && rm /base/removed && \
    rm -r /base/whole && mkdir /base/whole && echo new > /base/whole/new && \
    echo new > /base/part/new
"#;

/// Paths of which the container that runs, and when it does not, has the same; and the layer that holds them.
pub(crate) const PATHS: [(&str, Option<&str>); 17] = [
    ("/base/low", Some("lower")),
    ("/base/replaced", Some("lower")),
    ("/base/whole/new", Some("lower")),
    ("/base/part/new", Some("lower")),
    ("/base/part/old", Some("upper")),
    ("/base/up", Some("upper")),
    ("/absolute", Some("lower")),
    ("/climbing", Some("lower")),
    ("/folder/up", Some("upper")),
    ("/../../../../base/low", Some("lower")),
    ("/volume/folder/../../../base/low", Some("lower")),
    ("/volume/link", Some("lower")),
    ("/volume/file", None),
    ("/bound/file", None),
    ("/run/linked/file", None),
    ("/var/run/linked/file", None),
    ("/etc/hosts", None),
];

/// A container that waits, with files in all places that there are.
pub(crate) struct Filled {
    pub(crate) container: Container,
    /// Mounted at /bound.
    pub(crate) bound: TempDir,
    _image: Derived,
}

/// Runs it; a script runs in it first.
pub(crate) fn filled(docker: &Docker, script: &str) -> Result<Filled> {
    let file = format!("FROM {}{DOCKERFILE}", docker.image()?);
    let image = docker.derive(&file, tempfile::tempdir()?.path())?;
    let bound = tempfile::tempdir()?;
    fs::write(bound.path().join("file"), "bound")?;
    let script = format!(
        "echo up > /base/up; echo part > /base/part/up; echo changed >> /base/part/old;
         echo volume > /volume/file; echo memory > /memory/file; mkdir /volume/folder;
         ln -s /base/low /volume/link; {script}
         echo ready; exec sleep infinity"
    );
    let run = docker.run("filled")?.of_image(image.name()).mount(bound.path(), "/bound");
    // Debian's /var/run is a link.
    let run = run.mount(bound.path(), "/var/run/linked");
    let container = run
        .options(&["--volume", "/volume", "--tmpfs", "/memory"])
        .start(&["sh", "-c", &script])?;
    container.wait_for_log("ready")?;
    Ok(Filled { container, bound, _image: image })
}

/// Runs `tlstap fs` to its end.
pub(crate) fn tlstap_fs(node: &Node, arguments: &[&str]) -> Result<Ended> {
    node.tlstap(&[&["fs"], arguments].concat())?.output()
}

/// The one line that it prints.
pub(crate) fn printed(node: &Node, arguments: &[&str]) -> Result<String> {
    let ended = tlstap_fs(node, arguments)?;
    ended.succeeded()?;
    ensure!(ended.stdout.len() == 1, "{arguments:?}: {:?}", ended.stdout);
    Ok(ended.stdout.concat())
}

/// The one object that it prints.
pub(crate) fn object(node: &Node, arguments: &[&str]) -> Result<Value> {
    let ended = tlstap_fs(node, &[arguments, &["-o", "json"]].concat())?;
    ended.succeeded()?;
    ended.events()?.pop().with_context(|| format!("{arguments:?} printed nothing"))
}

/// The folders of one kind that make the root.
pub(crate) fn roots<'a>(told: &'a Value, kind: &str) -> Vec<&'a str> {
    let roots = told.pointer("/roots").and_then(Value::as_array).into_iter().flatten();
    let of_kind = roots.filter(|root| text(root, "/kind") == Some(kind));
    of_kind.filter_map(|root| text(root, "/path")).collect()
}

/// Holds the printed path to have these bytes.
#[track_caller]
pub(crate) fn holds(node: &Node, target: &str, path: &str, expect: &[u8]) -> Result<String> {
    let host = printed(node, &[target, path])?;
    let found = fs::read(&host).with_context(|| format!("{path}: {host}"))?;
    ensure!(found == expect, "{path}: {host} has {:?}", String::from_utf8_lossy(&found));
    Ok(host)
}

fn where_the_bytes_are(node: &Node) -> Result<()> {
    let filled = filled(node.docker()?, "")?;
    let container = &filled.container;
    let name = container.name();
    let merged = container.inspect("{{.GraphDriver.Data.MergedDir}}")?;
    let more = [("base/low", Some("lower")), ("/memory/file", None)];
    for (path, layer) in PATHS.into_iter().chain(more) {
        let inside = container.exec(&["sh", "-c", &format!("cd / && cat {path}; echo .")])?;
        let inside = inside.trim_end_matches('.');
        let host = holds(node, name, path, inside.as_bytes())?;
        ensure!(layer.is_none() || host.starts_with(&merged), "{path}: not merged: {host}");
        let told = object(node, &[name, path])?;
        ensure!(text(&told, "/host/path") == Some(&host), "{path}: {told}");
        ensure!(text(&told, "/layer/kind") == layer, "{path}: {told}");
        if layer.is_some() {
            let held = printed(node, &[name, path, "--layer"])?;
            ensure!(fs::read(&held)? == inside.as_bytes(), "{path}: {held}");
            ensure!(text(&told, "/layer/path") == Some(&held), "{path}: {told}");
        }
    }
    let pid = container.pid()?;
    let memory = printed(node, &[name, "/memory/file"])?;
    ensure!(memory == format!("/proc/{pid}/root/memory/file"), "{memory}");
    holds(node, &pid.to_string(), "/base/up", b"up\n")?;
    holds(node, &container.id()?[..8], "/base/up", b"up\n").map(drop)
}

/// A link means what it means inside, though the host has something there too.
fn links_stay_inside(node: &Node) -> Result<()> {
    let secret = node.scratch().join("secret");
    fs::write(&secret, "the host's")?;
    let secret = secret.to_str().context("the scratch folder is not UTF-8")?;
    let script = format!(
        "ln -s {secret} /out; ln -s ../../../../../..{secret} /climb; ln -s /proc/1/root/etc /magic;
         ln -s /loop /loop; ln -s /etc /bound/etc; echo mine > /etc/mine;"
    );
    let filled = filled(node.docker()?, &script)?;
    let container = &filled.container;
    let name = container.name();
    for path in ["/out", "/climb", secret, "/magic/passwd", "/loop", "/bound/etc/nothing"] {
        for more in [&[][..], &["--cat"], &["--ls"], &["--layer"], &["-o", "json"]] {
            let ended = tlstap_fs(node, &[&[name, path], more].concat())?;
            ended.refused(&["there is no such file", "is a link that leads on without end"])?;
        }
    }
    holds(node, name, "/bound/etc/mine", b"mine\n").map(drop)
}

fn removed_but_open(node: &Node) -> Result<()> {
    let script = "echo gone > /gone; exec 3< /gone; rm /gone; ln -s / /top;
                  echo one > /twice; exec 4< /twice; rm /twice;
                  echo two > /twice; exec 5< /twice; rm /twice;";
    let filled = filled(node.docker()?, script)?;
    let container = &filled.container;
    let (name, pid) = (container.name(), container.pid()?);
    for path in ["/gone", "/top/gone", "/base/../gone"] {
        let host = holds(node, name, path, b"gone\n")?;
        ensure!(host == format!("/proc/{pid}/fd/3"), "{path}: {host}");
    }
    let shown = tlstap_fs(node, &[name, "/gone", "--cat"])?;
    ensure!(shown.stdout == ["gone"], "{:?}", shown.stdout);
    tlstap_fs(node, &[name, "/twice"])?.refused(&["several removed files"])
}

fn as_docker_says(node: &Node) -> Result<()> {
    let filled = filled(node.docker()?, "")?;
    let container = &filled.container;
    let told = object(node, &[container.name()])?;
    for (kind, key) in [("merged", "MergedDir"), ("upper", "UpperDir"), ("lower", "LowerDir")] {
        let says = container.inspect(&format!("{{{{.GraphDriver.Data.{key}}}}}"))?;
        let says: Vec<_> = says.split(':').collect();
        let found = roots(&told, kind);
        ensure!(found == says, "{kind}: {found:?}, docker says {says:?}");
    }
    ensure!(roots(&told, "process") == [format!("/proc/{}/root", container.pid()?)], "{told}");
    let layers = told.pointer("/roots").and_then(Value::as_array).into_iter().flatten();
    for root in layers.filter(|root| text(root, "/kind") != Some("process")) {
        let tellers = root.pointer("/told_by").cloned().unwrap_or_default();
        ensure!(tellers == serde_json::json!(["kernel", "docker"]), "{root}");
        ensure!(root.pointer("/exists") == Some(&Value::Bool(true)), "{root}");
    }
    // For people the same.
    let table = tlstap_fs(node, &[container.name()])?;
    table.succeeded()?;
    let upper = roots(&told, "upper").concat();
    let row = table.stdout.iter().find(|line| line.starts_with("upper"));
    ensure!(row.is_some_and(|row| row.contains(&upper)), "{:?}", table.stdout);
    Ok(())
}

fn mounts_with_their_sources(node: &Node) -> Result<()> {
    let Filled { container, bound, _image } = filled(node.docker()?, "")?;
    let told = object(node, &[container.name()])?;
    let mounts = told.pointer("/mounts").and_then(Value::as_array).context("no mounts")?;
    let volume = container.inspect("{{range .Mounts}}{{if .Name}}{{.Name}}{{end}}{{end}}")?;
    let volume_folder =
        container.inspect("{{range .Mounts}}{{if .Name}}{{.Source}}{{end}}{{end}}")?;
    let hosts = container.inspect("{{.HostsPath}}")?;
    let memory = format!("/proc/{}/root/memory", container.pid()?);
    let bound = bound.path().to_str();
    for (point, kind, name, source, path) in [
        ("/volume", "volume", Some(&*volume), Some(&*volume_folder), Some(&*volume_folder)),
        ("/bound", "bind", None, bound, bound),
        ("/memory", "tmpfs", None, None, Some(&*memory)),
        ("/etc/hosts", "bind", None, Some(&*hosts), Some(&*hosts)),
    ] {
        let mount = mounts.iter().find(|mount| text(mount, "/point") == Some(point));
        let mount = mount.with_context(|| format!("no mount at {point} in {told}"))?;
        let found = ["/kind", "/volume", "/source", "/path"].map(|field| text(mount, field));
        ensure!(found == [Some(kind), name, source, path], "{mount}");
    }
    let points = mounts.iter().filter_map(|mount| text(mount, "/point"));
    let kernel: Vec<_> = points.filter(|point| point.starts_with("/proc")).collect();
    ensure!(kernel.is_empty(), "{kernel:?}");
    Ok(())
}

/// A copy has no privileges and no links that are followed, and nothing is written over.
fn copies_are_safe(node: &Node) -> Result<()> {
    let script = "mkdir -p /tree/deep; echo x > /tree/deep/file; chmod 4755 /tree/deep/file;
                  mkfifo /tree/fifo; ln -s /etc/shadow /tree/link; touch -d @1000000000 /tree/deep/file;";
    let filled = filled(node.docker()?, script)?;
    let container = &filled.container;
    let (name, folder) = (container.name(), tempfile::tempdir()?);
    let to = |path: &str| folder.path().join(path).to_string_lossy().into_owned();
    let copied = tlstap_fs(node, &[name, "/tree", "--cp", &to("copy")])?;
    copied.succeeded()?;
    ensure!(copied.stdout.is_empty(), "{:?}", copied.stdout);
    let left_out = |line: &String| line.contains("/tree/fifo is left out");
    ensure!(copied.stderr.iter().any(left_out), "{:?}", copied.stderr);
    let shown = tool::run(tool::command("stat", ["--format", "%a %U %Y", &to("copy/deep/file")])?)?;
    ensure!(shown == "755 root 1000000000", "{shown}");
    ensure!(fs::read(to("copy/deep/file"))? == b"x\n", "other bytes");
    ensure!(fs::read_link(to("copy/link"))? == Path::new("/etc/shadow"), "no link");
    ensure!(!Path::new(&to("copy/fifo")).exists(), "a FIFO was made");
    // Into a folder by its name, and not twice.
    let into = to("");
    tlstap_fs(node, &[name, "/tree/deep/file", "--cp", &into])?.succeeded()?;
    ensure!(fs::read(to("file"))? == b"x\n", "other bytes");
    tlstap_fs(node, &[name, "/base/low", "--cp", &to("file")])?.refused(&["File exists"])?;
    ensure!(fs::read(to("file"))? == b"x\n", "written over");
    tlstap_fs(node, &[name, "/tree/fifo", "--cp", &to("x")])?.refused(&["neither a file nor"])
}

fn listed_and_shown(node: &Node) -> Result<()> {
    let script = r"mkdir /odd; echo x > '/odd/a b'; touch /odd/$(printf '\033[31m'); ln -s /base /odd/link;
                   mkfifo /odd/fifo;";
    let filled = filled(node.docker()?, script)?;
    let container = &filled.container;
    let name = container.name();
    let listed = tlstap_fs(node, &[name, "/odd", "--ls"])?;
    listed.succeeded()?;
    let names: Vec<_> =
        listed.stdout.iter().filter_map(|line| line.get(line.find(':')? + 7..)).collect();
    ensure!(names == [r"\u{1b}[31m", "a b", "fifo", "link -> /base"], "{:?}", listed.stdout);
    let rows = tlstap_fs(node, &[name, "/odd", "--ls", "-o", "json"])?.events()?;
    let kinds: Vec<_> = rows.iter().filter_map(|row| text(row, "/file/kind")).collect();
    ensure!(kinds == ["file", "file", "fifo", "link"], "{rows:?}");
    let base = tlstap_fs(node, &[name, "/folder", "--ls"])?;
    let count = |word: &str| base.stdout.iter().filter(|line| line.ends_with(word)).count();
    ensure!(count(" removed") == 0 && count(" low") == 1 && count(" up") == 1, "{:?}", base.stdout);
    let shown = tlstap_fs(node, &[name, "/odd/a b", "--cat"])?;
    ensure!(shown.stdout == ["x"], "{:?}", shown.stdout);
    // Opening it would wait for somebody who writes.
    tlstap_fs(node, &[name, "/odd/fifo", "--cat"])?.refused(&["not a regular file"])
}

fn in_a_pod(node: &Node) -> Result<()> {
    let containerd = node.containerd()?.borrow();
    let pod = containerd.pod("shop", "files-0", "files")?;
    pod.exec(&["sh", "-c", "echo pod > /made"])?;
    let fs_of = |arguments: &[&str]| -> Result<Ended> {
        let launch = node.tlstap(&[&["fs"], arguments].concat())?;
        launch.environment(containerd.endpoint()).output()
    };
    let found = fs_of(&["files", "/made"])?;
    found.succeeded()?;
    let host = found.stdout.concat();
    ensure!(fs::read(&host)? == b"pod\n", "{host}");
    let rootfs = format!("/k8s.io/{}/rootfs/made", pod.container());
    ensure!(host.ends_with(&rootfs), "not the task's root: {host}");
    // Another of that name.
    let other = containerd.pod("shop", "files-1", "files")?;
    fs_of(&["files"])?.refused(&["shop/files-0/files", "shop/files-1/files"])?;
    let id = &other.container()[..12];
    let told = fs_of(&[id, "-o", "json"])?.events()?.pop().context("nothing")?;
    ensure!(text(&told, "/k8s/pod/name") == Some("files-1"), "{told}");
    Ok(())
}

fn in_podman(node: &Node) -> Result<()> {
    let (docker, podman) = (node.docker()?, node.podman()?);
    let file = format!("FROM {}\nRUN echo low > /low\n", docker.image()?);
    let image = podman.load(&docker.derive(&file, tempfile::tempdir()?.path())?)?;
    let bound = tempfile::tempdir()?;
    fs::write(bound.path().join("file"), "bound\n")?;
    podman.start_waiting("files", &image, &format!("{}:/bound", bound.path().display()))?;
    podman.exec("files", &["sh", "-c", "echo up > /up; ln -s /low /bound/link"])?;
    let fs_of = |arguments: &[&str]| -> Result<Ended> {
        let launch = node.tlstap(&[&["fs"], arguments].concat())?;
        let ended = launch.environment(podman.endpoint()).output()?;
        ended.succeeded()?;
        Ok(ended)
    };
    let says = |key: &str| podman.inspect("files", &format!("{{{{.GraphDriver.Data.{key}}}}}"));
    let (upper, lower) = (says("UpperDir")?, says("LowerDir")?);
    for runs in [true, false] {
        let told = fs_of(&["files", "-o", "json"])?.events()?.pop().context("nothing")?;
        ensure!(roots(&told, "upper") == [&*upper], "{told}");
        ensure!(roots(&told, "lower").join(":") == lower, "{told}");
        ensure!(told.pointer("/process").is_some() == runs, "{told}");
        for (path, bytes) in [
            ("/up", "up\n"),
            ("/low", "low\n"),
            ("/bound/file", "bound\n"),
            ("/bound/link", "low\n"),
        ] {
            let host = fs_of(&["files", path])?.stdout.concat();
            ensure!(fs::read_to_string(&host)? == bytes, "{path}: {host}");
        }
        if runs {
            podman.kill("files")?;
        }
    }
    Ok(())
}

fn what_is_not_there(node: &Node) -> Result<()> {
    let filled = filled(node.docker()?, "")?;
    let container = &filled.container;
    tlstap_fs(node, &["nobody-is-called-so"])?.refused(&["no running container"])?;
    tlstap_fs(node, &["4194305"])?.refused(&["no process 4194305"])?;
    tlstap_fs(node, &[container.name(), "/base/removed"])?.refused(&["there is no such file"])?;
    tlstap_fs(node, &[container.name(), "/base/whole/old"])?.refused(&["there is no such file"])?;
    tlstap_fs(node, &[container.name(), "/base/low/x"])?.refused(&["no folder", "no such file"])?;
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"];
    let pid = container.pid()?.to_string();
    node.tlstap(&["fs", &pid])?.through(&nobody).output()?.refused(&["run as root"])
}

fn a_silent_runtime_holds_nothing_up(node: &Node) -> Result<()> {
    let filled = filled(node.docker()?, "")?;
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("silent.sock");
    let _silent = UnixListener::bind(&socket)?;
    for variable in ["DOCKER_HOST", "CONTAINER_RUNTIME_ENDPOINT"] {
        let silent = (variable, format!("unix://{}", socket.display()));
        let launch = node.tlstap(&["fs", filled.container.name(), "/base/low", "--cat"])?;
        let ended = launch.environment(silent).output()?;
        ended.succeeded()?;
        ensure!(ended.stdout == ["low"], "{variable}: {:?}", ended.stdout);
    }
    Ok(())
}
