//! `.gnu_debugdata`: an ELF file with nothing but symbols, packed with xz, that distributions put into
//! what they strip (MiniDebugInfo in the manual of GDB).

use std::io::{self, BufReader, Read};

use lzma_rust2::XzReader;

use super::of_tables;
use crate::resolve::{Method, elf::Elf, source::Source, symbols::Symbols};

/// Most bytes that are unpacked: the symbols of programs of some hundred MiB.
const MAX_UNPACKED: u64 = 20 << 20;
/// Most that the unpacker may need, KiB: twice of what xz takes if not told otherwise.
const MAX_NEEDED: u32 = 17 << 10;

pub(super) fn symbols(source: &Source, elf: &Elf<'_>) -> Option<Symbols> {
    let packed = elf.section_range(b".gnu_debugdata")?;
    if packed.end.checked_sub(packed.start)? > MAX_UNPACKED {
        return None;
    }
    let packed = BufReader::new(source.reader(packed));
    let unpacked = Source::unpacked(unpack(packed).ok()?, source)?;
    let inner = Elf::parse(&unpacked).ok()?;
    Some(of_tables(&unpacked, &inner, Method::GnuDebugdata))
}

fn unpack(packed: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let reader = XzReader::new_mem_limit(packed, false, MAX_NEEDED);
    let read = reader.take(MAX_UNPACKED + 1).read_to_end(&mut bytes)?;
    if read as u64 > MAX_UNPACKED {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}
