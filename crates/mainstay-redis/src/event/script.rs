//! The verbs, one script each.

use crate::Script;

macro_rules! verb {
    ($file:literal) => {
        concat!(include_str!("shared.lua"), include_str!($file))
    };
}

macro_rules! verbs {
    ($($name:ident: $file:literal),* $(,)?) => {
        /// The texts of the scripts, so that a test can show that it notices when one is wrong.
        #[doc(hidden)]
        #[derive(Debug, Clone, Copy)]
        pub struct Sources {
            $(pub $name: &'static str,)*
        }

        impl Default for Sources {
            fn default() -> Self {
                Self { $($name: verb!($file),)* }
            }
        }

        #[derive(Debug)]
        pub(super) struct Scripts {
            $(pub(super) $name: Script,)*
        }

        impl Scripts {
            pub(super) fn new(sources: Sources) -> Self {
                Self { $($name: Script::new(sources.$name),)* }
            }
        }
    };
}

verbs! {
    publish: "publish.lua",
    open: "open.lua",
    take: "take.lua",
    settle: "settle.lua",
    extend: "extend.lua",
    retire: "retire.lua",
    redrive: "redrive.lua",
    rewind: "rewind.lua",
    stats: "stats.lua",
    tidy: "tidy.lua",
}
