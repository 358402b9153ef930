//! A header section: one piece of memory for all of its fields.

use std::fmt;

/// Fields in the order sent, their names in lower case.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// The names, one after the other.
    names: String,
    /// The values, likewise.
    values: Vec<u8>,
    /// Where each name and its value end.
    ends: Vec<(u32, u32)>,
    /// Fields that were sent, and of which the name or the value is not known.
    unknown: u32,
}

impl Fields {
    /// Room for so many fields, with so many bytes of names and of values.
    pub fn with_capacity(fields: usize, names: usize, values: usize) -> Self {
        Self {
            names: String::with_capacity(names),
            values: Vec::with_capacity(values),
            ends: Vec::with_capacity(fields),
            unknown: 0,
        }
    }

    /// Adds a field, if it still fits: a section of 4 GiB has been refused long before.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        let name_end = self.names.len() + name.len();
        let value_end = self.values.len() + value.len();
        if let (Ok(name_end), Ok(value_end)) = (u32::try_from(name_end), u32::try_from(value_end)) {
            let start = self.names.len();
            self.names.push_str(name);
            if let Some(name) = self.names.get_mut(start..) {
                name.make_ascii_lowercase();
            }
            self.values.extend_from_slice(value);
            self.ends.push((name_end, value_end));
        }
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> + Clone {
        let (mut name_start, mut start) = (0, 0);
        self.ends.iter().map(move |&(name_end, end)| {
            let (name_end, end) = (name_end as usize, end as usize);
            let name = self.names.get(name_start..name_end).unwrap_or_default();
            let value = self.values.get(start..end).unwrap_or_default();
            (name_start, start) = (name_end, end);
            (name, value)
        })
    }

    /// Names, and values that may be changed in place.
    pub fn each_value(&mut self, mut change: impl FnMut(&str, &mut [u8])) {
        let (mut name_start, mut start) = (0, 0);
        for &(name_end, end) in &self.ends {
            let (name_end, end) = (name_end as usize, end as usize);
            let name = self.names.get(name_start..name_end).unwrap_or_default();
            change(name, self.values.get_mut(start..end).unwrap_or_default());
            (name_start, start) = (name_end, end);
        }
    }

    /// The values of all fields of this name, which is in lower case.
    pub fn all<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(name, _)| *name == wanted).map(|(_, value)| value)
    }

    /// The value of the first field of this name, which is in lower case.
    pub fn first<'a>(&'a self, wanted: &'a str) -> Option<&'a [u8]> {
        self.all(wanted).next()
    }

    /// The elements of a field of this name that is a list, without the empty ones that a recipient
    /// must ignore (RFC 9110, section 5.6.1.2).
    pub(super) fn elements<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let elements = self.all(wanted).flat_map(|value| value.split(|&byte| byte == b','));
        elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
    }

    /// Likewise, of codings: in lower case, since case does not matter in their names.
    pub(super) fn codings(&self, wanted: &str) -> Vec<String> {
        let lower = |element| String::from_utf8_lossy(element).to_ascii_lowercase();
        self.elements(wanted).map(lower).collect()
    }

    /// So many more fields were sent that are not known.
    pub(super) const fn lose(&mut self, count: u32) {
        self.unknown = self.unknown.saturating_add(count);
    }

    /// How many more fields were sent that are not known: HTTP/2 refers to earlier ones, which may
    /// not have been seen.
    pub const fn unknown(&self) -> u32 {
        self.unknown
    }

    /// How much memory they take.
    pub fn weight(&self) -> usize {
        self.names.len() + self.values.len() + self.ends.len() * size_of::<(u32, u32)>()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|(name, value)| (name, String::from_utf8_lossy(value)));
        f.debug_map().entries(shown).finish()
    }
}

impl<'a> FromIterator<(&'a str, &'a [u8])> for Fields {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a [u8])>>(fields: I) -> Self {
        let mut all = Self::default();
        fields.into_iter().for_each(|(name, value)| all.push(name, value));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_as_they_came() {
        let sent: [(&str, &[u8]); 4] =
            [("Host", b"a"), ("X-Two", b""), ("x-two", b"\xff"), ("", b"v")];
        let fields: Fields = sent.into_iter().collect();
        let expect: [(&str, &[u8]); 4] =
            [("host", b"a"), ("x-two", b""), ("x-two", b"\xff"), ("", b"v")];
        assert_eq!(fields.iter().collect::<Vec<_>>(), expect);
        assert_eq!(fields.all("x-two").collect::<Vec<_>>(), [&b""[..], b"\xff"]);
        assert_eq!((fields.first("host"), fields.first("none")), (Some(&b"a"[..]), None));
        assert_eq!((fields.len(), fields.is_empty()), (4, false));
        assert_eq!(format!("{:?}", Fields::default()), "{}");
        let mut changed = fields.clone();
        changed.each_value(|name, value| value.fill(u8::try_from(name.len()).unwrap()));
        let values: Vec<_> = changed.iter().map(|(_, value)| value.to_vec()).collect();
        assert_eq!(values, [&[4][..], &[], &[5], &[0]]);
    }

    #[test]
    fn lists_without_their_empty_elements() {
        let sent: [(&str, &[u8]); 3] =
            [("te", b" GZip ,, br"), ("other", b"x"), ("te", b",\tzstd,")];
        let fields: Fields = sent.into_iter().collect();
        assert_eq!(fields.elements("te").collect::<Vec<_>>(), [&b"GZip"[..], b"br", b"zstd"]);
        assert_eq!(fields.codings("te"), ["gzip", "br", "zstd"]);
    }
}
