//! One file per command.

pub mod backup;
pub mod build;
pub mod doctor;
pub mod down;
pub mod image;
pub mod kubeconfig;
pub mod restore;
pub mod status;
pub mod up;
