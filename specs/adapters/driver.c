/* What ctypes cannot do itself: make one C call with an exception put in place before it and taken away after it,
 * and give a capsule a destructor that is entered with, and may leave, an exception.
 *
 * Without Python.h one shared object serves every version of an architecture, since the functions of the interpreter
 * are handed over by driver_setup(). With -DWITH_PYTHON_H it belongs to one build and also exports the macros.
 */
#ifdef WITH_PYTHON_H
#include <Python.h>
#endif
#include <stddef.h>

#pragma GCC visibility push(default) /* compilers for WebAssembly hide what is not marked */

typedef size_t word;

struct slot {
    word result;
    word error[3]; /* type, value, traceback: references owned by whoever reads the slot; zeros for no error */
};

static void (*fetch)(word *, word *, word *);   /* PyErr_Fetch */
static void (*restore)(word, word, word);       /* PyErr_Restore */
static word (*entered)(word, word, word *);     /* the adapter: number, first argument, error to replace */

void driver_setup(word fetch_address, word restore_address, word entered_address)
{
    fetch = (void (*)(word *, word *, word *))fetch_address;
    restore = (void (*)(word, word, word))restore_address;
    entered = (word (*)(word, word, word *))entered_address;
}

/* A caller for each shape of function, since a call through a pointer of another shape traps on WebAssembly. An int is
 * returned as a word, of which its reader takes the low bits. The slot is read before the call and written after it
 * only, so a call made inside the call may use the same one. */
#define CALLER(name, parameters, call) \
    void name parameters \
    { \
        word *error = slot->error; \
        if (error[0]) \
            restore(error[0], error[1], error[2]); \
        call; \
        fetch(&error[0], &error[1], &error[2]); \
    }
#define RETURN(types, arguments) slot->result = ((word (*) types)function) arguments
#define DO(types, arguments) ((void (*) types)function) arguments

CALLER(driver_return0, (struct slot *slot, word function), RETURN((void), ()))
CALLER(driver_return1, (struct slot *slot, word function, word a), RETURN((word), (a)))
CALLER(driver_return2, (struct slot *slot, word function, word a, word b), RETURN((word, word), (a, b)))
CALLER(driver_return3, (struct slot *slot, word function, word a, word b, word c),
       RETURN((word, word, word), (a, b, c)))
CALLER(driver_do0, (struct slot *slot, word function), DO((void), ()))
CALLER(driver_do1, (struct slot *slot, word function, word a), DO((word), (a)))
CALLER(driver_do2, (struct slot *slot, word function, word a, word b), DO((word, word), (a, b)))

/* A destructor or a clear function: what is pending waits here, on the stack, while the adapter runs. */
static word enter(word number, word argument)
{
    word error[3], result;
    fetch(&error[0], &error[1], &error[2]);
    result = entered(number, argument, error);
    restore(error[0], error[1], error[2]);
    return result;
}

/* A traverse function visits what was written into its table beforehand: while the collector walks the heap nothing may
 * be allocated, so Python code should not run. */
struct visits {
    word returns, count, objects[64]; /* an object of 1 stands for the capsule itself */
};

static struct visits visits[64];

static int traverse(word number, word argument, int (*visit)(word, word), word state)
{
    struct visits *table = &visits[number];
    for (word i = 0; i < table->count; i++) {
        word object = table->objects[i] == 1 ? argument : table->objects[i];
        int result = object ? visit(object, state) : 0;
        if (result)
            return result;
    }
    return (int)table->returns;
}

#define ROW(X, r) \
    X(r##0) X(r##1) X(r##2) X(r##3) X(r##4) X(r##5) X(r##6) X(r##7) \
    X(r##8) X(r##9) X(r##a) X(r##b) X(r##c) X(r##d) X(r##e) X(r##f)
#define ALL(X) ROW(X, 0x0) ROW(X, 0x1) ROW(X, 0x2) ROW(X, 0x3)
#define DESTRUCTOR(n) static void destructor_##n(word a) { enter(n, a); }
#define CLEAR(n) static int clear_##n(word a) { return (int)enter(n, a); }
#define TRAVERSE(n) static int traverse_##n(word a, int (*visit)(word, word), word b) \
    { return traverse(n, a, visit, b); }
#define DESTRUCTOR_ADDRESS(n) (word)destructor_##n,
#define CLEAR_ADDRESS(n) (word)clear_##n,
#define TRAVERSE_ADDRESS(n) (word)traverse_##n,

ALL(DESTRUCTOR)
ALL(CLEAR)
ALL(TRAVERSE)

/* The addresses of 64 functions of each kind, each with a number of its own. */
word driver_destructor(word number)
{
    word addresses[] = { ALL(DESTRUCTOR_ADDRESS) };
    return addresses[number % 64];
}

word driver_clear(word number)
{
    word addresses[] = { ALL(CLEAR_ADDRESS) };
    return addresses[number % 64];
}

word driver_traverse(word number)
{
    word addresses[] = { ALL(TRAVERSE_ADDRESS) };
    return addresses[number % 64];
}

struct visits *driver_visits(word number)
{
    return &visits[number % 64];
}

#ifdef __wasm__
/* The interpreter's own functions as destructors: their types are others, so each needs one of the right type here. */
#ifndef WITH_PYTHON_H
void *PyErr_NoMemory(void);
void PyErr_Clear(void);
void *PyCapsule_GetContext(void *);
#define PyObject void
#endif
void native_PyErr_NoMemory(PyObject *op) { PyErr_NoMemory(); }
void native_PyErr_Clear(PyObject *op) { PyErr_Clear(); }
void native_PyCapsule_GetContext(PyObject *op) { PyCapsule_GetContext(op); }
#endif

#ifdef WITH_PYTHON_H
word macro_PyCapsule_CheckExact(word op) { return (word)PyCapsule_CheckExact((PyObject *)op); }
void macro_Py_INCREF(word op) { Py_INCREF((PyObject *)op); }
void macro_Py_DECREF(word op) { Py_DECREF((PyObject *)op); }
word macro_Py_REFCNT(word ob) { return (word)Py_REFCNT((PyObject *)ob); }
#endif
