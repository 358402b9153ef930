//! The public test cases of HPACK: header blocks as several encoders have made them, in order, with
//! the fields that they stand for. The package of `httlib-hpack` carries them.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::libraries::sources;

/// The blocks of one connection.
#[derive(Deserialize)]
pub struct Story {
    /// The file that it is from.
    #[serde(skip)]
    pub file: PathBuf,
    /// In the order sent.
    pub cases: Vec<Case>,
}

/// A header block.
#[derive(Deserialize)]
pub struct Case {
    /// In hexadecimal.
    pub wire: String,
    /// One field each, in the order sent.
    pub headers: Vec<BTreeMap<String, String>>,
}

impl Case {
    /// Names and values.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// All stories of all encoders, one after the other.
pub fn all() -> Result<impl Iterator<Item = Result<Story>>> {
    let fixtures = sources::folder("httlib-hpack", "0.1.")?.join("fixtures");
    let mut files = Vec::new();
    for encoder in fs::read_dir(fixtures)? {
        let encoder = encoder?.path();
        if encoder.is_dir() {
            let stories = fs::read_dir(encoder)?.map(|story| Ok(story?.path()));
            files.extend(stories.collect::<Result<Vec<_>>>()?);
        }
    }
    files.sort();
    Ok(files.into_iter().map(read))
}

fn read(file: PathBuf) -> Result<Story> {
    let text = fs::read_to_string(&file)?;
    let story: Story = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
    Ok(Story { file, ..story })
}
