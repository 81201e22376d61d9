package acl_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/acl"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
)

const (
	// killedFile names the file that a child process of TestStoreSurvivesKill
	// changes until it is killed.
	killedFile = "ACL_TEST_KILLED"
	// killRounds is how often that is done. A few dozen times are enough for
	// every day.
	killRounds = "ACL_TEST_KILL_ROUNDS"
)

// applyUntilKilled changes a file from several goroutines and tells of each
// change: "try" before, "done" when it is acknowledged.
func applyUntilKilled(t *testing.T, path string) {
	s := reopen(t, path, acl.StoreOptions{})
	var mu sync.Mutex
	tell := func(args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(args...) // one write, which the reader gets whole
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 1_000_000 {
				// Each goroutine has a few users of its own, so that what is
				// acknowledged last is what must be there.
				user := fmt.Sprintf("d%d-%d", g, i%5)
				value := fmt.Sprintf("%d/%d", os.Getpid(), i)
				c := set(user, "write "+value)
				if i%7 == 6 {
					c, value = set(user), "-"
				}
				tell("try", user, value)
				if err := s.Apply(t.Context(), c); err != nil {
					t.Error(err)
					return
				}
				tell("done", user, value)
			}
		})
	}
	wg.Wait()
}

// TestStoreSurvivesKill kills a process that applies changes at random
// instants, again and again. The file must hold every change acknowledged,
// and brokers must load it.
func TestStoreSurvivesKill(t *testing.T) {
	if path := os.Getenv(killedFile); path != "" {
		applyUntilKilled(t, path)
		return
	}
	rounds := 24
	if n, err := strconv.Atoi(os.Getenv(killRounds)); err == nil {
		rounds = n
	}
	if testing.Short() {
		rounds = 3
	}
	path := filepath.Join(t.TempDir(), "access.acl")
	const others = 2000 // whom nobody touches
	if err := os.WriteFile(path, fleet(others), 0o600); err != nil {
		t.Fatal(err)
	}
	acknowledged := make(map[string]string)
	var survivors [][]byte
	changes := 0
	for range rounds {
		// What a user may have: what was acknowledged last, or what was tried
		// since.
		possible := make(map[string][]string)
		for user, value := range acknowledged {
			possible[user] = []string{value}
		}
		for line := range runUntilKilled(t, path) {
			word, rest, _ := strings.Cut(line, " ")
			user, value, ok := strings.Cut(rest, " ")
			switch {
			case !ok:
			case word == "try":
				if possible[user] == nil {
					possible[user] = []string{"-"}
				}
				possible[user] = append(possible[user], value)
			case word == "done":
				possible[user] = []string{value}
				changes++
			}
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f := parse(t, string(data))
		for user, values := range possible {
			got := "-"
			for r := range f.Rules(user) {
				got = r.Topic
			}
			if !slices.Contains(values, got) {
				t.Fatalf("user %s has %q, want one of %q", user, got, values)
			}
			acknowledged[user] = got
		}
		for i := range others {
			if n := len(slices.Collect(f.Rules(deviceName(i)))); n != 1 {
				t.Fatalf("%s, whom nobody touched, has %d rules", deviceName(i), n)
			}
		}
		survivors = append(survivors, data)
	}
	t.Logf("%d kills, %d changes acknowledged", rounds, changes)
	if changes < rounds {
		t.Errorf("only %d changes in %d rounds show nothing", changes, rounds)
	}
	loadInBroker(t, survivors)
}

// runUntilKilled returns what the child said before it was killed, some time
// after its first change was acknowledged.
func runUntilKilled(t *testing.T, path string) func(yield func(string) bool) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestStoreSurvivesKill$")
	cmd.Env = append(os.Environ(), killedFile+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func(yield func(string) bool) {
		var kill *time.Timer
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if kill == nil && strings.HasPrefix(lines.Text(), "done ") {
				kill = time.AfterFunc(rand.N(120*time.Millisecond), func() { cmd.Process.Kill() })
			}
			if !yield(lines.Text()) {
				break
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Error("the child ended before it was killed")
		}
	}
}

// loadInBroker starts brokers that each read a batch of files, one for each
// of its listeners. A broker that doesn't load one of them doesn't start.
func loadInBroker(t *testing.T, files [][]byte) {
	needBroker(t)
	const batch = 12
	for part := range slices.Chunk(files, batch) {
		dir := t.TempDir()
		conf := "per_listener_settings true\n"
		for i, data := range part {
			name := fmt.Sprintf("%d.acl", i)
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
			// The whole path may be too long for a socket.
			conf += fmt.Sprintf("listener 0 %s.sock\nallow_anonymous true\nacl_file %[1]s\n", name)
		}
		b, err := mosquittotest.Start(mosquittotest.Options{Dir: dir, Conf: conf})
		if err != nil {
			t.Fatalf("a file that survived a kill isn't loaded: %v", err)
		}
		b.Close()
	}
}
