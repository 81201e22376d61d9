package acl

import (
	"fmt"
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
// end, invalid filters, and those that would make a line of more than 1022
// bytes. The error says which, wraps ErrUser, ErrTopic or ErrAccess, and
// leaves the file unchanged.
func (f *File) SetUser(user string, rules ...Rule) (changed bool, err error) {
	if err := checkUser(user); err != nil {
		return false, err
	}
	for i, r := range rules {
		if err := r.check(); err != nil {
			return false, fmt.Errorf("rule %d: %w", i+1, err)
		}
	}
	if len(rules) == 0 {
		return f.RemoveUser(user), nil
	}
	first, ok := f.users[user]
	if !ok {
		f.appendUser(user, rules)
		return true, nil
	}
	if slices.Equal(slices.Collect(f.Rules(user)), rules) {
		return false, nil
	}
	f.removeBlocks(f.blocks[first].next)
	b := &f.blocks[first]
	b.next = 0
	b.text = f.replaceRules(b, rules)
	f.compact()
	return true, nil
}

// RemoveUser removes every block of user, a name that is compared as a whole,
// and reports whether there was one. Comments, blank lines and pattern lines
// in such a block stay. Rules of clients without a user name, and so the
// empty name, are not its business.
func (f *File) RemoveUser(user string) (changed bool) {
	first, ok := f.users[user]
	if !ok {
		return false
	}
	f.removeBlocks(first)
	delete(f.users, user)
	f.compact()
	return true
}

func (f *File) lineEnd() string {
	if f.crlf {
		return "\r\n"
	}
	return "\n"
}

func (f *File) appendUser(user string, rules []Rule) {
	if f.users == nil {
		f.blocks, f.users = make([]block, 1), make(map[string]int32)
	}
	// Only the last line of all can lack its end.
	if last := &f.blocks[len(f.blocks)-1]; last.text != "" {
		last.text = f.terminated(last.text)
	}
	var text strings.Builder
	text.WriteString(userLine(user) + f.lineEnd())
	f.writeRules(&text, rules)
	b := block{text: text.String(), user: true}
	f.users[b.name()] = int32(len(f.blocks))
	f.blocks = append(f.blocks, b)
}

func (f *File) writeRules(text *strings.Builder, rules []Rule) {
	for _, r := range rules {
		text.WriteString(r.line() + f.lineEnd())
	}
}

func (f *File) terminated(text string) string {
	if strings.HasSuffix(text, "\n") {
		return text
	}
	return text + f.lineEnd()
}

// replaceRules returns the text of b, which begins with a user line, with
// other rules.
func (f *File) replaceRules(b *block, rules []Rule) string {
	var kept strings.Builder
	at := 0 // where in kept the rules go that b doesn't have
	same := true
	for s, l := range b.lines() {
		if l.kind == kindTopic {
			if !same {
				continue
			}
			if same = len(rules) > 0 && l.rule() == rules[0]; !same {
				at = kept.Len()
				continue
			}
			rules = rules[1:]
		}
		kept.WriteString(s)
		if l.kind == kindTopic || l.kind == kindUser {
			at = kept.Len()
		}
	}
	var text strings.Builder
	text.WriteString(f.terminated(kept.String()[:at]))
	f.writeRules(&text, rules)
	text.WriteString(kept.String()[at:])
	return text.String()
}

// removeBlocks takes the user and topic lines out of a block and of those
// linked to it; 0 is none.
func (f *File) removeBlocks(i int32) {
	for i != 0 {
		b := &f.blocks[i]
		var kept strings.Builder
		for s, l := range b.lines() {
			if l.kind != kindUser && l.kind != kindTopic {
				kept.WriteString(s)
			}
		}
		next := b.next
		*b = block{text: kept.String()}
		if b.text == "" {
			f.empty++
		}
		i = next
	}
}

// compact drops empty blocks once they are most of all, so that a file whose
// users come and go for years stays as small as its text, at a cost per
// removal that doesn't grow with it.
func (f *File) compact() {
	if f.empty < 1024 || f.empty < len(f.blocks)/2 {
		return
	}
	moved := make([]int32, len(f.blocks))
	kept := make([]block, 0, len(f.blocks)-f.empty+1)
	for i, b := range f.blocks {
		if i == 0 || b.text != "" {
			moved[i] = int32(len(kept))
			kept = append(kept, b)
		}
	}
	for i := range kept {
		kept[i].next = moved[kept[i].next]
	}
	for name, i := range f.users {
		f.users[name] = moved[i]
	}
	f.blocks, f.empty = kept, 0
}
