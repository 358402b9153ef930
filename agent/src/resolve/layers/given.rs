//! Symbols that the user gives: a JSON file of builds, each by its build-id, and of functions, each with
//! its address (docs/symbols.md).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::Deserialize;
use thiserror::Error;

use crate::{
    discover::BuildId,
    resolve::{
        Method,
        families::VOCABULARY,
        symbols::{Symbol, Symbols},
    },
};

/// Why a file of symbols is not taken.
#[derive(Debug, Error)]
pub enum GivenError {
    /// It is no JSON, or is built otherwise.
    #[error("not an object of builds, each an object of functions and addresses")]
    Malformed(#[from] serde_json::Error),
    /// The name of a build is none.
    #[error("{0:?} is no build-id: 2 to 40 hexadecimal digits")]
    BuildId(String),
    /// An address is none.
    #[error("build {0}: the address of {1} is neither a number nor a string like \"0x1f40\"")]
    Address(String, String),
    /// Nothing of a build is of use.
    #[error("build {0} has no function of a TLS library that is probed")]
    NoFunction(String),
}

/// The builds that the user has given symbols for.
#[derive(Clone, Debug, Default)]
pub struct Given {
    builds: HashMap<BuildId, Arc<[Symbol<'static>]>>,
}

/// An address, as in the output of `nm`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Address {
    Number(u64),
    Text(String),
}

impl Address {
    fn value(self) -> Option<u64> {
        match self {
            Self::Number(value) => Some(value),
            Self::Text(text) => u64::from_str_radix(text.strip_prefix("0x")?, 16).ok(),
        }
    }
}

impl Given {
    /// Adds those of a file with these contents.
    pub fn add(&mut self, json: &[u8]) -> Result<(), GivenError> {
        let builds: BTreeMap<String, BTreeMap<String, Address>> = serde_json::from_slice(json)?;
        for (build, functions) in builds {
            let id = build_id(&build).ok_or_else(|| GivenError::BuildId(build.clone()))?;
            let mut symbols = Vec::new();
            for (function, address) in functions {
                let Some(address) = address.value() else {
                    return Err(GivenError::Address(build, function));
                };
                // What else there is does no harm: it may be the output of nm as a whole.
                if let Some(name) = VOCABULARY.known(&function) {
                    let name = name.as_bytes();
                    symbols.push(Symbol { name, address, size: 0, method: Method::Symbols });
                }
            }
            if symbols.is_empty() {
                return Err(GivenError::NoFunction(build));
            }
            self.builds.insert(id, symbols.into());
        }
        Ok(())
    }

    /// Those of a build.
    pub(super) fn symbols(&self, build: &BuildId) -> Option<Symbols> {
        Some(Symbols::given(self.builds.get(build)?.iter().copied()))
    }
}

fn build_id(digits: &str) -> Option<BuildId> {
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok().filter(|text| text.len() == 2)?;
        let digits = text.bytes().all(|digit| digit.is_ascii_hexdigit());
        digits.then(|| u8::from_str_radix(text, 16).ok())?
    };
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
    BuildId::new(&bytes?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(json: &str) -> String {
        Given::default().add(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn says_what_is_wrong() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        assert!(refusal("[]").starts_with("not an object of builds"));
        assert!(refusal(r#"{"id": 1}"#).starts_with("not an object of builds"));
        assert_eq!(
            refusal(r#"{"xyz": {"SSL_read": 1}}"#),
            "\"xyz\" is no build-id: 2 to 40 hexadecimal digits"
        );
        assert!(refusal(&format!(r#"{{"{id}00": {{"SSL_read": 1}}}}"#)).contains("no build-id"));
        for address in [r#""12""#, r#""0xfg""#, r#""""#] {
            let said = refusal(&format!(r#"{{"{id}": {{"SSL_read": {address}}}}}"#));
            assert!(said.starts_with(&format!("build {id}: the address of SSL_read")), "{said}");
        }
        let said = refusal(&format!(r#"{{"{id}": {{"main": 1}}}}"#));
        assert_eq!(said, format!("build {id} has no function of a TLS library that is probed"));
    }

    #[test]
    fn takes_numbers_and_hexadecimal_text() {
        let mut given = Given::default();
        let json = r#"{"0aff": {"SSL_read": 4660, "SSL_write": "0x1234f", "main": "0x1"}}"#;
        given.add(json.as_bytes()).unwrap();
        let symbols = given.symbols(&BuildId::new(&[0x0a, 0xff]).unwrap()).unwrap();
        let address = |name| symbols.named(name).map(|symbol| symbol.address);
        assert_eq!(address("SSL_read"), Some(4660));
        assert_eq!(address("SSL_write"), Some(0x1_234f));
        assert!(given.symbols(&BuildId::new(&[1]).unwrap()).is_none());
    }
}
