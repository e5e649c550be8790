//! How the objects of config.json are read and written.
//!
//! serde's derive would do, but for two things: it takes an array for an object, by position (`"user": [0, 0]`), and
//! `null` only for an `Option`, where Go writes it for empty slices and maps too.
//!
//! Runs in: any process.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

/// Defines structs with their keys in config.json. Unknown keys are ignored, `null` is absent, what is absent has its
/// default and is not written. A field may say otherwise:
///
/// - `(required)`: absent is an error.
/// - `(written)`: written even where it has its default, as Go does without `omitempty`.
/// - `(word)`: an empty string is absent.
/// - `(merged)`: an object; in two spellings of its key (`cpu`, `CPU`) it is one, as for Go, unless both have the same property.
macro_rules! objects {
    ($(
        $(#[$attribute:meta])*
        $name:ident {
            $( $(#[$doc:meta])* $key:literal $(($kind:ident))? $field:ident: $type:ty, )*
        }
    )*) => { $(
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$doc])* pub $field: $type, )*
        }

        impl $crate::spec::types::object::Object for $name {
            const KEYS: &'static [&'static str] = &[$( $key, )*];

            fn read<'de, A: serde::de::MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
                use $crate::spec::types::object::{KnownKey, ignore};
                $( let mut $field: Option<$type> = None; )*
                while let Some(key) = members.next_key_seed(KnownKey(Self::KEYS))? {
                    match key {
                        $( Some($key) => take_member!($field $key members $($kind)?), )*
                        _ => ignore(&mut members)?,
                    }
                }
                Ok(Self { $( $field: finish_member!($field $key $($kind)?), )* })
            }

            fn absorb(&mut self, other: Self) -> Result<(), &'static str> {
                $( merge_member!(self.$field, other.$field, $key $(, $kind)?); )*
                Ok(())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $crate::spec::types::object::read(from)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                let mut to = to.serialize_map(None)?;
                $( if member_is_written!(self.$field, $type $(, $kind)?) {
                    to.serialize_entry($key, &self.$field)?;
                } )*
                to.end()
            }
        }
    )* };
}

macro_rules! take_member {
    ($field:ident $key:literal $members:ident merged) => {
        $crate::spec::types::object::merge(&mut $field, $key, $members.next_value()?)?
    };
    ($field:ident $key:literal $members:ident $($kind:ident)?) => {
        $crate::spec::types::object::once(
            &mut $field,
            $key,
            read_member!($members $($kind)?),
        )?
    };
}

macro_rules! read_member {
    ($members:ident word) => {
        $members.next_value::<Option<$crate::spec::words::WordOrEmpty<_>>>()?.map(|word| word.0)
    };
    ($members:ident $($kind:ident)?) => {
        $members.next_value()?
    };
}

macro_rules! finish_member {
    ($field:ident $key:literal required) => {
        $field.ok_or_else(|| serde::de::Error::missing_field($key))?
    };
    ($field:ident $key:literal $($kind:ident)?) => {
        $field.unwrap_or_default()
    };
}

macro_rules! merge_member {
    ($mine:expr, $other:expr, $key:literal, required) => {
        $crate::spec::types::object::twice($other, $key)?
    };
    ($mine:expr, $other:expr, $key:literal $(, $kind:ident)?) => {
        $crate::spec::types::object::join(&mut $mine, $other, $key)?
    };
}

macro_rules! member_is_written {
    ($value:expr, $type:ty $(, word)? $(, merged)?) => {
        $value != <$type>::default()
    };
    ($value:expr, $type:ty, $kind:ident) => {
        true
    };
}

/// A struct that is an object in config.json.
pub(in crate::spec) trait Object: Sized {
    /// Its keys.
    const KEYS: &'static [&'static str];

    /// Reads the members.
    fn read<'de, A: MapAccess<'de>>(members: A) -> Result<Self, A::Error>;

    /// Takes the members of another one.
    ///
    /// # Errors
    /// The key that both have.
    fn absorb(&mut self, other: Self) -> Result<(), &'static str>;
}

/// Reads an object, and nothing but an object.
pub(in crate::spec) fn read<'de, T: Object, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_map(Members(PhantomData))
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Object> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::read(members)
    }
}

/// Reads a key; `None`: not one of these. Its case counts for nothing, as with Go's `encoding/json`: what runc takes for
/// `maskedPaths` must not be an unknown key here.
pub(in crate::spec) struct KnownKey(pub(in crate::spec) &'static [&'static str]);

impl<'de> DeserializeSeed<'de> for KnownKey {
    type Value = Option<&'static str>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KnownKey {
    type Value = Option<&'static str>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a key")
    }

    fn visit_str<E>(self, found: &str) -> Result<Self::Value, E> {
        let exact = self.0.iter().find(|key| **key == found);
        Ok(exact.or_else(|| self.0.iter().find(|key| key.eq_ignore_ascii_case(found))).copied())
    }
}

/// Takes the value of a key. `parse` refuses keys given twice before; this is for other callers of serde.
pub(in crate::spec) fn once<T, E: Error>(
    field: &mut Option<T>,
    key: &'static str,
    value: Option<T>,
) -> Result<(), E> {
    if field.is_some() {
        return Err(E::duplicate_field(key));
    }
    *field = value;
    Ok(())
}

/// Takes the value of a key, or adds it to what another spelling of the key has brought.
pub(in crate::spec) fn merge<T: Object, E: Error>(
    field: &mut Option<Option<T>>,
    key: &'static str,
    value: Option<Option<T>>,
) -> Result<(), E> {
    match (field, value.flatten()) {
        (Some(Some(first)), Some(other)) => first.absorb(other).map_err(E::duplicate_field),
        (field, Some(value)) => once(field, key, Some(Some(value))),
        (_, None) => Ok(()),
    }
}

/// Takes the member of another object, unless this one has it too.
pub(in crate::spec) fn join<T: Default + PartialEq>(
    mine: &mut T,
    other: T,
    key: &'static str,
) -> Result<(), &'static str> {
    if other == T::default() {
        return Ok(());
    }
    if *mine != T::default() {
        return twice(other, key);
    }
    *mine = other;
    Ok(())
}

/// Refuses the member of two objects that both have.
pub(in crate::spec) fn twice<T>(_: T, key: &'static str) -> Result<(), &'static str> {
    Err(key)
}

/// Skips the value of an unknown key.
pub(in crate::spec) fn ignore<'de, A: MapAccess<'de>>(members: &mut A) -> Result<(), A::Error> {
    members.next_value::<serde::de::IgnoredAny>().map(drop)
}
