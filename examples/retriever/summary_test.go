package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// A bar only counts, so those that failed are named after it, as long as they
// fit.
func TestFailedAreNamedOnATerminal(t *testing.T) {
	r := newRig(t)
	for n := range 12 {
		r.put(t, fmt.Sprintf("dev%02d.key", n+1), "rubbish")
	}
	program, user := openTerminal(t)
	shown := make(chan string)
	go func() {
		var text bytes.Buffer
		text.ReadFrom(user) // until nobody has the other end any more
		shown <- text.String()
	}()
	err := run(t.Context(), r.args("dev[01-12],good", "--parallel", "1"), nil, program, program)
	program.Close()
	text := <-shown
	if err == nil || !r.has("good.crt") {
		t.Errorf("got %v", err)
	}
	for n := range 12 {
		name := fmt.Sprintf("dev%02d", n+1)
		if named := strings.Contains(text, name+": key "); named != (n < 10) {
			t.Errorf("%s is named: %v", name, named)
		}
	}
	if !strings.Contains(text, "and 2 more") || !strings.Contains(text, "1 made, 12 failed") {
		t.Errorf("says\n%s", text)
	}
	// One has its files changed, so nobody may say that nothing was.
	if strings.Contains(err.Error(), "nothing") || !strings.Contains(err.Error(), "what is there is kept") {
		t.Errorf("says %v", err)
	}
}
