//! What PyO3's documentation says of its PyCapsule, tried: `claims NAME`, a line of JSON.

use std::cell::Cell;
use std::ffi::{c_void, CStr, CString};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

const NAME: &CStr = c"claims.capsule";

#[repr(C)]
struct Foo {
    val: u32,
}

struct Dropped(u32);

static DROPS: AtomicUsize = AtomicUsize::new(0);

impl Drop for Dropped {
    fn drop(&mut self) {
        DROPS.fetch_add(self.0 as usize, Ordering::SeqCst);
    }
}

thread_local! {
    static HERE: Cell<bool> = const { Cell::new(false) };
}

fn owned() -> Option<CString> {
    Some(NAME.to_owned())
}

/// A value under a path is found by that path.
fn import(py: Python<'_>) -> (bool, String) {
    let capsule = PyCapsule::new(py, Foo { val: 123 }, Some(c"builtins.capsule".to_owned())).unwrap();
    let module = py.import("builtins").unwrap();
    module.setattr("capsule", capsule).unwrap();
    let found: &Foo = unsafe { PyCapsule::import(py, c"builtins.capsule") }.unwrap();
    (found.val == 123, format!("the value found is {}", found.val))
}

/// Under another path it is not.
fn import_other_name(py: Python<'_>) -> (bool, String) {
    let capsule = PyCapsule::new(py, Foo { val: 123 }, owned()).unwrap();
    py.import("builtins").unwrap().setattr("misnamed", capsule).unwrap();
    match unsafe { PyCapsule::import::<Foo>(py, c"builtins.misnamed") } {
        Ok(_) => (false, "found".into()),
        Err(error) => (true, error.to_string()),
    }
}

/// The type that is asked for is checked.
fn import_checks_type(py: Python<'_>) -> (bool, String) {
    let capsule = PyCapsule::new(py, 1.5_f64, Some(c"builtins.number".to_owned())).unwrap();
    py.import("builtins").unwrap().setattr("number", capsule).unwrap();
    match unsafe { PyCapsule::import::<u64>(py, c"builtins.number") } {
        Ok(bits) => (false, format!("an f64, taken for a u64, is {bits}")),
        Err(error) => (true, error.to_string()),
    }
}

/// The pointer leads to the value.
fn new_stores_value(py: Python<'_>) -> (bool, String) {
    let capsule = PyCapsule::new(py, 123_u32, owned()).unwrap();
    let value: NonNull<u32> = capsule.pointer_checked(Some(NAME)).unwrap().cast();
    let value = unsafe { *value.as_ref() };
    (value == 123, format!("behind the pointer is {value}"))
}

/// Asked for another name there is none.
fn pointer_is_checked(py: Python<'_>) -> (bool, String) {
    let capsule = PyCapsule::new(py, 123_u32, owned()).unwrap();
    match capsule.pointer_checked(Some(c"other")) {
        Ok(_) => (false, "a pointer".into()),
        Err(error) => (true, error.to_string()),
    }
}

/// A capsule needs no name.
fn name_is_optional(py: Python<'_>) -> (bool, String) {
    let capsule = PyCapsule::new(py, 123_u32, None).unwrap();
    let bare = unsafe { ffi::PyCapsule_GetName(capsule.as_ptr()) }.is_null();
    (bare && capsule.pointer_checked(None).is_ok(), format!("its name is NULL: {bare}"))
}

/// The value is dropped with its capsule.
fn value_is_dropped(py: Python<'_>) -> (bool, String) {
    DROPS.store(0, Ordering::SeqCst);
    drop(PyCapsule::new(py, Dropped(1), owned()).unwrap());
    let drops = DROPS.load(Ordering::SeqCst);
    (drops == 1, format!("dropped {drops} times"))
}

/// A destructor gets the value, and the context as NULL where there is none.
fn destructor_gets_value(py: Python<'_>) -> (bool, String) {
    let (tell, told) = channel();
    let end = move |value: u32, context: *mut c_void| tell.send((value, context as usize)).unwrap();
    drop(PyCapsule::new_with_destructor(py, 5_u32, owned(), end).unwrap());
    let found = told.try_recv();
    (found == Ok((5, 0)), format!("it got {found:?}"))
}

/// It gets the context that was set.
fn destructor_gets_context(py: Python<'_>) -> (bool, String) {
    let (tell, told) = channel();
    let end = move |value: u32, context: *mut c_void| tell.send((value, context as usize)).unwrap();
    let capsule = PyCapsule::new_with_destructor(py, 5_u32, owned(), end).unwrap();
    capsule.set_context(4096 as *mut c_void).unwrap();
    drop(capsule);
    let found = told.try_recv();
    (found == Ok((5, 4096)), format!("it got {found:?}"))
}

/// The destructor may run on a thread that did not make the capsule.
fn destructor_on_another_thread(py: Python<'_>) -> (bool, String) {
    let (tell, told) = channel();
    HERE.set(true);
    let end = move |_: u32, _: *mut c_void| tell.send(HERE.get()).unwrap();
    let capsule = PyCapsule::new_with_destructor(py, 5_u32, owned(), end).unwrap().unbind();
    py.detach(|| {
        std::thread::spawn(move || Python::attach(|_| drop(capsule))).join().unwrap();
    });
    let same = told.try_recv();
    (same == Ok(false), format!("on the thread that made it: {same:?}"))
}

/// A given pointer is the capsule's pointer itself.
fn pointer_is_used_directly(py: Python<'_>) -> (bool, String) {
    let given = NonNull::new(4096 as *mut c_void).unwrap();
    let capsule = unsafe { PyCapsule::new_with_pointer(py, given, NAME) }.unwrap();
    let found = capsule.pointer_checked(Some(NAME)).unwrap();
    (found == given, format!("{found:?} of {given:?}"))
}

/// A value's pointer leads to memory that PyO3 made.
fn value_is_boxed(py: Python<'_>) -> (bool, String) {
    let value = 123_u32;
    let address = &value as *const u32 as usize;
    let capsule = PyCapsule::new(py, value, owned()).unwrap();
    let found = capsule.pointer_checked(Some(NAME)).unwrap().as_ptr() as usize;
    (found != address, "the capsule points elsewhere than to the value on the stack".into())
}

/// A capsule of a raw pointer has no destructor.
fn raw_pointer_has_no_destructor(py: Python<'_>) -> (bool, String) {
    let given = NonNull::new(4096 as *mut c_void).unwrap();
    let capsule = unsafe { PyCapsule::new_with_pointer(py, given, NAME) }.unwrap();
    let none = unsafe { ffi::PyCapsule_GetDestructor(capsule.as_ptr()) }.is_none();
    (none, format!("PyCapsule_GetDestructor gives NULL: {none}"))
}

static RAN: AtomicBool = AtomicBool::new(false);

unsafe extern "C" fn note(_: *mut ffi::PyObject) {
    RAN.store(true, Ordering::SeqCst);
}

/// A raw destructor is the capsule's destructor itself, and runs at its end.
fn raw_destructor_runs(py: Python<'_>) -> (bool, String) {
    let given = NonNull::new(4096 as *mut c_void).unwrap();
    let capsule = unsafe { PyCapsule::new_with_pointer_and_destructor(py, given, NAME, Some(note)) }.unwrap();
    let itself = unsafe { ffi::PyCapsule_GetDestructor(capsule.as_ptr()) } == Some(note as _);
    drop(capsule);
    let ran = RAN.load(Ordering::SeqCst);
    (itself && ran, format!("stored as it is: {itself}, ran: {ran}"))
}

/// A C function is found as it was put in.
fn function_comes_back(py: Python<'_>) -> (bool, String) {
    let given = NonNull::new(note as *mut c_void).unwrap();
    let capsule = unsafe { PyCapsule::new_with_pointer(py, given, NAME) }.unwrap();
    let found = capsule.pointer_checked(Some(NAME)).unwrap();
    (found == given, "the same address".into())
}

/// A panic in a destructor comes back as a Python exception, and the process goes on.
fn panic_is_survived(py: Python<'_>) -> (bool, String) {
    let end = |_: u32, _: *mut c_void| panic!("in the destructor");
    drop(PyCapsule::new_with_destructor(py, 5_u32, owned(), end).unwrap());
    (true, "the process goes on".into())
}

unsafe extern "C" fn panics(_: *mut ffi::PyObject) {
    panic!("in the destructor");
}

/// The same of a raw destructor.
fn raw_panic_is_survived(py: Python<'_>) -> (bool, String) {
    let given = NonNull::new(4096 as *mut c_void).unwrap();
    drop(unsafe { PyCapsule::new_with_pointer_and_destructor(py, given, NAME, Some(panics)) }.unwrap());
    (true, "the process goes on".into())
}

#[cfg(feature = "zero-sized")]
fn refused(py: Python<'_>) {
    PyCapsule::new(py, (), None).unwrap();
}

#[cfg(feature = "function-item")]
fn refused(py: Python<'_>) {
    fn item(number: i32) -> i32 {
        number
    }
    PyCapsule::new(py, item, None).unwrap();
}

type Trial = fn(Python<'_>) -> (bool, String);

fn main() {
    let trials: [(&str, Trial); 17] = [
        ("import", import),
        ("import_other_name", import_other_name),
        ("import_checks_type", import_checks_type),
        ("new_stores_value", new_stores_value),
        ("pointer_is_checked", pointer_is_checked),
        ("name_is_optional", name_is_optional),
        ("value_is_dropped", value_is_dropped),
        ("destructor_gets_value", destructor_gets_value),
        ("destructor_gets_context", destructor_gets_context),
        ("destructor_on_another_thread", destructor_on_another_thread),
        ("pointer_is_used_directly", pointer_is_used_directly),
        ("value_is_boxed", value_is_boxed),
        ("raw_pointer_has_no_destructor", raw_pointer_has_no_destructor),
        ("raw_destructor_runs", raw_destructor_runs),
        ("function_comes_back", function_comes_back),
        ("panic_is_survived", panic_is_survived),
        ("raw_panic_is_survived", raw_panic_is_survived),
    ];
    let wanted = std::env::args().nth(1).expect("expected the name of a trial");
    let (_, trial) = trials.iter().find(|(name, _)| *name == wanted).expect("no such trial");
    let (holds, saw) = Python::attach(|py| {
        #[cfg(any(feature = "zero-sized", feature = "function-item"))]
        refused(py);
        trial(py)
    });
    println!("{} {}", holds, saw);
}
