package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// runOnTerminal returns what the terminal is sent.
func (r *rig) runOnTerminal(t *testing.T, devices string, more ...string) (text string, err error) {
	t.Helper()
	program, user := openTerminal(t)
	shown := make(chan string)
	go func() {
		var text bytes.Buffer
		text.ReadFrom(user) // until nobody has the other end any more
		shown <- text.String()
	}()
	err = run(t.Context(), r.args(devices, more...), nil, program, program)
	program.Close()
	return <-shown, err
}

// A bar only counts, so those that failed are named after it, as long as they
// fit.
func TestFailedAreNamedOnATerminal(t *testing.T) {
	r := newRig(t)
	for n := range 12 {
		r.put(t, fmt.Sprintf("dev%02d.key", n+1), "rubbish")
	}
	text, err := r.runOnTerminal(t, "dev[01-12],good", "--parallel", "1")
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

// What a hook says has lines of its own.
func TestHookOnATerminal(t *testing.T) {
	r := newRig(t)
	text, err := r.runOnTerminal(t, "a,b,c", "--", "sh", "-c", "echo told of $RETRIEVER_DEVICE")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, device := range []string{"a", "b", "c"} {
		if !strings.Contains("\n"+text, "\ntold of "+device+"\r\n") {
			t.Errorf("%s has no line of its own in\n%q", device, text)
		}
	}
}
