//! Of the fields of a record, those that an expression uses: making a value of each of the others
//! would cost more than everything else that is done with a record.

use std::fmt;

use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeStruct},
};

/// Names of fields with those below them that are used. One without any is used whole.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Used(Vec<(String, Used)>);

impl Used {
    /// Adds a field by the names that lead to it.
    pub(super) fn add(&mut self, path: &[&str]) {
        let Some((name, rest)) = path.split_first() else { return };
        match self.0.iter_mut().find(|(known, _)| known == name) {
            // It is used whole.
            Some((_, below)) if below.0.is_empty() => {}
            Some((_, below)) if rest.is_empty() => below.0.clear(),
            Some((_, below)) => below.add(rest),
            None => {
                let mut below = Self::default();
                below.add(rest);
                self.0.push(((*name).to_owned(), below));
            }
        }
    }

    /// The names of those that no others hold.
    pub(super) fn roots(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    fn below(&self, name: &str) -> Option<&Self> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, below)| below)
    }
}

/// A value without the fields that are not used.
pub(super) struct Pruned<'a, T: ?Sized>(pub(super) &'a T, pub(super) &'a Used);

impl<T: Serialize + ?Sized> Serialize for Pruned<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(value, used) = *self;
        if used.0.is_empty() {
            return value.serialize(serializer);
        }
        value.serialize(Pruning { inner: serializer, used })
    }
}

/// Hands on what it is given, but the fields that are not used.
struct Pruning<'a, S> {
    inner: S,
    used: &'a Used,
}

/// A record, or an object in it.
struct Fields<'a, S> {
    inner: S,
    used: &'a Used,
    /// Those below the key whose value comes next; `None` when that is not used.
    next: Option<&'a Used>,
}

impl<'a, S> Pruning<'a, S> {
    fn fields<M>(
        self,
        begin: impl FnOnce(S) -> Result<M, S::Error>,
    ) -> Result<Fields<'a, M>, S::Error>
    where
        S: Serializer,
    {
        Ok(Fields { inner: begin(self.inner)?, used: self.used, next: None })
    }
}

impl<S: SerializeStruct> SerializeStruct for Fields<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), S::Error> {
        match self.used.below(key) {
            Some(used) => self.inner.serialize_field(key, &Pruned(value, used)),
            None => Ok(()),
        }
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.inner.end()
    }
}

impl<S: SerializeMap> SerializeMap for Fields<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.next = self.used.below(&Name(key).to_string());
        if self.next.is_some() { self.inner.serialize_key(key) } else { Ok(()) }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        match self.next.take() {
            Some(used) => self.inner.serialize_value(&Pruned(value, used)),
            None => Ok(()),
        }
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.inner.end()
    }
}

/// A key as text.
struct Name<'a, T: ?Sized>(&'a T);

impl<T: Serialize + ?Sized> fmt::Display for Name<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.serialize(f)
    }
}

/// What has no fields is handed on as it is.
macro_rules! whole {
    ($($method:ident($($argument:ident: $kind:ty),*) -> $ok:ident;)*) => {
        $(fn $method(self, $($argument: $kind),*) -> Result<Self::$ok, S::Error> {
            self.inner.$method($($argument),*)
        })*
    };
}

impl<'a, S: Serializer> Serializer for Pruning<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = S::SerializeSeq;
    type SerializeTuple = S::SerializeTuple;
    type SerializeTupleStruct = S::SerializeTupleStruct;
    type SerializeTupleVariant = S::SerializeTupleVariant;
    type SerializeMap = Fields<'a, S::SerializeMap>;
    type SerializeStruct = Fields<'a, S::SerializeStruct>;
    type SerializeStructVariant = S::SerializeStructVariant;

    whole! {
        serialize_bool(v: bool) -> Ok;
        serialize_i8(v: i8) -> Ok;
        serialize_i16(v: i16) -> Ok;
        serialize_i32(v: i32) -> Ok;
        serialize_i64(v: i64) -> Ok;
        serialize_i128(v: i128) -> Ok;
        serialize_u8(v: u8) -> Ok;
        serialize_u16(v: u16) -> Ok;
        serialize_u32(v: u32) -> Ok;
        serialize_u64(v: u64) -> Ok;
        serialize_u128(v: u128) -> Ok;
        serialize_f32(v: f32) -> Ok;
        serialize_f64(v: f64) -> Ok;
        serialize_char(v: char) -> Ok;
        serialize_str(v: &str) -> Ok;
        serialize_bytes(v: &[u8]) -> Ok;
        serialize_none() -> Ok;
        serialize_unit() -> Ok;
        serialize_unit_struct(name: &'static str) -> Ok;
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str) -> Ok;
        serialize_seq(len: Option<usize>) -> SerializeSeq;
        serialize_tuple(len: usize) -> SerializeTuple;
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct;
        serialize_tuple_variant(
            name: &'static str, index: u32, variant: &'static str, len: usize
        ) -> SerializeTupleVariant;
        serialize_struct_variant(
            name: &'static str, index: u32, variant: &'static str, len: usize
        ) -> SerializeStructVariant;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_some(&Pruned(value, self.used))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_newtype_struct(name, &Pruned(value, self.used))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_newtype_variant(name, index, variant, value)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.fields(|inner| inner.serialize_map(len))
    }

    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        self.fields(|inner| inner.serialize_struct(name, len))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(paths: &[&[&str]], expect: serde_json::Value) {
        let record = json!({
            "http": {"request": {"header": {"a": ["b"]}, "method": "GET"}, "version": "2"},
            "network": {"local": {"port": 1}, "peer": null},
            "type": "http",
        });
        let mut used = Used::default();
        paths.iter().for_each(|path| used.add(path));
        assert_eq!(serde_json::to_value(Pruned(&record, &used)).unwrap(), expect, "{paths:?}");
    }

    #[test]
    fn only_what_is_used_is_left() {
        check(&[&["type"]], json!({"type": "http"}));
        let request = ["http", "request"];
        check(
            &[&["http", "request", "method"], &["network", "local", "port"]],
            json!({"http": {"request": {"method": "GET"}}, "network": {"local": {"port": 1}}}),
        );
        let whole = json!({"http": {"request": {"header": {"a": ["b"]}, "method": "GET"}}});
        check(&[&["http", "request", "method"], &request], whole.clone());
        check(&[&request, &["http", "request", "method"]], whole);
        check(&[&["k8s", "pod"], &["network", "peer", "port"]], json!({"network": {"peer": null}}));
    }
}
