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

/* Arguments that a function does not take are ignored by the calling conventions in use. The slot is read before the
 * call and written after it only, so a call made inside the call may use the same one. */
void driver_call(struct slot *slot, word function, word a, word b, word c)
{
    word *error = slot->error;
    if (error[0])
        restore(error[0], error[1], error[2]);
    slot->result = ((word (*)(word, word, word))function)(a, b, c);
    fetch(&error[0], &error[1], &error[2]);
}

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
#define ENTRY(n) static word entry_##n(word a) { return enter(n, a); }
#define TRAVERSE(n) static int traverse_##n(word a, int (*visit)(word, word), word b) { return traverse(n, a, visit, b); }
#define ENTRY_ADDRESS(n) (word)entry_##n,
#define TRAVERSE_ADDRESS(n) (word)traverse_##n,

ALL(ENTRY)
ALL(TRAVERSE)

/* The addresses of 64 functions of either kind, each with a number of its own. */
word driver_entry(word number)
{
    word addresses[] = { ALL(ENTRY_ADDRESS) };
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

#ifdef WITH_PYTHON_H
word macro_PyCapsule_CheckExact(word op) { return (word)PyCapsule_CheckExact((PyObject *)op); }
void macro_Py_INCREF(word op) { Py_INCREF((PyObject *)op); }
void macro_Py_DECREF(word op) { Py_DECREF((PyObject *)op); }
word macro_Py_REFCNT(word ob) { return (word)Py_REFCNT((PyObject *)ob); }
#endif
