//! Functions that are found in files without symbols, held against the symbols before they were stripped.
#![cfg(target_arch = "x86_64")]

use std::{fs::File, path::Path, time::Instant};

use object::read::ReadCache;

use crate::resolve::{Resolution, resolve};

#[test]
fn explore() {
    for path in
        std::env::var("PRINTS_FILES").unwrap_or_default().split(':').filter(|p| !p.is_empty())
    {
        let file = File::open(Path::new(path)).unwrap();
        let cache = ReadCache::new(file.try_clone().unwrap());
        let elf = crate::resolve::elf::Elf::parse(&cache).unwrap();
        let begun = Instant::now();
        let suspects = super::suspects(&elf, &file);
        println!("== {path} {:?}", begun.elapsed());
        for suspect in &suspects {
            println!(
                "   {:#x}+{:#x} args {} stores {} {:?}",
                suspect.body.extent.address,
                suspect.body.extent.size,
                suspect.body.arguments(),
                suspect.body.stores(),
                suspect.sites
            );
        }
        let begun = Instant::now();
        match super::find(&elf, &file) {
            Some((name, probes)) => {
                for probe in probes {
                    println!("   {name} {} {:?} {:#x}", probe.symbol, probe.function, probe.offset)
                }
            }
            None => println!("   none"),
        }
        println!("   {:?}", begun.elapsed());
        let begun = Instant::now();
        if let Resolution::Skipped { name, reason } = resolve(&file) {
            println!("   skipped {name:?} {reason:?}")
        }
        println!("   {:?}", begun.elapsed());
    }
}
