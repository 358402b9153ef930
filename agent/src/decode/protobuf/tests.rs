//! Messages as they are sent, with and without their types.

use prost::Message as _;
use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, FileDescriptorSet, MessageOptions, MethodDescriptorProto,
    ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

use super::*;
use crate::decode::trial::Random;

fn field(number: i32, name: &str, kind: Type, label: Label) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        r#type: Some(kind.into()),
        label: Some(label.into()),
        type_name: match kind {
            Type::Message if name == "prices" => Some(".shop.Item.PricesEntry".to_owned()),
            Type::Message => Some(".shop.Item".to_owned()),
            Type::Enum => Some(".shop.Color".to_owned()),
            _ => None,
        },
        ..Default::default()
    }
}

/// `shop.Cart/Add` of an Item.
fn schema() -> Schema {
    let (one, many) = (Label::Optional, Label::Repeated);
    let entry = DescriptorProto {
        name: Some("PricesEntry".to_owned()),
        field: vec![field(1, "key", Type::String, one), field(2, "value", Type::Double, one)],
        options: Some(MessageOptions { map_entry: Some(true), ..Default::default() }),
        ..Default::default()
    };
    let item = DescriptorProto {
        name: Some("Item".to_owned()),
        field: vec![
            field(1, "name", Type::String, one),
            field(2, "count", Type::Int32, one),
            field(3, "password", Type::String, one),
            field(4, "parts", Type::Message, many),
            field(5, "sizes", Type::Sint64, many),
            field(6, "color", Type::Enum, one),
            field(7, "weight", Type::Float, one),
            field(8, "prices", Type::Message, many),
            field(9, "raw", Type::Bytes, one),
            field(10, "sold", Type::Bool, one),
        ],
        nested_type: vec![entry],
        ..Default::default()
    };
    let value = |name: &str, number| EnumValueDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        ..Default::default()
    };
    let color = EnumDescriptorProto {
        name: Some("Color".to_owned()),
        value: vec![value("NONE", 0), value("RED", 1)],
        ..Default::default()
    };
    let add = MethodDescriptorProto {
        name: Some("Add".to_owned()),
        input_type: Some(".shop.Item".to_owned()),
        output_type: Some(".shop.Item".to_owned()),
        ..Default::default()
    };
    let cart = ServiceDescriptorProto {
        name: Some("Cart".to_owned()),
        method: vec![add],
        ..Default::default()
    };
    let file = FileDescriptorProto {
        name: Some("shop.proto".to_owned()),
        package: Some("shop".to_owned()),
        syntax: Some("proto3".to_owned()),
        message_type: vec![item],
        enum_type: vec![color],
        service: vec![cart],
        ..Default::default()
    };
    let mut schema = Schema::default();
    schema.add(&FileDescriptorSet { file: vec![file] }.encode_to_vec()).unwrap();
    schema
}

fn types() -> MessageDescriptor {
    let grpc = Grpc {
        service: Some("shop.Cart".to_owned()),
        method: Some("Add".to_owned()),
        ..Grpc::default()
    };
    schema().types(&grpc).unwrap().0
}

/// `name=value name=[value value]`
fn show(members: &[Member]) -> String {
    let one = |value: &Value| match value {
        Value::Unsigned(number) => number.to_string(),
        Value::Signed(number) => format!("{number:+}"),
        Value::Float(number) => format!("{number:?}"),
        Value::Bool(value) => value.to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::Bytes(bytes) => format!("{bytes:?}"),
        Value::Message(members) => format!("{{{}}}", show(members)),
    };
    let member = |member: &Member| {
        let values: Vec<_> = member.values.iter().map(one).collect();
        let values = values.join(" ");
        let Member { name, repeated, .. } = member;
        if *repeated { format!("{name}=[{values}]") } else { format!("{name}={values}") }
    };
    members.iter().map(member).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(bytes: &[u8], typed: bool, expect: &str) {
    let descriptor = typed.then(types);
    let bytes = Bytes::copy_from_slice(bytes);
    let found = members(&bytes, descriptor.as_ref(), &mut { MAX_VALUES });
    assert_eq!(found.as_deref().map_or("-".to_owned(), show), expect, "{bytes:?}");
}

const ITEM: &[u8] = b"\x0a\x03tea\x10\x02\x22\x05\x0a\x03cup\x22\x00";

#[test]
fn members_by_number() {
    check(ITEM, false, r#"1=["tea"] 2=[2] 4=[{1=["cup"]} ""]"#);
    check(b"\x0d\x00\x00\x80\x3f", false, r#"1=["0x3f800000"]"#);
    check(b"\x09\x01\x00\x00\x00\x00\x00\x00\x80", false, r#"1=["0x8000000000000001"]"#);
    check(b"\x0a\x02\xff\xfe", false, r#"1=[b"\xff\xfe"]"#);
    check(b"\x0a\x05one\ntwo"[..7].as_ref(), false, r#"1=["one\nt"]"#);
    check(b"", false, "");
    check(b"\x08\x01\x08\x02", false, "1=[1 2]");
}

#[test]
fn members_by_name() {
    check(ITEM, true, r#"name="tea" count=+2 parts=[{name="cup"} {}]"#);
    // The last of several counts where there is one only.
    check(b"\x10\x01\x10\x03", true, "count=+3");
    check(b"\x2a\x03\x01\x02\x03\x28\x04", true, "sizes=[-1 +1 -2 +2]");
    check(b"\x30\x01", true, r#"color="RED""#);
    check(b"\x30\x07", true, "color=+7");
    check(b"\x3d\xcd\xcc\xcc\x3d", true, "weight=0.1");
    check(b"\x42\x0c\x0a\x01a\x11\x00\x00\x00\x00\x00\x00\x04\x40", true, "prices=[{a=2.5}]");
    check(b"\x4a\x01x\x50\x01", true, r#"raw=b"x" sold=true"#);
    check(b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", true, "count=-1");
    // What the type does not have, or is of another, has its number.
    check(b"\x60\x07\x08\x01", true, "12=[7] 1=[1]");
}

#[test]
fn what_is_no_message_is_refused() {
    for bytes in [&b"\x08"[..], b"\x00\x01", b"\x0a\x05ab", b"\x0b", b"\x0d\x00", b"\xff\xff"] {
        check(bytes, false, "-");
        check(bytes, true, "-");
    }
    check(&[b"\x08".as_slice(), &[0xff; 11]].concat(), false, "-");
}

#[test]
fn a_schema_is_a_set_of_descriptors() {
    assert!(Schema::default().add(b"no descriptors").is_err());
    assert!(schema().types(&Grpc::default()).is_none());
}

/// Many values, deep messages, noise: bounded, without panic.
#[test]
fn noise_is_bounded() {
    let many = Bytes::from([8, 1].repeat(MAX_VALUES + 1));
    assert_eq!(members(&many, None, &mut { MAX_VALUES }), None);
    let mut deep = Vec::new();
    for _ in 0..200 {
        let length = u8::try_from(deep.len() % 0x80).unwrap();
        deep.splice(0..0, [0x22, length]);
    }
    let types = types();
    members(&deep.into(), Some(&types), &mut { MAX_VALUES });
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..20_000 {
        let mut bytes = ITEM.repeat(1 + random.below(3));
        for _ in 0..random.below(5) {
            let at = random.below(bytes.len());
            bytes[at] = u8::try_from(random.below(256)).unwrap();
        }
        let bytes = Bytes::from(bytes);
        members(&bytes, Some(&types), &mut { MAX_VALUES });
        members(&bytes, None, &mut { MAX_VALUES });
    }
}
