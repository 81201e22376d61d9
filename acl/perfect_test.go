package acl

import (
	"fmt"
	"testing"
)

func TestPerfectHash(t *testing.T) {
	for n := range 300 {
		testPerfectHash(t, n)
	}
	testPerfectHash(t, 100_000)
}

func testPerfectHash(t *testing.T, n int) {
	t.Helper()
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("admin:%x", i)
	}
	h, numbers := newPerfectHash(names)
	owner := make(map[uint32]string)
	for i, name := range names {
		if got := h.number(name); got != int(numbers[i]) || got >= h.count {
			t.Fatalf("%d names: %q has number %d of %d, was given %d", n, name, got, h.count, numbers[i])
		}
		if other, ok := owner[numbers[i]]; ok {
			t.Fatalf("%d names: %q and %q share number %d", n, other, name, numbers[i])
		}
		owner[numbers[i]] = name
	}
	if got := h.number("absent"); got < 0 || got >= h.count {
		t.Fatalf("%d names: an absent one has number %d of %d", n, got, h.count)
	}
	if n > 0 && h.count > 2*n+1 {
		t.Errorf("%d names: %d numbers", n, h.count)
	}
}
