//! D-Bus messages: the part of the wire format that talking to systemd takes (D-Bus specification, "Message Protocol").
//!
//! Everything is in this machine's byte order: a bus passes messages on as they are, and it is on this machine.
//!
//! Runs in: runtime.

use crate::plan::{Property, Value};

const ENDIAN: u8 = if cfg!(target_endian = "little") { b'l' } else { b'B' };
const VERSION: u8 = 1;
const METHOD_CALL: u8 = 1;
/// Bytes before the array of header fields, its length included.
const FIXED: usize = 16;
/// More than any answer or signal of systemd's has; the specification allows 128 MiB.
const MAXIMUM: usize = 4 << 20;

/// A kind of message that is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Reply,
    Error,
    Signal,
    Other,
}

/// A received message.
#[derive(Debug)]
pub struct Message {
    pub kind: Kind,
    /// The serial of the call that it answers; 0 for none.
    pub reply_to: u32,
    pub interface: String,
    pub member: String,
    pub error: String,
    /// Of the body.
    pub signature: String,
    pub body: Vec<u8>,
}

/// What is called.
#[derive(Debug)]
pub struct Call<'a> {
    /// `None` where the other end of the socket is the one that is meant.
    pub destination: Option<&'a str>,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
    pub body: Body,
}

impl Call<'_> {
    /// The whole message.
    pub fn encode(&self, serial: u32) -> Vec<u8> {
        let mut message = Body::default();
        message.bytes.extend([ENDIAN, METHOD_CALL, 0, VERSION]);
        message.u32(length(&self.body.bytes));
        message.u32(serial);
        message.array(8, &mut |fields| {
            fields.field(1, b'o', self.path);
            fields.field(2, b's', self.interface);
            fields.field(3, b's', self.member);
            if let Some(destination) = self.destination {
                fields.field(6, b's', destination);
            }
            if !self.body.signature.is_empty() {
                fields.field(8, b'g', &self.body.signature);
            }
        });
        message.align(8);
        message.bytes.extend_from_slice(&self.body.bytes);
        message.bytes
    }
}

/// The arguments of a call, or anything else that begins at a multiple of 8.
#[derive(Debug, Default)]
pub struct Body {
    signature: String,
    bytes: Vec<u8>,
}

impl Body {
    /// An argument.
    pub fn with(mut self, value: &Value) -> Self {
        value.of_type().put(&mut self.signature);
        self.value(value);
        self
    }

    /// An argument that is a string.
    pub fn with_string(mut self, text: &str) -> Self {
        self.signature.push('s');
        self.string(text);
        self
    }

    /// An argument that is an array of properties, `a(sv)`.
    pub fn with_properties(mut self, all: &[&Property]) -> Self {
        self.signature.push_str("a(sv)");
        self.array(8, &mut |array| {
            for Property { name, value, .. } in all {
                array.align(8);
                array.string(name);
                let mut of_type = String::new();
                value.of_type().put(&mut of_type);
                array.signature(&of_type);
                array.value(value);
            }
        });
        self
    }

    /// An argument that is an empty array of auxiliary units, `a(sa(sv))`.
    pub fn with_no_units(mut self) -> Self {
        self.signature.push_str("a(sa(sv))");
        self.array(8, &mut |_| {});
        self
    }

    fn field(&mut self, code: u8, of_type: u8, text: &str) {
        self.align(8);
        self.bytes.extend([code, 1, of_type, 0]);
        if of_type == b'g' { self.signature(text) } else { self.string(text) }
    }

    fn value(&mut self, value: &Value) {
        self.align(value.of_type().alignment());
        match value {
            Value::Bool(value) => self.u32((*value).into()),
            Value::Byte(value) => self.bytes.push(*value),
            Value::Int16(value) => self.bytes.extend(value.to_ne_bytes()),
            Value::Uint16(value) => self.bytes.extend(value.to_ne_bytes()),
            Value::Int32(value) => self.bytes.extend(value.to_ne_bytes()),
            Value::Uint32(value) => self.u32(*value),
            Value::Int64(value) => self.bytes.extend(value.to_ne_bytes()),
            Value::Uint64(value) => self.bytes.extend(value.to_ne_bytes()),
            Value::String(text) | Value::ObjectPath(text) => self.string(text),
            Value::Signature(text) => self.signature(text),
            Value::Array(element, values) => self.array(element.alignment(), &mut |array| {
                values.iter().for_each(|value| array.value(value));
            }),
            Value::Struct(members) => members.iter().for_each(|member| self.value(member)),
        }
    }

    /// The length counts neither itself nor what aligns the first element.
    fn array(&mut self, alignment: usize, elements: &mut dyn FnMut(&mut Self)) {
        self.u32(0);
        let at = self.bytes.len();
        self.align(alignment);
        let first = self.bytes.len();
        elements(self);
        let count = length(self.bytes.get(first..).unwrap_or_default()).to_ne_bytes();
        if let Some(place) = self.bytes.get_mut(at - 4..at) {
            place.copy_from_slice(&count);
        }
    }

    fn string(&mut self, text: &str) {
        self.u32(length(text.as_bytes()));
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    /// At most 255 bytes: ours are short, and nesting has an end.
    fn signature(&mut self, text: &str) {
        self.bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    fn u32(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend(value.to_ne_bytes());
    }

    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// What [`Message::take`] found.
#[derive(Debug)]
pub enum Taken {
    Message(Message),
    /// More bytes are needed.
    Partial,
    /// No D-Bus message that this machine's bus would send.
    Malformed,
}

impl Message {
    /// Takes one message from the front of `bytes`.
    pub fn take(bytes: &mut Vec<u8>) -> Taken {
        let Some(fixed) = bytes.get(..FIXED) else { return Taken::Partial };
        let mut fixed = Reader { bytes: fixed, at: 4 };
        let (Some(body), Some(_), Some(fields)) = (fixed.size(), fixed.size(), fixed.size()) else {
            return Taken::Malformed;
        };
        if bytes.first() != Some(&ENDIAN) || body > MAXIMUM || fields > MAXIMUM {
            return Taken::Malformed;
        }
        let begin = (FIXED + fields).next_multiple_of(8);
        if bytes.len() < begin + body {
            return Taken::Partial;
        }
        let rest = bytes.split_off(begin + body);
        let whole = std::mem::replace(bytes, rest);
        Self::decode(&whole, fields, begin).map_or(Taken::Malformed, Taken::Message)
    }

    fn decode(bytes: &[u8], fields: usize, begin: usize) -> Option<Self> {
        let mut message = Self {
            kind: match bytes.get(1)? {
                2 => Kind::Reply,
                3 => Kind::Error,
                4 => Kind::Signal,
                _ => Kind::Other,
            },
            reply_to: 0,
            interface: String::new(),
            member: String::new(),
            error: String::new(),
            signature: String::new(),
            body: bytes.get(begin..)?.to_vec(),
        };
        let mut reader = Reader { bytes: bytes.get(..FIXED + fields)?, at: FIXED };
        while reader.at < FIXED + fields {
            reader.align(8);
            let code = reader.byte()?;
            match (code, reader.signature()?) {
                (5, "u") => message.reply_to = reader.u32()?,
                (8, "g") => reader.signature()?.clone_into(&mut message.signature),
                (code, "s" | "o") => {
                    let text = reader.string()?;
                    match code {
                        2 => text.clone_into(&mut message.interface),
                        3 => text.clone_into(&mut message.member),
                        4 => text.clone_into(&mut message.error),
                        _ => {}
                    }
                }
                (_, "u") => drop(reader.u32()?),
                // Of no field that the specification has.
                _ => return None,
            }
        }
        Some(message)
    }

    /// The body, from its first argument on.
    pub fn arguments(&self) -> Reader<'_> {
        Reader { bytes: &self.body, at: 0 }
    }
}

/// Reads values one after the other. `None`: there is no such value here.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn u32(&mut self) -> Option<u32> {
        self.align(4);
        let bytes = self.bytes.get(self.at..)?.first_chunk()?;
        self.at += 4;
        Some(u32::from_ne_bytes(*bytes))
    }

    /// A string or an object path.
    pub fn string(&mut self) -> Option<&'a str> {
        let length = self.size()?;
        self.text(length)
    }

    pub fn signature(&mut self) -> Option<&'a str> {
        let length = self.byte()?;
        self.text(length.into())
    }

    fn text(&mut self, length: usize) -> Option<&'a str> {
        let end = self.at.checked_add(length)?;
        let text = self.bytes.get(self.at..end)?;
        if self.bytes.get(end) != Some(&0) {
            return None;
        }
        self.at = end + 1;
        std::str::from_utf8(text).ok()
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at)?;
        self.at += 1;
        Some(*byte)
    }

    fn size(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok()
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Type;

    fn call(body: Body) -> Vec<u8> {
        let destination = Some("org.freedesktop.systemd1");
        Call { destination, path: "/a", interface: "b.c", member: "D", body }.encode(7)
    }

    #[test]
    fn encode_then_take_gives_the_message_and_leaves_the_next() {
        let mut bytes = call(Body::default().with_string("x"));
        assert_eq!(bytes.len() % 2, 0);
        let one = bytes.len();
        bytes.extend_from_within(..);
        let Taken::Message(message) = Message::take(&mut bytes) else { panic!("{bytes:?}") };
        assert_eq!(bytes.len(), one);
        assert_eq!((message.interface.as_str(), message.member.as_str()), ("b.c", "D"));
        assert_eq!(message.signature, "s");
        assert_eq!(message.arguments().string(), Some("x"));
    }

    #[test]
    fn body_of_properties_is_as_the_specification_aligns_it() {
        let properties = [
            Property { name: "Ab".into(), value: Value::Uint64(1), optional: false },
            Property { name: "C".into(), value: Value::Bool(true), optional: false },
        ];
        let body = Body::default().with_string("u").with_properties(&properties.each_ref());
        assert_eq!(body.signature, "sa(sv)");
        let mut expected = vec![1, 0, 0, 0, b'u', 0, 0, 0];
        expected.extend([36, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([2, 0, 0, 0, b'A', b'b', 0, 1, b't', 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([1, 0, 0, 0, b'C', 0, 1, b'b', 0, 0, 0, 0, 1, 0, 0, 0]);
        expected.truncate(16 + 24 + 16);
        if cfg!(target_endian = "little") {
            assert_eq!(body.bytes.get(16..), expected.get(16..), "{:?}", body.bytes);
            assert_eq!(body.bytes.get(..8), expected.get(..8));
        }
    }

    #[test]
    fn take_of_any_cut_or_changed_message_does_not_panic() {
        let whole = call(Body::default().with_string("x").with_no_units());
        for length in 0..whole.len() {
            let mut cut = whole.get(..length).unwrap().to_vec();
            assert!(matches!(Message::take(&mut cut), Taken::Partial), "{length}");
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut changed = whole.clone();
                *changed.get_mut(at).unwrap() = byte;
                changed.extend([0; 64]);
                drop(Message::take(&mut changed));
            }
        }
    }

    #[test]
    fn take_of_another_protocol_is_malformed() {
        let mut bytes = b"HTTP/1.1 400 Bad Request\r\n".to_vec();
        assert!(matches!(Message::take(&mut bytes), Taken::Malformed));
    }

    #[test]
    fn array_of_wide_elements_counts_no_padding() {
        let numbers = Value::Array(Type::Basic(b't'), vec![Value::Uint64(5)]);
        let body = Body::default().with(&numbers);
        assert_eq!(body.signature, "at");
        assert_eq!(body.bytes.len(), 16);
        assert_eq!(body.bytes.first_chunk(), Some(&8u32.to_ne_bytes()));
    }
}
