//! `tlstap replay`: a recording through all stages behind the ring buffer.

use std::{
    future,
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context as _, Error, Result};

use super::{
    stream::{Counts, Ended, Settings, Stream},
    summary::Summary,
    wanted::Wanted,
};
use crate::{
    capture::Losses,
    decode,
    emit::{Writer, otlp},
    enrich::{Enricher, Recorded},
    limits::Memory,
    privilege::{self, Part},
    recording::{Asked, Entry, Reader, Stop},
    redact::Redaction,
    select::Filters,
};

/// What to replay, and how.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The recording.
    pub file: PathBuf,
    /// Which processes, of those that the trace was to show.
    pub filters: Filters,
    /// The plaintext as it is, instead of decoded messages.
    pub raw: bool,
    /// How messages are decoded.
    pub decode: decode::Options,
    /// The types of messages of gRPC.
    pub schema: decode::Schema,
    /// Which secrets are masked; none if absent.
    pub redact: Option<Redaction>,
    /// Which records.
    pub wanted: Wanted,
    /// Stop after this many records.
    pub count: Option<u64>,
    /// Where spans go, if anywhere.
    pub otlp: Option<otlp::Export>,
}

/// Decodes a recording again, with the names that are in it. Notes for the user go to `say`.
///
/// Nothing is read but the file: first for the names, which became known later than what they
/// name, then for the chunks.
pub async fn replay<W: Write>(
    options: Replay,
    writer: Writer<W>,
    say: impl Fn(&str),
) -> Result<Summary> {
    let failed = || format!("failed to replay {}", options.file.display());
    let open = || Reader::open(&options.file).with_context(failed);
    let (first, mut reader) = (open()?, open()?);
    // What is in the file may be anybody's.
    privilege::keep(Part::Nothing);
    let Survey { asked, names, losses } = survey(first);
    let counts = Arc::new(Counts::default());
    let settings = settings(&options, asked);
    let mut stream =
        Stream::new(settings, None, Enricher::recorded(names), writer, Arc::clone(&counts));
    // The recording is of any node.
    let export = |export| otlp::Exporter::start(export, otlp::Node::told());
    let exporter = options.otlp.clone().map(export).transpose()?;
    if let Some(exporter) = &exporter {
        stream.export(exporter.patient_outlet());
    }
    let (written, stopped) = feed(&mut stream, &mut reader).await;
    if let Ended::Failed(error) = stream.end(written) {
        return Err(error).context("failed to write the output");
    }
    let exported = otlp::finish(exporter, future::pending::<()>()).await;
    let flaw = match stopped {
        None => None,
        Some(Stop::Cut) => {
            let file = options.file.display();
            say(&format!("{file} is cut off: its trace was killed; this is what came before"));
            None
        }
        Some(stop) => Some(Error::new(stop).context(failed())),
    };
    Ok(Summary::new(&counts, losses, exported, flaw))
}

/// What is needed before the first chunk.
#[derive(Default)]
struct Survey {
    asked: Asked,
    names: Recorded,
    /// Absent when the recording has no end.
    losses: Option<Losses>,
}

/// Reads a recording as far as that is possible; the second reading tells what is wrong.
fn survey(mut reader: Reader) -> Survey {
    let mut survey = Survey::default();
    while let Ok(entry) = reader.next() {
        match entry {
            Entry::Start(asked) => survey.asked = asked,
            Entry::Chunk(_) => {}
            Entry::Note(note) => survey.names.prepare(note),
            Entry::End(losses) => {
                survey.losses = Some(losses);
                break;
            }
        }
    }
    survey
}

fn settings(options: &Replay, asked: Asked) -> Settings {
    let narrowed = !options.filters.is_empty() || !options.wanted.is_all();
    let same = !narrowed && options.raw == asked.raw;
    Settings {
        raw: options.raw,
        decode: options.decode,
        unfinished: Memory::UNBOUND.decoders,
        schema: options.schema.clone(),
        redact: options.redact.clone(),
        wanted: options.wanted.clone(),
        // What shows only after this many records, the trace did not show.
        count: options.count.or(asked.count.filter(|_| same)),
        filters: vec![asked.filters, options.filters.clone()],
    }
}

/// Feeds the stream until the recording ends, or the output is enough; gives how writing went,
/// and what stopped the recording before its end.
async fn feed<W: Write>(
    stream: &mut Stream<W>,
    reader: &mut Reader,
) -> (io::Result<()>, Option<Stop>) {
    let stopped = loop {
        match reader.next() {
            Ok(Entry::Start(_)) => {}
            Ok(Entry::Note(note)) => stream.advance(note),
            Ok(Entry::Chunk(chunk)) => {
                stream.take(chunk);
                match stream.write() {
                    Ok(false) => {}
                    enough => return (enough.map(drop), None),
                }
            }
            Ok(Entry::End(_)) => break None,
            Err(stop) => break Some(stop),
        }
    };
    (stream.finish().await, stopped)
}

#[cfg(test)]
mod tests;
