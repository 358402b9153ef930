//! `cargo xtask <verb>`: everything a developer types, one file a verb.
//!
//! Takes a fresh checkout and a bare machine; what a verb needs and does not find, it says in one
//! line and installs. Its own words go to stderr.

mod archive;
mod bench;
mod build;
mod ci;
mod command;
mod demo;
mod dist;
mod fuzz;
mod image;
mod packages;
mod run;
mod soak;
mod test;
mod toolchain;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Development tasks of tlstap")]
enum Verb {
    /// Build the agent and run it as root
    Run(run::Args),
    /// Build the agent for release
    Build(build::Args),
    /// Run all tests: unit, golden files, this kernel, real containers
    Test(test::Args),
    /// Show the agent at work on a throw-away container, without Docker
    Demo(demo::Args),
    /// Measure what the agent costs, beside the tools people use today
    Bench(bench::Args),
    /// Make the agent's container image, without Docker
    Image(image::Args),
    /// Make what a release consists of
    Dist,
    /// Feed the decoders with what breaks decoders, until a time is over
    Fuzz(fuzz::Args),
    /// Put programs, or the agent itself, under load for minutes or hours
    Soak(soak::Args),
    /// Run the tests of the kernel half on another kernel, in an emulated machine
    Vm(vm::Args),
    /// Everything a change must pass
    Ci,
}

fn main() -> ExitCode {
    let outcome = match Verb::parse() {
        Verb::Run(args) => run::run(&args),
        Verb::Build(args) => build::build(&args),
        Verb::Test(args) => test::test(&args),
        Verb::Demo(args) => demo::demo(&args),
        Verb::Bench(args) => bench::bench(&args),
        Verb::Image(args) => image::image(&args),
        Verb::Dist => dist::dist(),
        Verb::Fuzz(args) => fuzz::fuzz(&args),
        Verb::Soak(args) => soak::soak(&args),
        Verb::Vm(args) => vm::vm(&args),
        Verb::Ci => ci::ci(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
