/* Whole programs on the capsule functions of an interpreter: perform a step, look, compare with what is expected, and
 * stop at the first difference, so that nothing undefined happens after it.
 *
 * How a program is written, and what each word means, stands in capsule_model/fuzz/batch/code.py. The functions of the
 * interpreter are handed over by batch_setup(), so that one shared object serves every version. With -DWITH_PYTHON_H
 * the macros are those of the interpreter, else what the headers say they do.
 */
#ifdef WITH_PYTHON_H
#include <Python.h>
#endif
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef size_t word;
typedef int64_t value;

#define OPERATIONS(X) \
    X(PyCapsule_IsValid, 1) X(PyCapsule_GetPointer, 1) X(PyCapsule_SetPointer, 1) X(PyCapsule_SetName, 1) \
    X(PyCapsule_SetDestructor, 1) X(PyCapsule_SetContext, 1) X(poke, 1) X(PyCapsule_GetName, 1) X(PyCapsule_GetDestructor, 1) \
    X(PyCapsule_GetContext, 1) X(PyCapsule_CheckExact, 1) X(Py_REFCNT, 1) X(Py_INCREF, 1) X(Py_IncRef, 1) \
    X(PyCapsule_New, 3) X(Py_DECREF, 0) X(Py_DecRef, 0) X(PyErr_Clear, 0) X(PyErr_SetString, 1) \
    X(PyCapsule_Import, 2) X(rename, 2) X(lend, 0) X(hold, 1) X(drop, 0) X(end, 1)
#define NUMBER(name, arity) DO_##name,
#define ARITY(name, arity) arity,
#define NAME(name, arity) #name " "
enum operation { OPERATIONS(NUMBER) OPERATION_COUNT };
static const unsigned char arity[] = { OPERATIONS(ARITY) };
const char *batch_operations(void) { return OPERATIONS(NAME); }

#define FUNCTIONS(X) \
    X(PyCapsule_New) X(PyCapsule_IsValid) X(PyCapsule_GetPointer) X(PyCapsule_GetName) X(PyCapsule_GetDestructor) \
    X(PyCapsule_GetContext) X(PyCapsule_SetPointer) X(PyCapsule_SetName) X(PyCapsule_SetDestructor) \
    X(PyCapsule_SetContext) X(PyCapsule_Import) X(Py_IncRef) X(Py_DecRef) X(PyErr_Fetch) X(PyErr_Restore) \
    X(PyErr_NormalizeException) X(PyErr_Occurred) X(PyErr_Clear) X(PyErr_SetString) X(PyObject_Str) \
    X(PyUnicode_AsUTF8) X(PyList_GetItem) X(PyLong_AsUnsignedLongLongMask)
#define PLACE(name) AT_##name,
#define SPELT(name) #name " "
enum function { FUNCTIONS(PLACE) FUNCTION_COUNT };
const char *batch_functions(void) { return FUNCTIONS(SPELT); }

#define MOST_REGISTERS 64
#define MOST_NAMES 64
#define MOST_DESTRUCTORS 16
#define MOST_ACTIONS 4
#define LEAST_OBJECT 64
#define MOST_OBJECTS 65536
#define OBJECT_SHIFT 7
#define ENTER ((value)1 << 40)
#define LEAVE ((value)1 << 41)
#define SAME_ERROR 1
#define WORD_COUNT 8
/* Those that point to objects; strings and functions may lie as low in memory as the objects of the model. */
#define TYPE_WORD 1
#define CONTEXT_WORD 4

/* One step of a destructor: what it does, with which word, and whether the error that it sets stays. */
struct action {
    value operation, argument, leave;
};

/* An error that a program can expect: its type, what str() of it is, and what kind of outcome it counts as. */
struct error {
    word type;
    const char *text;
    value outcome;
};

struct setup {
    word functions[FUNCTION_COUNT];
    word capsule_type, count_mask;
    word header_words, field_words; /* words of the header, and behind it */
    word names, name_stride, name_count;
    word least_pointer, most_pointer;
    value slots, null_slot, first_module, registers, drops, destructor_count, native_count;
    word natives[4];
    value action_count[MOST_DESTRUCTORS];
    struct action actions[MOST_DESTRUCTORS][MOST_ACTIONS];
    value name_kinds[MOST_NAMES];
    value destructor_kinds[2 * MOST_DESTRUCTORS]; /* of none, then in their order */
    const char *writings[16];
    word storage;
    word exceptions[16];
    const char *raised, *pending;
};

/* The first difference: in what, in which step, which word or destructor, the destructor that ran then (counted from
 * 1), and the two words; for an error what was seen of it. The order is that of DIFFERING in real.py. */
enum differing {
    ALIKE, IN_ERROR, IN_INDICATOR, IN_ERROR_TYPE, IN_ERROR_TEXT, IN_RETURN, IN_WORD, IN_ALIVE, IN_CALL, IN_CALL_OF,
    IN_LEAKS
};
struct report {
    value what, step, which, inside, expected, seen;
    char type[128], text[512];
};

typedef word (*call1)(word);
typedef word (*call2)(word, word);
typedef word (*call3)(word, word, word);
typedef int (*int1)(word);
typedef int (*int2)(word, word);
typedef void (*do0)(void);
typedef void (*do1)(word);
typedef void (*do2)(word, word);
typedef void (*do3)(word, word, word);
typedef void (*set1)(word, const char *);
typedef void (*take3)(word *, word *, word *);
typedef word (*ask0)(void);
typedef word (*import2)(word, int);
typedef const char *(*text1)(word);
typedef word (*item2)(word, ptrdiff_t);
typedef unsigned long long (*long1)(word);

static struct setup set;
static struct report report;
static const struct error *errors;
static word registers[MOST_REGISTERS];
static value owned[MOST_REGISTERS];
static word lent;                      /* a reference that no context holds yet */
static word parked[3];                 /* the exception that an earlier step left */
static const value *next_word;         /* what is expected next */
static value step, inside;
static value live;                     /* capsules of this program that are alive */
static word real_of[MOST_OBJECTS];     /* the object at an address of the model, by its number */
static value *program;
static word program_room;

#define CALL(type, name) ((type)set.functions[AT_##name])
#define AT(address, place) (((word *)(address))[place])

void batch_setup(const struct setup *given) { set = *given; }
value batch_setup_size(void) { return (value)sizeof(struct setup); }
struct report *batch_report(void) { return &report; }
void batch_errors(const struct error *table) { errors = table; }
void batch_register(value place, word op) { registers[place] = op; }
void batch_place(value address, word op) { real_of[address >> OBJECT_SHIFT] = op; }

/* How often each state was reached, and which were at all. */
#define OUTCOMES 6
#define NAME_STATES 8
#define CONTEXT_STATES 3
#define DESTRUCTOR_STATES 6
#define COUNT_STATES 3
#define SHAPES (NAME_STATES * CONTEXT_STATES * DESTRUCTOR_STATES * COUNT_STATES)
#define STATES ((OPERATION_COUNT + 1) * OUTCOMES * SHAPES * 2)
static uint32_t reached[STATES], touched[STATES];
static value touched_count;

/* Say how often each state was reached, and count anew: state and count, one after the other. */
value batch_reached(const void **pairs)
{
    static uint32_t said[2 * STATES];
    value count = touched_count;
    for (value i = 0; i < count; i++) {
        said[2 * i] = touched[i];
        said[2 * i + 1] = reached[touched[i]];
        reached[touched[i]] = 0;
    }
    touched_count = 0;
    *pairs = said;
    return 2 * count;
}

static void reach(value operation, value outcome, value shape, int pending)
{
    value state = ((operation * OUTCOMES + outcome) * SHAPES + shape) * 2 + pending;
    if (!reached[state]++)
        touched[touched_count++] = (uint32_t)state;
}

static value count_of(word op) { return (value)(AT(op, set.header_words - 2) & set.count_mask); }
static word type_of(word op) { return AT(op, set.header_words - 1); }
static word field(word op, word number) { return number < set.field_words ? AT(op, set.header_words + number) : 0; }

/* Numbers and what lies outside of the model's objects stand for themselves. */
static int is_object(value address)
{
    return address >> OBJECT_SHIFT >= LEAST_OBJECT && address >> OBJECT_SHIFT < MOST_OBJECTS;
}

static word real(value address) { return is_object(address) ? real_of[address >> OBJECT_SHIFT] : (word)address; }

/* What an operation has to return here, where it returns this in the model: a context may be an object. */
static value returned(value operation, value wanted)
{
    return operation == DO_PyCapsule_GetContext ? (value)real(wanted) : wanted;
}

static word destructor_at(value number);

/* What an object looks like: NULL, no capsule, or a capsule's name, context, destructor and count by their kinds. */
static value shape_of(word op)
{
    value name, context, destructor = 0, count;
    word at, wanted;
    if (!op || type_of(op) != set.capsule_type)
        return (op ? 1 : 0) * CONTEXT_STATES * DESTRUCTOR_STATES * COUNT_STATES;
    at = (field(op, 1) - set.names) / set.name_stride;
    name = !field(op, 1) ? 2 : at < set.name_count ? set.name_kinds[at] : 7;
    context = !field(op, 2) ? 0 : field(op, 2) >= set.least_pointer && field(op, 2) <= set.most_pointer ? 1 : 2;
    wanted = field(op, 3);
    if (wanted)
        for (destructor = 1; destructor < set.destructor_count + set.native_count; destructor++)
            if (destructor_at(destructor - 1) == wanted)
                break;
    destructor = set.destructor_kinds[destructor];
    count = count_of(op);
    count = count < 2 ? 0 : count < 3 ? 1 : 2;
    return ((name * CONTEXT_STATES + context) * DESTRUCTOR_STATES + destructor) * COUNT_STATES + count;
}

static void differ(int what, value which, value expected, value seen)
{
    if (report.what)
        return;
    report.what = what;
    report.step = step;
    report.which = which;
    report.inside = inside;
    report.expected = expected;
    report.seen = seen;
}

/* Exceptions: three words, owned by whoever holds them. */

static void hold(const word *error)
{
    for (int i = 0; i < 3; i++)
        CALL(do1, Py_IncRef)(error[i]);
}

static void release(word *error)
{
    for (int i = 0; i < 3; i++) {
        word object = error[i];
        error[i] = 0;
        if (object)
            CALL(do1, Py_DecRef)(object);
    }
}

static void put(const word *error)
{
    if (error[0]) {
        hold(error);
        CALL(do3, PyErr_Restore)(error[0], error[1], error[2]);
    }
}

static void take(word *error)
{
    error[0] = error[1] = error[2] = 0;
    if (!CALL(ask0, PyErr_Occurred)())
        return;
    CALL(take3, PyErr_Fetch)(&error[0], &error[1], &error[2]);
    CALL(take3, PyErr_NormalizeException)(&error[0], &error[1], &error[2]);
}

static void raise(word type, const char *text, word *error)
{
    CALL(set1, PyErr_SetString)(type, text);
    take(error);
}

static void write_text(word object, char *text, size_t room)
{
    word shown = CALL(call1, PyObject_Str)(object);
    const char *bytes = shown ? CALL(text1, PyUnicode_AsUTF8)(shown) : NULL;
    strncpy(text, bytes ? bytes : "?", room - 1);
    text[room - 1] = 0;
    CALL(do1, Py_DecRef)(shown);
    CALL(do0, PyErr_Clear)();
}

/* Compare an exception with the number of the one that is expected; `before` is the one that was pending. */
static void judge(value expected, const word *error, const word *before)
{
    int what = ALIKE;
    value seen = !error[0] ? 0 : before && before[0] && before[1] == error[1] ? SAME_ERROR : 2;
    if (seen < 2 || expected < 2) {
        if (seen == expected)
            return;
        what = seen == SAME_ERROR || expected == SAME_ERROR ? IN_INDICATOR : IN_ERROR;
    } else if (errors[expected].type != error[0]) {
        what = IN_ERROR_TYPE;
    } else {
        word shown = CALL(call1, PyObject_Str)(error[1]);
        const char *text = shown ? CALL(text1, PyUnicode_AsUTF8)(shown) : NULL;
        if (!text || strcmp(text, errors[expected].text))
            what = IN_ERROR_TEXT;
        CALL(do1, Py_DecRef)(shown);
    }
    if (what && !report.what) {
        differ(what, 0, expected, seen);
        report.type[0] = report.text[0] = 0;
        if (error[0]) {
            write_text(error[0], report.type, sizeof report.type);
            write_text(error[1], report.text, sizeof report.text);
        }
    }
}

static void expect_words(word op, const value *expected)
{
    value seen[WORD_COUNT] = { count_of(op), (value)type_of(op) };
    for (word i = 0; i < WORD_COUNT - 2; i++)
        seen[2 + i] = (value)field(op, i);
    for (int i = 0; i < WORD_COUNT; i++)
        if (seen[i] != (i == TYPE_WORD || i == CONTEXT_WORD ? (value)real(expected[i]) : expected[i])) {
            differ(IN_WORD, i, expected[i], seen[i]);
            return;
        }
}

static void expect_no_call(void)
{
    if (*next_word & ENTER)
        differ(IN_CALL, 0, *next_word & ~ENTER, -1);
}

/* Perform an operation that does not change which capsules there are, and return what it returned. */
static value perform(value operation, word op, const value *a)
{
    switch (operation) {
    case DO_PyCapsule_IsValid: return CALL(int2, PyCapsule_IsValid)(op, (word)a[0]);
    case DO_PyCapsule_GetPointer: return (value)CALL(call2, PyCapsule_GetPointer)(op, (word)a[0]);
    case DO_PyCapsule_GetName: return (value)CALL(call1, PyCapsule_GetName)(op);
    case DO_PyCapsule_GetDestructor: return (value)CALL(call1, PyCapsule_GetDestructor)(op);
    case DO_PyCapsule_GetContext: return (value)CALL(call1, PyCapsule_GetContext)(op);
    case DO_PyCapsule_SetPointer: return CALL(int2, PyCapsule_SetPointer)(op, (word)a[0]);
    case DO_PyCapsule_SetName: return CALL(int2, PyCapsule_SetName)(op, (word)a[0]);
    case DO_PyCapsule_SetDestructor: return CALL(int2, PyCapsule_SetDestructor)(op, (word)a[0]);
    case DO_PyCapsule_SetContext: return CALL(int2, PyCapsule_SetContext)(op, (word)a[0]);
    case DO_poke: AT(op, set.header_words) = (word)a[0]; return 0;
    case DO_hold: return CALL(int2, PyCapsule_SetContext)(op, registers[a[0]]);
    case DO_PyCapsule_Import: return (value)CALL(import2, PyCapsule_Import)((word)a[0], (int)a[1]);
    case DO_PyErr_Clear: CALL(do0, PyErr_Clear)(); return 0;
    case DO_PyErr_SetString: CALL(set1, PyErr_SetString)(set.exceptions[a[0]], set.raised); return 0;
    case DO_rename:
        memset((void *)(word)a[0], 0, set.storage);
        strcpy((char *)(word)a[0], set.writings[a[1]]);
        return 0;
#ifdef WITH_PYTHON_H
    case DO_PyCapsule_CheckExact: return PyCapsule_CheckExact((PyObject *)op);
    case DO_Py_REFCNT: return (value)Py_REFCNT((PyObject *)op);
    case DO_Py_INCREF: case DO_lend: Py_INCREF((PyObject *)op); return 0;
#else
    case DO_PyCapsule_CheckExact: return type_of(op) == set.capsule_type;
    case DO_Py_REFCNT: return count_of(op);
    case DO_Py_INCREF: case DO_lend:
#endif
    case DO_Py_IncRef: CALL(do1, Py_IncRef)(op); return 0;
#ifdef WITH_PYTHON_H
    case DO_Py_DECREF: Py_DECREF((PyObject *)op); return 0;
#else
    case DO_Py_DECREF:
#endif
    case DO_Py_DecRef: case DO_drop: CALL(do1, Py_DecRef)(op); return 0;
    }
    return -1;
}

/* A destructor: compare what it finds, do what it does, compare what that returns. After a difference it is quiet. */
static void destroy(value number, word op)
{
    word entry[3], error[3];
    value outer = inside, last = 0, place = 0, dying = 0;
    int held = number == set.drops && field(op, 2);
    take(entry);
    memcpy(error, entry, sizeof error);
    hold(error);
    inside = number + 1;
    if (!report.what && next_word && *next_word == (ENTER | number)) {
        const value *expected = next_word;
        next_word += 3 + WORD_COUNT;
        if (real(expected[1]) != op)
            differ(IN_CALL_OF, number, expected[1], (value)op);
        judge(expected[2], entry, NULL);
        expect_words(op, expected + 3);
        reach(OPERATION_COUNT, 1, shape_of(op), entry[0] != 0);
    } else if (next_word) {
        differ(IN_CALL, number, *next_word & ENTER ? *next_word & ~ENTER : -1, number);
    }
    for (; next_word && !report.what && place < set.action_count[number]; place++) {
        const struct action *action = &set.actions[number][place];
        word after[3], on = action->operation == DO_drop ? (word)last : op;
        put(error);
        if (action->operation == DO_drop) {
            held = 0;
            dying = on && count_of(on) == 1;
            live -= dying;
        }
        last = perform(action->operation, on, &action->argument);
        take(after);
        expect_no_call();
        if (!report.what) {
            judge(next_word[0], after, error);
            if (last != returned(action->operation, next_word[1]))
                differ(IN_RETURN, action->operation, next_word[1], last);
            next_word += 2;
        }
        if (action->leave) {
            release(error);
            memcpy(error, after, sizeof error);
        } else {
            release(after);
        }
    }
    if (held)
        CALL(do1, Py_DecRef)(field(op, 2));
    if (next_word && !report.what) {
        if (*next_word & LEAVE)
            judge(*next_word & ~LEAVE, error, entry);
        else
            differ(IN_CALL, number, *next_word & ~ENTER, -1);
        next_word++;
    }
    release(entry);
    CALL(do3, PyErr_Restore)(error[0], error[1], error[2]);
    inside = outer;
}

#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define DESTRUCTOR(n) static void destructor_##n(word op) { destroy(n, op); }
#define ADDRESS(n) (word)destructor_##n,
EACH(DESTRUCTOR)
static const word addresses[] = { EACH(ADDRESS) };

/* The address of a destructor: one of those above, then those of the interpreter. */
static word destructor_at(value number)
{
    return number < set.destructor_count ? addresses[number] : set.natives[number - set.destructor_count];
}

word batch_destructor(value number) { return destructor_at(number); }

static value outcome_of(value code, value result)
{
    return code > 1 ? errors[code].outcome : result ? 1 : 0;
}

/* Perform the step whose head is at `at`; return where the next one begins. */
static const value *perform_step(const value *at)
{
    value operation = at[0] & 0xFF, leave = at[0] >> 8 & 1, pending = at[0] >> 9, place = at[1];
    value result, code, shape, wanted;
    word op = registers[place], before[3] = { 0, 0, 0 }, after[3];
    int dying = 0;
    next_word = at + 2 + arity[operation];
    shape = shape_of(op);
    if (pending) {
        raise(set.exceptions[pending - 1], set.pending, before);
    } else if (parked[0]) {
        memcpy(before, parked, sizeof before);
        hold(before);
    }
    put(before);
    if (operation == DO_PyCapsule_New) {
        result = (value)CALL(call3, PyCapsule_New)((word)at[2], (word)at[3], (word)at[4]);
    } else {
        if (operation == DO_Py_DECREF || operation == DO_Py_DecRef) {
            dying = op && count_of(op) == 1;
            if (op && !--owned[place])
                registers[place] = 0;
            live -= dying;
        } else if (op && (operation == DO_Py_INCREF || operation == DO_Py_IncRef)) {
            owned[place]++;
        } else if (operation == DO_lend) {
            lent = op;
        } else if (operation == DO_hold) {
            lent = 0;
        }
        result = perform(operation, op, at + 2);
        if (dying)
            result = 1;
    }
    take(after);
    expect_no_call();
    code = next_word[0];
    wanted = next_word[1];
    if (!report.what)
        judge(code, after, before);
    if (operation == DO_PyCapsule_New) {
        if (!result != !wanted)
            differ(IN_RETURN, operation, wanted, result);
        if (result) {
            op = (word)result;
            live++;
            if (place < set.slots && !owned[place]) {
                registers[place] = op;
                owned[place] = 1;
            }
            if (is_object(wanted))
                real_of[wanted >> OBJECT_SHIFT] = op;
        }
    } else if (!report.what && result != returned(operation, wanted)) {
        differ(IN_RETURN, operation, wanted, result);
    }
    if (!report.what)
        reach(operation, outcome_of(code, result), shape, before[0] != 0);
    release(before);
    if (leave) {
        release(parked);
        memcpy(parked, after, sizeof after);
    } else {
        release(after);
    }
    if (report.what)
        return NULL;
    next_word += 2;
    if (!op || dying || (place >= set.null_slot && place < set.first_module)) {
        if (*next_word >= 0)
            differ(IN_ALIVE, 0, 1, 0);
        return next_word + 1;
    }
    if (*next_word < 0)
        differ(IN_ALIVE, 0, 0, 1);
    else
        expect_words(op, next_word);
    return next_word + WORD_COUNT;
}

/* Perform a program, a list of integers, up to its end or the first difference; return how many steps were alike. */
value batch_run(word list, word count)
{
    const value *at, *end;
    if (count + 64 > program_room) {
        value *bigger = realloc(program, (2 * count + 64) * sizeof *program);
        if (!bigger)
            return -1;
        program = bigger;
        program_room = 2 * count + 64;
    }
    for (word i = 0; i < count; i++)
        program[i] = (value)CALL(long1, PyLong_AsUnsignedLongLongMask)(CALL(item2, PyList_GetItem)(list, (ptrdiff_t)i));
    memset(program + count, 0, 64 * sizeof *program);
    report.what = ALIKE;
    step = inside = live = 0;
    for (at = program, end = program + count; at < end; step++) {
        if (at[0] == DO_end) {
            if (at[1] != live)
                differ(IN_LEAKS, 0, at[1], live);
            at += 2;
            step--;
        } else {
            at = perform_step(at);
        }
        if (report.what)
            break;
    }
    next_word = NULL;
    return step;
}

/* Give back what a program that was broken off still owns. */
void batch_give_back(void)
{
    next_word = NULL;
    release(parked);
    if (lent)
        CALL(do1, Py_DecRef)(lent);
    lent = 0;
    for (value place = set.slots - 1; place >= 0; place--) {
        word *destructor = owned[place] > 0 ? &AT(registers[place], set.header_words + 3) : NULL;
        /* None is needed any more but the one that gives back what its capsule holds. */
        if (destructor && *destructor != destructor_at(set.drops))
            *destructor = 0;
        for (; owned[place] > 0; owned[place]--)
            CALL(do1, Py_DecRef)(registers[place]);
    }
    memset(registers, 0, (size_t)set.slots * sizeof *registers);
    CALL(do0, PyErr_Clear)();
}
