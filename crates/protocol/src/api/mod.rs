//! Requests and responses of the HTTP interface, one file per group of routes.

pub mod leases;
