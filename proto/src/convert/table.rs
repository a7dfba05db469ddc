//! The forms of the tables in this module. `wire` is the generated package, imported under that name by each table.
//!
//! In a list of fields, those before the bar have the same name on both sides; behind it, `core as wire` renames.

/// All facts of one log: `Name { fields | core as wire; core as wire }`, and below the bar the facts that hold one
/// definition. `by` names a function that gives a fact's own version, where not every fact needs the log's. Behind the semicolon stand times that are zero on the wire when there are none.
macro_rules! facts {
    (
        $core:ident as $oneof:ident, body $body:ident, schema version $version:literal $(by $version_of:ident)?;
        $($arm:ident {
            $($same:ident),* $(| $($ours:ident as $theirs:ident),*)? $(; $($if_any:ident as $or_zero:ident),*)?
        })*
        $(; $($whole:ident($inner:ident))*)?
    ) => {
        impl $crate::convert::meta::FactBody for $core {
            const SCHEMA_VERSION: u32 = $version;

            $(fn schema_version(&self) -> u32 {
                $version_of(self)
            })?

            fn to_body(&self) -> $crate::envelope::v1::fact::Body {
                let fact = match self {
                    $(Self::$arm { $($same,)* $($($ours,)*)? $($($if_any,)*)? } => {
                        wire::$oneof::Fact::$arm(wire::$arm {
                            $($same: $crate::convert::Field::to_wire($same),)*
                            $($($theirs: $crate::convert::Field::to_wire($ours),)*)?
                            $($($or_zero: $crate::convert::field::or_zero($if_any),)*)?
                        })
                    })*
                    $($(Self::$whole(it) => {
                        wire::$oneof::Fact::$whole(wire::$whole { $inner: $crate::convert::Field::to_wire(it) })
                    })*)?
                };
                $crate::envelope::v1::fact::Body::$body(wire::$core { fact: Some(fact) })
            }

            fn from_body(body: $crate::envelope::v1::fact::Body) -> Result<Self, $crate::convert::DecodeError> {
                let body = match body {
                    $crate::envelope::v1::fact::Body::$body(body) => body,
                    other => return Err($crate::convert::meta::wrong_body::<Self>(&other)),
                };
                let field = concat!(stringify!($core), ".fact");
                Ok(match body.fact.ok_or($crate::convert::DecodeError::UnknownArm { field })? {
                    $(wire::$oneof::Fact::$arm(wire::$arm {
                        $($same,)* $($($theirs,)*)? $($($or_zero,)*)?
                    }) => Self::$arm {
                        $($same: $crate::convert::Field::from_wire(
                            $same, concat!(stringify!($arm), ".", stringify!($same)))?,)*
                        $($($ours: $crate::convert::Field::from_wire(
                            $theirs, concat!(stringify!($arm), ".", stringify!($theirs)))?,)*)?
                        $($($if_any: $crate::convert::field::if_any($or_zero),)*)?
                    },)*
                    $($(wire::$oneof::Fact::$whole(wire::$whole { $inner }) => Self::$whole(
                        $crate::convert::Field::from_wire(
                            $inner, concat!(stringify!($whole), ".", stringify!($inner)))?
                    ),)*)?
                })
            }
        }
    };
}

/// One core struct that is a message of the same name.
macro_rules! message {
    ($core:ident { $($same:ident),* $(| $($ours:ident as $theirs:ident),*)? }) => {
        impl $crate::convert::Field for $core {
            type Wire = Option<wire::$core>;

            fn to_wire(&self) -> Self::Wire {
                let Self { $($same,)* $($($ours,)*)? } = self;
                Some(wire::$core {
                    $($same: $crate::convert::Field::to_wire($same),)*
                    $($($theirs: $crate::convert::Field::to_wire($ours),)*)?
                })
            }

            fn from_wire(wire: Self::Wire, field: &'static str) -> Result<Self, $crate::convert::DecodeError> {
                let wire::$core { $($same,)* $($($theirs,)*)? } =
                    wire.ok_or($crate::convert::DecodeError::Missing { field })?;
                Ok(Self {
                    $($same: $crate::convert::Field::from_wire(
                        $same, concat!(stringify!($core), ".", stringify!($same)))?,)*
                    $($($ours: $crate::convert::Field::from_wire(
                        $theirs, concat!(stringify!($core), ".", stringify!($theirs)))?,)*)?
                })
            }
        }
    };
}

/// A list of such a struct.
macro_rules! repeated {
    ($core:ident) => {
        impl $crate::convert::Field for Vec<$core> {
            type Wire = Vec<wire::$core>;

            fn to_wire(&self) -> Self::Wire {
                self.iter().filter_map($crate::convert::Field::to_wire).collect()
            }

            fn from_wire(
                wire: Self::Wire,
                field: &'static str,
            ) -> Result<Self, $crate::convert::DecodeError> {
                wire.into_iter().map(|it| $crate::convert::Field::from_wire(Some(it), field)).collect()
            }
        }
    };
}

/// One core enum without data that is a wire enum with the same values, besides its zero.
macro_rules! values {
    ($core:ident as $wire:path [$($value:ident),*]) => {
        impl $crate::convert::WireEnum for $core {
            fn to_number(self) -> i32 {
                use $wire as Wire;
                match self {
                    $(Self::$value => Wire::$value as i32,)*
                }
            }

            fn from_number(number: i32, field: &'static str) -> Result<Self, $crate::convert::DecodeError> {
                use $wire as Wire;
                match Wire::try_from(number) {
                    Ok(Wire::Unspecified) => Err($crate::convert::DecodeError::Missing { field }),
                    $(Ok(Wire::$value) => Ok(Self::$value),)*
                    Err(_) => Err($crate::convert::DecodeError::UnknownValue { field, value: number }),
                }
            }
        }

        impl $crate::convert::Field for $core {
            type Wire = i32;

            fn to_wire(&self) -> i32 {
                $crate::convert::WireEnum::to_number(*self)
            }

            fn from_wire(wire: i32, field: &'static str) -> Result<Self, $crate::convert::DecodeError> {
                $crate::convert::WireEnum::from_number(wire, field)
            }
        }
    };
}
