package acl

import (
	"os"
	"testing"
)

func TestAdviseHugePages(t *testing.T) {
	_, err := os.Stat("/sys/kernel/mm/transparent_hugepage")
	known := err == nil
	for _, n := range []int{0, 1, 4096, 8 << 20, 64<<20 + 1} {
		b := make([]byte, n+1)[1:] // not at the beginning of a page
		if err := adviseHugePages(b); known && err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		for i := range b {
			b[i] = byte(i)
		}
		for i := range b {
			if b[i] != byte(i) {
				t.Fatalf("%d bytes: byte %d is %d", n, i, b[i])
			}
		}
	}
}
