package localca_test

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/ejbca/localca"
)

const crashDir = "LOCALCA_TEST_CRASH_DIR"

// What was answered survives the process, however it ends.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		workUntilKilled(t, dir)
		return
	}
	dir := newDir(t)
	for round := range 3 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var user string
		var number int64
		lines := bufio.NewScanner(out)
		for n := 0; n < 5+round && lines.Scan(); n++ {
			if _, err := fmt.Sscan(lines.Text(), &user, &number); err != nil {
				t.Errorf("child says %q", lines.Text())
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		for lines.Scan() { // what was answered before it died counts, too
			if strings.Count(lines.Text(), " ") == 1 {
				fmt.Sscan(lines.Text(), &user, &number)
			}
		}
		cmd.Wait()

		t.Run(fmt.Sprintf("after user %s and CRL %d", user, number), func(t *testing.T) {
			s := serve(t, dir, localca.Options{})
			s.must("GET", "/user/"+user, "", nil)
			if got := s.crl(time.Now()).Number.Int64(); number == 0 || got < number {
				t.Errorf("CRL %d, want %d or later", got, number)
			}
		})
	}
}

func workUntilKilled(t *testing.T, dir string) {
	ca, err := localca.Open(dir, localca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, body string) string {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		ca.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		return w.Body.String()
	}
	for i := 0; ; i++ {
		user := fmt.Sprintf("u%d-%d", os.Getpid(), i)
		ask("POST", "/user", asJSON(map[string]string{"username": user, "password": "x"}))
		ask("PUT", "/ca/IOTmidCA/crl", "")
		text := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(ask("GET", "/ca/IOTmidCA/crl", "")), `{"CRL":"`), `"}`)
		list, err := crl.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(user, list.Number)
	}
}
