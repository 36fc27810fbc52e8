// Makes capsules as pybind11 makes them, and says what its destructors call. Names are literals, which live on.

#include <pybind11/pybind11.h>

#include <string>
#include <vector>

namespace py = pybind11;

static std::vector<std::string> calls;
static int box[2];

static void note(const char *what) { calls.push_back(std::string(what) + (PyErr_Occurred() ? " pending" : "")); }
static void cleanup(void *p) { note(p == box ? "cleanup box" : "cleanup other"); }
static void fails(void *) {
    note("fails");
    PyErr_SetString(PyExc_RuntimeError, "cleanup failed");
}
static void at_exit() { note("at_exit"); }

// Drops the last reference with an exception pending, or with none, and says what is pending afterwards.
static std::string drop(py::capsule capsule, bool pending) {
    PyObject *op = capsule.release().ptr();
    if (pending)
        PyErr_SetString(PyExc_KeyError, "k");
    Py_DECREF(op);
    std::string left = "none";
    if (PyErr_Occurred())
        left = PyErr_ExceptionMatches(PyExc_KeyError) ? "KeyError" : "RuntimeError";
    PyErr_Clear();
    return left;
}

PYBIND11_MODULE(pybind11_capsules, m) {
    m.def("named", [] { return py::capsule(box, "a.b", cleanup); });
    m.def("without", [] { return py::capsule(box, "a.b", static_cast<void (*)(void *)>(nullptr)); });
    m.def("plain", [] { return py::capsule(box, "a.b"); });
    m.def("null", [] { return py::capsule(static_cast<void *>(nullptr), "a.b", cleanup); });
    m.def("function", [] { return py::capsule(at_exit); });
    m.def("opens", [](py::capsule c) { return c.get_pointer() == static_cast<void *>(box); });
    m.def("opens_named", [](py::capsule c, const std::string &) { return c.get_pointer() == static_cast<void *>(box); });
    m.def("set_null", [](py::capsule c) { c.set_pointer(nullptr); });
    m.def("set_other", [](py::capsule c) { c.set_pointer(box + 1); });
    m.def("set_name", [](py::capsule c) { c.set_name("used"); });
    m.def("drop_named", [](bool pending) { return drop(py::capsule(box, "a.b", cleanup), pending); });
    m.def("drop_failing", [] { return drop(py::capsule(box, "a.b", fails), false); });
    m.def("calls", [] {
        py::list told;
        for (auto &call : calls)
            told.append(call);
        calls.clear();
        return told;
    });
}
