//! A containerd of our own with pods in it, as a kubelet runs them, without Kubernetes.
//!
//! Its data lies in the cache and its state in /run, both at fixed places: the pods of a suite
//! that was killed live on, and the next containerd finds them there and removes them. It gets a
//! TERM when the suite dies.

mod cri;

use std::{
    fs,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};

use self::cri::{Client, ContainerConfig, PodConfig};
use crate::{
    cgroup, deadline,
    docker::{Derived, Docker, cache, container::unique},
    tool,
};

const LIMIT: Duration = Duration::from_secs(60);

/// What lives as long as the daemon and its pods.
const RUN: &str = "/run/tlstap-tests-containerd";

const SOCKET: &str = "/run/tlstap-tests-containerd/containerd.sock";

/// What its shims make at a fixed place.
const SHIMS: [&str; 4] =
    ["/run/containerd/runc/k8s.io", "/run/containerd/runc", "/run/containerd/s", "/run/containerd"];

/// The control group of all pods.
const CGROUP: &str = "tlstap-tests-pods";

/// What the names of containers without a pod begin with.
const PASSING: &str = "tlstap-tests-";

/// Where containerd keeps what its Kubernetes side uses.
const NAMESPACE: &str = "k8s.io";

/// A containerd that answers, and the image of its pods.
pub struct Containerd {
    process: Child,
    client: Client,
    image: Derived,
}

impl Containerd {
    /// Starts it with an image made from the suite's. Call it from the main thread: the signal at
    /// death comes when the starting thread ends.
    pub fn start(docker: &Docker) -> Result<Self> {
        // What a pod starts first only holds its namespaces.
        let file = format!("FROM {}\nENTRYPOINT [\"sleep\", \"infinity\"]\n", docker.image()?);
        let image = docker.derive(&file, tempfile::tempdir()?.path())?;
        let process = spawn(&image)?;
        let client = Client::connect(Path::new(SOCKET))?;
        let mut containerd = Self { process, client, image };
        containerd.wait_until_it_answers()?;
        containerd.sweep()?;
        containerd.import_own()?;
        Ok(containerd)
    }

    /// What the agent must be told to find it.
    pub fn endpoint(&self) -> (&'static str, String) {
        ("CONTAINER_RUNTIME_ENDPOINT", format!("unix://{SOCKET}"))
    }

    /// The image of its pods, as it names it.
    pub fn image(&self) -> String {
        reference(&self.image)
    }

    /// Runs a pod in the node's network, with one container that waits.
    pub fn pod(&self, namespace: &str, name: &str, container: &str) -> Result<Pod<'_>> {
        let uid = fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned();
        let config = PodConfig::new(name, namespace, &uid, &format!("/{CGROUP}"));
        let id = self.client.run_pod(&config)?;
        let mut pod = Pod { client: &self.client, uid, id, container: String::new() };
        let waits = ContainerConfig::new(container, &self.image(), &["sleep", "infinity"]);
        pod.container = self.client.run_container(&pod.id, &config, waits)?;
        Ok(pod)
    }

    /// Takes an image from an archive; its name here.
    pub fn import(&self, archive: &Path) -> Result<String> {
        let path = archive.to_str().context("a path that is not UTF-8")?;
        let said = tool::run(ctr(&["images", "import", path])?)?;
        let name = said.lines().find_map(|line| line.strip_prefix("unpacking "));
        let name = name.and_then(|rest| rest.split(' ').next());
        Ok(name.with_context(|| format!("no name of the image in {said:?}"))?.to_owned())
    }

    /// What runs a program of an image in a container with these options, which goes when it ends.
    pub fn run(&self, image: &str, options: &[String]) -> Vec<String> {
        let name = format!("{PASSING}{}", unique());
        let mut run: Vec<_> = ["ctr", "--address", SOCKET, "--namespace", NAMESPACE, "run", "--rm"]
            .map(str::to_owned)
            .into();
        run.extend(["--cgroup".to_owned(), format!("/{CGROUP}/{name}")]);
        run.extend_from_slice(options);
        run.extend([image.to_owned(), name]);
        run
    }

    /// Ends it and starts it again; the pods live on.
    pub fn restart(&mut self) -> Result<()> {
        self.end()?;
        self.process = spawn(&self.image)?;
        self.wait_until_it_answers()
    }

    /// Stops it, and removes what it leaves.
    pub fn stop(mut self) -> Result<()> {
        self.sweep()?;
        self.end()?;
        cgroup::remove(CGROUP);
        for folder in SHIMS {
            // Fails where another containerd uses it.
            let _ = fs::remove_dir(folder);
        }
        fs::remove_dir_all(folder()?)?;
        fs::remove_dir_all(RUN).context("failed to remove what containerd left")
    }

    fn end(&mut self) -> Result<()> {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("no pid")?, Signal::TERM)?;
        deadline::until("the end of containerd", LIMIT, || Ok(self.process.try_wait()?))?;
        Ok(())
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let (process, client) = (&mut self.process, &self.client);
        let answer =
            deadline::until("an answer of containerd", LIMIT, || match process.try_wait()? {
                Some(status) => Err(anyhow!("containerd ended with {status}")),
                None => Ok(client.answers().then_some(())),
            });
        let log = log()?;
        answer.with_context(|| fs::read_to_string(log).unwrap_or_default())
    }

    /// Removes all pods and containers: of this suite, and of any before it.
    fn sweep(&self) -> Result<()> {
        self.client.pods()?.iter().try_for_each(|pod| self.client.remove_pod(pod))?;
        let all = tool::run(ctr(&["containers", "list", "--quiet"])?)?;
        for container in all.lines().filter(|name| name.starts_with(PASSING)) {
            // One that is just ending by itself is in nobody's way.
            let _ = tool::run(ctr(&["tasks", "delete", "--force", container])?);
            let _ = tool::run(ctr(&["containers", "delete", container])?);
        }
        Ok(())
    }

    fn import_own(&self) -> Result<()> {
        let archive = tempfile::NamedTempFile::new_in(folder()?)?;
        self.image.save(archive.path())?;
        self.import(archive.path()).map(drop)
    }
}

/// A pod, removed when dropped.
pub struct Pod<'a> {
    client: &'a Client,
    uid: String,
    id: String,
    container: String,
}

impl Pod<'_> {
    /// Its UID.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Its container's id, 64 hexadecimal digits.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// Runs a command in its container; its stdout.
    pub fn exec(&self, command: &[&str]) -> Result<String> {
        self.client.exec(&self.container, command)
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        // What fails here is swept up later.
        let _ = self.client.remove_pod(&self.id);
    }
}

fn spawn(image: &Derived) -> Result<Child> {
    let folder = folder()?;
    fs::create_dir_all(RUN)?;
    let config = folder.join("config.toml");
    fs::write(&config, configuration(&folder.join("root"), image))?;
    let log = File::create(log()?)?;
    let mut command = tool::command("setpriv", ["--pdeathsig", "TERM", "--"])?;
    command.arg(tool::find("containerd")?).arg("--config").arg(config);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().context("failed to start containerd")
}

fn configuration(root: &Path, image: &Derived) -> String {
    format!(
        "version = 2\n\
         root = \"{root}\"\n\
         state = \"{RUN}\"\n\
         [grpc]\n\
         address = \"{SOCKET}\"\n\
         [ttrpc]\n\
         address = \"{SOCKET}.ttrpc\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\"]\n\
         sandbox_image = \"{image}\"\n\
         disable_apparmor = true\n\
         restrict_oom_score_adj = true\n",
        root = root.display(),
        image = reference(image)
    )
}

/// The image's name with what Docker leaves out.
fn reference(image: &Derived) -> String {
    format!("docker.io/library/{}", image.name())
}

/// containerd's own client.
fn ctr(arguments: &[&str]) -> Result<std::process::Command> {
    let mut command = tool::command("ctr", ["--address", SOCKET, "--namespace", NAMESPACE])?;
    command.args(arguments);
    Ok(command)
}

fn folder() -> Result<PathBuf> {
    let folder = cache::folder()?.join("containerd");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn log() -> Result<PathBuf> {
    Ok(folder()?.join("containerd.log"))
}
