//! What the compiler is asked about: it is never run.
#![allow(unused, deprecated)]

use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::ffi::{c_void, CStr, CString};
use std::ptr::NonNull;
use std::rc::Rc;

pub fn asked(py: Python<'_>) -> PyResult<()> {
    todo!();
    Ok(())
}
