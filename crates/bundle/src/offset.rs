//! Byte offsets that must not be mixed up: a place in a component's content stream, and a place in a bundle.
//!
//! A place in a file stays a plain `u64`, as in the standard library. In the index an offset is a plain number.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, Sub};

macro_rules! offset {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The offset of the first byte.
            pub const ZERO: Self = Self(0);

            /// The offset that lies `bytes` bytes behind the beginning.
            pub const fn new(bytes: u64) -> Self {
                Self(bytes)
            }

            /// The number of bytes in front of this offset.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The offset `len` bytes further on, or `None` beyond 64 bits.
            pub fn checked_add(self, len: u64) -> Option<Self> {
                self.0.checked_add(len).map(Self)
            }

            /// The offset `len` bytes further on, or the largest possible one.
            #[must_use]
            pub const fn saturating_add(self, len: u64) -> Self {
                Self(self.0.saturating_add(len))
            }
        }

        impl Add<u64> for $name {
            type Output = Self;

            fn add(self, len: u64) -> Self {
                Self(self.0 + len)
            }
        }

        impl Sub for $name {
            type Output = u64;

            fn sub(self, earlier: Self) -> u64 {
                self.0 - earlier.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

offset! {
    /// A place in the content stream of a component, in bytes from the stream's beginning.
    ContentOffset
}
offset! {
    /// A place in a bundle, in bytes from the bundle's first byte. Packagers move bundles, so this is not a place in the file.
    BundleOffset
}
