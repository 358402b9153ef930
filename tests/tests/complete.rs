//! Issue 8: shells complete the names of containers that run. They are real ones, at a terminal.

use std::{env, process::Command};

use anyhow::{Result, ensure};
use tlstap_tests::{
    docker::Container,
    node::Node,
    terminal::{Seated, Terminal},
    tool,
};

crate::tests![in_bash, in_zsh, in_fish, the_option_of_filters];

fn container(node: &Node) -> Result<Container> {
    let run = node.docker()?.run("shell")?;
    run.start(&["sleep", "infinity"])
}

/// A command that finds the agent by its name alone.
fn finding_tlstap(node: &Node, mut command: Command) -> Result<Command> {
    // Copied there when it is first needed.
    drop(node.tlstap(&[])?);
    let path = env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", node.scratch().display()));
    Ok(command)
}

/// Writes the beginning of a name, a tab and a return at a shell; holds the command to have run with the
/// name that the shell has put there.
fn completes(node: &Node, shell: &[&str], prepare: &str) -> Result<()> {
    let container = container(node)?;
    let terminal = Terminal::new(200)?;
    let command = tool::command("setsid", [&["--ctty"], shell].concat())?;
    let mut command = finding_tlstap(node, command)?;
    command.env("TERM", "dumb").env("HOME", node.scratch());
    command.stdin(terminal.stream()?).stdout(terminal.stream()?).stderr(terminal.stream()?);
    let _shell = Seated::start(command)?;
    terminal.write(&format!("{prepare}; echo rea''dy\r"))?;
    terminal.wait_for("the shell", |written| written.contains("ready"))?;
    let name = container.name();
    let (begun, _) = name.split_at("shell-".len());
    terminal.write(&format!("tlstap fs {begun}\t\r"))?;
    let heading = format!("{name}, process {} ", container.pid()?);
    terminal.wait_for("the output of tlstap", |written| written.contains(&heading))
}

fn in_bash(node: &Node) -> Result<()> {
    completes(node, &["bash", "--norc", "--noprofile", "-i"], "source <(COMPLETE=bash tlstap)")
}

fn in_zsh(node: &Node) -> Result<()> {
    let prepare = "autoload -U compinit; compinit -u -D; source <(COMPLETE=zsh tlstap)";
    completes(node, &["zsh", "-f", "-i"], prepare)
}

fn in_fish(node: &Node) -> Result<()> {
    completes(node, &["fish", "--no-config", "-i"], "COMPLETE=fish tlstap | source")
}

/// What bash is offered, and nothing else.
fn the_option_of_filters(node: &Node) -> Result<()> {
    let container = container(node)?;
    let script = r#"
        source <(COMPLETE=bash tlstap)
        function=$(complete -p tlstap | sed 's/.*-F \([^ ]*\).*/\1/')
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
        $function tlstap "${COMP_WORDS[COMP_CWORD]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    for words in
        [&["--container", "shell-"][..], &["trace", "--container", "shell-"], &["fs", "sh"]]
    {
        let bash = tool::command("bash", [&["-c", script, "bash", "tlstap"], words].concat())?;
        let offered = tool::run(finding_tlstap(node, bash)?)?;
        ensure!(offered == container.name(), "{words:?}: {offered:?}");
    }
    Ok(())
}
