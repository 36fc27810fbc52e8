// Makes capsules as nanobind makes them, and says what its destructors call. Names are literals, which live on.

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string>
#include <vector>

namespace nb = nanobind;

static std::vector<std::string> calls;
static int box[2];

static void note(const char *what) { calls.push_back(std::string(what) + (PyErr_Occurred() ? " pending" : "")); }
static void cleanup(void *p) noexcept { note(p == box ? "cleanup box" : "cleanup other"); }
static void fails(void *) noexcept {
    note("fails");
    PyErr_SetString(PyExc_RuntimeError, "cleanup failed");
}

// Drops the last reference with an exception pending, or with none, and says what is pending afterwards.
static std::string drop(nb::capsule capsule, bool pending) {
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

NB_MODULE(nanobind_capsules, m) {
    m.def("named", [] { return nb::capsule(box, "a.b", cleanup); });
    m.def("without", [] { return nb::capsule(box, "a.b"); });
    m.def("null", [] { return nb::object(nb::capsule(static_cast<void *>(nullptr), "a.b", cleanup)); });
    m.def("null_data", [] { return nb::capsule(static_cast<void *>(nullptr)).data() == nullptr; });
    m.def("opens", [](nb::capsule c) { return c.data() == static_cast<void *>(box); });
    m.def("opens_named", [](nb::capsule c, std::string name) { return c.data(name.c_str()) == static_cast<void *>(box); });
    m.def("drop_named", [](bool pending) { return drop(nb::capsule(box, "a.b", cleanup), pending); });
    m.def("drop_failing", [] { return drop(nb::capsule(box, "a.b", fails), false); });
    m.def("calls", [] {
        nb::list told;
        for (auto &call : calls)
            told.append(call.c_str());
        calls.clear();
        return told;
    });
}
