//! All fuzz targets in one program, which `cargo xtask fuzz` compiles and runs.
//!
//! `TLSTAP_FUZZ` names the target; without it the program lists them. With `TLSTAP_FUZZ_SEEDS` it writes what the
//! target begins with into that folder. In both cases it ends. All else are libFuzzer's own arguments.
#![no_main]

mod conversation;
mod fields;
#[expect(dead_code, reason = "the unit tests use more of it")]
#[path = "../../agent/src/resolve/tests/made.rs"]
mod made;
mod openings;
mod targets;

use std::{env, fs, path::Path, process, sync::OnceLock};

use targets::Target;

static CHOSEN: OnceLock<Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: begin(),
    |data: &[u8]| if let Some(target) = CHOSEN.get() {
        target.run(data);
    }
);

fn begin() {
    let Some(name) = env::var_os("TLSTAP_FUZZ") else {
        targets::all().iter().for_each(|target| println!("{}", target.name));
        process::exit(0);
    };
    let Some(target) = targets::all().into_iter().find(|target| name == target.name) else {
        eprintln!("no target is called {}", name.display());
        process::exit(2);
    };
    if let Some(folder) = env::var_os("TLSTAP_FUZZ_SEEDS") {
        write_seeds(&target, Path::new(&folder));
        process::exit(0);
    }
    CHOSEN.get_or_init(|| target);
}

fn write_seeds(target: &Target, folder: &Path) {
    fs::create_dir_all(folder).expect("a folder for seeds");
    for (number, seed) in target.seeds().iter().enumerate() {
        fs::write(folder.join(format!("seed-{number}")), seed).expect("room for seeds");
    }
}
