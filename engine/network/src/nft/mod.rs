//! nf_tables through netlink: expressions and rules as data, transactions as one atomic batch.
//!
//! Invariant: only the table that a [`Transaction`] was made for is ever named in a message.
//! Source:    linux/netfilter/nf_tables.h; https://wiki.nftables.org/wiki-nftables/index.php/Portal:DeveloperDocs/nftables_internals

mod expression;
mod rule;
mod transaction;

pub use expression::{Address, Comparison, Expression, FibAddress, Meta, Register, SetRef, Verdict, concat};
pub use rule::Rule;
pub use transaction::{AnonymousMap, BaseChain, Hook, Kind, SetSpec, Transaction, Type, Value, table_exists};
