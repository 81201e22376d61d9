package acl

import "strings"

// pattern is a pattern line, taken apart for one version of the broker.
type pattern struct {
	Rule
	line  uint32
	parts []part
	// named patterns say nothing about clients without a user name.
	named bool
	// exact patterns match names that fill one level of the topic and nothing
	// else (2.1).
	exact bool
}

// part of a pattern is a piece of a filter, or the place of a name.
type part struct {
	text string
	name byte // 'u' or 'c' if text is "%u" or "%c" and stands for a name
}

func newPattern(r Rule, line uint32, v Version) pattern {
	p := pattern{Rule: r, line: line, named: strings.Contains(r.Topic, "%u"), exact: v.wholeLevels()}
	begin := 0
	for i := 0; i+1 < len(r.Topic); i++ {
		if n := r.Topic[i+1]; r.Topic[i] != '%' || n != 'u' && n != 'c' {
			continue
		}
		end := i + 2
		whole := (i == 0 || r.Topic[i-1] == '/') && (end == len(r.Topic) || r.Topic[end] == '/')
		if p.exact && !whole {
			continue
		}
		if begin < i {
			p.parts = append(p.parts, part{text: r.Topic[begin:i]})
		}
		p.parts = append(p.parts, part{r.Topic[i:end], r.Topic[end-1]})
		begin, i = end, end-1
	}
	if begin < len(r.Topic) {
		p.parts = append(p.parts, part{text: r.Topic[begin:]})
	}
	return p
}

// matches tells whether the pattern says something about c and topic.
func (p *pattern) matches(c Client, topic string, plusHash bool) bool {
	if p.named && c.Username == "" {
		return false
	}
	if topic[0] == '$' && !p.opensDollar(c) {
		return false
	}
	for i, part := range p.parts {
		name := c.Username
		switch part.name {
		case 0:
			rest, all, ok := advance(part.text, topic, i == len(p.parts)-1, plusHash)
			if !ok || all {
				return ok
			}
			topic = rest
			continue
		case 'c':
			name = c.ID
		}
		if p.exact && (name == "" || strings.IndexByte(name, '/') >= 0) {
			return false
		}
		var ok bool
		if topic, ok = strings.CutPrefix(topic, name); !ok {
			return false
		}
	}
	return topic == ""
}

// opensDollar tells whether the filter made for c begins with "$". In 2.1, no
// name can do that.
func (p *pattern) opensDollar(c Client) bool {
	for _, part := range p.parts {
		text := part.text
		switch {
		case part.name == 0 || p.exact:
		case part.name == 'u':
			text = c.Username
		default:
			text = c.ID
		}
		if text != "" {
			return text[0] == '$'
		}
	}
	return false
}
