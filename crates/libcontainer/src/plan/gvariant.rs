//! Values of D-Bus, and their text as `GVariant` has it: what stands in `org.systemd.property.*` annotations.
//!
//! Of <https://docs.gtk.org/glib/gvariant-text-format.html>: booleans, whole numbers, strings, arrays and tuples of these, type
//! keywords (`uint64 5`) and `@` types (`@as []`). What no property of a scope is made of (doubles, dictionaries, maybes,
//! variants in variants, byte strings) is an error.
//!
//! Runs in: any process.

/// A type of D-Bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Its letter in signatures, of `bynqiuxtsog`.
    Basic(u8),
    /// Of elements of one type.
    Array(Box<Type>),
    /// Of these members.
    Struct(Vec<Type>),
}

/// A value of D-Bus.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the types' names are those of the D-Bus specification")]
pub enum Value {
    Bool(bool),
    Byte(u8),
    Int16(i16),
    Uint16(u16),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    String(String),
    ObjectPath(String),
    Signature(String),
    Array(Type, Vec<Value>),
    Struct(Vec<Value>),
}

impl Type {
    /// Appends the type to a signature.
    pub fn put(&self, signature: &mut String) {
        match self {
            Self::Basic(letter) => signature.push(char::from(*letter)),
            Self::Array(element) => {
                signature.push('a');
                element.put(signature);
            }
            Self::Struct(members) => {
                signature.push('(');
                members.iter().for_each(|member| member.put(signature));
                signature.push(')');
            }
        }
    }

    /// What a value of it is aligned to.
    pub fn alignment(&self) -> usize {
        match self {
            Self::Basic(b'y' | b'g') => 1,
            Self::Basic(b'n' | b'q') => 2,
            Self::Basic(b'x' | b't') | Self::Struct(_) => 8,
            Self::Basic(_) | Self::Array(_) => 4,
        }
    }
}

impl Value {
    /// Its type.
    pub fn of_type(&self) -> Type {
        Type::Basic(match self {
            Self::Bool(_) => b'b',
            Self::Byte(_) => b'y',
            Self::Int16(_) => b'n',
            Self::Uint16(_) => b'q',
            Self::Int32(_) => b'i',
            Self::Uint32(_) => b'u',
            Self::Int64(_) => b'x',
            Self::Uint64(_) => b't',
            Self::String(_) => b's',
            Self::ObjectPath(_) => b'o',
            Self::Signature(_) => b'g',
            Self::Array(element, _) => return Type::Array(Box::new(element.clone())),
            Self::Struct(members) => {
                return Type::Struct(members.iter().map(Self::of_type).collect());
            }
        })
    }
}

/// How deep arrays and tuples may be in each other, as D-Bus has it for arrays.
const DEPTH: usize = 32;

/// Reads a value.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { rest: text };
    let value = parser.value(None, DEPTH)?;
    parser.skip_space();
    if parser.rest.is_empty() { Ok(value) } else { Err(parser.unexpected()) }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn value(&mut self, wanted: Option<&Type>, depth: usize) -> Result<Value, String> {
        let depth = depth.checked_sub(1).ok_or("is nested too deep")?;
        self.skip_space();
        match self.rest.bytes().next() {
            Some(b'[') => self.array(wanted, depth),
            Some(b'(') => self.tuple(wanted, depth),
            Some(b'\'' | b'"') => text(self.quoted()?, wanted),
            Some(b'@') => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                let of_type = self.signature(depth)?;
                check(&of_type, wanted)?;
                self.value(Some(&of_type), depth)
            }
            Some(byte) if byte.is_ascii_alphanumeric() || b"+-.".contains(&byte) => {
                self.word(wanted, depth)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn word(&mut self, wanted: Option<&Type>, depth: usize) -> Result<Value, String> {
        let end = |c: char| !c.is_ascii_alphanumeric() && !"+-._".contains(c);
        let word = self.take(self.rest.find(end));
        match keyword(word) {
            Some(letter) => {
                let of_type = Type::Basic(letter);
                check(&of_type, wanted)?;
                self.value(Some(&of_type), depth)
            }
            None => scalar(word, wanted),
        }
    }

    fn array(&mut self, wanted: Option<&Type>, depth: usize) -> Result<Value, String> {
        let mut element = match wanted {
            Some(Type::Array(element)) => Some((**element).clone()),
            Some(other) => return Err(mismatch(other)),
            None => None,
        };
        let mut values = Vec::new();
        self.list(b']', |parser| {
            let value = parser.value(element.as_ref(), depth)?;
            element.get_or_insert_with(|| value.of_type());
            values.push(value);
            Ok(())
        })?;
        let element = element.ok_or("is an empty array of no type: write it as `@as []`")?;
        Ok(Value::Array(element, values))
    }

    fn tuple(&mut self, wanted: Option<&Type>, depth: usize) -> Result<Value, String> {
        let types = match wanted {
            Some(Type::Struct(types)) => Some(types.as_slice()),
            Some(other) => return Err(mismatch(other)),
            None => None,
        };
        let mut values = Vec::new();
        self.list(b')', |parser| {
            let wanted = match types {
                Some(types) => Some(types.get(values.len()).ok_or("has a tuple too long")?),
                None => None,
            };
            values.push(parser.value(wanted, depth)?);
            Ok(())
        })?;
        match types {
            Some(types) if types.len() != values.len() => Err("has a tuple too short".into()),
            _ if values.is_empty() => Err("has an empty tuple".into()),
            _ => Ok(Value::Struct(values)),
        }
    }

    /// What is between an opening bracket, here, and `close`, by commas; one comma may be before `close`.
    fn list(
        &mut self,
        close: u8,
        mut element: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.rest = self.rest.get(1..).unwrap_or_default();
        while !self.eat(close) {
            element(self)?;
            if !self.eat(b',') {
                return if self.eat(close) { Ok(()) } else { Err(self.unexpected()) };
            }
        }
        Ok(())
    }

    fn signature(&mut self, depth: usize) -> Result<Type, String> {
        let depth = depth.checked_sub(1).ok_or("is nested too deep")?;
        let letter = self.rest.bytes().next().ok_or_else(|| self.unexpected())?;
        if !letter.is_ascii() {
            return Err(self.unexpected());
        }
        let before = self.rest;
        self.rest = self.rest.get(1..).unwrap_or_default();
        match letter {
            b'a' => Ok(Type::Array(Box::new(self.signature(depth)?))),
            b'(' => {
                let mut members = vec![self.signature(depth)?];
                while !self.rest.starts_with(')') {
                    members.push(self.signature(depth)?);
                }
                self.rest = self.rest.get(1..).unwrap_or_default();
                Ok(Type::Struct(members))
            }
            letter if b"bynqiuxtsog".contains(&letter) => Ok(Type::Basic(letter)),
            _ => {
                self.rest = before;
                Err(self.unexpected())
            }
        }
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mut chars = self.rest.chars();
        let quote = chars.next();
        let mut text = String::new();
        loop {
            match chars.next() {
                None => return Err("has a string without an end".into()),
                end if end == quote => break,
                Some('\\') => text.push(escaped(chars.next())?),
                Some('\0') => return Err("has a string with a NUL".into()),
                Some(other) => text.push(other),
            }
        }
        self.rest = chars.as_str();
        Ok(text)
    }

    fn take(&mut self, end: Option<usize>) -> &'a str {
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is_there = self.rest.bytes().next() == Some(byte);
        if is_there {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        is_there
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn unexpected(&self) -> String {
        match self.rest.chars().next() {
            Some(_) => format!("cannot be read as a value from {:?} on", self.rest),
            None => "ends where a value is expected".into(),
        }
    }
}

/// `\u` and octal escapes are in no property that is asked for.
fn escaped(letter: Option<char>) -> Result<char, String> {
    match letter {
        Some('n') => Ok('\n'),
        Some('t') => Ok('\t'),
        Some(plain @ ('\'' | '"' | '\\')) => Ok(plain),
        _ => Err("has an unknown escape in a string".into()),
    }
}

fn keyword(word: &str) -> Option<u8> {
    Some(match word {
        "boolean" => b'b',
        "byte" => b'y',
        "int16" => b'n',
        "uint16" => b'q',
        "int32" => b'i',
        "uint32" => b'u',
        "int64" => b'x',
        "uint64" => b't',
        "string" => b's',
        "objectpath" => b'o',
        "signature" => b'g',
        _ => return None,
    })
}

fn text(text: String, wanted: Option<&Type>) -> Result<Value, String> {
    match wanted {
        None | Some(Type::Basic(b's')) => Ok(Value::String(text)),
        Some(Type::Basic(b'o')) => Ok(Value::ObjectPath(text)),
        Some(Type::Basic(b'g')) => Ok(Value::Signature(text)),
        Some(other) => Err(mismatch(other)),
    }
}

fn scalar(word: &str, wanted: Option<&Type>) -> Result<Value, String> {
    let bad = || format!("has {word:?}, which is no value");
    if let ("true" | "false", None | Some(Type::Basic(b'b'))) = (word, wanted) {
        return Ok(Value::Bool(word == "true"));
    }
    let letter = match wanted {
        Some(Type::Basic(letter)) => *letter,
        Some(other) => return Err(mismatch(other)),
        None => b'i',
    };
    let number = || integer(word).ok_or_else(bad);
    let range = |_| format!("has {word:?}, which is out of range");
    Ok(match letter {
        b'y' => Value::Byte(number()?.try_into().map_err(range)?),
        b'n' => Value::Int16(number()?.try_into().map_err(range)?),
        b'q' => Value::Uint16(number()?.try_into().map_err(range)?),
        b'i' => Value::Int32(number()?.try_into().map_err(range)?),
        b'u' => Value::Uint32(number()?.try_into().map_err(range)?),
        b'x' => Value::Int64(number()?.try_into().map_err(range)?),
        b't' => Value::Uint64(number()?.try_into().map_err(range)?),
        _ => return Err(bad()),
    })
}

/// With `0x` hexadecimal, with `0` octal, as strtol(3) has it.
fn integer(word: &str) -> Option<i128> {
    let (is_negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let (digits, radix) = match (digits.strip_prefix("0x"), digits.strip_prefix('0')) {
        (Some(hexadecimal), _) => (hexadecimal, 16),
        (None, Some(octal)) if !octal.is_empty() => (octal, 8),
        _ => (digits, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number = i128::from(u64::from_str_radix(digits, radix).ok()?);
    Some(if is_negative { -number } else { number })
}

fn check(is: &Type, wanted: Option<&Type>) -> Result<(), String> {
    match wanted {
        Some(wanted) if wanted != is => Err(mismatch(wanted)),
        _ => Ok(()),
    }
}

fn mismatch(wanted: &Type) -> String {
    let mut signature = String::new();
    wanted.put(&mut signature);
    format!("is not of type {signature:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_of_each_kind_of_text_gives_the_value() {
        let string = |text: &str| Value::String(text.into());
        let table = [
            ("true", Value::Bool(true)),
            (" false ", Value::Bool(false)),
            ("15", Value::Int32(15)),
            ("-1", Value::Int32(-1)),
            ("0x10", Value::Int32(16)),
            ("010", Value::Int32(8)),
            ("0", Value::Int32(0)),
            ("uint64 10000000", Value::Uint64(10_000_000)),
            ("uint64 18446744073709551615", Value::Uint64(u64::MAX)),
            ("@t 5", Value::Uint64(5)),
            ("byte 255", Value::Byte(255)),
            ("int16 -5", Value::Int16(-5)),
            ("'SIGTERM'", string("SIGTERM")),
            ("\"it's\"", string("it's")),
            (r"'a\'b\\c\n'", string("a'b\\c\n")),
            ("objectpath '/a'", Value::ObjectPath("/a".into())),
            ("['a', 'b']", Value::Array(Type::Basic(b's'), vec![string("a"), string("b")])),
            ("@as []", Value::Array(Type::Basic(b's'), vec![])),
            ("[uint32 1, 2,]", Value::Array(Type::Basic(b'u'), [1, 2].map(Value::Uint32).into())),
            (
                "[('a', uint64 1)]",
                Value::Array(
                    Type::Struct(vec![Type::Basic(b's'), Type::Basic(b't')]),
                    vec![Value::Struct(vec![string("a"), Value::Uint64(1)])],
                ),
            ),
            (
                "@a(st) [('a', 1)]",
                Value::Array(
                    Type::Struct(vec![Type::Basic(b's'), Type::Basic(b't')]),
                    vec![Value::Struct(vec![string("a"), Value::Uint64(1)])],
                ),
            ),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn parse_of_what_is_no_value_says_why() {
        let nested = "[".repeat(1000);
        for text in [
            "",
            " ",
            "abc",
            "[]",
            "()",
            "'a",
            "[1",
            "[1 2]",
            "1 2",
            "uint64 -1",
            "byte 256",
            "uint64 'a'",
            "@as 5",
            "@a",
            "@z 1",
            "[1, 'a']",
            "5000000000",
            "--5",
            "0x",
            "1e",
            "1.5",
            "{'a': 1}",
            "<1>",
            "nothing",
            "b'a'",
            "@(ss) ('a',)",
            "é",
            "@é 1",
            &nested,
        ] {
            let error = parse(text).unwrap_err();
            assert!(!error.is_empty(), "{text}");
        }
    }
}
