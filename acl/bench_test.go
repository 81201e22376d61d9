package acl_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/dojot/mqtt-manager-go/acl"
)

// fleet is the text of n devices.
func fleet(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "user admin:%06x\ntopic write /admin/%06x/attrs\n", i, i)
	}
	return b.Bytes()
}

var fleets = []int{100_000, 1_000_000}

func BenchmarkParse(b *testing.B) {
	for _, n := range fleets {
		data := fleet(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := acl.Parse("access.acl", data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSetUser is one edit; it doesn't depend on the size of the file.
func BenchmarkSetUser(b *testing.B) {
	for _, n := range fleets {
		f := parse(b, string(fleet(n)))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				user := fmt.Sprintf("admin:%06x", i%n)
				if changed, err := f.SetUser(user, acl.Rule{Access: acl.Write, Topic: fmt.Sprint(i)}); !changed || err != nil {
					b.Fatal(changed, err)
				}
			}
		})
	}
}

// BenchmarkSetUserWriteTo is one edit and the whole text.
func BenchmarkSetUserWriteTo(b *testing.B) {
	for _, n := range fleets {
		data := fleet(n)
		f := parse(b, string(data))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for i := 0; b.Loop(); i++ {
				if _, err := f.SetUser("admin:000007", acl.Rule{Access: acl.Write, Topic: fmt.Sprint(i)}); err != nil {
					b.Fatal(err)
				}
				if _, err := f.WriteTo(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLineScan is the same edit by going through all lines, for
// comparison with BenchmarkSetUserWriteTo.
func BenchmarkLineScan(b *testing.B) {
	for _, n := range fleets {
		data := fleet(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for i := 0; b.Loop(); i++ {
				var out bytes.Buffer
				mine := false
				for line := range bytes.Lines(data) {
					if bytes.HasPrefix(line, []byte("user ")) {
						mine = string(line) == "user admin:000007\n"
					} else if mine {
						line = fmt.Appendf(nil, "topic write %d\n", i)
					}
					out.Write(line)
				}
				if _, err := out.WriteTo(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range fleets {
		f := parse(b, string(fleet(n)))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				f.Compile(acl.Version{})
			}
		})
	}
}

func BenchmarkAllows(b *testing.B) {
	p := parse(b, string(fleet(100_000))).Compile(acl.Version{})
	c := acl.Client{Username: "admin:000007", ID: "c"}
	b.ReportAllocs()
	for b.Loop() {
		if !p.Allows(c, acl.Write, "/admin/000007/attrs") {
			b.Fatal("refused")
		}
	}
}

// BenchmarkApply is the time of one change, durable, when so many callers
// apply changes at once.
func BenchmarkApply(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "access.acl")
			if err := os.WriteFile(path, fleet(10_000), 0o600); err != nil {
				b.Fatal(err)
			}
			s := reopen(b, path, acl.StoreOptions{})
			work := make(chan int)
			done := make(chan struct{})
			var failed atomic.Pointer[error]
			for range callers {
				go func() {
					for i := range work {
						c := acl.Change{User: fmt.Sprintf("admin:%06x", i%10_000), Rules: []acl.Rule{{Access: acl.Write, Topic: fmt.Sprint(i)}}}
						if err := s.Apply(b.Context(), c); err != nil {
							failed.Store(&err)
						}
					}
					done <- struct{}{}
				}()
			}
			i := 0
			for b.Loop() {
				work <- i
				i++
			}
			close(work)
			for range callers {
				<-done
			}
			if err := failed.Load(); err != nil {
				b.Fatal(*err)
			}
		})
	}
}
