//! At a terminal, where a shell has tlstap as a job.

use anyhow::{Context as _, Result, ensure};
use tlstap_tests::{
    node::Node,
    terminal::{Seated, Terminal},
    tool,
};

use crate::web;

crate::tests![a_job_that_is_stopped_and_goes_on, a_shell_in_the_container, in_a_pipeline,];

/// An interactive shell of the host at a terminal.
struct Shell {
    terminal: Terminal,
    _shell: Seated,
    steps: u32,
}

impl Shell {
    fn start(node: &Node) -> Result<Self> {
        let terminal = Terminal::new(200)?;
        let (tlstap, _) = node.tlstap(&[])?.command()?;
        let binary = tlstap.get_args().last().context("no binary")?.to_owned();
        // What started the tests may ignore interrupts, and then so would all that the shell starts.
        let bash = ["env", "--default-signal", "bash", "--norc", "--noprofile", "-i"];
        let mut shell = tool::command("setsid", ["--ctty"].into_iter().chain(bash))?;
        shell.env("TLSTAP", binary).env("PS1", "host> ").env("INSIDE", "inside> ");
        shell.stdin(terminal.stream()?).stdout(terminal.stream()?).stderr(terminal.stream()?);
        let shell = Seated::start(shell)?;
        terminal.wait_for("a prompt", |all| all.contains("host> "))?;
        Ok(Self { terminal, _shell: shell, steps: 0 })
    }

    /// Types this, and waits for a text behind what is there.
    fn types(&self, keys: &str, expect: &str) -> Result<()> {
        self.types_for(keys, &[expect])
    }

    /// Types this, and waits for these texts, one behind the other. A control character must wait for the
    /// prompt: before it the terminal has lines, and takes an end that is typed for one of a line.
    fn types_for(&self, keys: &str, expect: &[&str]) -> Result<()> {
        let before = self.terminal.written().len();
        self.terminal.write(keys)?;
        self.terminal.wait_for(&expect.join(", "), |all| {
            let new = all.get(before..).unwrap_or_default();
            expect.iter().try_fold(new, |rest, text| Some(rest.split_once(text)?.1)).is_some()
        })
    }

    /// The shell answers by itself: it has the terminal, and this is the status of the last job.
    fn status(&mut self) -> Result<String> {
        self.steps += 1;
        let mark = format!("step{}=", self.steps);
        // The shell writes it in one piece, the terminal's echo does not.
        let (head, tail) = mark.split_at(2);
        self.types(&format!("status=$?; echo {head}''{tail}$status.\n"), &mark)?;
        let written = self.terminal.written();
        let (_, said) = written.rsplit_once(&mark).context("no status")?;
        Ok(said.split('.').next().unwrap_or_default().to_owned())
    }
}

const INTERRUPT: &str = "\u{3}";
const STOP: &str = "\u{1a}";
const END: &str = "\u{4}";

fn a_job_that_is_stopped_and_goes_on(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let mut shell = Shell::start(node)?;
    for namespaces in ["--net", "--pid", "--pid --mount"] {
        // It starts no programs: a shell that is about to cannot be stopped while its vfork(2) waits for a
        // child that was. And it imports nothing while it runs: there Python can lose an interrupt.
        let script = r#"import time; [(print("ti" "ck"), time.sleep(.2)) for _ in range(9999)]"#;
        let line =
            format!("$TLSTAP enter {} {namespaces} -- python3 -uc '{script}'\n", server.name());
        shell.types(&line, "tick")?;
        shell.types(STOP, "Stopped")?;
        let status = shell.status()?;
        ensure!(status == "148", "{namespaces}: stopped with {status}");
        shell.types("fg\n", "tick")?;
        shell.types(INTERRUPT, "host> ")?;
        let status = shell.status()?;
        ensure!(status == "130", "{namespaces}: interrupted with {status}");
    }
    Ok(())
}

/// It has jobs of its own, and the host's shell gets its terminal back.
fn a_shell_in_the_container(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let mut shell = Shell::start(node)?;
    // What is typed is on the terminal, too, and must not look like the prompt.
    let inside = r#"PS1="$INSIDE" bash --norc --noprofile -i"#;
    for namespaces in ["--net", "--pid"] {
        let line = format!("$TLSTAP enter {} {namespaces} -- env {inside}\n", server.name());
        shell.types(&line, "inside> ")?;
        shell.types("sh -c 'echo be\"\"gun; exec sleep 99'\n", "begun")?;
        shell.types(STOP, "Stopped")?;
        shell.types_for("kill %1; wait; echo do''ne\n", &["done", "inside> "])?;
        shell.types(END, "host> ")?;
        shell.status()?;
    }
    // A script goes on with the terminal, too.
    let script = format!(
        "bash -c '$TLSTAP enter {} --pid -- env {inside}; read line; echo \"<$line>\"'\n",
        server.name(),
    );
    shell.types(&script, "inside> ")?;
    // What is typed, and what the shell says.
    shell.types_for("exit\n", &["exit", "exit"])?;
    shell.types("hello\n", "<hello>")?;
    Ok(())
}

fn in_a_pipeline(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let mut shell = Shell::start(node)?;
    for namespaces in ["--net", "--pid"] {
        let enter = format!("$TLSTAP enter {} {namespaces}", server.name());
        // The last of it reads the terminal.
        let line =
            format!("{enter} -- yes be''gun | (head -1; read line </dev/tty; echo \"<$line>\")\n");
        shell.types(&line, "begun")?;
        shell.types("hello\n", "<hello>")?;
        shell.status()?;
    }
    Ok(())
}
