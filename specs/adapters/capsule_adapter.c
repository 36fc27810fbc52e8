/* Perform vectors on the capsule API of the interpreter that imports this module, and speak the adapter protocol on
 * standard input and output: for implementations of the C API, also without ctypes.pythonapi. One file to copy.
 *
 *     cc -shared -fPIC -I INCLUDE capsule_adapter.c -o DIR/capsule_adapterSUFFIX
 *     python -c 'import sys; sys.path.insert(0, DIR); import capsule_adapter; capsule_adapter.main()'
 *
 * INCLUDE is sysconfig.get_path("include"), SUFFIX is sysconfig.get_config_var("EXT_SUFFIX").
 *
 * A token, an address, a step: none of them is a Python object here, so that watching disturbs as little as it can.
 * Everything of one request lies in an arena; names and blocks of a vector are allocated one by one, for checkers.
 * Where a vector cannot go on, fail() keeps the first reason, and every function returns as soon as it can.
 */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE 1
#if defined(__GNUC__) /* PyErr_Fetch and PyErr_Restore, deprecated from 3.12 on, are what every version has */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#endif
#include <Python.h>
#include <pythread.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <io.h>
#else
#include <unistd.h>
#endif

/* Memory that nobody may touch looks so to a checker, if one is at work. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISONING 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define POISONING 1
#endif
#ifdef __has_include
#if !defined(POISONING) && __has_include(<valgrind/memcheck.h>) && !defined(NO_VALGRIND)
#include <valgrind/memcheck.h>
#define FORBID(start, size) (void)VALGRIND_MAKE_MEM_NOACCESS(start, size)
#define ALLOW(start, size) (void)VALGRIND_MAKE_MEM_UNDEFINED(start, size)
#define LOG(line) (void)VALGRIND_PRINTF("%s", line)
#endif
#endif
#ifdef POISONING
void __asan_poison_memory_region(void const volatile *start, size_t size);
void __asan_unpoison_memory_region(void const volatile *start, size_t size);
#define FORBID(start, size) __asan_poison_memory_region(start, size)
#define ALLOW(start, size) __asan_unpoison_memory_region(start, size)
#endif
#ifndef FORBID
#define FORBID(start, size) (void)0
#define ALLOW(start, size) (void)0
#endif
#ifndef LOG /* where the checker writes to */
#define LOG(line) (void)0
#endif

enum {
    PROTOCOL = 1,
    LINE_LIMIT = 1 << 20,
    DEPTH_LIMIT = 64,
    STEP_LIMIT = 10000,
    ALLOCATION_LIMIT = 1 << 26, /* of one malloc; a vector may have four such blocks */
    FUNCTION_LIMIT = 64,
    LANE_LIMIT = 64,
    NESTING_LIMIT = 64, /* of functions called by what functions do */
    MODULE_LIMIT = 1000,
    OPAQUE_STRIDE = 256,
    OPAQUE_SIZE = 16,
    OPAQUE_COUNT = 4096,
    LITERALS_SIZE = 1 << 20, /* of the storage of literals in a run that forbids nothing */
    LITERALS_GAP = 64,
    BUCKETS = 1024,
    SHOWN_LIMIT = 80, /* bytes of a vector's text in a message */
};

typedef uintptr_t word;
typedef struct { const char *data; size_t length; } text; /* UTF-8 in which a lone surrogate has three bytes */
typedef struct { char *data; size_t length, capacity; } buffer;
typedef struct { PyObject *type, *value, *trace; } error; /* owned references; no type is no exception */

static const error NONE = {NULL, NULL, NULL};

static text literal(const char *data)
{
    text made = {data, strlen(data)};
    return made;
}

static bool same(text a, text b)
{
    return a.length == b.length && memcmp(a.data, b.data, a.length) == 0;
}

static bool is_literal(text a, const char *b)
{
    return same(a, literal(b));
}

/* Memory of one request */

static void *must(void *memory)
{
    if (memory == NULL) {
        fputs("capsule_adapter: out of memory\n", stderr);
        abort();
    }
    return memory;
}

typedef struct chunk { struct chunk *before; size_t used, size; } chunk;

static chunk *arena;

static void *reserve(size_t size)
{
    size_t needed = (size + 15) / 16 * 16, head = (sizeof(chunk) + 15) / 16 * 16;
    if (arena == NULL || arena->size - arena->used < needed) {
        size_t most = needed + head > 65536 ? needed + head : 65536;
        chunk *made = must(malloc(most));
        made->before = arena;
        made->used = head;
        made->size = most;
        arena = made;
    }
    void *start = (char *)arena + arena->used;
    arena->used += needed;
    return memset(start, 0, needed);
}

static void release_arena(void)
{
    while (arena != NULL) {
        chunk *before = arena->before;
        free(arena);
        arena = before;
    }
}

/* Text that grows */

static void put_bytes(buffer *out, const char *data, size_t length)
{
    if (out->capacity - out->length < length + 1) {
        out->capacity = 2 * out->capacity + length + 256;
        out->data = must(realloc(out->data, out->capacity));
    }
    if (data != NULL)
        memcpy(out->data + out->length, data, length);
    out->length += length;
    out->data[out->length] = '\0';
}

static void put(buffer *out, const char *data) { put_bytes(out, data, strlen(data)); }
static void put_text(buffer *out, text words) { put_bytes(out, words.data, words.length); }
static void put_buffer(buffer *out, const buffer *other) { put_bytes(out, other->data, other->length); }

static void put_integer(buffer *out, long long number)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%lld", number);
    put(out, digits);
}

static void put_hex(buffer *out, const unsigned char *data, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char pair[3];
        snprintf(pair, sizeof pair, "%02x", data[i]);
        put(out, pair);
    }
}

static bool is_surrogate(const unsigned char *byte) { return byte[0] == 0xED && byte[1] >= 0xA0; }

/* The number of bytes of the well-formed UTF-8 character that starts here, 0 if there is none. */
static int character_size(const unsigned char *byte, const unsigned char *end)
{
    int size = *byte < 0x80 ? 1 : *byte < 0xC2 ? 0 : *byte < 0xE0 ? 2 : *byte < 0xF0 ? 3 : *byte < 0xF5 ? 4 : 0;
    if (size == 0 || end - byte < size)
        return 0;
    for (int i = 1; i < size; i++)
        if ((byte[i] & 0xC0) != 0x80)
            return 0;
    if (size == 3 && ((*byte == 0xE0 && byte[1] < 0xA0) || is_surrogate(byte)))
        return 0;
    if (size == 4 && ((*byte == 0xF0 && byte[1] < 0x90) || (*byte == 0xF4 && byte[1] > 0x8F)))
        return 0;
    return size;
}

/* Write a text as a JSON string. */
static void put_string(buffer *out, text words)
{
    const unsigned char *byte = (const unsigned char *)words.data, *end = byte + words.length;
    char escape[8];
    put(out, "\"");
    while (byte < end) {
        const unsigned char *plain = byte;
        int size;
        while (byte < end && *byte >= 0x20 && *byte != 0x7F && *byte != '"' && *byte != '\\' &&
               (size = character_size(byte, end)) != 0)
            byte += size;
        put_bytes(out, (const char *)plain, (size_t)(byte - plain));
        if (byte == end)
            break;
        if (end - byte >= 3 && is_surrogate(byte) && byte[1] < 0xC0) {
            snprintf(escape, sizeof escape, "\\u%04x", 0xD000u | (byte[1] & 0x3Fu) << 6 | (byte[2] & 0x3Fu));
            byte += 3;
        } else if (*byte == '"' || *byte == '\\') {
            snprintf(escape, sizeof escape, "\\%c", *byte++);
        } else { /* a control character, or what is no character although an implementation gave it as a text */
            snprintf(escape, sizeof escape, "\\u%04x", *byte < 0x80 ? *byte : 0xFFFD);
            byte++;
        }
        put(out, escape);
    }
    put(out, "\"");
}

/* Write `,` if something of the same list stands before. */
static void put_comma(buffer *out)
{
    char last = out->length ? out->data[out->length - 1] : '[';
    if (last != '[' && last != '{')
        put(out, ",");
}

static text kept(const buffer *words)
{
    char *copy = reserve(words->length + 1);
    if (words->length != 0)
        memcpy(copy, words->data, words->length);
    text made = {copy, words->length};
    return made;
}

/* Put texts (t), C strings (s) and numbers (n) together; the result lives as long as the request. */
static text glue(const char *parts, ...)
{
    buffer made = {NULL, 0, 0};
    va_list list;
    va_start(list, parts);
    for (; *parts; parts++) {
        if (*parts == 't')
            put_text(&made, va_arg(list, text));
        else if (*parts == 's')
            put(&made, va_arg(list, const char *));
        else
            put_integer(&made, va_arg(list, long));
    }
    va_end(list);
    text result = kept(&made);
    free(made.data);
    return result;
}

/* JSON: what is read points into the line that it came in */

enum { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_REAL, JSON_INTEGER, JSON_STRING, JSON_LIST, JSON_MAP };

typedef struct json {
    text key;          /* inside a map */
    struct json *next; /* in the list or map that this is in */
    text words;        /* of a string: decoded; of a number: as it stands there */
    struct json *first, *last;
    word number; /* the low bits of an integer */
    int kind;
    unsigned count;
    bool surrogate; /* a string with one cannot be encoded */
} json;

typedef struct {
    char *at, *end;
    const char *wrong;
    bool deep;
} reader;

static void skip_space(reader *in)
{
    while (in->at < in->end && strchr(" \t\r\n", *in->at) != NULL && *in->at != '\0')
        in->at++;
}

static void bad(reader *in, const char *wrong)
{
    if (in->wrong == NULL)
        in->wrong = wrong;
    in->at = in->end;
}

static long read_unit(reader *in)
{
    unsigned long unit = 0;
    if (in->end - in->at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdef";
        char c = in->at[i];
        const char *digit = c == '\0' ? NULL : strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c);
        if (digit == NULL)
            return -1;
        unit = unit << 4 | (unsigned long)(digit - digits);
    }
    in->at += 4;
    return (long)unit;
}

static char *put_character(char *out, unsigned long c)
{
    if (c < 0x80) {
        *out++ = (char)c;
        return out;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    *out++ = (char)((more == 1 ? 0xC0 : more == 2 ? 0xE0 : 0xF0) | c >> 6 * more);
    while (more-- > 0)
        *out++ = (char)(0x80 | (c >> 6 * more & 0x3F));
    return out;
}

/* Read a string behind its first quotation mark, and decode it where it stands: that never takes more bytes. */
static text read_string(reader *in, bool *surrogate)
{
    char *out = in->at;
    text made = {in->at, 0};
    while (in->at < in->end && *in->at != '"') {
        unsigned char c = (unsigned char)*in->at;
        if (c < 0x20) {
            bad(in, "a control character in a string");
        } else if (c != '\\') {
            int size = character_size((unsigned char *)in->at, (unsigned char *)in->end);
            if (size == 0) {
                bad(in, "not UTF-8");
                break;
            }
            memmove(out, in->at, (size_t)size);
            out += size;
            in->at += size;
        } else if (in->end - in->at < 2) {
            bad(in, "an unfinished string");
        } else if (in->at[1] == 'u') {
            in->at += 2;
            long unit = read_unit(in);
            if (unit >= 0xD800 && unit < 0xDC00 && in->end - in->at >= 6 && in->at[0] == '\\' && in->at[1] == 'u') {
                char *back = in->at;
                in->at += 2;
                long low = read_unit(in);
                if (low >= 0xDC00 && low < 0xE000)
                    unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                else
                    in->at = back;
            }
            if (unit < 0)
                bad(in, "a bad \\u escape");
            else
                out = put_character(out, (unsigned long)unit);
            *surrogate = *surrogate || (unit >= 0xD800 && unit < 0xE000);
        } else {
            const char *escapes = "\"\\/bfnrt", *means = "\"\\/\b\f\n\r\t";
            const char *found = in->at[1] == '\0' ? NULL : strchr(escapes, in->at[1]);
            if (found == NULL) {
                bad(in, "a bad escape in a string");
                break;
            }
            *out++ = means[found - escapes];
            in->at += 2;
        }
    }
    if (in->at >= in->end)
        bad(in, "an unfinished string");
    else
        in->at++;
    made.length = (size_t)(out - made.data);
    return made;
}

static bool is_digit(reader *in) { return in->at < in->end && *in->at >= '0' && *in->at <= '9'; }

static void read_number(reader *in, json *made)
{
    char *start = in->at;
    bool negative = *in->at == '-', leading;
    made->kind = JSON_INTEGER;
    in->at += negative;
    leading = in->at < in->end && *in->at == '0';
    if (!is_digit(in)) {
        bad(in, "not JSON");
        return;
    }
    for (; is_digit(in) && !(leading && in->at > start + negative); in->at++)
        made->number = made->number * 10 + (word)(*in->at - '0');
    if (negative)
        made->number = -made->number;
    if (in->at < in->end && *in->at == '.') {
        made->kind = JSON_REAL;
        in->at++;
        if (!is_digit(in))
            bad(in, "not JSON");
        while (is_digit(in))
            in->at++;
    }
    if (in->at < in->end && (*in->at == 'e' || *in->at == 'E')) {
        made->kind = JSON_REAL;
        in->at++;
        in->at += in->at < in->end && (*in->at == '+' || *in->at == '-');
        if (!is_digit(in))
            bad(in, "not JSON");
        while (is_digit(in))
            in->at++;
    }
    made->words.data = start;
    made->words.length = (size_t)(in->at - start);
}

/* Pass over a list or map that is too deep, so that the rest of the request can be read. */
static void skip_nested(reader *in)
{
    long open = 0;
    in->deep = true;
    while (in->at < in->end) {
        char c = *in->at++;
        bool ignored = false;
        if (c == '"')
            read_string(in, &ignored);
        open += c == '[' || c == '{' ? 1 : c == ']' || c == '}' ? -1 : 0;
        if (open == 0)
            return;
    }
    bad(in, "not JSON");
}

static json *read_json(reader *in, int depth)
{
    static const struct { const char *word; int kind; } words[] = {
        {"null", JSON_NULL}, {"true", JSON_TRUE}, {"false", JSON_FALSE}};
    json *made = reserve(sizeof(json));
    skip_space(in);
    if (in->at >= in->end) {
        bad(in, "not JSON");
        return made;
    }
    char c = *in->at;
    if (c == '"') {
        in->at++;
        made->kind = JSON_STRING;
        made->words = read_string(in, &made->surrogate);
    } else if (c == '-' || is_digit(in)) {
        read_number(in, made);
    } else if ((c == '[' || c == '{') && depth == DEPTH_LIMIT) {
        skip_nested(in);
    } else if (c == '[' || c == '{') {
        char close = c == '[' ? ']' : '}';
        made->kind = c == '[' ? JSON_LIST : JSON_MAP;
        in->at++;
        skip_space(in);
        while (in->at < in->end && (*in->at != close || made->count != 0)) {
            text key = {NULL, 0};
            bool ignored = false;
            skip_space(in);
            if (made->kind == JSON_MAP) {
                if (in->at < in->end && *in->at == '"') {
                    in->at++;
                    key = read_string(in, &ignored);
                    skip_space(in);
                }
                if (key.data == NULL || in->at >= in->end || *in->at++ != ':') {
                    bad(in, "not JSON");
                    break;
                }
            }
            json *item = read_json(in, depth + 1);
            item->key = key;
            if (made->last == NULL)
                made->first = item;
            else
                made->last->next = item;
            made->last = item;
            made->count++;
            skip_space(in);
            if (in->at >= in->end || *in->at != ',')
                break;
            in->at++;
        }
        if (in->at >= in->end || *in->at != close)
            bad(in, "not JSON");
        else
            in->at++;
    } else {
        size_t i, length = 0;
        for (i = 0; i < 3; i++) {
            length = strlen(words[i].word);
            if ((size_t)(in->end - in->at) >= length && memcmp(in->at, words[i].word, length) == 0)
                break;
        }
        if (i == 3) {
            bad(in, "not JSON");
        } else {
            made->kind = words[i].kind;
            in->at += length;
        }
    }
    return made;
}

static bool is(const json *value, int kind) { return value != NULL && value->kind == kind; }

/* What a map has under a key, the last of several; NULL if it has nothing there. */
static json *member(const json *map, text key)
{
    json *found = NULL;
    for (json *item = is(map, JSON_MAP) ? map->first : NULL; item != NULL; item = item->next)
        if (same(item->key, key))
            found = item;
    return found;
}

/* The same, and NULL for null. */
static json *get(const json *map, const char *key)
{
    json *found = member(map, literal(key));
    return is(found, JSON_NULL) ? NULL : found;
}

/* The small integer under a key, or what counts as one where there is none. */
static long get_small(const json *map, const char *key, long otherwise)
{
    json *found = get(map, key);
    if (!is(found, JSON_INTEGER))
        return otherwise;
    errno = 0;
    return strtol(found->words.data, NULL, 10); /* the line goes on behind it, with what is no digit */
}

/* One run of one vector: what its tokens mean, what it owns, and what has happened */

typedef struct place { /* what is known of an address */
    word address;
    const char *form; /* how its token is written: ref, ptr or function; NULL if it has none */
    text token;
    PyTypeObject *type; /* of an object with a token, when the token was given */
    long owned;
    word end;           /* of a string or block that starts here; else 0 */
    bool block, freed, dead, listed;
    int dying; /* how many functions run for the object: while one does, also the dead is still there */
    struct place *next, *later, *beside; /* in its bucket, among the objects, among the buffers */
} place;

typedef struct name { /* what is known of a token */
    text token;
    word address;
    bool bound;
    long binds;
    struct name *next;
} name;

typedef struct entry { /* a function of the vector */
    text name;
    json *spec;
    long calls;
    word visits[FUNCTION_LIMIT]; /* what a traverse function visits, where that is no reference by name */
} entry;

typedef struct lane { /* a thread that makes calls for a session, with an error indicator of its own */
    PyThread_type_lock job, done;
    text name;
    json *step; /* what to do: a step, or nothing but to wake up */
    text path;
    bool stop, good;
    error parked;
} lane;

typedef struct listed { text token; struct listed *next; } listed;

static const char *const KINDS[] = {
    "None", "int", "str", "bytes", "list", "dict", "tuple", "function", "object", "class"};
enum { KIND_COUNT = sizeof KINDS / sizeof *KINDS };

static struct session {
    bool open, closed, failed, unsupported, inside, has_native;
    bool undefined; /* everything is performed as it stands, in memory as a program has it */
    text failure, failed_at;
    unsigned long serial, entered;
    place *places[BUCKETS], *buffers, *objects;
    name *names[BUCKETS];
    listed *lost; /* tokens of references to what has died and left its address to another */
    entry entries[FUNCTION_LIMIT], traverses[FUNCTION_LIMIT];
    int entry_count, traverse_count, nesting, lane_count, lane;
    word subject;
    word opaque_count, allocated;
    long unknown;
    text path;
    error parked;
    buffer *out, answer, between; /* events between two steps belong to the next one */
    json *modules;
    PyObject *finder, *hook, *kinds[KIND_COUNT];
    bool collecting;
} now;

static buffer tails[NESTING_LIMIT + 1]; /* where the running steps write what follows their events */
static lane lanes[LANE_LIMIT];
static int lanes_started;
static word opaque; /* where opaque addresses begin */
static char *literals; /* storage that is no block, for a run that forbids nothing; made when the first one begins */
static size_t literals_used;
static PyObject *helpers; /* the globals of the helpers in Python */

/* Note why the run cannot go on; the first reason counts. */
static void fail(const char *before, text about, const char *after)
{
    buffer made = {NULL, 0, 0};
    if (now.failed)
        return;
    now.failed = true;
    put(&made, before);
    size_t length = about.length < SHOWN_LIMIT ? about.length : SHOWN_LIMIT;
    while (length < about.length && length > 0 && (about.data[length] & 0xC0) == 0x80)
        length--;
    about.length = length;
    put_text(&made, about);
    put(&made, after);
    for (size_t i = 0; i < made.length; i++)
        if ((unsigned char)made.data[i] < 0x20)
            made.data[i] = ' ';
    now.failure = kept(&made);
    now.failed_at = now.path;
    free(made.data);
}

static void fail_plain(const char *reason) { fail(reason, literal(""), ""); }

static size_t hash_text(text words)
{
    size_t hash = 5381;
    for (size_t i = 0; i < words.length; i++)
        hash = hash * 33 ^ (unsigned char)words.data[i];
    return hash % BUCKETS;
}

static name *find_name(text token)
{
    name *found = now.names[hash_text(token)];
    while (found != NULL && !same(found->token, token))
        found = found->next;
    return found;
}

static name *name_of(text token)
{
    name *found = find_name(token);
    if (found == NULL) {
        name **bucket = &now.names[hash_text(token)];
        found = reserve(sizeof(name));
        found->token = token;
        found->next = *bucket;
        *bucket = found;
    }
    return found;
}

static place *find_place(word address)
{
    place *found = now.places[(address >> 4) % BUCKETS];
    while (found != NULL && found->address != address)
        found = found->next;
    return found;
}

static place *place_of(word address)
{
    place *found = find_place(address);
    if (found == NULL) {
        place **bucket = &now.places[(address >> 4) % BUCKETS];
        found = reserve(sizeof(place));
        found->address = address;
        found->next = *bucket;
        *bucket = found;
    }
    return found;
}

static void give_token(text token, word address, const char *form, PyTypeObject *type)
{
    name *known = name_of(token);
    place *there = place_of(address);
    known->address = address;
    known->bound = true;
    there->token = token;
    there->form = form;
    there->type = type;
}

/* Put a place on the list of those that are looked through at the end: owned ones, and live capsules. */
static place *list_object(word address)
{
    place *there = place_of(address);
    if (!there->listed) {
        there->listed = true;
        there->later = now.objects;
        now.objects = there;
    }
    return there;
}

/* Note that an address is another's now; a reference that the dead object's destructor took is lost. */
static void forget(place *there)
{
    if (there->owned > 0) {
        listed *one = reserve(sizeof(listed));
        one->token = there->token;
        one->next = now.lost;
        now.lost = one;
    }
    there->owned = 0;
    there->dead = false;
}

/* Bind a name to an address, and write what is shown of it; a second binding of the name makes another token. */
static void put_bound(buffer *out, text bind, word address, PyTypeObject *type)
{
    name *known = name_of(bind);
    known->address = address;
    known->bound = true;
    if (address == 0) {
        put(out, "null");
        return;
    }
    long number = ++known->binds;
    text token = number == 1 ? bind : glue("tsn", bind, "#", number);
    give_token(token, address, "ref", type != NULL ? type : place_of(address)->type); /* an object named as a mere address */
    put(out, "{\"ref\":");
    put_string(out, token);
    put(out, "}");
}

/* Storage for a literal, with room around it that nobody may touch; NULL if there is no more. */
static void *new_literal(size_t size)
{
    size_t taken = (size + 15) / 16 * 16 + LITERALS_GAP;
    if (LITERALS_SIZE - literals_used < taken + LITERALS_GAP)
        return NULL;
    void *start = literals + LITERALS_GAP + literals_used;
    literals_used += taken;
    ALLOW(start, size);
    return start;
}

/* New storage for a string or a block, at an address of its own until the vector ends. */
static place *new_buffer(size_t size, size_t allocated)
{
    /* zeros, so that what nobody wrote is the same in every run */
    void *memory = now.undefined ? malloc(allocated) : calloc(1, allocated);
    if (memory == NULL || now.allocated + allocated > 4 * (word)ALLOCATION_LIMIT) {
        free(memory);
        fail_plain("the vector needs too much memory");
        return NULL;
    }
    now.allocated += allocated;
    place *there = place_of((word)memory);
    forget(there);
    there->end = (word)memory + size;
    there->beside = now.buffers;
    now.buffers = there;
    return there;
}

/* Store a string with its NUL, in a block or as a literal; they differ only where a program's memory matters. */
static word store(text bytes, text token, bool block)
{
    word address = 0;
    if (now.undefined && !block) {
        address = (word)new_literal(bytes.length + 1);
        if (address == 0)
            fail_plain("the vector needs too much memory");
        else
            place_of(address)->end = address + bytes.length + 1;
    } else {
        place *there = new_buffer(bytes.length + 1, bytes.length + 1);
        address = there == NULL ? 0 : there->address;
    }
    if (address == 0)
        return 0;
    if (bytes.length != 0)
        memcpy((void *)address, bytes.data, bytes.length);
    ((char *)address)[bytes.length] = '\0';
    give_token(token, address, "ref", NULL);
    return address;
}

static bool is_opaque(word address)
{
    word offset = address - opaque;
    return address >= opaque && offset < now.opaque_count * OPAQUE_STRIDE && offset % OPAQUE_STRIDE < OPAQUE_SIZE;
}

/* Where the string, block or opaque place begins that has this address inside; 0 if there is none. */
static word buffer_at(word address)
{
    if (is_opaque(address))
        return address - (address - opaque) % OPAQUE_STRIDE;
    place *there = find_place(address);
    if (there != NULL && there->end != 0)
        return address;
    for (there = now.buffers; there != NULL; there = there->beside)
        if (there->address < address && address < there->end)
            return there->address;
    return 0;
}

/* The token of an address: its newest, or a new one for an address never seen. */
static text token_at(word address)
{
    place *there = place_of(address);
    if (there->form == NULL) {
        word start = buffer_at(address);
        if (start != 0)
            return place_of(start)->token;
        give_token(glue("sn", "?", ++now.unknown), address, "ref", NULL);
    }
    return there->token;
}

static void put_address(buffer *out, word address)
{
    if (address == 0) {
        put(out, "null");
        return;
    }
    text token = token_at(address);
    place *there = find_place(address);
    put(out, "{\"");
    put(out, there->form != NULL ? there->form : "ref");
    put(out, "\":");
    put_string(out, token);
    if (there->form == NULL) {
        put(out, ",\"offset\":");
        put_integer(out, (long long)(address - buffer_at(address)));
    }
    put(out, "}");
}

/* Python objects: looked at only where a vector asks for it, and never while they are dying */

static error fetch(void)
{
    error got;
    PyErr_Fetch(&got.type, &got.value, &got.trace);
    return got;
}

static void restore(error given) { PyErr_Restore(given.type, given.value, given.trace); }

static error hold(error held)
{
    Py_XINCREF(held.type);
    Py_XINCREF(held.value);
    Py_XINCREF(held.trace);
    return held;
}

static void release_error(error given);

/* Give a reference up; what a destructor that this runs leaves behind goes with it. */
static void release(PyObject *object)
{
    if (object != NULL) {
        Py_DECREF(object);
        if (PyErr_Occurred())
            release_error(fetch());
    }
}

static void release_error(error given)
{
    release(given.type);
    release(given.value);
    release(given.trace);
}

/* Make the value of a fetched exception an instance, as it always is from 3.12 on. */
static error normal(error given)
{
    if (given.type != NULL && (given.value == NULL || !PyExceptionInstance_Check(given.value)))
        PyErr_NormalizeException(&given.type, &given.value, &given.trace);
    return given;
}

static text text_of(PyObject *string)
{
    text made = {"", 0};
    PyObject *bytes = PyUnicode_AsEncodedString(string, "utf-8", "surrogatepass");
    if (bytes == NULL) {
        PyErr_Clear();
        return made;
    }
    made.length = (size_t)PyBytes_GET_SIZE(bytes);
    char *copy = reserve(made.length + 1);
    memcpy(copy, PyBytes_AS_STRING(bytes), made.length);
    made.data = copy;
    Py_DECREF(bytes);
    return made;
}

static PyObject *string_of(text words)
{
    return PyUnicode_DecodeUTF8(words.data, (Py_ssize_t)words.length, "surrogatepass");
}

static text type_name(PyTypeObject *type)
{
    PyObject *called = PyObject_GetAttrString((PyObject *)type, "__name__");
    text made = literal("?");
    if (called != NULL && PyUnicode_Check(called))
        made = text_of(called);
    release(called);
    PyErr_Clear();
    return made;
}

static bool is_hex(char c) { return c != '\0' && strchr("0123456789abcdefABCDEF", c) != NULL; }

/* Write tokens for the addresses of known objects in a text. */
static text clean(text words)
{
    buffer made = {NULL, 0, 0};
    const char *at = words.data, *end = at + words.length;
    while (at < end) {
        const char *start = at;
        if (end - at > 2 && at[0] == '0' && at[1] == 'x' && is_hex(at[2])) {
            word address = 0;
            size_t digits = 0;
            for (at += 2; at < end && is_hex(*at); at++) {
                digits += digits != 0 || *at != '0';
                address = address << 4 | (word)(*at <= '9' ? *at - '0' : (*at | 32) - 'a' + 10);
            }
            place *there = digits <= 2 * sizeof(word) ? find_place(address) : NULL;
            if (there != NULL && there->form != NULL) {
                put(&made, "{");
                put_text(&made, there->token);
                put(&made, "}");
                continue;
            }
        } else {
            at++;
        }
        put_bytes(&made, start, (size_t)(at - start));
    }
    text result = kept(&made);
    free(made.data);
    return result;
}

/* What str() says of an object, with tokens for addresses. */
static text spoken(PyObject *object)
{
    PyObject *string = PyObject_Str(object);
    text made;
    if (string == NULL) {
        error raised = normal(fetch());
        made = glue("sts", "<", type_name(Py_TYPE(raised.value)), " in str()>");
        release_error(raised);
    } else {
        made = clean(text_of(string));
        release(string);
    }
    return made;
}

/* Write an object: its token, or the name of its type. The brace stays open. */
static bool put_form(buffer *out, PyObject *object)
{
    place *there = find_place((word)object);
    bool known = there != NULL && there->form != NULL && (there->type == NULL || there->type == Py_TYPE(object));
    put(out, known ? "{\"ref\":" : "{\"object\":");
    if (known)
        put_string(out, there->token);
    else if (object == Py_None || object == Py_NotImplemented)
        put_string(out, literal(object == Py_None ? "None" : "NotImplemented"));
    else
        put_string(out, type_name(Py_TYPE(object)));
    return known;
}

/* Write an exception that was normalised. */
static void put_error(buffer *out, error given)
{
    static const char *const names[] = {"name", "path", "obj", "__cause__", "__context__"};
    if (given.type == NULL) {
        put(out, "null");
        return;
    }
    PyObject *bases = PyObject_GetAttrString((PyObject *)Py_TYPE(given.value), "__mro__");
    put(out, "{\"type\":");
    put_string(out, type_name(Py_TYPE(given.value)));
    put(out, ",\"bases\":[");
    for (Py_ssize_t i = 1; bases != NULL && i < PyTuple_Size(bases) - 1; i++) {
        put_comma(out);
        put_string(out, type_name((PyTypeObject *)PyTuple_GetItem(bases, i)));
    }
    release(bases);
    put(out, "],\"text\":");
    put_string(out, spoken(given.value));
    put(out, ",\"attributes\":{");
    for (int i = 0; i < 5; i++) {
        PyObject *value = PyObject_GetAttrString(given.value, names[i]);
        if (value == NULL) {
            release_error(fetch());
            continue;
        }
        if (i < 3 || value != Py_None) {
            put_comma(out);
            put_string(out, literal(names[i]));
            put(out, ":");
            if (i >= 3) {
                put(out, "{\"type\":");
                put_string(out, type_name(Py_TYPE(value)));
                put(out, ",\"text\":");
                put_string(out, spoken(value));
                put(out, "}");
            } else if (value == Py_None) {
                put(out, "null");
            } else if (i < 2 && PyUnicode_Check(value)) {
                put_string(out, text_of(value));
            } else {
                put_form(out, value);
                put(out, "}");
            }
        }
        release(value);
    }
    put(out, "}}");
}

/* Call a Python function with a tuple of arguments that is given away; NULL and what it raised if it fails. */
static PyObject *call_python(PyObject *function, PyObject *arguments, error *raised)
{
    PyObject *result = function == NULL || arguments == NULL ? NULL : PyObject_CallObject(function, arguments);
    *raised = normal(fetch());
    if (raised->type != NULL) { /* the traceback would keep the arguments alive */
        PyException_SetTraceback(raised->value, Py_None);
        release(raised->trace);
        raised->trace = NULL;
    }
    release(arguments);
    return result;
}

static PyObject *helper(const char *called) { return PyDict_GetItemString(helpers, called); }

/* Call a helper that cannot fail for a reason of its own. */
static PyObject *call_helper(const char *called, PyObject *arguments)
{
    error raised;
    PyObject *result = call_python(helper(called), arguments, &raised);
    if (raised.type != NULL) {
        fail(called, glue("stst", ": ", type_name(Py_TYPE(raised.value)), ": ", spoken(raised.value)), "");
        release_error(raised);
    }
    return result;
}

static void do_helper(const char *called) { release(call_helper(called, PyTuple_New(0))); }

/* A built-in exception by name, borrowed. */
static PyObject *exception_class(text called)
{
    PyObject *key = string_of(called), *found = NULL;
    if (key != NULL)
        found = PyObject_GetAttr(helper("builtins"), key);
    PyErr_Clear();
    Py_XDECREF(key);
    if (found == NULL || !PyExceptionClass_Check(found)) {
        Py_XDECREF(found);
        fail("no built-in exception ", called, "");
        return NULL;
    }
    Py_DECREF(found); /* it stays where it was found */
    return found;
}

/* Make an instance of a built-in exception from {"type", "text"}. */
static error make_exception(json *spec)
{
    json *type = get(spec, "type"), *words = get(spec, "text");
    error made = NONE;
    if (!is(type, JSON_STRING) || (words != NULL && !is(words, JSON_STRING))) {
        fail_plain("an exception is {\"type\": NAME, \"text\": TEXT}");
        return made;
    }
    PyObject *class = exception_class(type->words);
    if (class == NULL)
        return made;
    PyObject *string = words == NULL ? NULL : string_of(words->words);
    made.value = PyObject_CallFunctionObjArgs(class, string, NULL);
    Py_XDECREF(string);
    if (made.value == NULL) {
        release_error(fetch());
        fail("", type->words, " cannot be made from a text");
        return made;
    }
    made.type = (PyObject *)Py_TYPE(made.value);
    Py_INCREF(made.type);
    return made;
}

static long refcnt_of(PyObject *object)
{
#ifdef PYPY_VERSION
    return (int)Py_REFCNT(object); /* far above stands that the object is known to the interpreter, too */
#else
    return (long)Py_REFCNT(object);
#endif
}

/* Arguments */

/* The bytes that {"cstr": …} or {"hex": …} stands for. */
static text bytes_of(json *argument)
{
    json *content = is(argument, JSON_MAP) && argument->count == 1 ? argument->first : NULL;
    text made = {NULL, 0};
    if (is(content, JSON_STRING) && is_literal(content->key, "cstr") && !content->surrogate)
        return content->words;
    if (is(content, JSON_STRING) && is_literal(content->key, "hex")) {
        const char *at = content->words.data, *end = at + content->words.length;
        char *bytes = reserve(content->words.length / 2 + 1);
        while (at < end) {
            unsigned value = 0;
            if (*at == ' ') {
                at++;
            } else if (end - at >= 2 && is_hex(at[0]) && is_hex(at[1])) {
                for (int i = 0; i < 2; i++, at++)
                    value = value << 4 | (unsigned)(*at <= '9' ? *at - '0' : (*at | 32) - 'a' + 10);
                bytes[made.length++] = (char)value;
            } else {
                break;
            }
        }
        if (at == end) {
            made.data = bytes;
            return made;
        }
    }
    fail_plain("expected a cstr or hex argument");
    return made;
}

static word make_opaque(text token)
{
    if (now.opaque_count == OPAQUE_COUNT) {
        fail("one ptr token too many: ", token, "");
        return 0;
    }
    word address = opaque + OPAQUE_STRIDE * now.opaque_count++;
    give_token(token, address, "ptr", NULL);
    return address;
}

/* The vector's object of a kind, which lives as long as the vector. */
static word object_of_kind(text kind)
{
    int number = 0;
    while (number < KIND_COUNT && !is_literal(kind, KINDS[number]))
        number++;
    if (number == KIND_COUNT && !is_literal(kind, "PyCapsule_Type")) {
        fail("no kind of object: ", kind, "");
        return 0;
    }
    if (number < KIND_COUNT && now.kinds[number] == NULL) {
        now.kinds[number] = call_helper("make", Py_BuildValue("(s)", KINDS[number]));
        if (now.kinds[number] == NULL)
            return 0;
        give_token(literal(KINDS[number]), (word)now.kinds[number], "ref", Py_TYPE(now.kinds[number]));
    }
    return name_of(kind)->address;
}

static word module_of(text called)
{
    PyObject *key = string_of(called), *found = NULL;
    if (key != NULL)
        found = PyDict_GetItemWithError(PyImport_GetModuleDict(), key);
    Py_XDECREF(key);
    PyErr_Clear();
    if (found == NULL)
        fail("no module ", called, "");
    else
        give_token(called, (word)found, "ref", Py_TYPE(found));
    return (word)found;
}

/* The word that an argument stands for, made where it asks for that; storage has the token `where`, or one of the
 * running step and the parameter `where`. */
static word value_of(json *argument, text where)
{
    json *content = is(argument, JSON_MAP) ? argument->first : NULL, *reference = get(argument, "ref");
    text form = content == NULL ? literal("") : content->key;
    if (is(argument, JSON_NULL))
        return 0;
    if (is(argument, JSON_INTEGER))
        return argument->number;
    if (is(reference, JSON_STRING)) {
        name *known = find_name(reference->words);
        json *offset = get(argument, "offset");
        if (known == NULL || !known->bound)
            fail("nothing is bound as ", reference->words, "");
        else if (offset != NULL && !is(offset, JSON_INTEGER))
            fail_plain("an offset is an integer");
        else
            return known->address + (offset == NULL ? 0 : offset->number);
        return 0;
    }
    if (content != NULL && argument->count == 1) {
        bool string = is(content, JSON_STRING);
        name *known = string ? find_name(content->words) : NULL;
        if (is_literal(form, "cstr") || is_literal(form, "hex")) {
            text bytes = bytes_of(argument);
            if (now.failed)
                return 0;
            return store(bytes, where.data[0] == '#' ? where : glue("stst", "#", now.path, ".", where), false);
        }
        if (string && is_literal(form, "ptr"))
            return known != NULL && known->bound ? known->address : make_opaque(content->words);
        if (string && is_literal(form, "function") && known != NULL && known->bound) {
            place *there = find_place(known->address);
            if (there != NULL && there->form != NULL && strcmp(there->form, "function") == 0)
                return known->address;
        }
        if (string && is_literal(form, "object"))
            return object_of_kind(content->words);
        if (string && is_literal(form, "module"))
            return module_of(content->words);
        if (is_literal(form, "arg") && is(content, JSON_INTEGER) && content->number == 0 && now.inside)
            return now.subject;
    }
    fail("argument ", where, " is none that there can be");
    return 0;
}

/* Whether an address may be taken for that of an object: NULL, or a token's that is no string, block or function. */
static bool may_be_object(word address)
{
    place *there = find_place(address);
    return now.undefined || address == 0 || (there != NULL && there->form != NULL && strcmp(there->form, "ref") == 0 && !there->end);
}

/* The functions of a vector: C functions with a number each, which perform steps */

static bool perform(json *step, text path);

static bool is_capsule(PyObject *object) { return Py_TYPE(object) == &PyCapsule_Type; }

/* Perform the steps of a destructor or clear function; what is pending is put in place of `pending`. */
static long called(entry *function, PyObject *subject, error *pending)
{
    long number = ++function->calls, index = 0;
    if (number > get_small(function->spec, "max_calls", 8)) {
        put_comma(now.out);
        put(now.out, "{\"call\":");
        put_string(now.out, function->name);
        put(now.out, ",\"beyond\":true}");
        return 0;
    }
    if (now.nesting == NESTING_LIMIT) {
        fail_plain("functions call each other too deep");
        return 0;
    }
    long count = refcnt_of(subject);
    place *there = place_of((word)subject);
    there->dead = there->dead || count == 0;
    there->dying++;
    error outer_parked = now.parked;
    word outer_subject = now.subject;
    bool outer_inside = now.inside;
    text path = glue("tstsn", now.path, "/", function->name, ".", number);
    buffer event = {NULL, 0, 0};
    now.parked = *pending = normal(*pending);
    now.subject = (word)subject;
    now.inside = true;
    now.nesting++;
    put(&event, "{\"call\":");
    put_string(&event, function->name);
    put(&event, ",\"args\":[");
    put_string(&event, token_at((word)subject));
    put(&event, "],\"refcnt\":");
    put_integer(&event, count);
    put(&event, ",\"before\":");
    put_error(&event, now.parked);
    put(&event, ",\"steps\":[");
    put_comma(now.out);
    put_buffer(now.out, &event);
    json *steps = get(function->spec, "steps");
    for (json *step = steps == NULL ? NULL : steps->first; step != NULL && !now.failed; step = step->next)
        perform(step, glue("tsn", path, "/", index++));
    event.length = 0;
    put_error(&event, now.parked);
    put(now.out, "],\"after\":");
    put_buffer(now.out, &event);
    put(now.out, "}");
    free(event.data);
    *pending = now.parked;
    now.parked = outer_parked;
    now.subject = outer_subject;
    now.inside = outer_inside;
    now.nesting--;
    there->dying--;
    return get_small(function->spec, "returns", 0);
}

static long enter(int number, PyObject *subject)
{
    long result = 0;
    error pending = fetch();
    now.entered++;
    bool ours = now.open && !now.closed && !now.failed && number < now.entry_count;
#ifdef PYPY_VERSION /* one that an earlier vector left behind may be destroyed only now */
    place *there = ours ? find_place((word)subject) : NULL;
    ours = ours && there != NULL && there->type == &PyCapsule_Type;
#endif
    if (ours)
        result = called(&now.entries[number], subject, &pending);
    restore(pending);
    return result;
}

/* Visit what a traverse function declares, up to the first visit that returns non-zero. While the collector walks the
 * heap nothing may be allocated: what is no name was made into words before. */
static int traverse(int number, PyObject *subject, visitproc visit, void *state)
{
    if (!now.open || now.closed || now.failed || number >= now.traverse_count)
        return 0;
    entry *function = &now.traverses[number];
    json *visits = get(function->spec, "visit");
    json *argument = visits == NULL ? NULL : visits->first;
    for (int i = 0; argument != NULL && i < FUNCTION_LIMIT; i++, argument = argument->next) {
        json *reference = get(argument, "ref"), *offset = get(argument, "offset");
        word address = function->visits[i];
        if (is(reference, JSON_STRING)) {
            name *known = find_name(reference->words);
            address = known == NULL || !known->bound ? 0 : known->address + (offset == NULL ? 0 : offset->number);
        } else if (get(argument, "arg") != NULL) {
            address = (word)subject;
        }
        int result = address == 0 ? 0 : visit((PyObject *)address, state);
        if (result != 0)
            return result;
    }
    return (int)get_small(function->spec, "returns", 0);
}

/* Make into words what traverse functions visit, before the collector runs. */
static void prepare_visits(void)
{
    for (int number = 0; number < now.traverse_count && !now.failed; number++) {
        json *visits = get(now.traverses[number].spec, "visit");
        json *argument = visits == NULL ? NULL : visits->first;
        for (int i = 0; argument != NULL && i < FUNCTION_LIMIT; i++, argument = argument->next) {
            bool later = get(argument, "ref") != NULL || get(argument, "arg") != NULL;
            word address = later ? 0 : value_of(argument, literal("visit"));
            if (!may_be_object(address))
                fail_plain("a traverse function visits objects");
            now.traverses[number].visits[i] = address;
        }
    }
}

#define ROW(X, r) \
    X(r##0) X(r##1) X(r##2) X(r##3) X(r##4) X(r##5) X(r##6) X(r##7) \
    X(r##8) X(r##9) X(r##a) X(r##b) X(r##c) X(r##d) X(r##e) X(r##f)
#define ALL(X) ROW(X, 0x0) ROW(X, 0x1) ROW(X, 0x2) ROW(X, 0x3)
#define DESTRUCTOR(n) static void destructor_##n(PyObject *op) { enter(n, op); }
#define CLEAR(n) static int clear_##n(PyObject *op) { return (int)enter(n, op); }
#define TRAVERSE(n) static int traverse_##n(PyObject *op, visitproc visit, void *arg) \
    { return traverse(n, op, visit, arg); }
ALL(DESTRUCTOR)
ALL(CLEAR)
ALL(TRAVERSE)
#define DESTRUCTOR_ADDRESS(n) destructor_##n,
#define CLEAR_ADDRESS(n) clear_##n,
#define TRAVERSE_ADDRESS(n) traverse_##n,
static void (*const destructors[])(PyObject *) = {ALL(DESTRUCTOR_ADDRESS)};
static int (*const clears[])(PyObject *) = {ALL(CLEAR_ADDRESS)};
static int (*const traverses[])(PyObject *, visitproc, void *) = {ALL(TRAVERSE_ADDRESS)};

static word native_function(text called)
{
    if (is_literal(called, "PyErr_NoMemory"))
        return (word)PyErr_NoMemory;
    if (is_literal(called, "PyErr_Clear"))
        return (word)PyErr_Clear;
    if (is_literal(called, "PyCapsule_GetContext"))
        return (word)PyCapsule_GetContext;
    fail("no native function ", called, "");
    return 0;
}

/* The unraisable hook of a session. */
static PyObject *unraisable(PyObject *self, PyObject *info)
{
    (void)self;
    if (now.open && !now.closed && !now.failed) {
        PyObject *type = PyObject_GetAttrString(info, "exc_type"), *raised = PyObject_GetAttrString(info, "exc_value");
        PyObject *object = PyObject_GetAttrString(info, "object");
        buffer event = {NULL, 0, 0};
        if (type == NULL || type == Py_None || raised == NULL) {
            put(&event, "{\"unraisable\":null,\"object\":");
        } else {
            put(&event, "{\"unraisable\":{\"type\":");
            put_string(&event, type_name((PyTypeObject *)type));
            put(&event, ",\"text\":");
            put_string(&event, spoken(raised));
            put(&event, "},\"object\":");
        }
        if (object == NULL || object == Py_None) {
            put(&event, "null");
        } else {
            put_form(&event, object);
            put(&event, "}");
        }
        put(&event, "}");
        put_comma(now.out);
        put_buffer(now.out, &event);
        free(event.data);
        PyErr_Clear();
        Py_XDECREF(type);
        Py_XDECREF(raised);
        Py_XDECREF(object);
    }
    Py_RETURN_NONE;
}

/* Operations */

enum show {
    SHOW_NEW, SHOW_INT, SHOW_ADDRESS, SHOW_STRING, SHOW_NOTHING, SHOW_TEXT, SHOW_HASH, SHOW_OBJECT, SHOW_SIZE,
    SHOW_BORROWED, SHOW_IMPORTED, SHOW_OWN
};

/* What stands for itself in a vector must be told from what is an object or a string. */
#define OBJECTS " op capsule o ob o1 o2 inst cls callable base x obj object v "
#define NUMBERS " pointer context size value no_block "
#define NEVER_NULL " op ob attr_name message module callable inst cls "

/* X(identifier, name, parameters, what the return shows, the feature it needs); SHOW_OWN is no one C call */
#define OPERATIONS(X) \
    X(OP_NEW_CAPSULE, "PyCapsule_New", "pointer name destructor", SHOW_NEW, "") \
    X(OP_CHECK_EXACT, "PyCapsule_CheckExact", "op", SHOW_INT, "macros") \
    X(OP_IS_VALID, "PyCapsule_IsValid", "capsule name", SHOW_INT, "") \
    X(OP_GET_POINTER, "PyCapsule_GetPointer", "capsule name", SHOW_ADDRESS, "") \
    X(OP_GET_NAME, "PyCapsule_GetName", "capsule", SHOW_STRING, "") \
    X(OP_GET_DESTRUCTOR, "PyCapsule_GetDestructor", "capsule", SHOW_ADDRESS, "") \
    X(OP_GET_CONTEXT, "PyCapsule_GetContext", "capsule", SHOW_ADDRESS, "") \
    X(OP_SET_POINTER, "PyCapsule_SetPointer", "capsule pointer", SHOW_INT, "") \
    X(OP_SET_NAME, "PyCapsule_SetName", "capsule name", SHOW_INT, "") \
    X(OP_SET_DESTRUCTOR, "PyCapsule_SetDestructor", "capsule destructor", SHOW_INT, "") \
    X(OP_SET_CONTEXT, "PyCapsule_SetContext", "capsule context", SHOW_INT, "") \
    X(OP_IMPORT_CAPSULE, "PyCapsule_Import", "name no_block", SHOW_ADDRESS, "") \
    X(OP_SET_TRAVERSE, "_PyCapsule_SetTraverse", "op traverse_func clear_func", SHOW_INT, "gc") \
    X(OP_INCREF, "Py_INCREF", "op", SHOW_NOTHING, "") \
    X(OP_DECREF, "Py_DECREF", "op", SHOW_NOTHING, "") \
    X(OP_INC_REF, "Py_IncRef", "o", SHOW_NOTHING, "") \
    X(OP_DEC_REF, "Py_DecRef", "o", SHOW_NOTHING, "") \
    X(OP_REFCNT, "Py_REFCNT", "ob", SHOW_INT, "") \
    X(OP_REPR, "PyObject_Repr", "o", SHOW_TEXT, "python") \
    X(OP_STR, "PyObject_Str", "o", SHOW_TEXT, "python") \
    X(OP_HASH_OF, "PyObject_Hash", "o", SHOW_HASH, "python") \
    X(OP_COMPARE, "PyObject_RichCompare", "o1 o2 opid", SHOW_OBJECT, "python") \
    X(OP_IS_TRUE, "PyObject_IsTrue", "o", SHOW_INT, "python") \
    X(OP_CALL, "PyObject_Call", "callable", SHOW_OBJECT, "python") \
    X(OP_GET_ATTR, "PyObject_GetAttrString", "o attr_name", SHOW_OBJECT, "python") \
    X(OP_SET_ATTR, "PyObject_SetAttrString", "o attr_name v", SHOW_INT, "python") \
    X(OP_IS_INSTANCE, "PyObject_IsInstance", "inst cls", SHOW_INT, "python") \
    X(OP_SIZE_OF, "PyObject_Size", "o", SHOW_SIZE, "python") \
    X(OP_SUBCLASS, "subclass", "base", SHOW_OWN, "python") \
    X(OP_COPY, "copy.copy", "x", SHOW_OWN, "python") \
    X(OP_DEEPCOPY, "copy.deepcopy", "x", SHOW_OWN, "python") \
    X(OP_DUMPS, "pickle.dumps", "obj protocol", SHOW_OWN, "python") \
    X(OP_WEAKREF, "weakref.ref", "ob", SHOW_OWN, "python") \
    X(OP_GETSIZEOF, "sys.getsizeof", "object", SHOW_OWN, "python") \
    X(OP_CAPSULE_TYPE, "types.CapsuleType", "", SHOW_OWN, "python") \
    X(OP_IS_TRACKED, "gc.is_tracked", "obj", SHOW_INT, "gc") \
    X(OP_GET_REFERENTS, "gc.get_referents", "obj", SHOW_OWN, "gc") \
    X(OP_COLLECT, "gc.collect", "", SHOW_OWN, "gc") \
    X(OP_SET_STRING, "PyErr_SetString", "type message", SHOW_NOTHING, "error-indicator") \
    X(OP_CLEAR_ERROR, "PyErr_Clear", "", SHOW_NOTHING, "error-indicator") \
    X(OP_NO_MEMORY, "PyErr_NoMemory", "", SHOW_ADDRESS, "error-indicator") \
    X(OP_OCCURRED, "PyErr_Occurred", "", SHOW_BORROWED, "error-indicator") \
    X(OP_WRITE_UNRAISABLE, "PyErr_WriteUnraisable", "obj", SHOW_NOTHING, "error-indicator") \
    X(OP_MALLOC, "malloc", "size", SHOW_OWN, "memory") \
    X(OP_FREE, "free", "ptr", SHOW_OWN, "memory") \
    X(OP_NEW_STRING, "string", "bytes", SHOW_OWN, "memory") \
    X(OP_WRITE, "write", "ptr bytes", SHOW_OWN, "memory") \
    X(OP_READ, "read", "ptr size", SHOW_OWN, "memory") \
    X(OP_LAYOUT, "layout", "op", SHOW_OWN, "layout") \
    X(OP_POKE, "poke", "op field value", SHOW_OWN, "poke") \
    X(OP_IMPORT_MODULE, "import", "module", SHOW_IMPORTED, "modules") \
    X(OP_SETTLE, "settle", "", SHOW_OWN, "")

#define IDENTIFIER(id, name, parameters, show, needs) id,
enum operation_id { OPERATIONS(IDENTIFIER) OPERATION_COUNT };

typedef struct { const char *name, *parameters; enum show show; const char *needs; } operation;
#define DESCRIPTION(id, name, parameters, show, needs) {name, parameters, show, needs},
static const operation operations[] = {OPERATIONS(DESCRIPTION)};

static const char *const FEATURES[] = {
    "error-indicator", "compiled-destructors", "returns-on-failure", "macros", "native-destructors", "layout", "poke",
    "gc", "modules", "memory", "python", "threads", "undefined"};

/* No header for extensions declares this one, and not every version has it. */
#if defined(__GNUC__) && !defined(_WIN32)
int _PyCapsule_SetTraverse(PyObject *op, traverseproc traverse_func, inquiry clear_func) __attribute__((weak));
#define set_traverse _PyCapsule_SetTraverse
#else
static int (*const set_traverse)(PyObject *, traverseproc, inquiry) = NULL;
#endif

#if defined(PYPY_VERSION) ? PY_VERSION_HEX >= 0x030A0000 : PY_VERSION_HEX >= 0x03090000
#define HAS_IS_TRACKED 1
#endif

/* Why this implementation lacks an operation; NULL if it has it. */
static const char *lacks(int id)
{
#ifndef HAS_IS_TRACKED
    if (id == OP_IS_TRACKED)
        return "there is no PyObject_GC_IsTracked in this version";
#endif
    (void)id;
    return NULL;
}

/* Whether a word is in a list of words with spaces around each. */
static bool listed_in(const char *list, text wanted)
{
    for (const char *at = list; (at = strchr(at, ' ')) != NULL; at++)
        if (strncmp(at + 1, wanted.data, wanted.length) == 0 && (at[1 + wanted.length] == ' ') && wanted.length != 0)
            return true;
    return false;
}

/* The next parameter in a list of them, of which `at` is moved on; of no length at its end. */
static text next_parameter(const char **at)
{
    text made = {*at, strcspn(*at, " ")};
    *at += made.length + ((*at)[made.length] == ' ');
    return made;
}

static word compare_id(json *argument)
{
    static const char *const signs[] = {"<", "<=", "==", "!=", ">", ">="};
    for (word i = 0; i < 6; i++)
        if (is(argument, JSON_STRING) && is_literal(argument->words, signs[i]))
            return i; /* in the order of Py_LT to Py_GE */
    fail_plain("no such comparison");
    return 0;
}

static word class_by_name(json *argument)
{
    text called = bytes_of(argument);
    return now.failed ? 0 : (word)exception_class(called);
}

/* Make words of the arguments of a C call. */
static void take_arguments(const operation *what, json *args, word *words)
{
    const char *at = what->parameters;
    for (int i = 0; *at != '\0' && !now.failed; i++) {
        text parameter = next_parameter(&at);
        json *argument = member(args, parameter);
        bool object = listed_in(OBJECTS, parameter);
        if (argument == NULL)
            fail("the argument is missing: ", parameter, "");
        else if (is_literal(parameter, "opid"))
            words[i] = compare_id(argument);
        else if (is_literal(parameter, "type"))
            words[i] = class_by_name(argument);
        else if (is(argument, JSON_INTEGER) && argument->number != 0 && !listed_in(NUMBERS, parameter) &&
                 !now.undefined)
            fail("argument ", parameter, " cannot be an integer");
        else
            words[i] = value_of(argument, parameter);
        if (object && !now.failed && !may_be_object(words[i]))
            fail("argument ", parameter, " is not an object");
        if (!now.failed && words[i] == 0 && what->name[0] != '_' && listed_in(NEVER_NULL, parameter) &&
            !now.undefined)
            fail("argument ", parameter, " is NULL");
    }
}

#define AS_OBJECT(i) ((PyObject *)words[i])
#define AS_STRING(i) ((const char *)words[i])
#define AS_POINTER(i) ((void *)words[i])

/* Make one C call with what is pending in place. */
static word make_call(int id, const word *words)
{
    switch (id) {
    case OP_NEW_CAPSULE: return (word)PyCapsule_New(AS_POINTER(0), AS_STRING(1), (PyCapsule_Destructor)words[2]);
    case OP_CHECK_EXACT: return (word)PyCapsule_CheckExact(AS_OBJECT(0));
    case OP_IS_VALID: return (word)PyCapsule_IsValid(AS_OBJECT(0), AS_STRING(1));
    case OP_GET_POINTER: return (word)PyCapsule_GetPointer(AS_OBJECT(0), AS_STRING(1));
    case OP_GET_NAME: return (word)PyCapsule_GetName(AS_OBJECT(0));
    case OP_GET_DESTRUCTOR: return (word)PyCapsule_GetDestructor(AS_OBJECT(0));
    case OP_GET_CONTEXT: return (word)PyCapsule_GetContext(AS_OBJECT(0));
    case OP_SET_POINTER: return (word)PyCapsule_SetPointer(AS_OBJECT(0), AS_POINTER(1));
    case OP_SET_NAME: return (word)PyCapsule_SetName(AS_OBJECT(0), AS_STRING(1));
    case OP_SET_DESTRUCTOR: return (word)PyCapsule_SetDestructor(AS_OBJECT(0), (PyCapsule_Destructor)words[1]);
    case OP_SET_CONTEXT: return (word)PyCapsule_SetContext(AS_OBJECT(0), AS_POINTER(1));
    case OP_IMPORT_CAPSULE: return (word)PyCapsule_Import(AS_STRING(0), (int)words[1]);
    case OP_SET_TRAVERSE: return (word)set_traverse(AS_OBJECT(0), (traverseproc)words[1], (inquiry)words[2]);
    case OP_INCREF: Py_INCREF(AS_OBJECT(0)); return 0;
    case OP_DECREF: Py_DECREF(AS_OBJECT(0)); return 0;
    case OP_INC_REF: Py_IncRef(AS_OBJECT(0)); return 0;
    case OP_DEC_REF: Py_DecRef(AS_OBJECT(0)); return 0;
    case OP_REFCNT: return (word)Py_REFCNT(AS_OBJECT(0));
    case OP_REPR: return (word)PyObject_Repr(AS_OBJECT(0));
    case OP_STR: return (word)PyObject_Str(AS_OBJECT(0));
    case OP_HASH_OF: return (word)PyObject_Hash(AS_OBJECT(0));
    case OP_COMPARE: return (word)PyObject_RichCompare(AS_OBJECT(0), AS_OBJECT(1), (int)words[2]);
    case OP_IS_TRUE: return (word)PyObject_IsTrue(AS_OBJECT(0));
    case OP_CALL: return (word)PyObject_CallObject(AS_OBJECT(0), NULL);
    case OP_GET_ATTR: return (word)PyObject_GetAttrString(AS_OBJECT(0), AS_STRING(1));
    case OP_SET_ATTR: return (word)PyObject_SetAttrString(AS_OBJECT(0), AS_STRING(1), AS_OBJECT(2));
    case OP_IS_INSTANCE: return (word)PyObject_IsInstance(AS_OBJECT(0), AS_OBJECT(1));
    case OP_SIZE_OF: return (word)PyObject_Size(AS_OBJECT(0));
#ifdef HAS_IS_TRACKED
    case OP_IS_TRACKED: return (word)PyObject_GC_IsTracked(AS_OBJECT(0));
#endif
    case OP_SET_STRING: PyErr_SetString(AS_OBJECT(0), AS_STRING(1)); return 0;
    case OP_CLEAR_ERROR: PyErr_Clear(); return 0;
    case OP_NO_MEMORY: return (word)PyErr_NoMemory();
    case OP_OCCURRED: return (word)PyErr_Occurred();
    case OP_WRITE_UNRAISABLE: PyErr_WriteUnraisable(AS_OBJECT(0)); return 0;
    case OP_IMPORT_MODULE: return (word)PyImport_ImportModule(AS_STRING(0));
    default: fail_plain("no such call"); return 0;
    }
}

/* What returns show; each gives false where nothing is shown */

/* Bind what was made, or give it the token of the step. */
static void put_made(buffer *out, word made, const text *bind, PyTypeObject *type)
{
    if (bind != NULL) {
        put_bound(out, *bind, made, type);
    } else if (made == 0) {
        put(out, "null");
    } else {
        give_token(glue("st", "#", now.path), made, "ref", type);
        put_address(out, made);
    }
}

/* Show a new reference: the vector keeps it if it is bound, else it is released. */
static void put_object(buffer *out, word made, const text *bind)
{
    PyObject *object = (PyObject *)made;
    if (object != NULL && bind != NULL) {
        list_object(made)->owned++;
        put_bound(out, *bind, made, Py_TYPE(object));
    } else if (object == NULL) {
        put_made(out, 0, bind, NULL);
    } else {
        if (!put_form(out, object) && (PyUnicode_Check(object) || PyLong_Check(object))) {
            put(out, ",\"text\":");
            put_string(out, spoken(object));
        }
        put(out, "}");
        release(object);
    }
}

static void put_c_string(buffer *out, word address, const text *bind)
{
    if (bind == NULL)
        put_address(out, address);
    else
        put_bound(out, *bind, address, NULL);
    place *there = address == 0 ? NULL : find_place(address), *around = NULL;
    if (address == 0 || (bind == NULL && there != NULL && there->form != NULL && strcmp(there->form, "ref") != 0))
        return;
    if (now.undefined) /* whatever is read is read by the program */
        return;
    if (buffer_at(address) != 0)
        around = find_place(buffer_at(address));
    if (around != NULL && (around->freed || memchr((const char *)address, '\0', around->end - address) == NULL))
        return; /* no program could read it */
    text words = literal((const char *)address);
    const unsigned char *at = (const unsigned char *)words.data, *end = at + words.length;
    int size = 1;
    while (at < end && (size = character_size(at, end)) != 0)
        at += size;
    out->length--; /* the brace */
    put(out, size == 0 ? ",\"hex\":\"" : ",\"cstr\":");
    if (size == 0) {
        put_hex(out, (const unsigned char *)words.data, words.length);
        put(out, "\"");
    } else {
        put_string(out, words);
    }
    put(out, "}");
}

static bool put_return(buffer *out, enum show show, word result, const text *bind, word first)
{
    switch (show) {
    case SHOW_NEW:
        if (result != 0) {
            forget(list_object(result));
            place_of(result)->owned = 1;
        }
        put_made(out, result, bind, &PyCapsule_Type);
        return true;
    case SHOW_INT: put_integer(out, (int)(unsigned)(result & 0xFFFFFFFFu)); return true;
    case SHOW_SIZE: put_integer(out, (intptr_t)result); return true;
    case SHOW_IMPORTED:
        release((PyObject *)result);
        put(out, result == 0 ? "-1" : "0");
        return true;
    case SHOW_ADDRESS:
        if (bind == NULL)
            put_address(out, result);
        else
            put_bound(out, *bind, result, NULL);
        return true;
    case SHOW_STRING: put_c_string(out, result, bind); return true;
    case SHOW_TEXT:
        put(out, result == 0 ? "null" : "{\"text\":");
        if (result != 0) {
            put_string(out, spoken((PyObject *)result));
            put(out, "}");
            release((PyObject *)result);
        }
        return true;
    case SHOW_HASH:
        if (result == (first >> 4 | first << (8 * sizeof(word) - 4))) {
            put(out, "{\"hash_of\":");
            put_string(out, token_at(first));
            put(out, "}");
        } else {
            put_integer(out, (intptr_t)result);
        }
        return true;
    case SHOW_OBJECT: put_object(out, result, bind); return true;
    case SHOW_BORROWED:
        put(out, result == 0 ? "null" : "{\"object\":");
        if (result != 0) {
            put_string(out, type_name((PyTypeObject *)result));
            put(out, "}");
        }
        return true;
    default: return false;
    }
}

/* Operations that are not one C call */

/* The struct of a capsule, as every version and PyPy have it up to here. */
struct capsule {
    PyObject_HEAD
    void *pointer;
    const char *name;
    void *context;
    PyCapsule_Destructor destructor;
};

static PyObject *look(json *args, const char *parameter)
{
    json *argument = member(args, literal(parameter));
    word address = argument == NULL ? 0 : value_of(argument, literal(parameter));
    if ((address == 0 && !now.undefined) || !may_be_object(address))
        fail("argument ", literal(parameter), " is not an object");
    else if (!now.undefined && refcnt_of((PyObject *)address) == 0)
        fail_plain("Python code cannot look at an object that is dying");
    return now.failed ? NULL : (PyObject *)address;
}

static word integer(json *args, const char *parameter)
{
    json *argument = member(args, literal(parameter));
    if (!is(argument, JSON_INTEGER))
        fail("argument ", literal(parameter), " is not an integer");
    return now.failed ? 0 : argument->number;
}

/* Find memory of the vector's, or inside a live capsule, for reading or writing. */
static void *memory(json *args, word size)
{
    json *argument = member(args, literal("ptr"));
    word address = argument == NULL ? 0 : value_of(argument, literal("ptr"));
    word most = (word)PyCapsule_Type.tp_basicsize;
    place *there = now.failed ? NULL : find_place(buffer_at(address));
    if (now.undefined && !now.failed)
        return (void *)address;
    if (there != NULL && there->end != 0 && !there->freed && address <= there->end && size <= there->end - address)
        return (void *)address;
    for (there = now.objects; there != NULL; there = there->later)
        if (there->type == &PyCapsule_Type && (!there->dead || there->dying) && address >= there->address &&
            address <= there->address + most && size <= there->address + most - address)
            return (void *)address;
    fail_plain("memory outside of a block");
    return NULL;
}

static void put_layout(buffer *out, PyObject *op)
{
    /* where nothing is refused, the words are read as those of a capsule, whatever they are */
    PyTypeObject *type = now.undefined ? &PyCapsule_Type : Py_TYPE(op);
#if defined(PYPY_VERSION)
    static const char *const headers[] = {"ob_refcnt", "ob_pypy_link"};
#elif defined(Py_GIL_DISABLED)
    static const char *const headers[] = {"ob_tid", "ob_flags", "ob_ref_shared"};
#elif defined(Py_TRACE_REFS)
    static const char *const headers[] = {"ob_next", "ob_prev", "ob_refcnt"};
#else
    static const char *const headers[] = {"ob_refcnt"};
#endif
    word offset = sizeof(PyObject);
    put(out, "{\"words\":[");
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        put_comma(out);
        if (strcmp(headers[i], "ob_refcnt") == 0) {
            put(out, "{\"refcnt\":");
            put_integer(out, refcnt_of(op));
        } else {
            put(out, "{\"header\":");
            put_string(out, literal(headers[i]));
        }
        put(out, "}");
    }
    put(out, ",{\"type\":");
    put_string(out, type_name(type));
    put(out, "}");
    for (; offset < (word)type->tp_basicsize; offset += sizeof(word)) {
        word content;
        memcpy(&content, (char *)op + offset, sizeof content);
        put(out, ",");
        place *there = content == 0 ? NULL : find_place(content);
        if (there != NULL && there->form != NULL) { /* a token is a reference here, of whatever form it is elsewhere */
            put(out, "{\"ref\":");
            put_string(out, there->token);
            put(out, "}");
        } else {
            put_address(out, content);
        }
    }
    put(out, "]}");
}

static int compare_texts(const void *a, const void *b)
{
    const text *one = a, *other = b;
    size_t least = one->length < other->length ? one->length : other->length;
    int order = memcmp(one->data, other->data, least);
    return order != 0 ? order : (one->length > other->length) - (one->length < other->length);
}

/* Write texts sorted, each once. */
static void put_sorted(buffer *out, text *texts, size_t count)
{
    if (count != 0)
        qsort(texts, count, sizeof(text), compare_texts);
    put(out, "[");
    for (size_t i = 0; i < count; i++) {
        put_comma(out);
        put_string(out, texts[i]);
    }
    put(out, "]");
}

static void poke(json *args)
{
    static const char *const fields[] = {"pointer", "name", "context", "destructor"};
    json *field = get(args, "field"), *argument = member(args, literal("value"));
    json *target = member(args, literal("op"));
    word op = target == NULL ? 0 : value_of(target, literal("op"));
    int number = 0;
    while (number < 4 && !(is(field, JSON_STRING) && is_literal(field->words, fields[number])))
        number++;
    bool bad_target = !now.undefined && (op == 0 || !may_be_object(op) || !is_capsule((PyObject *)op));
    if (number == 4 || argument == NULL || bad_target) {
        fail_plain("poke takes a capsule, one of pointer, name, context and destructor, and a value");
        return;
    }
    word written = value_of(argument, literal("value"));
    size_t offset = offsetof(struct capsule, pointer) + (size_t)number * sizeof(word);
    if (!now.failed)
        memcpy((char *)op + offset, &written, sizeof written);
}

static bool wake(lane *other);

/* Let what was deferred happen: destructors on PyPy, objects of other threads in a free-threaded build. Give what it
 * raises: what a destructor leaves comes out of PyPy's collection. What exceptions held may wait for one of many
 * collections; where functions were called since `entered` stood there, one that calls none is the last. */
static error settle(unsigned long entered)
{
    error raised = NONE;
#ifdef PYPY_VERSION
    bool quiet = false;
    for (int i = 0; i < 8 && !(quiet && now.entered != entered); i++) {
        unsigned long earlier = now.entered;
        error late;
        release(call_python(helper("settle"), PyTuple_New(0), &late));
        if (late.type != NULL) {
            release_error(raised);
            raised = late;
        }
        quiet = now.entered == earlier;
    }
#else
    (void)entered;
#endif
    for (int i = 0; i < now.lane_count; i++) {
        if (i != now.lane) {
            wake(&lanes[i]);
            do_helper("idle"); /* what that thread gave back may have waited for this one */
        }
    }
    return raised;
}

/* Perform such an operation; what it raised goes to `raised`. Give whether a return is shown. */
static bool perform_own(int id, json *args, const text *bind, buffer *out, error *raised)
{
    static const char *const functions[][2] = {{"subclass", "base"}, {"copy", "x"}, {"deepcopy", "x"}, {"dumps", "obj"},
                                               {"weakref", "ob"}, {"getsizeof", "object"}, {"get_referents", "obj"}};
    PyObject *object, *made;
    json *argument;
    place *there;
    text bytes;
    word size;
    switch (id) {
    case OP_SUBCLASS: case OP_COPY: case OP_DEEPCOPY: case OP_DUMPS: case OP_WEAKREF: case OP_GETSIZEOF:
    case OP_GET_REFERENTS: {
        int which = id == OP_GET_REFERENTS ? 6 : id - OP_SUBCLASS;
        if (which == 6)
            prepare_visits();
        object = look(args, functions[which][1]);
        size = id == OP_DUMPS ? integer(args, "protocol") : 0;
        if (now.failed)
            return true;
        made = id == OP_DUMPS ? Py_BuildValue("(Oi)", object, (int)size) : PyTuple_Pack(1, object);
        made = call_python(helper(functions[which][0]), made, raised);
        if (id == OP_GETSIZEOF && made != NULL) {
            put_integer(out, PyLong_AsLong(made));
            release(made);
        } else if (id == OP_GET_REFERENTS && made != NULL) {
            Py_ssize_t count = PyList_Size(made);
            text *tokens = reserve((size_t)count * sizeof(text));
            for (Py_ssize_t i = 0; i < count; i++)
                tokens[i] = token_at((word)PyList_GetItem(made, i));
            put(out, "{\"tokens\":");
            put_sorted(out, tokens, (size_t)count);
            put(out, "}");
            release(made);
        } else if (id == OP_GETSIZEOF || id == OP_GET_REFERENTS) {
            put(out, "null");
        } else {
            put_object(out, (word)made, bind);
        }
        return true;
    }
    case OP_CAPSULE_TYPE:
        made = PyObject_GetAttrString(helper("types"), "CapsuleType");
        PyErr_Clear();
        if (made == NULL)
            put(out, "{\"absent\":true}");
        else
            put_object(out, (word)made, bind);
        return true;
    case OP_COLLECT:
        prepare_visits();
        if (!now.failed)
            release(call_python(helper("collect"), PyTuple_New(0), raised));
        return false;
    case OP_MALLOC:
        size = integer(args, "size");
        there = now.failed || size > ALLOCATION_LIMIT ? NULL : new_buffer(size, size == 0 ? 1 : size);
        if (there != NULL)
            there->block = true;
        put_made(out, there == NULL ? 0 : there->address, bind, NULL);
        return true;
    case OP_FREE:
        argument = member(args, literal("ptr"));
        size = argument == NULL ? 0 : value_of(argument, literal("ptr"));
        there = find_place(size);
        if (now.undefined && argument != NULL && !now.failed) {
            if (there != NULL)
                there->freed = true;
            free((void *)size);
        } else if (argument == NULL || (size != 0 && (there == NULL || there->end == 0 || there->freed))) {
            fail_plain("free of what is not a block");
        } else if (size != 0) { /* it stays allocated, so that its address stays its own, but nobody may touch it */
            there->freed = true;
            memset((void *)there->address, 0xDD, there->end - there->address);
            FORBID((void *)there->address, there->end - there->address);
        }
        return false;
    case OP_NEW_STRING:
        argument = member(args, literal("bytes"));
        bytes = bytes_of(argument);
        size = now.failed ? 0 : store(bytes, glue("st", "#", now.path), true);
        if (bind == NULL)
            put_address(out, size);
        else
            put_bound(out, *bind, size, NULL);
        return true;
    case OP_WRITE:
        bytes = bytes_of(member(args, literal("bytes")));
        if (!now.failed) {
            void *target = memory(args, bytes.length);
            if ((target != NULL || now.undefined) && bytes.length != 0)
                memcpy(target, bytes.data, bytes.length);
        }
        return false;
    case OP_READ: {
        size = integer(args, "size");
        const unsigned char *source = now.failed ? NULL : memory(args, size);
        put(out, "{\"hex\":\"");
        if (source != NULL || (now.undefined && !now.failed))
            put_hex(out, source, size > LINE_LIMIT ? LINE_LIMIT : size);
        put(out, "\"}");
        return true;
    }
    case OP_LAYOUT:
        argument = member(args, literal("op"));
        size = argument == NULL ? 0 : value_of(argument, literal("op"));
        if (!now.undefined && (size == 0 || !may_be_object(size) || !is_capsule((PyObject *)size)))
            fail_plain("layout takes a capsule");
        else if (!now.failed)
            put_layout(out, (PyObject *)size);
        return true;
    case OP_POKE:
        poke(args);
        return false;
    default:
        *raised = settle(now.entered);
        return false;
    }
}

/* Steps */

static int operation_of(json *step)
{
    json *op = get(step, "op");
    for (int id = 0; is(op, JSON_STRING) && id < OPERATION_COUNT; id++)
        if (is_literal(op->words, operations[id].name))
            return id;
    return -1;
}

static int count_parameters(const operation *what)
{
    int count = 0;
    for (const char *at = what->parameters; *at != '\0'; count++)
        next_parameter(&at);
    return count;
}

static bool truth(json *value)
{
    return value != NULL && value->kind != JSON_FALSE && !(value->kind == JSON_INTEGER && value->number == 0);
}

/* Write what became of the error indicator; give the exception normalised. An exception that nobody held may have died
 * and its address come back: then its mark tells. */
static error judge(buffer *out, error before, error after, bool marked, text path)
{
    const char *indicator = after.type == NULL ? "cleared" : before.type == NULL ? "set" : "replaced";
    if (after.type != NULL && before.type != NULL && after.value == before.value) {
        indicator = "unchanged";
        if (marked) {
            PyObject *mark = PyObject_GetAttrString(after.value, "capsule_model_step");
            PyErr_Clear();
            if (mark == NULL || !PyUnicode_Check(mark) || !same(text_of(mark), path))
                indicator = "replaced";
            release(mark);
        }
    }
    after = normal(after);
    put(out, ",\"error\":");
    put_error(out, after);
    put(out, ",\"indicator\":\"");
    put(out, indicator);
    put(out, "\"");
    return after;
}

static bool is_marked(error pending, text path)
{
    PyObject *kept_alive = PyObject_GetAttrString(pending.value, "obj"), *mark;
    PyErr_Clear();
    bool keeps = kept_alive != NULL && kept_alive != Py_None;
    release(kept_alive);
    if (keeps) {
        mark = string_of(path);
        if (mark == NULL || PyObject_SetAttrString(pending.value, "capsule_model_step", mark) != 0)
            PyErr_Clear();
        Py_XDECREF(mark);
    }
    return keeps;
}

/* Say where a run is that may be the process's last, on standard error and in the log of a checker. */
static void tell(const char *what, text path)
{
    buffer line = {NULL, 0, 0};
    if (!now.undefined)
        return;
    put(&line, "capsule_adapter: ");
    put(&line, what);
    put_text(&line, path);
    put(&line, "\n");
    LOG(line.data);
    if (write(2, line.data, (unsigned)line.length) < 0)
        errno = 0; /* nobody listens */
    free(line.data);
}

/* Perform one step and write its observation. A step is neutral to the error indicator unless it says leave. */
static bool perform(json *step, text path)
{
    int id = operation_of(step);
    json *args = get(step, "args"), *bound = get(step, "bind"), *pending = get(step, "pending");
    bool leave = truth(get(step, "leave")), top = !now.inside, marked = false, shown = true;
    buffer *tail = &tails[now.nesting];
    text outer_path = now.path;
    const text *bind = bound == NULL ? NULL : &bound->words;
    word words[3] = {0, 0, 0};
    const operation *what = &operations[id < 0 ? 0 : id];
    unsigned long entered = now.entered;
    now.path = path;
    if (id < 0)
        fail_plain("no such operation");
    else if ((args == NULL ? 0 : args->count) != (unsigned)count_parameters(what) || (args && !is(args, JSON_MAP)))
        fail(what->name, literal(*what->parameters ? " takes " : " takes nothing"), what->parameters);
    else if (bound != NULL && !is(bound, JSON_STRING))
        fail_plain("a name to bind is a text");
    else if (!top && get(step, "thread") != NULL)
        fail_plain("a step inside a function runs on the thread that entered it");
    if (now.answer.length > LINE_LIMIT)
        fail_plain("the answer is too long");
    if (!now.failed && what->show != SHOW_OWN)
        take_arguments(what, args, words);
    if (now.failed) {
        now.path = outer_path;
        return false;
    }
    if (top)
        now.out = &now.answer;
    put_comma(now.out);
    put(now.out, "{\"events\":[");
    if (top) { /* what happened since the last step, where destructors are deferred, belongs to this one */
        put_buffer(now.out, &now.between);
        now.between.length = 0;
    }
    error saved = now.parked, before = now.parked, made = NONE, after = NONE;
    if (pending != NULL)
        made = before = make_exception(pending);
    if (now.failed) {
        now.path = outer_path;
        now.out = top ? &now.between : now.out;
        return false;
    }
    tell("step ", path);
    tail->length = 0;
    put(tail, ",\"return\":");
    if (what->show == SHOW_OWN) {
        shown = perform_own(id, args, bind, tail, &after);
        if (after.type == NULL)
            after = hold(before);
    } else if (id == OP_SET_TRAVERSE && set_traverse == NULL) {
        put(tail, "{\"absent\":true}");
        after = hold(before);
    } else {
        if (id >= OP_INCREF && id <= OP_DEC_REF && words[0] != 0)
            list_object(words[0])->owned += id == OP_INCREF || id == OP_INC_REF ? 1 : -1;
        if (before.type != NULL) {
            /* An exception that keeps an object alive is the call's alone: it dies inside, as it would in C. Any other
             * is held, so that its address cannot come back as its successor's. */
            marked = leave && is_marked(before, path);
            if (!marked)
                hold(before);
            else if (made.type != NULL)
                release_error(saved);
            if (marked)
                saved = made = NONE;
            restore(before);
        }
        word result = make_call(id, words);
        after = fetch();
        shown = put_return(tail, what->show, result, bind, words[0]);
    }
    if (!shown)
        tail->length = 0;
    bool waits = truth(get(step, "settle"));
    if (waits) {
        error late = settle(entered);
        if (late.type != NULL) {
            release_error(after);
            after = late;
        }
    }
    bool erred = after.type != NULL || before.type != NULL;
    if (!erred) {
        put(tail, ",\"error\":null,\"indicator\":\"clear\"");
    } else {
        after = judge(tail, before, after, marked, path);
        now.parked = leave ? after : saved;
        release_error(leave ? saved : after);
        release_error(made);
    }
    if (waits && erred) /* for what the exceptions held; an error that this leaves is nobody's */
        release_error(settle(entered));
    put(now.out, "]");
    put_buffer(now.out, tail);
    put(now.out, "}");
    tell("end ", path);
    now.path = outer_path;
    if (top)
        now.out = &now.between;
    return !now.failed;
}

/* Threads: each waits for a job without holding the GIL */

static void acquire(PyThread_type_lock lock)
{
    Py_BEGIN_ALLOW_THREADS
    PyThread_acquire_lock(lock, WAIT_LOCK);
    Py_END_ALLOW_THREADS
}

static void work(void *argument)
{
    lane *self = argument;
    PyGILState_STATE state = PyGILState_Ensure();
    for (acquire(self->job); !self->stop; acquire(self->job)) {
        do_helper("idle"); /* bytecode, so that what waits for this thread to run happens */
        self->good = self->step == NULL || perform(self->step, self->path);
        PyThread_release_lock(self->done);
    }
    PyGILState_Release(state);
    PyThread_release_lock(self->done);
}

/* Have a thread do what its lane says, and wait for it. */
static bool wake(lane *other)
{
    PyThread_release_lock(other->job);
    acquire(other->done);
    return other->good;
}

static lane *lane_for(text called)
{
    int i = 0;
    while (i < now.lane_count && !same(lanes[i].name, called))
        i++;
    if (i == now.lane_count) {
        if (i == LANE_LIMIT) {
            fail_plain("too many threads");
            return NULL;
        }
        if (i == lanes_started) {
            lane *made = &lanes[i];
            made->job = PyThread_allocate_lock();
            made->done = PyThread_allocate_lock();
            if (made->job == NULL || made->done == NULL) {
                fail_plain("no thread can be started");
                return NULL;
            }
            PyThread_acquire_lock(made->job, WAIT_LOCK);
            PyThread_acquire_lock(made->done, WAIT_LOCK);
            if ((long)PyThread_start_new_thread(work, made) == -1) {
                fail_plain("no thread can be started");
                return NULL;
            }
            lanes_started++;
        }
        lanes[i].name = called;
        lanes[i].parked = NONE;
        now.lane_count++;
    }
    return &lanes[i];
}

static void stop_lanes(void)
{
    for (int i = 0; i < lanes_started; i++) {
        lanes[i].stop = true;
        wake(&lanes[i]);
    }
    lanes_started = 0;
}

/* Perform one step of the vector on the thread that it names. */
static bool perform_on_thread(json *step, text path)
{
    json *thread = get(step, "thread");
    if (thread == NULL)
        return perform(step, path);
    lane *other = is(thread, JSON_STRING) ? lane_for(thread->words) : NULL;
    if (other == NULL) {
        fail_plain("a thread has a name");
        return false;
    }
    error outer = now.parked;
    now.parked = other->parked;
    now.lane = (int)(other - lanes);
    other->step = step;
    other->path = path;
    wake(other);
    other->step = NULL;
    other->parked = now.parked;
    now.parked = outer;
    now.lane = -1;
    return other->good;
}

/* Modules: a finder in Python on sys.meta_path, which has the bodies of modules performed here */

static const char PROGRAM[] =
    "import builtins, importlib.util, platform, sys, types\n"
    "from copy import copy, deepcopy\n"
    "from gc import collect, disable, enable, get_referents, isenabled\n"
    "from importlib.machinery import ModuleSpec\n"
    "from pickle import dumps\n"
    "from sys import getsizeof\n"
    "from weakref import ref as weakref\n"
    "PYPY = platform.python_implementation() == 'PyPy'\n"
    "importable, declared, holders = {}, {}, []\n"
    "class Finder:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        package = find(name)\n"
    "        return None if package is None else ModuleSpec(name, self, origin='vector', is_package=package)\n"
    "    def create_module(self, spec):\n"
    "        return None\n"
    "    def exec_module(self, module):\n"
    "        body(module)\n"
    "def can_import(name):\n"
    "    if name not in importable:\n"
    "        try:\n"
    "            found = importlib.util.find_spec(name) is not None\n"
    "        except ValueError:\n"
    "            found = True\n"
    "        importable[name] = found or name in sys.modules or name in sys.builtin_module_names\n"
    "    return importable[name]\n"
    "def declare(names):\n"
    "    declared.update(dict.fromkeys(names))\n"
    "    for name in names:\n"
    "        if not all(name.split('.')) or can_import(name.partition('.')[0]):\n"
    "            return name\n"
    "        while '.' in name:\n"
    "            name = name.rpartition('.')[0]\n"
    "            declared.setdefault(name)\n"
    "def begin():\n"
    "    finder = Finder()\n"
    "    sys.meta_path.insert(0, finder)\n"
    "    return finder\n"
    "def load(name):\n"
    "    try:\n"
    "        __import__(name)\n"
    "    except BaseException as error:\n"
    "        return f'{type(error).__name__}: {error}'\n"
    "def import_(name):\n"
    "    __import__(name)\n"
    "def hold(value):\n"
    "    holders.append(weakref(value))\n"
    "def getter(serial, handle):\n"
    "    return lambda attr: get(serial, handle, attr)\n"
    "def instance_getter(serial, handle):\n"
    "    return lambda _, attr: get(serial, handle, attr)\n"
    "def raiser(serial, handle):\n"
    "    return property(lambda _: throw(serial, handle))\n"
    "def make_class(name, content, raisers, instance):\n"
    "    if instance:\n"
    "        content.update(raisers)\n"
    "    meta = type('type', (type,), dict(raisers)) if raisers and not instance else type\n"
    "    made = meta(name, (), content)\n"
    "    hold(made)\n"
    "    return made\n"
    "def make_instance(kind):\n"
    "    made = kind()\n"
    "    hold(made)\n"
    "    return made\n"
    "def uninstall(finder):\n"
    "    if finder in sys.meta_path:\n"
    "        sys.meta_path.remove(finder)\n"
    "    held = [sys.modules.get(name) for name in declared]\n"
    "    alive = [holder for holder in (reference() for reference in holders) if holder is not None]\n"
    "    for holder in alive:\n"
    "        held.extend(vars(holder).values())\n"
    "    for value in held:\n"
    "        if type(value).__name__ == 'PyCapsule':\n"
    "            disarm(value)\n"
    "    for name in declared:\n"
    "        sys.modules.pop(name, None)\n"
    "    for holder in alive:\n"
    "        for attr in [attr for attr, value in vars(type(holder)).items() if isinstance(value, property)]:\n"
    "            if isinstance(holder, type) and type(holder) is not type:\n"
    "                delattr(type(holder), attr)\n"
    "        for attr in [attr for attr in vars(holder) if attr == '__getattr__' or not attr.startswith('__')]:\n"
    "            delattr(holder, attr)\n"
    "    declared.clear()\n"
    "    holders.clear()\n"
    "def function():\n"
    "    pass\n"
    "def make(kind):\n"
    "    made = {'None': lambda: None, 'int': lambda: int('1000003'), 'str': lambda: str(b'text', 'ascii'),\n"
    "            'bytes': lambda: bytes([98, 121]), 'tuple': lambda: tuple([None]),\n"
    "            'function': lambda: types.FunctionType(function.__code__, {}),\n"
    "            'class': lambda: type('class', (), {})}.get(kind, getattr(builtins, kind, None))()\n"
    "    if kind in ('function', 'class'):\n"
    "        hold(made)\n"
    "    return made\n"
    "def subclass(base):\n"
    "    class S(base):\n"
    "        pass\n"
    "    return S\n"
    "def idle():\n"
    "    pass\n"
    "def settle():\n"
    "    collect()\n"
    "    idle()\n"
    "def about():\n"
    "    name, version = platform.python_implementation().lower(), platform.python_version()\n"
    "    profile = 'cpython-{}.{}'.format(*sys.version_info)\n"
    "    if PYPY:\n"
    "        version = '{}.{}.{} (Python {})'.format(*sys.pypy_version_info[:3], version)\n"
    "    elif hasattr(sys, 'gettotalrefcount'):\n"
    "        return name, version, profile, '-debug'\n"
    "    return name, version, profile, ''\n";

typedef struct { json *spec; text token; } handle; /* what a Python function of a vector's module needs */

static PyObject *make_value(json *value, text token, text module);

static PyObject *call_with_handle(const char *called, json *spec, text token)
{
    handle *made = reserve(sizeof(handle));
    made->spec = spec;
    made->token = token;
    return call_helper(called, Py_BuildValue("(kN)", now.serial, PyLong_FromVoidPtr(made)));
}

/* Set an attribute in the namespace of an object, for the vector. */
static bool put_attribute(PyObject *space, text attribute, PyObject *value)
{
    PyObject *key = value == NULL ? NULL : string_of(attribute);
    bool good = key != NULL && PyObject_SetItem(space, key, value) == 0;
    Py_XDECREF(key);
    Py_XDECREF(value);
    if (!good && !PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError, "the vector cannot go on");
    return good;
}

/* Put the values of a map of attributes into a namespace. */
static bool put_attributes(PyObject *space, json *attributes, text token, text module)
{
    for (json *item = attributes == NULL ? NULL : attributes->first; item != NULL; item = item->next)
        if (!put_attribute(space, item->key, make_value(item, glue("tst", token, ".", item->key), module)))
            return false;
    return true;
}

static PyObject *make_capsule(json *spec, json *bind, text token)
{
    static const char *const fields[] = {"pointer", "name", "destructor", "context"};
    long number = ++name_of(glue("st", "#", token))->binds;
    word words[4];
    buffer ignored = {NULL, 0, 0};
    for (int i = 0; i < 4; i++) {
        json *argument = get(spec, fields[i]);
        text where = number == 1 ? glue("stss", "#", token, ".", fields[i])
                                 : glue("stsssn", "#", token, ".", fields[i], "#", number);
        words[i] = argument == NULL ? 0 : value_of(argument, where);
    }
    PyObject *made = NULL;
    if (!now.failed)
        made = PyCapsule_New((void *)words[0], (char *)words[1], (PyCapsule_Destructor)words[2]);
    if (made == NULL) {
        release_error(fetch());
        fail("the capsule cannot be made: ", token, "");
        return NULL;
    }
    forget(list_object((word)made));
    put_bound(&ignored, is(bind, JSON_STRING) ? bind->words : token, (word)made, &PyCapsule_Type);
    free(ignored.data);
    if (words[3] != 0)
        PyCapsule_SetContext(made, (void *)words[3]);
    return made;
}

static PyObject *make_class(json *spec, bool instance, text token, text module)
{
    json *raises = get(spec, "raises"), *getattr = get(spec, "getattr"), *attributes = get(spec, "attrs");
    PyObject *content = PyDict_New(), *raisers = PyDict_New(), *made = NULL, *space;
    text called = token;
    for (size_t i = 0; i < token.length; i++)
        if (token.data[i] == '.') {
            called.data = token.data + i + 1;
            called.length = token.length - i - 1;
        }
    bool good = put_attribute(content, literal("__module__"), string_of(module)) &&
                put_attributes(content, instance ? get(spec, "class_attrs") : attributes, token, module);
    for (json *item = raises == NULL ? NULL : raises->first; good && item != NULL; item = item->next)
        good = put_attribute(raisers, item->key, call_with_handle("raiser", item, token));
    if (good && instance && getattr != NULL)
        good = put_attribute(content, literal("__getattr__"), call_with_handle("instance_getter", getattr, token));
    if (good)
        made = call_helper("make_class", Py_BuildValue("(NOOi)", string_of(called), content, raisers, (int)instance));
    if (made != NULL && instance) {
        PyObject *class = made;
        made = call_helper("make_instance", PyTuple_Pack(1, class));
        Py_DECREF(class);
        space = made == NULL ? NULL : PyObject_GetAttrString(made, "__dict__");
        if (space == NULL || !put_attributes(space, attributes, token, module))
            Py_CLEAR(made);
        Py_XDECREF(space);
    }
    Py_DECREF(content);
    Py_DECREF(raisers);
    return made;
}

/* Make the object that a VALUE stands for: a new reference, or NULL with an exception set. */
static PyObject *make_value(json *value, text token, text module)
{
    json *capsule = get(value, "capsule"), *class = get(value, "class"), *instance = get(value, "instance");
    PyObject *made = NULL;
    if (is(capsule, JSON_MAP)) {
        made = make_capsule(capsule, get(value, "bind"), token);
    } else if (is(class, JSON_MAP) || is(instance, JSON_MAP)) {
        made = make_class(class != NULL ? class : instance, class == NULL, token, module);
    } else {
        word address = value_of(value, token);
        if (address == 0 || !may_be_object(address))
            fail("no value for ", token, "");
        if (!now.failed) {
            made = (PyObject *)address;
            Py_INCREF(made);
        }
    }
    if (made == NULL && !PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError, "the vector cannot go on");
    return made;
}

static PyObject *raise_exception(json *spec)
{
    error made = make_exception(spec);
    if (made.type != NULL)
        PyErr_SetObject(made.type, made.value); /* which gives it the context that a raise statement would */
    else
        PyErr_SetString(PyExc_RuntimeError, "the vector cannot go on");
    Py_XDECREF(made.type);
    Py_XDECREF(made.value);
    return NULL;
}

/* The four functions that the program above calls: throw, get, find and body. */
static handle *handle_of(PyObject *arguments, PyObject **attribute)
{
    unsigned long serial;
    PyObject *pointer;
    if (!PyArg_ParseTuple(arguments, attribute == NULL ? "kO" : "kOU", &serial, &pointer, attribute))
        return NULL;
    if (!now.open || serial != now.serial) {
        PyErr_SetString(PyExc_AttributeError, "the vector is over");
        return NULL;
    }
    return PyLong_AsVoidPtr(pointer);
}

static PyObject *throw_for(PyObject *self, PyObject *arguments)
{
    (void)self;
    handle *known = handle_of(arguments, NULL);
    return known == NULL ? NULL : raise_exception(known->spec);
}

static PyObject *get_for(PyObject *self, PyObject *arguments)
{
    (void)self;
    PyObject *attribute;
    handle *known = handle_of(arguments, &attribute);
    if (known == NULL)
        return NULL;
    text wanted = text_of(attribute);
    json *value = member(known->spec, wanted);
    if (value == NULL) {
        PyObject *made = PyObject_CallFunctionObjArgs(PyExc_AttributeError, attribute, NULL);
        if (made != NULL)
            PyErr_SetObject(PyExc_AttributeError, made);
        Py_XDECREF(made);
        return NULL;
    }
    return make_value(value, glue("tst", known->token, ".", wanted), known->token);
}

static bool is_below(text inner, text outer)
{
    return inner.length > outer.length && memcmp(inner.data, outer.data, outer.length) == 0 &&
           inner.data[outer.length] == '.';
}

/* Tell of a module whether it is declared (else None) and whether it is a package. */
static PyObject *find(PyObject *self, PyObject *called)
{
    (void)self;
    text wanted = now.open && PyUnicode_Check(called) ? text_of(called) : literal("");
    json *spec = member(now.modules, wanted);
    bool package = false;
    for (json *item = now.modules == NULL ? NULL : now.modules->first; item != NULL; item = item->next)
        package = package || is_below(item->key, wanted);
    if (spec == NULL ? !package : (!is(spec, JSON_MAP) || member(spec, literal("entry")) != NULL))
        Py_RETURN_NONE;
    return PyBool_FromLong(package);
}

static bool set_entry(text called, PyObject *value)
{
    return put_attribute(PyImport_GetModuleDict(), called, value);
}

/* Do what the body of a declared module does. */
static PyObject *body(PyObject *self, PyObject *module)
{
    (void)self;
    PyObject *string = PyObject_GetAttrString(module, "__name__"), *space = PyObject_GetAttrString(module, "__dict__");
    text called = string == NULL ? literal("") : text_of(string);
    json *spec = now.open ? member(now.modules, called) : NULL, *getattr = get(spec, "getattr");
    json *imports = get(spec, "imports"), *becomes = get(spec, "becomes"), *raises = get(spec, "raises");
    bool good = string != NULL && space != NULL;
    Py_XDECREF(string);
    if (good) {
        Py_XDECREF(call_helper("hold", PyTuple_Pack(1, module)));
        give_token(called, (word)module, "ref", Py_TYPE(module));
        good = put_attributes(space, get(spec, "attrs"), called, called);
    }
    if (good && getattr != NULL)
        good = put_attribute(space, literal("__getattr__"), call_with_handle("getter", getattr, called));
    Py_XDECREF(space);
    for (json *item = imports == NULL ? NULL : imports->first; good && item != NULL; item = item->next) {
        PyObject *done = NULL;
        if (is(item, JSON_STRING))
            done = PyObject_CallFunction(helper("import_"), "N", string_of(item->words));
        else
            fail_plain("a module imports names");
        good = done != NULL;
        Py_XDECREF(done);
    }
    if (good && truth(get(spec, "removes_itself"))) {
        PyObject *key = string_of(called);
        if (key == NULL || PyDict_DelItem(PyImport_GetModuleDict(), key) != 0)
            PyErr_Clear();
        Py_XDECREF(key);
    }
    if (good && becomes != NULL)
        good = set_entry(called, make_value(becomes, called, called));
    if (good && raises != NULL)
        return raise_exception(raises);
    if (!good) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_RuntimeError, "the vector cannot go on");
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Make a capsule that outlives its vector harmless. */
static PyObject *disarm(PyObject *self, PyObject *value)
{
    (void)self;
    if (is_capsule(value))
        ((struct capsule *)value)->destructor = NULL;
    Py_RETURN_NONE;
}

/* Sessions */

/* Refuse a vector that should not be begun: one of another shape, or that needs what is not here. */
static void check_steps(json *steps, long *total)
{
    if (!is(steps, JSON_LIST)) {
        fail_plain("steps is a list of objects");
        return;
    }
    *total += steps->count;
    for (json *step = steps->first; step != NULL && !now.failed; step = step->next) {
        int id = operation_of(step);
        json *op = get(step, "op");
        if (!is(step, JSON_MAP)) {
            fail_plain("steps is a list of objects");
        } else if (id < 0 || lacks(id) != NULL) {
            now.unsupported = true;
            if (id < 0)
                fail("operation ", is(op, JSON_STRING) ? op->words : literal("without a name"), "");
            else
                fail(operations[id].name, literal(": "), lacks(id));
        }
    }
}

static void check(json *vector)
{
    json *functions = get(vector, "functions"), *modules = get(vector, "modules");
    long total = 0;
    if ((functions != NULL && !is(functions, JSON_MAP)) || (modules != NULL && !is(modules, JSON_MAP))) {
        fail_plain("functions and modules are objects");
        return;
    }
    if (modules != NULL && modules->count > MODULE_LIMIT)
        fail_plain("too many modules");
    for (json *one = functions == NULL ? NULL : functions->first; one != NULL && !now.failed; one = one->next) {
        json *visits = get(one, "visit");
        if (!is(one, JSON_MAP) || (visits != NULL && !is(visits, JSON_LIST)) || one->key.length > 256)
            fail("no function: ", one->key, "");
        else if (member(one, literal("steps")) != NULL)
            check_steps(get(one, "steps"), &total);
    }
    for (json *one = modules == NULL ? NULL : modules->first; one != NULL && !now.failed; one = one->next)
        if (!is(one, JSON_NULL) && !is(one, JSON_MAP))
            fail("no module: ", one->key, "");
    if (!now.failed)
        check_steps(get(vector, "steps"), &total);
    if (total > STEP_LIMIT)
        fail_plain("too many steps");
}

static void declare_function(json *spec)
{
    json *native = get(spec, "native"), *kind = get(spec, "kind");
    text called = is(kind, JSON_STRING) ? kind->words : literal("");
    entry *made;
    word address;
    if (now.entry_count + now.traverse_count == FUNCTION_LIMIT) {
        fail_plain("too many functions");
        return;
    }
    if (native != NULL) {
        now.has_native = true;
        address = native_function(is(native, JSON_STRING) ? native->words : literal(""));
    } else if (is_literal(called, "traverse")) {
        address = (word)traverses[now.traverse_count];
        made = &now.traverses[now.traverse_count++];
        made->spec = spec;
    } else if (is_literal(called, "destructor") || is_literal(called, "clear")) {
        bool clears_it = is_literal(called, "clear");
        address = clears_it ? (word)clears[now.entry_count] : (word)destructors[now.entry_count];
        made = &now.entries[now.entry_count++];
        made->spec = spec;
        made->name = spec->key;
    } else {
        fail("no kind of function: ", called, "");
        return;
    }
    if (!now.failed)
        give_token(spec->key, address, "function", NULL);
}

/* Put the modules of a vector where imports find them. */
static void install(json *modules)
{
    PyObject *names = PyList_New(0), *refused;
    for (json *item = modules->first; item != NULL; item = item->next) {
        PyObject *called = string_of(item->key);
        if (called == NULL || PyList_Append(names, called) != 0)
            PyErr_Clear();
        Py_XDECREF(called);
    }
    refused = call_helper("declare", PyTuple_Pack(1, names));
    Py_DECREF(names);
    if (refused != NULL && refused != Py_None)
        fail("the interpreter can import it itself: ", text_of(refused), "");
    Py_XDECREF(refused);
    if (now.failed)
        return;
    now.modules = modules;
    for (json *item = modules->first; item != NULL && !now.failed; item = item->next) {
        json *given = get(item, "entry");
        PyObject *value = Py_None;
        if (is(item, JSON_NULL))
            Py_INCREF(value);
        else if (given != NULL)
            value = make_value(given, item->key, item->key);
        else
            continue;
        if (!set_entry(item->key, value)) {
            PyErr_Clear();
            fail("no entry for the module ", item->key, "");
        }
    }
    now.finder = call_helper("begin", PyTuple_New(0));
    for (json *item = modules->first; item != NULL && !now.failed; item = item->next) {
        if (!truth(get(item, "loaded")))
            continue;
        PyObject *problem = call_helper("load", Py_BuildValue("(N)", string_of(item->key)));
        if (problem != NULL && problem != Py_None)
            fail("importing ", item->key, glue("st", ": ", text_of(problem)).data);
        Py_XDECREF(problem);
    }
}

static void begin(json *vector)
{
    static unsigned long serial;
    PyObject *state = call_helper("isenabled", PyTuple_New(0));
    json *functions = get(vector, "functions"), *modules = get(vector, "modules");
    now.open = true;
    now.serial = ++serial;
    now.lane = -1;
    now.path = literal("");
    now.out = &now.between;
    now.collecting = state == Py_True;
    Py_XDECREF(state);
    do_helper("disable");
    now.hook = PySys_GetObject("unraisablehook");
    Py_XINCREF(now.hook);
    PySys_SetObject("unraisablehook", helper("unraisable"));
    give_token(literal("PyCapsule_Type"), (word)&PyCapsule_Type, "ref", &PyType_Type);
    for (json *item = functions == NULL ? NULL : functions->first; item != NULL && !now.failed; item = item->next)
        declare_function(item);
    if (modules != NULL && modules->count != 0 && !now.failed)
        install(modules);
}

/* Write what the vector still owns, then put everything back; destructors do nothing from here on. */
static void end(buffer *out)
{
    size_t count = 0, most = 1;
    place *there;
    for (there = now.objects; there != NULL; there = there->later)
        most++;
    for (there = now.buffers; there != NULL; there = there->beside)
        most++;
    for (listed *one = now.lost; one != NULL; one = one->next)
        most++;
    text *leaks = reserve(most * sizeof(text));
    for (there = now.objects; there != NULL; there = there->later)
        if (there->owned > 0)
            leaks[count++] = token_at(there->address);
    for (there = now.buffers; there != NULL; there = there->beside)
        if (there->block && !there->freed)
            leaks[count++] = there->token;
    for (listed *one = now.lost; one != NULL; one = one->next)
        leaks[count++] = one->token;
    size_t different = 0;
    qsort(leaks, count, sizeof(text), compare_texts);
    for (size_t i = 0; i < count; i++)
        if (different == 0 || !same(leaks[different - 1], leaks[i]))
            leaks[different++] = leaks[i];
    put_sorted(out, leaks, different);
    now.closed = true;
    bool failed = now.failed;
    now.failed = false;
    release_error(now.parked);
    for (int i = 0; i < now.lane_count; i++) {
        release_error(lanes[i].parked);
        lanes[i].parked = NONE;
#ifdef Py_GIL_DISABLED
        wake(&lanes[i]);
#endif
    }
    for (there = now.objects; there != NULL; there = there->later) {
        if (there->owned > 0 && !there->dead && there->end == 0 && !now.undefined) {
            if (is_capsule((PyObject *)there->address))
                ((struct capsule *)there->address)->destructor = NULL;
            for (; there->owned > 0; there->owned--)
                release((PyObject *)there->address);
        }
    }
    call_helper("uninstall", PyTuple_Pack(1, now.finder != NULL ? now.finder : Py_None));
    release(now.finder);
    for (int i = 0; i < KIND_COUNT; i++)
        release(now.kinds[i]);
#ifdef PYPY_VERSION
    if (now.has_native) /* it would be called during the next vector, and leave an error there */
        release_error(settle(now.entered));
#endif
    PySys_SetObject("unraisablehook", now.hook);
    Py_XDECREF(now.hook);
    if (now.collecting)
        do_helper("enable");
    for (there = now.buffers; there != NULL; there = there->beside) {
        if (now.undefined && (there->block || there->freed)) /* the program's to free, or freed by it */
            continue;
        ALLOW((void *)there->address, there->end - there->address);
        free((void *)there->address);
    }
    now.failed = now.failed || failed;
    now.open = false;
}

static void run(json *vector, bool undefined, buffer *out)
{
    buffer leaks = {NULL, 0, 0}, answer = now.answer, between = now.between;
    memset(&now, 0, sizeof now);
    now.answer = answer; /* their memory serves again */
    now.between = between;
    now.answer.length = now.between.length = 0;
    now.path = literal("");
    now.undefined = undefined;
    if (undefined) {
        literals = literals == NULL ? must(malloc(LITERALS_SIZE)) : literals;
        literals_used = 0;
        FORBID(literals, LITERALS_SIZE);
    }
    check(vector);
    if (!now.failed) {
        begin(vector);
        json *steps = get(vector, "steps");
        long index = 0;
        put(&now.answer, "[");
        for (json *step = steps->first; step != NULL && !now.failed; step = step->next) {
#ifdef Py_GIL_DISABLED
            do_helper("idle"); /* bytecode, so that what waits for this thread to run happens */
#endif
            perform_on_thread(step, glue("n", index++));
        }
#ifdef Py_GIL_DISABLED
        do_helper("idle");
#endif
        put(&now.answer, "]");
        end(&leaks);
    }
    if (now.failed) {
        put(out, now.unsupported ? "\"unsupported\":" : "\"error\":");
        put_string(out, now.failure);
        if (!now.unsupported && now.failed_at.length != 0) {
            put(out, ",\"step\":");
            put_string(out, now.failed_at);
        }
    } else {
        put(out, "\"steps\":");
        put_buffer(out, &now.answer);
        put(out, ",\"leaks\":");
        put_buffer(out, &leaks);
    }
    free(leaks.data);
}

/* The protocol */

static void put_list(buffer *out, const char *key, int count, const char *(*item)(int))
{
    put(out, ",\"");
    put(out, key);
    put(out, "\":[");
    for (int i = 0; i < count; i++) {
        if (item(i) != NULL) {
            put_comma(out);
            put_string(out, literal(item(i)));
        }
    }
    put(out, "]");
}

static const char *operation_name(int id) { return lacks(id) == NULL ? operations[id].name : NULL; }
static const char *feature_name(int number) { return FEATURES[number]; }

static void start(buffer *out)
{
    const uint16_t one = 1;
    PyObject *about = call_helper("about", PyTuple_New(0));
    const char *implementation, *version, *profile, *debug;
    if (about == NULL || !PyArg_ParseTuple(about, "ssss", &implementation, &version, &profile, &debug)) {
        PyErr_Clear();
        put(out, "\"error\":\"the interpreter does not tell its version\"");
        return;
    }
    put(out, "\"protocol\":");
    put_integer(out, PROTOCOL);
    put(out, ",\"implementation\":");
    put_string(out, literal(implementation));
    put(out, ",\"version\":");
    put_string(out, literal(version));
    put(out, ",\"profile\":\"");
    put(out, profile);
#ifdef Py_GIL_DISABLED
    put(out, "-free-threaded");
#endif
    put(out, debug);
    put(out, sizeof(word) == 4 ? "-32" : "");
    put(out, *(const uint8_t *)&one == 1 ? "\"" : "-be\"");
    put_list(out, "ops", OPERATION_COUNT, operation_name);
    put_list(out, "features", sizeof FEATURES / sizeof *FEATURES, feature_name);
    put(out, ",\"absent\":{}");
#ifdef PYPY_VERSION
    put(out, ",\"defers\":true");
#endif
    Py_DECREF(about);
}

/* Write the answer to a line without its braces and `seq`; give whether it was `stop`. */
static bool answer_line(char *line, size_t length, bool too_long, buffer *out, text *seq)
{
    reader in = {line, line + length, NULL, false};
    json *request = too_long ? NULL : read_json(&in, 1), *command = get(request, "cmd");
    if (request != NULL)
        skip_space(&in);
    json *given = member(request, literal("seq"));
    if (in.wrong == NULL && is(given, JSON_INTEGER))
        *seq = given->words;
    now.failed = false;
    now.path = literal("");
    if (too_long)
        fail_plain("the line is too long");
    else if (in.wrong != NULL || in.at != in.end)
        fail_plain(in.wrong != NULL ? in.wrong : "not one JSON object");
    else if (in.deep)
        fail_plain("nested too deep");
    else if (!is(request, JSON_MAP))
        fail_plain("a request is an object");
    else if (!is(command, JSON_STRING))
        fail_plain("no command");
    else if (is_literal(command->words, "stop"))
        put(out, "\"stopped\":true");
    else if (is_literal(command->words, "start"))
        start(out);
    else if (is_literal(command->words, "run") && is(get(request, "vector"), JSON_MAP))
        run(get(request, "vector"), truth(get(request, "undefined")), out);
    else
        fail("no command ", command->words, "");
    if (out->length == 0) {
        put(out, "\"error\":");
        put_string(out, now.failure);
    }
    if (out->length > LINE_LIMIT - 64) {
        out->length = 0;
        put(out, "\"error\":\"the answer is too long\"");
    }
    return is(command, JSON_STRING) && is_literal(command->words, "stop") && !now.failed;
}

/* Read a line of at most the limit, or so much of a longer one; give its length, -1 at the end of the input. */
static long read_line(FILE *input, char *line, bool *too_long)
{
    long length = 0;
    int c;
    *too_long = false;
    while ((c = getc(input)) != EOF && c != '\n') {
        if (length < LINE_LIMIT)
            line[length++] = (char)c;
        else
            *too_long = true;
    }
    line[length] = '\0';
    return c == EOF && length == 0 ? -1 : length;
}

/* Speak the adapter protocol. */
static PyObject *speak(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    char *line = must(malloc(LINE_LIMIT + 1));
    char *memory = must(malloc(OPAQUE_STRIDE * (OPAQUE_COUNT + 1)));
    buffer out = {NULL, 0, 0}, whole = {NULL, 0, 0};
    bool stopped = false, too_long;
    int channel = dup(1);
    FILE *output = channel < 0 || dup2(2, 1) < 0 ? NULL : fdopen(channel, "w"); /* the rest of fd 1 is noise */
    long length;
    if (output == NULL) {
        PyErr_SetString(PyExc_OSError, "standard output cannot be used");
        free(line);
        free(memory);
        return NULL;
    }
    opaque = ((word)memory / OPAQUE_STRIDE + 1) * OPAQUE_STRIDE; /* never where the block itself begins */
    FORBID(memory, OPAQUE_STRIDE * (OPAQUE_COUNT + 1));
    for (int i = 0; i <= NESTING_LIMIT; i++) { /* early: what an implementation may overwrite should not be close */
        put_bytes(&tails[i], NULL, 1024);
        tails[i].length = 0;
    }
    while (!stopped) {
        Py_BEGIN_ALLOW_THREADS
        length = read_line(stdin, line, &too_long);
        Py_END_ALLOW_THREADS
        if (length < 0)
            break;
        text seq = literal("0");
        out.length = whole.length = 0;
        stopped = answer_line(line, (size_t)length, too_long, &out, &seq);
        put(&whole, "{\"seq\":");
        put_text(&whole, seq);
        put(&whole, ",");
        put_buffer(&whole, &out);
        put(&whole, "}\n");
        release_arena();
        if (fwrite(whole.data, 1, whole.length, output) != whole.length || fflush(output) != 0)
            break;
    }
    stop_lanes();
    fclose(output);
    ALLOW(memory, OPAQUE_STRIDE * (OPAQUE_COUNT + 1));
    free(memory);
    if (literals != NULL)
        ALLOW(literals, LITERALS_SIZE);
    free(literals);
    literals = NULL;
    literals_used = 0;
    free(line);
    free(out.data);
    free(whole.data);
    free(now.answer.data);
    free(now.between.data);
    for (int i = 0; i <= NESTING_LIMIT; i++)
        free(tails[i].data);
    memset(tails, 0, sizeof tails);
    memset(&now, 0, sizeof now);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"main", speak, METH_NOARGS, "Speak the adapter protocol on standard input and output."},
    {"throw", throw_for, METH_VARARGS, NULL},
    {"get", get_for, METH_VARARGS, NULL},
    {"find", find, METH_O, NULL},
    {"body", body, METH_O, NULL},
    {"disarm", disarm, METH_O, NULL},
    {"unraisable", unraisable, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "capsule_adapter", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_capsule_adapter(void)
{
    PyObject *module = PyModule_Create(&definition), *done;
    if (module == NULL)
        return NULL;
#ifdef PYPY_VERSION
    PyEval_InitThreads(); /* there is no GIL before a thread was thought of */
#endif
#ifdef Py_GIL_DISABLED
    PyUnstable_Module_SetGIL(module, Py_MOD_GIL_NOT_USED);
#endif
    helpers = PyDict_Copy(PyModule_GetDict(module));
    done = helpers == NULL ? NULL : PyRun_String(PROGRAM, Py_file_input, helpers, helpers);
    if (done == NULL) {
        Py_DECREF(module);
        return NULL;
    }
    Py_DECREF(done);
    return module;
}
