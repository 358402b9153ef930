//! The container's processes, and nothing else that changes for anybody.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tlstap_tests::{
    agent::EVENT, child::Child, deadline, docker::Container, node::Node, process, tool,
};

use super::said;
use crate::web;

crate::tests![
    its_processes,
    nothing_changes_on_the_host,
    the_command_does_not_outlive_tlstap,
    the_container_cannot_look_into_it,
    tlstap_itself_cannot_be_written,
    a_container_that_ends,
];

fn its_processes(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let processes = said(node, server.name(), &["--pid", "--", "ps", "ax", "-o", "pid=,args="])?;
    let lines: Vec<_> = processes.lines().map(str::trim_start).collect();
    let [first, own] = lines[..] else { anyhow::bail!("not two processes: {processes}") };
    ensure!(first.starts_with("1 python3 /fixture/https_server.py"), "{first}");
    ensure!(own.ends_with("ps ax -o pid=,args="), "{own}");
    Ok(())
}

/// Mount points and how they propagate; the processes of a run.
fn mounts() -> Result<String> {
    tool::run(tool::command("findmnt", ["-o", "TARGET,PROPAGATION"])?)
}

fn first_process() -> Result<String> {
    tool::run(tool::command("ps", ["-o", "pid,args", "1"])?)
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no pid")?;
    Ok(kill_process(pid, signal)?)
}

/// Processes with the run's mark, other than tlstap.
fn commands(mark: &str, tlstap: u32) -> Result<Vec<u32>> {
    let mut all = process::with_environment(mark)?;
    all.retain(|&pid| pid != tlstap);
    Ok(all)
}

fn nothing_changes_on_the_host(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let (before, first) = (mounts()?, first_process()?);
    let same = |when: &str| -> Result<()> {
        let (mounts, processes) = (mounts()?, first_process()?);
        ensure!(mounts == before, "{when}: {mounts}\nand before: {before}");
        ensure!(processes == first, "{when}: {processes}");
        Ok(())
    };
    for namespaces in [&["--net"][..], &["--pid"], &["--pid", "--net"], &["--mount", "--pid"]] {
        let arguments = [&["enter", server.name()], namespaces, &["--", "sleep", "1000"]].concat();
        let agent = node.tlstap(&arguments)?.start()?;
        let (pid, mark) = (agent.pid(), agent.mark().to_owned());
        let sleeps = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
        };
        let command = deadline::until("the command", EVENT, || {
            Ok(process::with_environment(&mark)?.into_iter().chain(children(pid)?).find(sleeps))
        })?;
        same("meanwhile")?;
        signal(command, Signal::KILL)?;
        let ended = agent.finish(EVENT)?;
        ensure!(ended.code.is_none(), "it ends with {:?}", ended.code);
        same("after the command was killed")?;
        ensure!(process::with_environment(&mark)?.is_empty(), "a process is left");
    }
    Ok(())
}

/// Children of a process.
fn children(pid: u32) -> Result<Vec<u32>> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    children.split_whitespace().map(|pid| Ok(pid.parse()?)).collect()
}

fn the_command_does_not_outlive_tlstap(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let before = mounts()?;
    for user in [&[][..], &["--user", "65534"]] {
        let arguments =
            [&["enter", server.name(), "--pid"], user, &["--", "sleep", "1000"]].concat();
        let agent = node.tlstap(&arguments)?.start()?;
        let mark = agent.mark().to_owned();
        number_of(&server, "sleep")?;
        let pid = agent.pid();
        let [command] = commands(&mark, pid)?[..] else { anyhow::bail!("not one command") };
        agent.signal(Signal::KILL)?;
        agent.finish(EVENT)?;
        let gone = || !fs::exists(format!("/proc/{command}")).unwrap_or(true);
        deadline::until("its end", EVENT, || Ok(gone().then_some(())))?;
        ensure!(mounts()? == before, "{}", mounts()?);
    }
    // A signal that is sent to tlstap alone is the command's.
    let trap = "trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    let arguments = ["enter", server.name(), "--pid", "--", "sh", "-c", trap];
    let agent = node.tlstap(&arguments)?.start()?;
    agent.says("ready", EVENT)?;
    agent.signal(Signal::TERM)?;
    let ended = agent.finish(EVENT)?;
    ensure!(ended.code == Some(3) && ended.stdout.contains(&"caught".to_owned()), "{ended:?}");
    Ok(())
}

/// Root of the container, of the same user namespace, sees the program; the host's files are behind its
/// root directory.
fn the_container_cannot_look_into_it(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let naked = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    for (flags, through, open) in [
        (&[][..], &[][..], false),
        (&["--drop-caps"], &[], false),
        (&["--user", "0", "--drop-caps"], &[], false),
        (&["--user", "65534"], &[], false),
        // One that has no capability at all is open: what is looked for would be found.
        (&[], &naked, true),
    ] {
        let enter = ["enter", server.name(), "--pid"];
        let arguments = [&enter[..], flags, &["--"], through, &["sleep", "1000"]].concat();
        let agent = node.tlstap(&arguments)?.start()?;
        let number = number_of(&server, "sleep")?;
        for file in ["root/etc/shadow", "exe", "environ"] {
            let path = format!("/proc/{number}/{file}");
            let looked = look(&server, flags, &path);
            ensure!(looked.is_ok() == open, "{flags:?} {through:?}: {path}: {looked:?}");
        }
        let pid = agent.pid();
        let command = children(pid)?;
        agent.stop_by(Signal::TERM)?;
        for pid in command {
            ensure!(!fs::exists(format!("/proc/{pid}"))?, "the command is left");
        }
    }
    Ok(())
}

/// Waits for a process that runs this; the container's number of it.
fn number_of(container: &Container, command: &str) -> Result<String> {
    let script = format!("grep -l -x {command} /proc/[0-9]*/comm | cut -d / -f 3");
    deadline::until(command, EVENT, || {
        let number = container.exec(&["sh", "-c", &script]).unwrap_or_default();
        Ok(Some(number).filter(|number| !number.is_empty()))
    })
}

/// Opens it in the container as the user that the program has.
fn look(container: &Container, flags: &[&str], path: &str) -> Result<String> {
    let user = if flags.contains(&"65534") { "65534" } else { "0" };
    let script = "import os, sys; os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1])); \
                  os.open(sys.argv[2], os.O_RDONLY)";
    container.exec(&["python3", "-c", script, user, path])
}

/// Whoever may look at it has no way to its file, and to that of a tool (CVE-2019-5736).
fn tlstap_itself_cannot_be_written(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let run = docker.run("hostile")?.options(&["--cap-add", "SYS_PTRACE"]);
    let container = run.start(&["sleep", "infinity"])?;
    // tlstap waits in the host's pid namespace, the tool is in the container's.
    let tool = ["--pid", "--mount", "--with-tools", "--", "busybox", "tail", "-f", "/dev/null"];
    let agent = node.tlstap(&[&["enter", container.name()], &tool[..]].concat())?.start()?;
    let number = number_of(&container, "busybox")?;
    // A file that runs cannot be written anyway; who has it open waits.
    let write = "import os, sys, time\n\
                 file = os.open(sys.argv[1] + '/exe', os.O_PATH)\n\
                 print('open', flush=True)\n\
                 while os.path.exists(sys.argv[1]): time.sleep(0.01)\n\
                 try: os.open(f'/proc/self/fd/{file}', os.O_WRONLY)\n\
                 except OSError as error: print(error.strerror)";
    let (of_tool, of_tlstap) = (format!("/proc/{number}"), format!("/proc/{}", agent.pid()));
    let exec = ["exec", container.name(), "python3", "-u", "-c", write, &of_tool];
    let mut writers = [
        Child::start(tool::command("docker", exec)?)?,
        Child::start(tool::command("python3", ["-u", "-c", write, &of_tlstap])?)?,
    ];
    for writer in &writers {
        writer.says("open", EVENT)?;
    }
    agent.stop_by(Signal::TERM)?;
    for writer in &mut writers {
        writer.finish(EVENT)?;
        let said = writer.stdout.lines();
        ensure!(said == ["open", "Read-only file system"], "{said:?}");
    }
    Ok(())
}

fn a_container_that_ends(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let arguments =
        ["enter", server.name(), "--pid", "--net", "--", "sh", "-c", "echo x; sleep 99"];
    let agent = node.tlstap(&arguments)?.start()?;
    agent.says("x", EVENT)?;
    drop(server);
    let ended = agent.finish(EVENT)?;
    ensure!(ended.code.is_none(), "it ends with {:?}", ended.code);
    Ok(())
}
