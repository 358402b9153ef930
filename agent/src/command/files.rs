//! `tlstap fs`.

use std::{
    io::{self, IsTerminal as _},
    path::Path,
};

use anyhow::{Context as _, Result};

use super::note;
use crate::{
    cli::{FilesArgs, ListOutput},
    emit,
    fs::{Files, Held, Place},
};

/// Does what is asked for. Must not be called in a tokio runtime.
pub(super) fn run(args: &FilesArgs, proc: &Path) -> Result<()> {
    let files = Files::of(proc, &args.target)?;
    let asked = |error: anyhow::Error| error.context(args.target.escape_debug().to_string());
    let root = Path::new("/");
    match (&args.path, &args.cp) {
        (path, None) if args.ls => list(args, &files, path.as_deref().unwrap_or(root)),
        (Some(path), None) if args.cat => cat(&files, path),
        (Some(path), Some(to)) => copy(&files, path, to),
        (Some(path), None) => place(args, &files, path),
        (None, _) => report(args, &files),
    }
    .map_err(asked)
}

fn report(args: &FilesArgs, files: &Files) -> Result<()> {
    let report = files.report();
    written(match args.output {
        ListOutput::Table => emit::files::report(files.owner(), &report, &mut io::stdout().lock()),
        ListOutput::Json => {
            emit::files::report_json(files.owner(), &report, &mut io::stdout().lock())
        }
    })
}

fn place(args: &FilesArgs, files: &Files, path: &Path) -> Result<()> {
    let place = files.place(path)?;
    if files.owner().process.is_none() && is_shared(&place) {
        note(
            "the file is in a layer of the image, which other containers share: do not write to it",
        );
    }
    if args.output == ListOutput::Json {
        return written(emit::files::place_json(files.owner(), &place, &mut io::stdout().lock()));
    }
    let path = match &place.layer {
        layer if args.layer => {
            let none = "it is in no overlay, or the layers are not to be seen on the node";
            &layer.as_ref().context(none)?.path
        }
        _ => &place.path,
    };
    let terminal = io::stdout().is_terminal();
    written(emit::files::path(path, terminal, &mut io::stdout().lock()))
}

fn is_shared(place: &Place) -> bool {
    place.layer.as_ref().is_some_and(|Held { kind, .. }| *kind != "upper")
}

fn list(args: &FilesArgs, files: &Files, path: &Path) -> Result<()> {
    let listed = files.list(path)?;
    written(match args.output {
        ListOutput::Table => emit::files::list(&listed, &mut io::stdout().lock()),
        ListOutput::Json => {
            emit::files::list_json(files.owner(), &listed, &mut io::stdout().lock())
        }
    })
}

fn cat(files: &Files, path: &Path) -> Result<()> {
    let file = files.open(path)?;
    let terminal = io::stdout().is_terminal();
    written(emit::files::contents(file, terminal, &mut io::stdout().lock()))
}

fn copy(files: &Files, path: &Path, to: &Path) -> Result<()> {
    let copy = files.copy(path, to, &mut |text| note(text))?;
    note(&format!("copied to {}", copy.display().to_string().escape_debug()));
    Ok(())
}

fn written(result: io::Result<()>) -> Result<()> {
    emit::ignore_closed(result).context("failed to write")
}
