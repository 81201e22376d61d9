package acl

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// SetUser gives user exactly these rules and reports whether that changed the
// file. Without rules it does what RemoveUser does.
//
// The rules stand where the first block of user has its rules, or at the end
// of the file; further blocks of user are removed. Lines that already say the
// first of the rules are left as they are, and so are comments, blank lines
// and pattern lines. Each call costs as much as the lines of user, however
// large the file is.
//
// SetUser refuses names and topics that a file can't say or no client can
// present: empty ones, invalid UTF-8, control characters, a space at either
// end, invalid filters, those that would make a line of more than 1022 bytes,
// and Deny in a File of a version before 2.0. The error says which, wraps
// ErrUser, ErrTopic, ErrAccess or ErrTooLarge, and leaves the file unchanged.
func (f *File) SetUser(user string, rules ...Rule) (changed bool, err error) {
	if err := f.dialect.checkUser(user, rules); err != nil {
		return false, err
	}
	return f.setUser(user, rules)
}

// setUser is SetUser for what has been checked.
func (f *File) setUser(user string, rules []Rule) (changed bool, err error) {
	if len(rules) == 0 {
		return f.RemoveUser(user), nil
	}
	if err := f.makeRoomFor(rules); err != nil {
		return false, err
	}
	at, ok := f.find(user)
	if !ok {
		f.appendUser(user, rules)
		return true, nil
	}
	first := f.users.slots[at].block
	if _, more := f.next[first]; more && f.has(first, rules) {
		return false, nil
	}
	changed = f.replaceRules(first, kindTopic, rules)
	for _, i := range f.unlink(first) {
		f.strip(i)
		changed = true
	}
	f.tidy()
	return changed, nil
}

// RemoveUser removes every block of user, a name that is compared as a whole,
// and reports whether there was one. Comments, blank lines and pattern lines
// in such a block stay. Rules of clients without a user name, and so the
// empty name, are not its business.
func (f *File) RemoveUser(user string) (changed bool) {
	at, ok := f.find(user)
	if !ok {
		return false
	}
	f.makeRoom(0)
	first := f.users.slots[at].block
	f.users.remove(at)
	f.strip(first)
	for _, i := range f.unlink(first) {
		f.strip(i)
	}
	f.tidy()
	return true
}

// SetAnonymous gives clients without a user name exactly these rules, or
// none, and reports whether that changed the file. They stand before the
// first user line, where such rules are or else last. For the rest it is like
// SetUser.
func (f *File) SetAnonymous(rules ...Rule) (changed bool, err error) {
	if err := f.check(kindTopic, rules); err != nil {
		return false, err
	}
	f.begin()
	changed = f.replaceRules(0, kindTopic, rules)
	f.tidy()
	return changed, nil
}

// SetPatterns makes these the pattern lines of the file, wherever it had
// some, and reports whether that changed it. They stand where the first of
// them was, or else last before the first user line. It refuses what SetUser
// does, and %u or %c that don't fill a level, which brokers before and after
// 2.1 read in two ways. It costs as much as reading the whole file.
func (f *File) SetPatterns(rules ...Rule) (changed bool, err error) {
	if err := f.check(kindPattern, rules); err != nil || slices.Equal(slices.Collect(f.Patterns()), rules) {
		return false, err
	}
	f.begin()
	for n, i := range f.patternBlocks() {
		if n > 0 {
			rules = nil
		}
		f.replaceRules(i, kindPattern, rules)
	}
	f.tidy()
	return true, nil
}

// addPatterns adds pattern lines behind those that there are.
func (f *File) addPatterns(rules []Rule) error {
	if err := f.check(kindPattern, rules); err != nil {
		return err
	}
	f.begin()
	blocks := f.patternBlocks()
	i := blocks[len(blocks)-1]
	var all []Rule
	for _, l := range f.lines(i) {
		if l.kind == kindPattern {
			all = append(all, l.rule())
		}
	}
	f.replaceRules(i, kindPattern, append(all, rules...))
	f.tidy()
	return nil
}

// patternBlocks returns the blocks with pattern lines, or where the first one
// would be.
func (f *File) patternBlocks() []uint32 {
	var blocks []uint32
	for i := range f.blocks {
		for _, l := range f.lines(uint32(i)) {
			if l.kind == kindPattern {
				blocks = append(blocks, uint32(i))
				break
			}
		}
	}
	if blocks == nil {
		return []uint32{0}
	}
	return blocks
}

// checkUser tells whether a file can give user rules.
func (d dialect) checkUser(user string, rules []Rule) error {
	if err := checkName(user); err != nil {
		return err
	}
	return d.checkRules(kindTopic, rules)
}

func (d dialect) checkRules(k kind, rules []Rule) error {
	for i, r := range rules {
		if err := r.check(k, d); err != nil {
			return fmt.Errorf("rule %d: %w", i+1, err)
		}
	}
	return nil
}

// check tells whether rules can be written, and makes room for them.
func (f *File) check(k kind, rules []Rule) error {
	if err := f.dialect.checkRules(k, rules); err != nil {
		return err
	}
	return f.makeRoomFor(rules)
}

func (f *File) makeRoomFor(rules []Rule) error {
	n := (len(rules) + 1) * (maxLine + 2)
	if f.size+n > maxText {
		return ErrTooLarge
	}
	f.makeRoom(n)
	return nil
}

// makeRoom keeps positions within 32 bits during an edit that adds up to n
// bytes and writes anew whatever its blocks hold.
func (f *File) makeRoom(n int) {
	if len(f.text)+len(f.added.text)+f.size+n > math.MaxUint32 {
		f.rebuild()
	}
}

// has tells whether the user whose first block is i has exactly these rules.
func (f *File) has(i uint32, rules []Rule) bool {
	n := 0
	for r := range f.rulesFrom(i) {
		if n == len(rules) || r != rules[n] {
			return false
		}
		n++
	}
	return n == len(rules)
}

func (f *File) lineEnd() string {
	if f.crlf {
		return "\r\n"
	}
	return "\n"
}

// begin makes a zero File one that can be edited.
func (f *File) begin() {
	if f.blocks == nil {
		f.blocks = make([]block, 1)
		f.users = newIndex()
		f.users.resize(0)
	}
}

func (f *File) appendUser(user string, rules []Rule) {
	f.begin()
	// Only the last line of all can lack its end.
	if i := uint32(len(f.blocks) - 1); !strings.HasSuffix(f.slice(f.blocks[i]), "\n") {
		f.set(i, f.appendEnd(append(f.draft[:0], f.slice(f.blocks[i])...)))
	}
	i := uint32(len(f.blocks))
	f.blocks = append(f.blocks, block{})
	b := append(f.draft[:0], userPrefix...)
	b = append(b, user...)
	b = f.appendEnd(b)
	f.set(i, f.appendLines(b, kindTopic, rules))
	hash := f.users.hash(user)
	f.users.insert(f.users.find(hash, func(uint32) bool { return false }), hash, i)
	f.tidy()
}

// replaceRules gives block i these lines of kind k instead of those it has,
// and reports whether they say something else. The first ones, as far as they
// say the same, stay as they are.
func (f *File) replaceRules(i uint32, k kind, rules []Rule) (changed bool) {
	b := f.draft[:0]
	at := -1 // where new lines go
	for s, l := range f.lines(i) {
		switch {
		case l.kind != k:
			b = append(b, s...)
			if l.kind == kindUser && k == kindTopic {
				at = len(b)
			}
		case !changed && len(rules) > 0 && l.rule() == rules[0]:
			b = append(b, s...)
			at, rules = len(b), rules[1:]
		case !changed:
			at, changed = len(b), true
		}
	}
	if !changed && len(rules) == 0 {
		return false
	}
	rest := ""
	if at >= 0 && at < len(b) {
		rest = string(b[at:])
		b = b[:at]
	}
	if len(rules) > 0 {
		b = f.appendLines(f.appendEnd(b), k, rules)
	}
	f.set(i, append(b, rest...))
	return true
}

// unlink takes the blocks after the first one away from a user.
func (f *File) unlink(first uint32) (later []uint32) {
	for i, ok := f.next[first]; ok; {
		later = append(later, i)
		delete(f.next, first)
		first = i
		i, ok = f.next[first]
	}
	return later
}

// strip takes the user and topic lines out of a block.
func (f *File) strip(i uint32) {
	b := f.draft[:0]
	for s, l := range f.lines(i) {
		if l.kind != kindUser && l.kind != kindTopic {
			b = append(b, s...)
		}
	}
	f.set(i, b)
}

// set gives block i a text, which was composed in draft.
func (f *File) set(i uint32, text []byte) {
	f.draft = text[:0]
	old := f.blocks[i]
	b := block{}
	if len(text) > 0 {
		b.start = uint32(len(f.text) + len(f.added.text))
		b.end = b.start + uint32(len(text))
		f.added.append(text)
	} else if i > 0 {
		f.empty++
	}
	f.blocks[i] = b
	f.size += int(b.end-b.start) - int(old.end-old.start)
}

// appendEnd ends the last line of b.
func (f *File) appendEnd(b []byte) []byte {
	if len(b) > 0 && b[len(b)-1] != '\n' {
		b = append(b, f.lineEnd()...)
	}
	return b
}

func (f *File) appendLines(b []byte, k kind, rules []Rule) []byte {
	for _, r := range rules {
		b = append(b, k.keyword()...)
		b = append(b, r.Access.String()...)
		b = append(b, ' ')
		b = append(b, r.Topic...)
		b = append(b, f.lineEnd()...)
	}
	return b
}

// tidy writes the text anew when edits have left too much behind, at a cost
// per edit that doesn't grow with the file.
func (f *File) tidy() {
	if len(f.added.text) > 1<<20+len(f.text)/2 || f.empty > 1024 && f.empty > len(f.blocks)/2 {
		f.rebuild()
	}
}

// rebuild brings the text of all blocks together and drops empty ones.
func (f *File) rebuild() {
	var text strings.Builder
	text.Grow(f.size)
	moved := make([]uint32, len(f.blocks))
	kept := make([]block, 0, len(f.blocks)-f.empty)
	for i, b := range f.blocks {
		if i > 0 && b.start == b.end {
			continue
		}
		moved[i] = uint32(len(kept))
		start := uint32(text.Len())
		text.WriteString(f.slice(b))
		kept = append(kept, block{start, uint32(text.Len())})
	}
	for i := range f.users.slots {
		s := &f.users.slots[i]
		s.block = moved[s.block] // of an empty slot, block 0
	}
	next := make(map[uint32]uint32, len(f.next))
	for i, j := range f.next {
		next[moved[i]] = moved[j]
	}
	f.text, f.added, f.blocks, f.next, f.empty = text.String(), tail{}, kept, next, 0
}
