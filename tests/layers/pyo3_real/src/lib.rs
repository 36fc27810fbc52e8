//! The calls of PyO3 that vectors make, as functions in C.
//!
//! Each takes and returns words. What a `PyResult` holds as an error is asked for afterwards, with `pyo3_error`.
//! The tokens for Python are taken without a guard, so that nothing but `pyo3_attach` attaches.
#![allow(clippy::missing_safety_doc)]
#![cfg_attr(feature = "before-0-29", allow(deprecated))]

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::ffi::{c_char, c_void, CStr};
use std::ptr::NonNull;
use std::sync::{Mutex, OnceLock};

/// Called for a closure: its number, the value's address and size, the context, and what was pending.
type Called = unsafe extern "C" fn(usize, *const u8, usize, *mut c_void, *const *mut ffi::PyObject);

static CALLED: OnceLock<Called> = OnceLock::new();
static ERROR: Mutex<Option<PyErr>> = Mutex::new(None);

/// A value and what belongs to it, as a step says it.
#[repr(C)]
pub struct Spec {
    data: *const u8,
    size: usize,
    align: usize,
    name: *const c_char,
    number: usize,
    panics: usize,
}

#[no_mangle]
pub unsafe extern "C" fn pyo3_setup(called: Called) {
    let _ = CALLED.set(called);
}

/// Return a new reference to the exception that the last call returned, NULL where it succeeded.
#[no_mangle]
pub unsafe extern "C" fn pyo3_error() -> *mut ffi::PyObject {
    let py = Python::assume_attached();
    match ERROR.lock().unwrap().take() {
        Some(error) => error.into_value(py).into_ptr(),
        None => std::ptr::null_mut(),
    }
}

fn answer(result: PyResult<usize>) -> usize {
    let mut error = ERROR.lock().unwrap();
    *error = None;
    result.unwrap_or_else(|failure| {
        *error = Some(failure);
        0
    })
}

unsafe fn owned(result: PyResult<Bound<'_, PyCapsule>>) -> usize {
    answer(result.map(|capsule| capsule.into_ptr() as usize))
}

unsafe fn bound<'py>(op: *mut ffi::PyObject) -> Bound<'py, PyCapsule> {
    Bound::from_borrowed_ptr(Python::assume_attached(), op).cast_into_unchecked()
}

unsafe fn optional<'a>(name: *const c_char) -> Option<&'a CStr> {
    (!name.is_null()).then(|| CStr::from_ptr(name))
}

/// Tell that a closure was called; what is pending meanwhile is put aside, since Python code runs.
unsafe fn tell(number: usize, data: *const u8, size: usize, context: *mut c_void) {
    let mut pending = [std::ptr::null_mut(); 3];
    let [kind, value, traceback] = &mut pending;
    #[allow(deprecated)]
    ffi::PyErr_Fetch(kind, value, traceback);
    CALLED.get().unwrap()(number, data, size, context, pending.as_ptr());
    #[allow(deprecated)]
    ffi::PyErr_Restore(pending[0], pending[1], pending[2]);
}

fn closure<T: Copy + Send + 'static>(
    number: usize,
    panics: bool,
) -> impl FnOnce(T, *mut c_void) + Send + 'static {
    move |value: T, context| {
        unsafe { tell(number, (&raw const value).cast(), size_of::<T>(), context) };
        assert!(!panics, "the closure panics");
    }
}

/// Make a capsule of a value of a type that has the size and the alignment of the step's.
macro_rules! typed {
    ($spec:expr, $make:ident) => {
        match ($spec.size, $spec.align) {
            (4, 4) => owned($make::<u32>($spec)),
            (8, 8) => owned($make::<u64>($spec)),
            (4, 1) => owned($make::<[u8; 4]>($spec)),
            #[cfg(not(feature = "before-0-29"))]
            (0, 1) => owned($make::<()>($spec)),
            _ => panic!("no type of that size and alignment"),
        }
    };
}

unsafe fn value_of<T: Copy>(spec: &Spec) -> T {
    spec.data.cast::<T>().read_unaligned()
}

unsafe fn new<'py, T: Copy + Send + 'static>(spec: &Spec) -> PyResult<Bound<'py, PyCapsule>> {
    #[allow(deprecated)]
    PyCapsule::new(Python::assume_attached(), value_of::<T>(spec), optional(spec.name).map(CStr::to_owned))
}

unsafe fn new_with_destructor<'py, T: Copy + Send + 'static>(spec: &Spec) -> PyResult<Bound<'py, PyCapsule>> {
    #[allow(deprecated)]
    PyCapsule::new_with_destructor(
        Python::assume_attached(),
        value_of::<T>(spec),
        optional(spec.name).map(CStr::to_owned),
        closure::<T>(spec.number, spec.panics != 0),
    )
}

#[no_mangle]
pub unsafe extern "C" fn pyo3_new(spec: &Spec) -> usize {
    typed!(spec, new)
}

#[no_mangle]
pub unsafe extern "C" fn pyo3_new_with_destructor(spec: &Spec) -> usize {
    typed!(spec, new_with_destructor)
}

#[no_mangle]
pub unsafe extern "C" fn pyo3_new_with_pointer(pointer: *mut c_void, name: *const c_char) -> usize {
    let pointer = NonNull::new(pointer).unwrap();
    owned(PyCapsule::new_with_pointer(Python::assume_attached(), pointer, CStr::from_ptr(name)))
}

#[no_mangle]
pub unsafe extern "C" fn pyo3_new_with_pointer_and_destructor(
    pointer: *mut c_void,
    name: *const c_char,
    destructor: Option<ffi::PyCapsule_Destructor>,
) -> usize {
    let pointer = NonNull::new(pointer).unwrap();
    let name = CStr::from_ptr(name);
    owned(PyCapsule::new_with_pointer_and_destructor(Python::assume_attached(), pointer, name, destructor))
}

#[cfg(not(feature = "before-0-29"))]
mod since_0_29 {
    use super::*;

    unsafe fn new_with_value<'py, T: Copy + Send + 'static>(spec: &Spec) -> PyResult<Bound<'py, PyCapsule>> {
        PyCapsule::new_with_value(Python::assume_attached(), value_of::<T>(spec), CStr::from_ptr(spec.name))
    }

    unsafe fn new_with_value_and_destructor<'py, T: Copy + Send + 'static>(
        spec: &Spec,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        PyCapsule::new_with_value_and_destructor(
            Python::assume_attached(),
            value_of::<T>(spec),
            CStr::from_ptr(spec.name),
            closure::<T>(spec.number, spec.panics != 0),
        )
    }

    #[no_mangle]
    pub unsafe extern "C" fn pyo3_new_with_value(spec: &Spec) -> usize {
        typed!(spec, new_with_value)
    }

    #[no_mangle]
    pub unsafe extern "C" fn pyo3_new_with_value_and_destructor(spec: &Spec) -> usize {
        typed!(spec, new_with_value_and_destructor)
    }

    #[no_mangle]
    pub unsafe extern "C" fn pyo3_import_pointer(name: *const c_char) -> usize {
        let py = Python::assume_attached();
        answer(PyCapsule::import_pointer(py, CStr::from_ptr(name)).map(|pointer| pointer.as_ptr() as usize))
    }
}

#[cfg(feature = "before-0-29")]
mod before_0_29 {
    use super::*;

    #[no_mangle]
    pub unsafe extern "C" fn pyo3_pointer(op: *mut ffi::PyObject) -> usize {
        answer(Ok(bound(op).pointer() as usize))
    }

    #[no_mangle]
    pub unsafe extern "C" fn pyo3_reference(op: *mut ffi::PyObject, _size: usize) -> usize {
        answer(Ok(bound(op).reference::<u8>() as *const u8 as usize))
    }

    #[no_mangle]
    pub unsafe extern "C" fn pyo3_is_valid(op: *mut ffi::PyObject) -> usize {
        answer(Ok(bound(op).is_valid().into()))
    }
}

#[no_mangle]
pub unsafe extern "C" fn pyo3_import(name: *const c_char, align: usize) -> usize {
    unsafe fn import<T: 'static>(name: *const c_char) -> usize {
        let found: PyResult<&T> = PyCapsule::import(Python::assume_attached(), CStr::from_ptr(name));
        answer(found.map(|value| value as *const T as usize))
    }
    match align {
        4 => import::<u32>(name),
        8 => import::<u64>(name),
        _ => import::<u8>(name),
    }
}

#[no_mangle]
pub unsafe extern "C" fn pyo3_cast(op: *mut ffi::PyObject) -> usize {
    let op = Bound::from_borrowed_ptr(Python::assume_attached(), op);
    answer(op.cast::<PyCapsule>().map(|capsule| capsule.as_ptr() as usize).map_err(PyErr::from))
}

#[no_mangle]
pub unsafe extern "C" fn pyo3_set_context(op: *mut ffi::PyObject, context: *mut c_void) -> usize {
    answer(bound(op).set_context(context).map(|()| 0))
}

#[no_mangle]
pub unsafe extern "C" fn pyo3_context(op: *mut ffi::PyObject) -> usize {
    answer(bound(op).context().map(|context| context as usize))
}

#[no_mangle]
pub unsafe extern "C" fn pyo3_pointer_checked(op: *mut ffi::PyObject, name: *const c_char) -> usize {
    answer(bound(op).pointer_checked(optional(name)).map(|pointer| pointer.as_ptr() as usize))
}

#[no_mangle]
pub unsafe extern "C" fn pyo3_is_valid_checked(op: *mut ffi::PyObject, name: *const c_char) -> usize {
    answer(Ok(bound(op).is_valid_checked(optional(name)).into()))
}

#[no_mangle]
pub unsafe extern "C" fn pyo3_name(op: *mut ffi::PyObject) -> usize {
    answer(bound(op).name().map(|name| name.map_or(0, |name| name.as_ptr() as usize)))
}

#[no_mangle]
pub unsafe extern "C" fn pyo3_as_cstr(name: *const c_char, _unsafe: usize) -> usize {
    answer(Ok(CStr::from_ptr(name).as_ptr() as usize))
}

/// Drop a reference: as a thread does that is attached, or as one that is not.
#[no_mangle]
pub unsafe extern "C" fn pyo3_drop(op: *mut ffi::PyObject, attached: usize) -> usize {
    if attached != 0 {
        drop(Bound::from_owned_ptr(Python::assume_attached(), op));
    } else {
        let reference: Py<PyAny> = Bound::from_owned_ptr(Python::assume_attached(), op).unbind();
        std::thread::spawn(move || drop(reference)).join().unwrap();
    }
    answer(Ok(0))
}

#[no_mangle]
pub unsafe extern "C" fn pyo3_attach() -> usize {
    Python::attach(|_| ());
    answer(Ok(0))
}
