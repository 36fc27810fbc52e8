// Adapter for a runtime in pure Go that is only starting: it has capsules, references and an error indicator, but
// no modules, no collector and no Python code. To make it yours, put your own runtime in the place of the one at
// the top, and list in the tables of operations what it can do. ADAPTERS.md builds this file step by step.
//
//	go build adapter.go && capsule-model conform --adapter ./adapter
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
	"unicode/utf8"
)

// Pointer is what C calls an address: a thing, and a distance from its start in bytes. The thing is a *Block, an
// *Object or a *Function. Pointers are equal if they point at the same place; the zero Pointer is NULL.
type Pointer struct {
	Thing  any
	Offset int
}

// Block is memory: a C string, what malloc returned, or what an opaque pointer points at.
type Block struct{ Bytes []byte }

// Function is a function in C that can be a destructor.
type Function struct{ Call func(op *Object) }

// Object is an object that counts its references. The four pointers are a capsule's.
type Object struct {
	Type                               string
	Refcnt                             int
	Pointer, Name, Context, Destructor Pointer
}

// Exception is an exception object, with the text that str() gives. Its identity is its address.
type Exception struct{ Type, Text string }

// Runtime is the state of a process: its error indicator.
type Runtime struct{ Err *Exception }

var null Pointer

// raise sets the error indicator.
func (rt *Runtime) raise(kind, text string) { rt.Err = &Exception{kind, text} }

// New makes a capsule with one reference, which is the caller's.
func (rt *Runtime) New(pointer, name, destructor Pointer) *Object {
	if pointer == null {
		rt.raise("ValueError", "PyCapsule_New called with null pointer")
		return nil
	}
	return &Object{Type: "PyCapsule", Refcnt: 1, Pointer: pointer, Name: name, Destructor: destructor}
}

// DecRef gives a reference back. The last one calls the destructor, and meanwhile the count is 0.
func (rt *Runtime) DecRef(op *Object) {
	op.Refcnt--
	if destructor, ok := op.Destructor.Thing.(*Function); ok && op.Refcnt == 0 {
		destructor.Call(op)
	}
}

// usable tells whether an object is a capsule with a pointer.
func usable(op *Object) bool { return op != nil && op.Type == "PyCapsule" && op.Pointer != null }

// legal is the test that all getters and setters make; where it fails, the error names the function.
func (rt *Runtime) legal(op *Object, function string) bool {
	if !usable(op) {
		rt.raise("ValueError", function+" called with invalid PyCapsule object")
	}
	return usable(op)
}

// sameName compares as strcmp does, byte by byte up to the first difference; NULL matches NULL alone.
func sameName(a, b Pointer) bool {
	if a == b || a == null || b == null {
		return a == b
	}
	one, other, i := a.memory(), b.memory(), 0
	for one[i] == other[i] && one[i] != 0 {
		i++
	}
	return one[i] == other[i]
}

// memory gives the bytes from an address to the end of its block.
func (p Pointer) memory() []byte {
	block, ok := p.Thing.(*Block)
	if !ok {
		panic(unsupported("bytes of what is no memory here"))
	}
	return block.Bytes[p.Offset:]
}

// IsValid tells whether GetPointer would succeed, and never sets an error.
func (rt *Runtime) IsValid(op *Object, name Pointer) bool {
	return usable(op) && sameName(op.Name, name)
}

// GetPointer gives the pointer to those who know the name.
func (rt *Runtime) GetPointer(op *Object, name Pointer) Pointer {
	if !rt.legal(op, "PyCapsule_GetPointer") {
		return null
	}
	if !sameName(op.Name, name) {
		rt.raise("ValueError", "PyCapsule_GetPointer called with incorrect name")
		return null
	}
	return op.Pointer
}

// field gives a field of a capsule by name; nil if there is none.
func (op *Object) field(name string) *Pointer {
	return map[string]*Pointer{
		"pointer": &op.Pointer, "name": &op.Name, "context": &op.Context, "destructor": &op.Destructor,
	}[strings.ToLower(name)]
}

// Get is the getter of a field that asks for no name.
func (rt *Runtime) Get(op *Object, field string) Pointer {
	if !rt.legal(op, "PyCapsule_Get"+field) {
		return null
	}
	return *op.field(field)
}

// Set is the setter of a field. PyCapsule_SetPointer refuses NULL, up to 3.12 before it looks at the capsule.
func (rt *Runtime) Set(op *Object, field string, value Pointer) int {
	if !rt.legal(op, "PyCapsule_Set"+field) {
		return -1
	}
	if field == "Pointer" && value == null {
		rt.raise("ValueError", "PyCapsule_SetPointer called with null pointer")
		return -1
	}
	*op.field(field) = value
	return 0
}

// Here the adapter begins: it makes the calls that a vector asks for, and writes down what it sees.

type object = map[string]any

type request struct {
	Seq    int
	Cmd    string
	Vector *vector
}

type vector struct {
	Steps     []step
	Functions map[string]function
	Modules   object
}

type step struct {
	Op      string
	Args    object
	Bind    string
	Pending *raised
	Leave   bool
	Thread  any
}

type function struct {
	Kind     string
	Native   string
	MaxCalls *int `json:"max_calls"`
	Steps    []step
}

type raised struct {
	Type string
	Text *string
}

const lineLimit = 1 << 20

// What one vector may use, in bytes. A step counts as some, so that there is an end to them.
const budget, stepCost = 1 << 26, 1 << 12

// These are panicked with where a vector cannot be performed, and run answers with them.
type unsupported string
type malformed string

func main() {
	in := bufio.NewReaderSize(os.Stdin, lineLimit)
	for {
		line, err := in.ReadSlice('\n')
		for err == bufio.ErrBufferFull {
			line = []byte("a line that is too long")
			_, err = in.ReadSlice('\n')
		}
		if err != nil && len(line) == 0 {
			return
		}
		var asked request
		answer := object{}
		if err := json.Unmarshal(line, &asked); err != nil {
			answer["error"] = err.Error()
		} else {
			answer = respond(asked)
		}
		answer["seq"] = asked.Seq
		text, err := json.Marshal(answer)
		if err != nil || len(text) >= lineLimit {
			text, _ = json.Marshal(object{"seq": asked.Seq, "error": "the answer is too long"})
		}
		fmt.Printf("%s\n", text)
		if answer["stopped"] == true {
			return
		}
	}
}

func respond(asked request) object {
	switch {
	case asked.Cmd == "start":
		return start()
	case asked.Cmd == "run" && asked.Vector != nil && asked.Vector.Steps != nil:
		return run(asked.Vector)
	case asked.Cmd == "stop":
		return object{"stopped": true}
	}
	return object{"error": "expected start, stop, or run with a vector that has steps"}
}

// start tells what this runtime can do, and why it cannot do the rest.
func start() object {
	ops := []string{}
	for _, operations := range tables {
		for op := range operations {
			ops = append(ops, op)
		}
	}
	sort.Strings(ops)
	return object{
		"protocol": 1, "implementation": "go-sketch", "version": "1", "profile": "cpython-3.13",
		"ops": ops, "features": features, "absent": absent,
	}
}

var features = []string{
	"error-indicator", "compiled-destructors", "native-destructors", "macros", "memory", "poke", "returns-on-failure",
}

var absent = object{
	"gc":      "there is no collector but Go's own",
	"layout":  "a capsule is no struct in C",
	"modules": "there is no import system yet",
	"python":  "there is no Python code yet",
	"threads": "there is one thread",
}

// session is one run of one vector.
type session struct {
	*Runtime
	names   map[string]Pointer // what a token means
	tokens  map[Pointer]string // how an address is written: its newest token
	times   map[string]int     // how often a name was bound, or a function called
	owned   map[Pointer]int    // references and blocks that the vector owns
	events  []any              // what has happened in the step that runs
	path    string             // of the step that runs
	subject *Object            // the argument of the destructor that runs
	unknown int                // addresses never seen before
	spent   int                // of the budget
}

// call is a step that is being performed.
type call struct {
	*session
	step
}

// An operation performs the call and gives what its return shows, as JSON; nothing if it has no return.
type table map[string]func(c call) any

type nothing struct{}

var tables = []table{capsules, references, errorIndicator, memory}

var capsules = table{
	"PyCapsule_New": func(c call) any {
		op := address(c.New(c.pointer("pointer"), c.pointer("name"), c.pointer("destructor")))
		c.owned[op] = 1
		return c.made(op)
	},
	"PyCapsule_CheckExact":    func(c call) any { return truth[c.object("op").Type == "PyCapsule"] },
	"PyCapsule_IsValid":       func(c call) any { return truth[c.IsValid(c.object("capsule"), c.pointer("name"))] },
	"PyCapsule_GetPointer":    func(c call) any { return c.shown(c.GetPointer(c.object("capsule"), c.pointer("name"))) },
	"PyCapsule_GetName":       func(c call) any { return c.text(c.Get(c.object("capsule"), "Name")) },
	"PyCapsule_GetContext":    func(c call) any { return c.shown(c.Get(c.object("capsule"), "Context")) },
	"PyCapsule_GetDestructor": func(c call) any { return c.shown(c.Get(c.object("capsule"), "Destructor")) },
	"PyCapsule_SetPointer":    func(c call) any { return c.Set(c.object("capsule"), "Pointer", c.pointer("pointer")) },
	"PyCapsule_SetName":       func(c call) any { return c.Set(c.object("capsule"), "Name", c.pointer("name")) },
	"PyCapsule_SetContext":    func(c call) any { return c.Set(c.object("capsule"), "Context", c.pointer("context")) },
	"PyCapsule_SetDestructor": func(c call) any {
		return c.Set(c.object("capsule"), "Destructor", c.pointer("destructor"))
	},
}

var references = table{
	"Py_INCREF": func(c call) any { return c.count(c.object("op"), 1) },
	"Py_DECREF": func(c call) any { return c.count(c.object("op"), -1) },
	"Py_IncRef": func(c call) any { return c.count(c.object("o"), 1) },
	"Py_DecRef": func(c call) any { return c.count(c.object("o"), -1) },
	"Py_REFCNT": func(c call) any { return c.object("ob").Refcnt },
	"settle":    func(c call) any { return nothing{} }, // no destructor is ever late
}

var errorIndicator = table{
	"PyErr_SetString": func(c call) any {
		message := string(c.cstring(c.pointer("message")))
		c.Err = exception(string(c.content("type")), &message)
		return nothing{}
	},
	"PyErr_NoMemory": func(c call) any { c.raise("MemoryError", ""); return nil },
	"PyErr_Clear":    func(c call) any { c.Err = nil; return nothing{} },
	"PyErr_Occurred": func(c call) any {
		if c.Err == nil {
			return nil
		}
		return object{"object": c.Err.Type}
	},
}

var memory = table{
	"malloc": func(c call) any {
		block := c.allocate(c.integer("size"))
		c.owned[block] = 1
		return c.made(block)
	},
	"free": func(c call) any {
		delete(c.owned, c.pointer("ptr")) // its bytes stay, so that no other block gets the address
		return nothing{}
	},
	"string": func(c call) any { return c.made(c.store(c.content("bytes"))) },
	"write": func(c call) any {
		data := c.content("bytes")
		copy(c.pointer("ptr").memory()[:len(data)], data)
		return nothing{}
	},
	"read": func(c call) any {
		return object{"hex": hex.EncodeToString(c.pointer("ptr").memory()[:c.integer("size")])}
	},
	"poke": func(c call) any {
		field, _ := c.Args["field"].(string)
		*c.object("op").field(field) = c.pointer("value")
		return nothing{}
	},
}

// run performs a vector. Whatever goes wrong on the way is an answer, and the end of this vector alone.
func run(v *vector) (answer object) {
	s := &session{
		Runtime: &Runtime{}, names: map[string]Pointer{}, tokens: map[Pointer]string{},
		times: map[string]int{}, owned: map[Pointer]int{},
	}
	defer func() {
		switch cause := recover().(type) {
		case nil:
		case unsupported:
			answer = object{"unsupported": string(cause)}
		default:
			answer = object{"error": fmt.Sprint(cause), "step": s.path}
		}
	}()
	if len(v.Modules) > 0 {
		panic(unsupported("modules"))
	}
	for name, spec := range v.Functions {
		s.declare(name, spec)
	}
	steps, leaks := s.perform(v.Steps, ""), []string{}
	for place, count := range s.owned {
		if count > 0 && place != null {
			leaks = append(leaks, s.token(place))
		}
	}
	sort.Strings(leaks)
	return object{"steps": steps, "leaks": leaks}
}

// perform performs the steps of a vector, or those of a function, whose path is the prefix.
func (s *session) perform(steps []step, prefix string) []any {
	observations := []any{}
	for index, step := range steps {
		observations = append(observations, s.observe(step, fmt.Sprint(prefix, index)))
	}
	return observations
}

// observe performs one step. Whatever the call does to the error indicator is undone, unless the step says leave.
func (s *session) observe(step step, path string) object {
	outerEvents, outerPath := s.events, s.path
	s.events, s.path = []any{}, path
	s.spend(stepCost + len(path))
	if step.Thread != nil {
		panic(unsupported("threads"))
	}
	saved := s.Err
	if step.Pending != nil {
		s.Err = exception(step.Pending.Type, step.Pending.Text)
	}
	before := s.Err
	value := operation(step.Op)(call{s, step})
	observation := object{"error": describe(s.Err), "indicator": change(before, s.Err), "events": s.events}
	if value != (nothing{}) {
		observation["return"] = value
	}
	if !step.Leave {
		s.Err = saved
	}
	s.events, s.path = outerEvents, outerPath
	return observation
}

func operation(op string) func(c call) any {
	for _, operations := range tables {
		if operation, ok := operations[op]; ok {
			return operation
		}
	}
	panic(unsupported("operation " + op))
}

// change says what became of the error indicator.
func change(before, after *Exception) string {
	switch {
	case before == nil && after == nil:
		return "clear"
	case before == nil:
		return "set"
	case after == nil:
		return "cleared"
	case before == after:
		return "unchanged"
	}
	return "replaced"
}

// declare makes a function of the vector; natives are the runtime's own.
func (s *session) declare(name string, spec function) {
	calls := map[string]func(op *Object){
		"PyErr_NoMemory":       func(*Object) { s.raise("MemoryError", "") },
		"PyErr_Clear":          func(*Object) { s.Err = nil },
		"PyCapsule_GetContext": func(op *Object) { s.Get(op, "Context") },
	}
	called := calls[spec.Native]
	if spec.Kind == "destructor" {
		called = func(op *Object) { s.enter(name, spec, op) }
	}
	if called == nil {
		panic(unsupported("functions of kind " + spec.Kind + spec.Native))
	}
	s.bind(name, Pointer{Thing: &Function{called}})
}

// enter performs a destructor, and reports the call in the step during which it happens.
func (s *session) enter(name string, spec function, op *Object) {
	limit := 8
	if spec.MaxCalls != nil {
		limit = *spec.MaxCalls
	}
	s.times["call "+name]++
	number := s.times["call "+name]
	if number > limit {
		s.events = append(s.events, object{"call": name, "beyond": true})
		return
	}
	event := object{"call": name, "args": []string{s.token(address(op))}, "refcnt": op.Refcnt, "before": describe(s.Err)}
	s.events = append(s.events, event)
	outer := s.subject
	s.subject = op
	event["steps"] = s.perform(spec.Steps, fmt.Sprintf("%s/%s.%d/", s.path, name, number))
	s.subject = outer
	event["after"] = describe(s.Err)
}

// parents are the exceptions that vectors set, each with the class that it derives from.
var parents = map[string]string{
	"Exception": "BaseException", "LookupError": "Exception", "KeyError": "LookupError", "ImportError": "Exception",
	"MemoryError": "Exception", "RuntimeError": "Exception", "TypeError": "Exception", "ValueError": "Exception",
}

// exception makes an exception as Python would; str() of a KeyError shows its argument in quotes.
func exception(kind string, text *string) *Exception {
	if parents[kind] == "" {
		panic(unsupported("exception " + kind))
	}
	if text == nil {
		return &Exception{Type: kind}
	}
	if kind != "KeyError" {
		return &Exception{kind, *text}
	}
	if strings.Contains(*text, "'") {
		return &Exception{kind, `"` + *text + `"`}
	}
	return &Exception{kind, "'" + *text + "'"}
}

// describe writes an exception down.
func describe(err *Exception) any {
	if err == nil {
		return nil
	}
	bases, attributes := []string{}, object{}
	for kind := parents[err.Type]; kind != ""; kind = parents[kind] {
		bases = append(bases, kind)
	}
	if err.Type == "ImportError" {
		attributes = object{"name": nil, "path": nil}
	}
	return object{"type": err.Type, "text": err.Text, "bases": bases, "attributes": attributes}
}

// bind gives an address a name. The second time, the same name makes another token.
func (s *session) bind(name string, place Pointer) any {
	s.names[name] = place
	if place == null {
		return nil
	}
	s.times[name]++
	token := name
	if s.times[name] > 1 {
		token = fmt.Sprintf("%s#%d", name, s.times[name])
	}
	s.names[token], s.tokens[place] = place, token
	return object{"ref": token}
}

// show writes an address down: its token, a place in something that has one, or a new token.
func (s *session) show(place Pointer) any {
	if place == null {
		return nil
	}
	if token, ok := s.tokens[place]; ok {
		return object{"ref": token}
	}
	if token, ok := s.tokens[Pointer{Thing: place.Thing}]; ok {
		return object{"ref": token, "offset": place.Offset}
	}
	s.unknown++
	return s.bind(fmt.Sprint("?", s.unknown), place)
}

func (s *session) token(place Pointer) string { return s.show(place).(object)["ref"].(string) }

// shown is show for what a call returned, which the step may bind a name to.
func (c call) shown(place Pointer) any {
	if c.Bind == "" {
		return c.show(place)
	}
	return c.bind(c.Bind, place)
}

// made is shown for what a call made, which has a token in any case.
func (c call) made(place Pointer) any {
	if c.Bind == "" {
		c.Bind = "#" + c.path
	}
	return c.bind(c.Bind, place)
}

// text is shown for a C string, with its bytes.
func (c call) text(place Pointer) any {
	shown, ok := c.shown(place).(object)
	if ok {
		data := c.cstring(place)
		shown["cstr"] = string(data)
		if !utf8.Valid(data) {
			delete(shown, "cstr")
			shown["hex"] = hex.EncodeToString(data)
		}
	}
	return shown
}

func (s *session) cstring(place Pointer) []byte {
	data, _, _ := bytes.Cut(place.memory(), []byte{0})
	s.spend(len(data))
	return data
}

var truth = map[bool]int{true: 1}

// count takes a reference or gives one back, which the vector then owns or not; of NULL there are none.
func (c call) count(op *Object, change int) any {
	if op == nil {
		return nothing{}
	}
	c.owned[address(op)] += change
	if change > 0 {
		op.Refcnt++
	} else {
		c.DecRef(op)
	}
	return nothing{}
}

// spend keeps a vector from using up the machine.
func (s *session) spend(bytes int) {
	if bytes < 0 || bytes > budget-s.spent {
		panic(malformed("more than an adapter has room for"))
	}
	s.spent += bytes
}

func (s *session) allocate(size int) Pointer {
	s.spend(size)
	return Pointer{Thing: &Block{make([]byte, size)}}
}

// store makes a C string.
func (s *session) store(data []byte) Pointer {
	place := s.allocate(len(data) + 1)
	copy(place.Thing.(*Block).Bytes, data)
	return place
}

func address(op *Object) Pointer {
	if op == nil {
		return null
	}
	return Pointer{Thing: op}
}

func (c call) integer(name string) int {
	number, ok := c.Args[name].(float64)
	if !ok {
		panic(malformed("argument " + name + " is no integer"))
	}
	return int(number)
}

// content gives the bytes that an argument spells out.
func (c call) content(name string) []byte {
	arg, _ := c.Args[name].(object)
	if text, ok := arg["cstr"].(string); ok {
		return []byte(text)
	}
	text, ok := arg["hex"].(string)
	data, err := hex.DecodeString(text)
	if !ok || err != nil {
		panic(malformed("argument " + name + " is neither cstr nor hex"))
	}
	return data
}

// object gives the object that an argument points at, nil for NULL.
func (c call) object(name string) *Object {
	place := c.pointer(name)
	op, ok := place.Thing.(*Object)
	if place != null && (!ok || place.Offset != 0) {
		panic(malformed("argument " + name + " is no object"))
	}
	return op
}

// pointer gives the address that an argument stands for, and makes what is not there yet.
func (c call) pointer(name string) Pointer {
	if value, ok := c.Args[name]; ok && value == nil {
		return null
	}
	arg, _ := c.Args[name].(object)
	for form, content := range arg {
		token, _ := content.(string)
		place, known := c.names[token]
		switch {
		case form == "ref" && known:
			offset, _ := arg["offset"].(float64)
			place.Offset += int(offset)
			return place
		case form == "function" && known:
			return place
		case form == "cstr" || form == "hex":
			place = c.store(c.content(name))
			c.bind("#"+c.path+"."+name, place)
			return place
		case form == "ptr":
			return c.once(token, &Block{make([]byte, 16)})
		case form == "object":
			return c.once(token, &Object{Type: token, Refcnt: 1 << 30})
		case form == "arg" && c.subject != nil:
			return address(c.subject)
		}
	}
	panic(malformed("argument " + name + " is missing, or means nothing here"))
}

// once gives what a token means; a new thing, the first time.
func (s *session) once(token string, thing any) Pointer {
	if _, known := s.names[token]; !known {
		s.bind(token, Pointer{Thing: thing})
	}
	return s.names[token]
}
