//! An error site: the call that says where an error is, by its constant arguments.

use super::{
    body::Constants,
    texts::{Line, Name, Texts},
};

/// `ERR_LIB_SSL` of OpenSSL (include/openssl/err.h), and of BoringSSL.
const OPENSSL: u64 = 20;
const BORINGSSL: u64 = 16;

/// The functions of OpenSSL 1.0 and 1.1 by their numbers: `SSL_F_SSL_READ` and its like (include/openssl/sslerr.h).
const NUMBERS: [(u64, Name); 6] = [
    (223, Name::Read),
    (208, Name::Write),
    (523, Name::ReadInternal),
    (524, Name::WriteInternal),
    (186, Name::New),
    (224, Name::Shutdown),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Site {
    /// OpenSSL's: the function, as its source has it. It may be a part of another.
    Named(Name),
    /// BoringSSL's: `SSL_R_…` (include/openssl/ssl.h), and the line.
    Reason(u64, u64),
}

impl Site {
    /// `ERR_set_debug(file, line, func)` of OpenSSL 3; before, `ERR_put_error(lib, func, reason, file, line)`, which
    /// BoringSSL has kept, without functions.
    pub(super) fn of(constants: Constants, texts: &Texts) -> Option<Self> {
        let [first, second, third, fourth, fifth] = constants;
        let line_of = |address: Option<u64>| texts.file(address?);
        match (first?, line_of(fourth)) {
            (OPENSSL, Some(Line::OpenSsl)) => {
                let number = NUMBERS.iter().find(|(number, _)| Some(*number) == second);
                number.map(|&(_, name)| Self::Named(name))
            }
            (BORINGSSL, Some(Line::BoringSsl)) => Some(Self::Reason(third?, fifth?)),
            (file, _) => {
                texts.file(file).filter(|line| *line == Line::OpenSsl)?;
                texts.name(third?).map(Self::Named)
            }
        }
    }
}
